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
    let store = open(&root, &StoreOptions::new());
    for key in
        ["../outside", "a/../../outside", "/outside", "a//b", "", ".", "..", "a/./b", "a/", "a\0b", ".kfs-tmp/stage-1"]
    {
        let kind = store.get(key, ReadRange::Whole, None).await.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::InvalidInput, "{key:?}");
        match store.create(key, payload("x"), &Identity::none()).await {
            Created::Refused(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{key:?}"),
            other => panic!("{key:?} {other:?}"),
        }
        assert_eq!(store.overwrite(key, payload("x")).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
        assert_eq!(store.delete(key).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
        assert_eq!(store.settle(key).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
    }
    assert_eq!(tree(dir.path()), ["outside"]);
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
    let store = open(&root, &StoreOptions::new());
    for key in ["away/file", "link", "alias/x"] {
        let error = store.get(key, ReadRange::Whole, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{key}");
        let created = store.create(key, payload("x"), &Identity::none()).await;
        assert!(matches!(created, Created::Refused(_)), "{key} {created:?}");
    }
    store.overwrite("real/x", payload("x")).await.unwrap();
    let page = store.list_page("", None, 10).await.unwrap();
    assert_eq!(page.objects.iter().map(|o| o.key.as_str()).collect::<Vec<_>>(), ["real/x"]);
    assert_eq!(store.list_dirs("").await.unwrap(), ["real"]);
    assert_eq!(std::fs::read(dir.path().join("out/file")).unwrap(), b"secret");
    // The root itself may be one.
    std::os::unix::fs::symlink("root", dir.path().join("by-link")).unwrap();
    let store = open(&dir.path().join("by-link"), &StoreOptions::new());
    assert_eq!(&store.get("real/x", ReadRange::Whole, None).await.unwrap().bytes[..], b"x");
}

#[test]
fn directories_that_cant_be_used_are_typed() {
    let dir = tempfile::tempdir().unwrap();
    let kind = |path: &str| {
        let url = url::Url::from_directory_path(dir.path().join(path)).unwrap();
        Store::open(url.as_str(), &StoreOptions::new()).unwrap_err().kind()
    };
    std::fs::write(dir.path().join("file"), "x").unwrap();
    assert_eq!(kind("file"), ErrorKind::InvalidInput);
    assert_eq!(kind("file/below"), ErrorKind::InvalidInput);
    assert_eq!(kind("missing/below"), ErrorKind::NotFound);
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
        refuses(&open(dir.path(), &StoreOptions::new().disk_hook(hook))).await;
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    refuses(&open(dir.path(), &StoreOptions::new())).await;
}

async fn refuses(store: &Store) {
    for key in ["a", "ns/t/0/a"] {
        match store.create(key, payload("x"), &Identity::none()).await {
            Created::Refused(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(store.overwrite(key, payload("x")).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}

#[tokio::test]
async fn a_file_in_a_directorys_place_and_a_directory_in_a_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::new());
    store.overwrite("ns/t", payload("a file")).await.unwrap();
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
        Created::Refused(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}"),
        other => panic!("{other:?}"),
    }
    let error = store.overwrite("ns/u/segment.kfs", payload("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(tree(dir.path()), ["ns/t"]);
}

#[tokio::test]
async fn a_listing_is_sorted_by_whole_keys_and_passes_over_junk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::new());
    let mut keys = vec!["a", "a.b", "a/b", "a/c/d", "a/c.d", "a0", "b/a", "b", "z/\u{1F600}", "z/é"];
    keys.retain(|key| !["a", "b"].contains(key));
    for key in &keys {
        store.overwrite(key, payload(key)).await.unwrap();
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
    let local = LocalStore::open(dir.path(), &StoreOptions::new()).unwrap();
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
    let local = LocalStore::open(dir.path(), &StoreOptions::new()).unwrap();
    for stretch in [1, 7, 299, 300, 1000] {
        let mut walk = super::super::walk::Walk::new("", None, stretch);
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
