//! Keys, directories that can't be used, and what else lies about.

use std::os::unix::fs::PermissionsExt;

use futures_util::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::*;
use crate::ErrorKind;
use crate::store::{Created, Identity, ReadRange};

#[tokio::test]
async fn keys_that_leave_the_root_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("outside"), "secret").unwrap();
    let root = dir.path().join("root");
    let store = open(&root, &StoreOptions::default());
    for key in
        ["../outside", "a/../../outside", "/outside", "a//b", "", ".", "..", "a/./b", "a/", "a\0b", ".kfs-tmp/stage-1"]
    {
        let kind = store.get(key, ReadRange::Whole, None).await.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::InvalidInput, "{key:?}");
        match store.create(key, payload("x"), &Identity::none()).await {
            Created::Refused(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{key:?}"),
            other => panic!("{key:?} {other:?}"),
        }
        assert_eq!(store.put(key, payload("x")).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
        assert_eq!(store.delete(key).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
        assert_eq!(store.settle(key).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
    }
    assert_eq!(tree(dir.path()), ["outside"]);
}

#[tokio::test]
async fn no_prefix_leaves_the_root_where_openat2_is_missing_too() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("outside")).unwrap();
    std::fs::write(dir.path().join("outside/x"), "secret").unwrap();
    let root = dir.path().join("root");
    for no_openat2 in [false, true] {
        let store = open(&root, &StoreOptions::default());
        store.local().unwrap().root().no_openat2.store(no_openat2, std::sync::atomic::Ordering::Relaxed);
        store.put("a/b", payload("x")).await.unwrap();
        for prefix in ["../", "../outside/", "a/../../outside/", "a/./", "..", "../outside/x"] {
            let error = store.list_page(prefix, None, 5).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{prefix} {error}");
            let error = store.list_dirs(prefix).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{prefix} {error}");
        }
        let kind = store.get("../outside/x", ReadRange::Whole, None).await.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert_eq!(store.list_page("a/", None, 5).await.unwrap().objects.len(), 1);
    }
}

#[tokio::test]
async fn what_has_a_segments_name_and_is_no_file_is_listed_and_named_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    let key = |base: i64| format!("ns/t/0/segment-{base:020}.kfs");
    store.put(&key(0), payload("x")).await.unwrap();
    let place = dir.path().join("ns/t/0");
    std::os::unix::fs::symlink(place.join("segment-00000000000000000000.kfs"), dir.path().join(key(1))).unwrap();
    std::os::unix::fs::symlink("/nowhere", dir.path().join(key(2))).unwrap();
    std::fs::create_dir_all(dir.path().join(key(3)).join("below")).unwrap();
    std::fs::write(dir.path().join(key(3)).join("below/file"), "x").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join(key(4))).unwrap();
    // Other names of this kind are none of ours.
    std::os::unix::fs::symlink("/nowhere", place.join("segment-5.kfs")).unwrap();
    for no_openat2 in [false, true] {
        store.local().unwrap().root().no_openat2.store(no_openat2, std::sync::atomic::Ordering::Relaxed);
        let listed = store.list_page("ns/t/0/", None, 10).await.unwrap();
        let listed: Vec<(String, u64)> = listed.objects.into_iter().map(|o| (o.key, o.size)).collect();
        assert_eq!(listed, [(key(0), 1), (key(1), 0), (key(2), 0), (key(3), 0), (key(4), 0)]);
        for (base, what) in [(1, "symbolic link"), (2, "symbolic link"), (3, "directory"), (4, "neither")] {
            let read = store.get(&key(base), ReadRange::Whole, None).await.unwrap_err();
            let created = store.create(&key(base), payload("y"), &Identity::none()).await;
            let Created::Refused(created) = created else { panic!("{base} {created:?}") };
            for error in [read, created] {
                assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&key(base)[..])), "{error}");
                assert!(error.message().contains(what) && error.hint().is_some(), "{error}");
            }
        }
    }
    let error = store.put(&key(3), payload("y")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(store.list_dirs("ns").await.unwrap(), ["t"]);
}

#[tokio::test]
async fn what_is_made_is_for_its_owner_alone_unless_the_options_say_otherwise() {
    for options in both() {
        for (options, expected) in [
            (options.clone(), [0o600, 0o700, 0o700]),
            (options.file_mode(0o640).dir_mode(0o750), [0o640, 0o750, 0o750]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("root");
            let store = open(&root, &options);
            store.put("ns/t/b", payload("x")).await.unwrap();
            let created = store.create("ns/t/a", payload("x"), &Identity::none()).await;
            assert!(matches!(created, Created::Yes(_)));
            // Whatever umask the tests run with.
            let umask = rustix::process::umask(rustix::fs::Mode::empty());
            rustix::process::umask(umask);
            let mode = |path: &str| std::fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
            for (path, expected) in ["ns/t/a", "ns/t/b", "ns/t", ""].into_iter().zip([0, 0, 1, 2].map(|i| expected[i]))
            {
                assert_eq!(mode(path), expected & !umask.bits(), "{path} {options:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_deep_tree_is_listed_with_few_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    let deep = vec!["d"; 1500].join("/");
    store.put(&format!("{deep}/file"), payload("x")).await.unwrap();
    store.put("z", payload("x")).await.unwrap();
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert!(limits.current.is_some(), "no limit of open files is set, so this test shows nothing");
    let open = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let before = open();
    let mut walk = crate::store::local::tree_walk::TreeWalk::new("", None, 10);
    let root = store.local().unwrap().root();
    assert_eq!(walk.next(root, 1).unwrap().len(), 1);
    // Other tests of this process open files too.
    assert!(open().saturating_sub(before) < 500, "{} descriptors", open());
    assert_eq!(walk.next(root, 10).unwrap().len(), 1);
    assert_eq!(store.list_dirs("").await.unwrap(), ["d"]);
}

#[tokio::test]
async fn symbolic_links_below_the_root_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("real")).unwrap();
    std::fs::create_dir(dir.path().join("out")).unwrap();
    std::fs::write(dir.path().join("out/file"), "secret").unwrap();
    std::os::unix::fs::symlink("../out", root.join("away")).unwrap();
    std::os::unix::fs::symlink("../out/file", root.join("link")).unwrap();
    std::os::unix::fs::symlink("real", root.join("alias")).unwrap();
    let store = open(&root, &StoreOptions::default());
    for key in ["away/file", "link", "alias/x"] {
        let error = store.get(key, ReadRange::Whole, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{key}");
        let created = store.create(key, payload("x"), &Identity::none()).await;
        assert!(matches!(created, Created::Refused(_)), "{key} {created:?}");
    }
    store.put("real/x", payload("x")).await.unwrap();
    let page = store.list_page("", None, 10).await.unwrap();
    assert_eq!(page.objects.iter().map(|o| o.key.as_str()).collect::<Vec<_>>(), ["real/x"]);
    // A link that may lead to a directory is named, and looking into it is an error that names it.
    assert_eq!(store.list_dirs("").await.unwrap(), ["alias", "away", "real"]);
    for listed in [store.list_page("alias/x/", None, 10).await.map(drop), store.list_dirs("alias").await.map(drop)] {
        let error = listed.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("root/alias is a symbolic link"), "{error}");
    }
    assert_eq!(std::fs::read(dir.path().join("out/file")).unwrap(), b"secret");
    // The root itself may be one.
    std::os::unix::fs::symlink("root", dir.path().join("by-link")).unwrap();
    let store = open(&dir.path().join("by-link"), &StoreOptions::default());
    assert_eq!(&store.get("real/x", ReadRange::Whole, None).await.unwrap().bytes[..], b"x");
}

#[test]
fn directories_that_cant_be_used_are_typed() {
    let dir = tempfile::tempdir().unwrap();
    let kind = |path: &str| {
        let url = url::Url::from_directory_path(dir.path().join(path)).unwrap();
        Store::open(url.as_str(), &StoreOptions::default()).unwrap_err().kind()
    };
    std::fs::write(dir.path().join("file"), "x").unwrap();
    assert_eq!(kind("file"), ErrorKind::InvalidInput);
    assert_eq!(kind("file/below"), ErrorKind::InvalidInput);
    assert_eq!(kind("missing/below"), ErrorKind::NotFound);
}

#[tokio::test]
async fn names_below_a_directory_that_does_not_exist_are_not_found_and_a_log_there_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("typo"), &StoreOptions::default());
    let error = store.list_dirs("ns").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("typo") && error.message().contains("does not exist"), "{error}");
    assert!(store.list_page("ns/t/0/", None, 10).await.unwrap().complete);
    assert!(!dir.path().join("typo").exists());
    store.put("ns/t/0/a", payload("x")).await.unwrap();
    assert_eq!(store.list_dirs("ns").await.unwrap(), ["t"]);
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_refuses() {
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere; the errno is put in by hand.
        const EACCES: i32 = 13;
        let dir = tempfile::tempdir().unwrap();
        let hook = hook(|op| match op {
            DiskOp::MakeDir { .. } | DiskOp::Stage { .. } => DiskVerdict::Fail(EACCES),
            _ => DiskVerdict::Proceed,
        });
        refuses(&open(dir.path(), &StoreOptions::default().disk_hook(hook))).await;
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    refuses(&open(dir.path(), &StoreOptions::default())).await;
}

async fn refuses(store: &Store) {
    for key in ["a", "ns/t/0/a"] {
        match store.create(key, payload("x"), &Identity::none()).await {
            Created::Refused(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(store.put(key, payload("x")).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}

#[tokio::test]
async fn a_file_in_a_directorys_place_and_a_directory_in_a_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    store.put("ns/t", payload("a file")).await.unwrap();
    for key in ["ns/t/0", "ns/t/0/1/2"] {
        assert_eq!(store.get(key, ReadRange::Whole, None).await.unwrap_err().kind(), ErrorKind::NotFound);
        store.delete(key).await.unwrap();
        match store.create(key, payload("x"), &Identity::none()).await {
            Created::Refused(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}"),
            other => panic!("{other:?}"),
        }
    }
    // Directories named like keys are no objects.
    std::fs::create_dir_all(dir.path().join("ns/u/segment.kfs")).unwrap();
    assert_eq!(store.get("ns/u/segment.kfs", ReadRange::Whole, None).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.get("ns/u", ReadRange::Whole, None).await.unwrap_err().kind(), ErrorKind::NotFound);
    store.delete("ns/u/segment.kfs").await.unwrap();
    assert!(store.list_page("ns/u/", None, 10).await.unwrap().objects.is_empty());
    match store.create("ns/u/segment.kfs", payload("x"), &Identity::none()).await {
        Created::Refused(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
        other => panic!("{other:?}"),
    }
    let error = store.put("ns/u/segment.kfs", payload("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(tree(dir.path()), ["ns/t"]);
}

#[tokio::test]
async fn a_listing_is_sorted_by_whole_keys_and_passes_over_junk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    let mut keys = vec!["a", "a.b", "a/b", "a/c/d", "a/c.d", "a0", "b/a", "b", "z/\u{1F600}", "z/é"];
    keys.retain(|key| !["a", "b"].contains(key));
    for key in &keys {
        store.put(key, payload(key)).await.unwrap();
    }
    std::fs::create_dir_all(dir.path().join("empty/deep")).unwrap();
    std::fs::create_dir_all(dir.path().join("a/c/empty")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("a/pipe"), 0o600.into()).unwrap();
    std::fs::write(dir.path().join("a/line\nbreak"), "x").unwrap();
    let bad: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(b"a\xff".to_vec());
    std::fs::write(dir.path().join(bad), "x").unwrap();
    keys.sort_unstable();
    for max in 1..10 {
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = store.list_page("", found.last().map(String::as_str), max).await.unwrap();
            assert!(page.objects.len() <= max);
            found.extend(page.objects.into_iter().map(|object| object.key));
            if page.complete {
                break;
            }
        }
        assert_eq!(found, keys, "{max}");
    }
    for after in keys.iter().copied().chain(["", "a/", "a/c", "a/c/", "a/c/z", "zz"]) {
        for prefix in ["", "a", "a/", "a/c", "a/c/", "b/", "zz"] {
            let expected: Vec<&str> =
                keys.iter().copied().filter(|key| *key > after && key.starts_with(prefix)).collect();
            let page = store.list_page(prefix, Some(after), 100).await.unwrap();
            let found: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
            assert_eq!((found, page.complete), (expected, true), "{prefix:?} after {after:?}");
        }
    }
    let local = LocalStore::open(dir.path(), &StoreOptions::default()).unwrap();
    for after in &keys {
        for prefix in ["a", "a/c", "b", "z", "zz"] {
            let expected: Vec<&str> = keys
                .iter()
                .copied()
                .filter(|key| key > after && key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')))
                .collect();
            let listed = local.list_with_offset(Some(&Path::from(prefix)), &Path::parse(after).unwrap());
            let found: Vec<_> = listed.map(|meta| meta.unwrap().location.to_string()).collect().await;
            assert_eq!(found, expected, "{prefix:?} after {after:?}");
        }
    }
    assert_eq!(store.list_dirs("").await.unwrap(), ["a", "b", "z"]);
    assert_eq!(store.list_dirs("a/").await.unwrap(), ["c"]);
    assert!(store.list_dirs("none").await.unwrap().is_empty());
    // What a walk answers of a pipe, too.
    assert_eq!(store.get("a/pipe", ReadRange::Whole, None).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_directory_of_many_files_is_walked_in_bounded_stretches() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..300).map(|n| format!("{n:03}{}", if n % 7 == 0 { "/x" } else { "" })).collect();
    for name in &names {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    let local = LocalStore::open(dir.path(), &StoreOptions::default()).unwrap();
    for stretch in [1, 7, 299, 300, 1000] {
        let mut walk = super::super::tree_walk::TreeWalk::new("", None, stretch);
        let mut found = Vec::new();
        loop {
            let some = walk.next(local.root(), 50).unwrap();
            if some.is_empty() {
                break;
            }
            found.extend(some.into_iter().map(|meta| meta.location.to_string()));
        }
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(found, sorted);
    }
}
