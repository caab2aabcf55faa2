//! Failing fsyncs and links, and tries again.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::ErrorKind;
use crate::store::{Created, Identity, ReadRange, SyncFailure};

const EIO: i32 = 5;
const KEY: &str = "ns/t/0/segment";

fn fail_when(matches: impl Fn(&DiskOp<'_>) -> bool + Send + Sync + 'static) -> (Arc<AtomicBool>, Arc<dyn DiskHook>) {
    let armed = Arc::new(AtomicBool::new(false));
    let hook = hook({
        let armed = armed.clone();
        move |op| {
            if armed.load(Ordering::SeqCst) && matches(op) { DiskVerdict::Fail(EIO) } else { DiskVerdict::Proceed }
        }
    });
    (armed, hook)
}

#[tokio::test]
async fn a_failed_fsync_of_the_file_leaves_no_object() {
    for options in both() {
        let dir = tempfile::tempdir().unwrap();
        let (armed, hook) = fail_when(|op| matches!(op, DiskOp::SyncFile { .. }));
        let store = open(dir.path(), &options.disk_hook(hook));
        armed.store(true, Ordering::SeqCst);
        let Created::SyncFailed { visible, error } = store.create(KEY, payload("x"), &Identity::of("aa.0")).await
        else {
            panic!()
        };
        assert_eq!(
            (visible, error.kind(), SyncFailure::of(&error).unwrap().visible),
            (false, ErrorKind::Unavailable, false)
        );
        assert_eq!(tree(dir.path()), [""; 0]);
    }
}

#[tokio::test]
async fn a_failed_fsync_of_the_directory_is_told_and_stays_failed() {
    for options in both() {
        let dir = tempfile::tempdir().unwrap();
        let (armed, hook) = fail_when(|op| *op == DiskOp::SyncDir { path: "ns/t/0" });
        let store = open(dir.path(), &options.disk_hook(hook));
        armed.store(true, Ordering::SeqCst);
        let identity = Identity::of("aa.0");
        let created = store.create(KEY, payload("x"), &identity).await;
        assert!(matches!(created, Created::SyncFailed { visible: true, .. }), "{created:?}");
        // The next fsync succeeds, and proves nothing: the kernel tells a lost write once.
        armed.store(false, Ordering::SeqCst);
        let again = store.create(KEY, payload("x"), &identity).await;
        assert!(matches!(again, Created::SyncFailed { visible: true, .. }), "{again:?}");
        let error = store.settle(KEY).await.unwrap_err();
        assert!(SyncFailure::of(&error).is_some_and(|failure| failure.visible));
    }
}

#[tokio::test]
async fn a_failed_fsync_of_a_new_directorys_parent_is_told() {
    for path in ["..", "", "ns", "ns/t"] {
        let dir = tempfile::tempdir().unwrap();
        let (armed, hook) = fail_when(move |op| *op == DiskOp::SyncDir { path });
        let store = open(dir.path(), &StoreOptions::default().disk_hook(hook));
        armed.store(true, Ordering::SeqCst);
        let created = store.create(KEY, payload("x"), &Identity::none()).await;
        assert!(matches!(created, Created::SyncFailed { visible: false, .. }), "{path} {created:?}");
    }
}

#[tokio::test]
async fn a_directory_that_another_made_is_fsynced_before_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("ns/t/0")).unwrap();
    let synced = Arc::new(Mutex::new(Vec::new()));
    let hook = hook({
        let synced = synced.clone();
        move |op| {
            if let DiskOp::SyncDir { path } = op {
                synced.lock().unwrap().push(path.to_string());
            }
            DiskVerdict::Proceed
        }
    });
    let store = open(dir.path(), &StoreOptions::default().disk_hook(hook));
    for (key, expected) in [
        ("ns/t/0/a", vec!["..", "", "ns", "ns/t", "ns/t/0"]),
        ("ns/t/0/b", vec!["ns/t/0"]),
        ("ns/t/1/a", vec!["ns/t", "ns/t/1"]),
    ] {
        assert!(matches!(store.create(key, payload("x"), &Identity::none()).await, Created::Yes(_)));
        assert_eq!(std::mem::take(&mut *synced.lock().unwrap()), expected, "{key}");
    }
}

#[tokio::test]
async fn failed_fsyncs_of_settle_overwrite_and_delete_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (armed, hook) = fail_when(|op| *op == DiskOp::SyncDir { path: "ns/t/0" });
    let store = open(dir.path(), &StoreOptions::default().disk_hook(hook));
    store.put(KEY, payload("x")).await.unwrap();
    store.settle(KEY).await.unwrap();
    armed.store(true, Ordering::SeqCst);
    for error in [
        store.settle(KEY).await.unwrap_err(),
        store.put(KEY, payload("y")).await.unwrap_err(),
        store.delete(KEY).await.unwrap_err(),
        // It is gone, and not known to stay so.
        store.delete(KEY).await.unwrap_err(),
    ] {
        assert!(SyncFailure::of(&error).is_some(), "{error:?}");
    }
    armed.store(false, Ordering::SeqCst);
    store.delete(KEY).await.unwrap();
    assert_eq!(store.settle(KEY).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_create_is_repeated_by_its_kfsid() {
    for options in both() {
        let dir = tempfile::tempdir().unwrap();
        let syncs = Arc::new(AtomicUsize::new(0));
        let hook = hook({
            let syncs = syncs.clone();
            move |op| {
                if matches!(op, DiskOp::SyncFile { .. } | DiskOp::SyncDir { .. }) {
                    syncs.fetch_add(1, Ordering::SeqCst);
                }
                DiskVerdict::Proceed
            }
        });
        let store = open(dir.path(), &options.disk_hook(hook));
        let identity = Identity::of("aa.0");
        let Created::Yes(first) = store.create(KEY, payload("x"), &identity).await else { panic!() };
        let before = syncs.load(Ordering::SeqCst);
        let Created::Yes(second) = store.create(KEY, payload("x"), &identity).await else { panic!() };
        assert!(first.same_as(&second) && first.e_tag() == second.e_tag());
        // The file, its directory, and the three above.
        assert_eq!(syncs.load(Ordering::SeqCst) - before, 5);
        let other = store.create(KEY, payload("x"), &Identity::of("aa.1")).await;
        assert!(matches!(other, Created::Exists), "{other:?}");
        assert!(matches!(store.create(KEY, payload("x"), &Identity::none()).await, Created::Exists));
        assert_eq!(store.get(KEY, ReadRange::Whole, None).await.unwrap().identity, identity);
        // Another store on the directory, as another process has it, does not know the file.
        let stranger = open(dir.path(), &StoreOptions::default());
        assert!(matches!(stranger.create(KEY, payload("x"), &identity).await, Created::Exists));
        let theirs = stranger.get(KEY, ReadRange::Whole, None).await.unwrap().identity.kfsid.unwrap();
        assert!(theirs.starts_with("inode-"), "{theirs}");
    }
}

#[tokio::test]
async fn a_link_whose_answer_was_lost_is_found_by_the_next_try() {
    for options in both() {
        let dir = tempfile::tempdir().unwrap();
        let links = AtomicUsize::new(0);
        let hook = hook(move |op| match op {
            DiskOp::Link { .. } if links.fetch_add(1, Ordering::SeqCst) == 0 => DiskVerdict::FailAfter(EIO),
            _ => DiskVerdict::Proceed,
        });
        let store = open(dir.path(), &options.disk_hook(hook));
        let created = store.create(KEY, payload("x"), &Identity::of("aa.0")).await;
        assert!(matches!(created, Created::Unknown(_)), "{created:?}");
        let again = store.create(KEY, payload("x"), &Identity::of("aa.0")).await;
        assert!(matches!(again, Created::Yes(_)), "{again:?}");
    }
}

#[tokio::test]
async fn what_certainly_was_not_made_is_refused() {
    const ENOSPC: i32 = 28;
    for options in both() {
        for what in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let hook = hook(move |op| match (what, op) {
                (0, DiskOp::Stage { .. }) | (1, DiskOp::Write { .. }) | (2, DiskOp::Link { .. }) => {
                    DiskVerdict::Fail(ENOSPC)
                }
                _ => DiskVerdict::Proceed,
            });
            let store = open(dir.path(), &options.clone().disk_hook(hook));
            match store.create(KEY, payload("x"), &Identity::of("aa.0")).await {
                Created::Refused(error) => assert_eq!((error.kind(), error.key()), (ErrorKind::Unavailable, Some(KEY))),
                other => panic!("{what} {other:?}"),
            }
            assert_eq!(tree(dir.path()), [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_file_system_without_nameless_files_gets_named_ones() {
    const EOPNOTSUPP: i32 = 95;
    let dir = tempfile::tempdir().unwrap();
    let nameless = Arc::new(AtomicUsize::new(0));
    let hook = hook({
        let nameless = nameless.clone();
        move |op| match op {
            DiskOp::Stage { path: None, .. } => {
                nameless.fetch_add(1, Ordering::SeqCst);
                DiskVerdict::Fail(EOPNOTSUPP)
            }
            _ => DiskVerdict::Proceed,
        }
    });
    let store = open(dir.path(), &StoreOptions::default().disk_hook(hook));
    for key in ["a/1", "a/2"] {
        assert!(matches!(store.create(key, payload("x"), &Identity::none()).await, Created::Yes(_)));
    }
    assert_eq!((tree(dir.path()), nameless.load(Ordering::SeqCst)), (vec!["a/1".into(), "a/2".into()], 1));
}

#[tokio::test]
async fn a_sweep_takes_only_what_nobody_holds() {
    let dir = tempfile::tempdir().unwrap();
    let staging = dir.path().join(".kfs-tmp");
    std::fs::create_dir(&staging).unwrap();
    std::fs::write(staging.join("stage-0123"), "left by a crash").unwrap();
    std::fs::write(staging.join("not ours"), "x").unwrap();
    let held = std::fs::File::create(staging.join("stage-4567")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    // Reading sweeps nothing.
    let store = open(dir.path(), &StoreOptions::default());
    assert!(store.list_page("", None, 10).await.unwrap().objects.is_empty());
    assert_eq!(tree(dir.path()).len(), 3);
    store.put("a", payload("x")).await.unwrap();
    assert_eq!(tree(dir.path()), [".kfs-tmp/not ours", ".kfs-tmp/stage-4567", "a"]);
    drop(held);
    open(dir.path(), &StoreOptions::default()).put("a", payload("x")).await.unwrap();
    assert_eq!(tree(dir.path()), [".kfs-tmp/not ours", "a"]);
}

#[tokio::test]
async fn a_second_store_does_not_sweep_what_the_first_is_writing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let (other, done) = (Mutex::new(None), AtomicBool::new(false));
    let hook = hook(move |op| {
        if matches!(op, DiskOp::Link { .. }) && !done.swap(true, Ordering::SeqCst) {
            // In the middle of a create another store on the directory has its first write.
            let store = open(&path, &StoreOptions::default());
            futures_util::FutureExt::now_or_never(async {
                let local = LocalStore::open(&path, &StoreOptions::default()).unwrap();
                local.overwrite("other", &payload("y")).map(|_| ()).unwrap();
            });
            *other.lock().unwrap() = Some(store);
        }
        DiskVerdict::Proceed
    });
    let store = open(dir.path(), &StoreOptions::default().named_staging(true).disk_hook(hook));
    assert!(matches!(store.create(KEY, payload("x"), &Identity::none()).await, Created::Yes(_)));
    assert_eq!(tree(dir.path()), [KEY, "other"]);
}

/// Moves the bucket's directory away, with another in its place or none.
fn move_away(dir: &std::path::Path, replace: bool) {
    std::fs::rename(dir.join("root"), dir.join("moved")).unwrap();
    if replace {
        std::fs::create_dir_all(dir.join("root/ns/t/0")).unwrap();
    }
}

#[tokio::test]
async fn nothing_is_confirmed_after_the_directory_was_moved() {
    for options in both() {
        for replace in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let store = open(&dir.path().join("root"), &options);
            let created = store.create(KEY, payload("x"), &Identity::of("aa.0")).await;
            assert!(matches!(created, Created::Yes(_)));
            move_away(dir.path(), replace);
            let created = store.create("ns/t/0/second", payload("x"), &Identity::of("aa.1")).await;
            let Created::SyncFailed { visible: true, error } = created else { panic!("{created:?}") };
            assert!(SyncFailure::of(&error).is_some_and(|failure| failure.misplaced), "{error:?}");
            assert!(error.message().contains("no longer leads to the directory"), "{error}");
            let again = store.create("ns/t/0/second", payload("x"), &Identity::of("aa.1")).await;
            assert!(matches!(again, Created::SyncFailed { visible: true, .. }), "{again:?}");
            for error in [store.put("ns/t/0/b", payload("x")).await.unwrap_err(), store.settle(KEY).await.unwrap_err()]
            {
                assert!(SyncFailure::of(&error).is_some_and(|failure| failure.misplaced), "{error:?}");
            }
            // A reader learns of it when it looks for more.
            let error = store.list_page("ns/", None, 5).await.unwrap_err();
            assert!(error.message().contains("no longer leads"), "{error}");
            let error = store.get("ns/t/0/absent", ReadRange::Whole, None).await.unwrap_err();
            assert!(error.kind() == ErrorKind::Unavailable && error.message().contains("no longer leads"), "{error}");
            // Put back, it is the directory that was opened again; what was not confirmed stays so.
            std::fs::remove_dir_all(dir.path().join("root")).ok();
            std::fs::rename(dir.path().join("moved"), dir.path().join("root")).unwrap();
            let again = store.create("ns/t/0/second", payload("x"), &Identity::of("aa.1")).await;
            assert!(matches!(again, Created::SyncFailed { .. }), "{again:?}");
            let created = store.create("ns/t/0/third", payload("x"), &Identity::of("aa.2")).await;
            assert!(matches!(created, Created::Yes(_)), "{created:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_confirmed_after_a_directory_below_was_moved() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("ns/t/0");
    // Moved after the directory was opened and before the file got its name.
    let hook = hook({
        let place = place.clone();
        move |op| {
            if *op == (DiskOp::Link { key: "ns/t/0/second" }) {
                std::fs::rename(&place, place.with_file_name("1")).unwrap();
            }
            DiskVerdict::Proceed
        }
    });
    let store = open(dir.path(), &StoreOptions::default().disk_hook(hook));
    assert!(matches!(store.create(KEY, payload("x"), &Identity::none()).await, Created::Yes(_)));
    let created = store.create("ns/t/0/second", payload("x"), &Identity::none()).await;
    assert!(matches!(created, Created::SyncFailed { visible: true, .. }), "{created:?}");
    assert!(!place.exists());
}

#[tokio::test]
async fn nothing_is_confirmed_after_a_volume_was_mounted_over_the_directory() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let store = open(&root, &StoreOptions::default());
    assert!(matches!(store.create(KEY, payload("x"), &Identity::of("aa.0")).await, Created::Yes(_)));
    if let Err(error) = mount("tmpfs", &root, "tmpfs", MountFlags::empty(), None) {
        eprintln!("SKIPPED nothing_is_confirmed_after_a_volume_was_mounted_over_the_directory: mount: {error}");
        return;
    }
    let created = store.create("ns/t/0/second", payload("x"), &Identity::of("aa.1")).await;
    unmount(&root, UnmountFlags::DETACH).unwrap();
    let Created::SyncFailed { visible: true, error } = created else { panic!("{created:?}") };
    assert!(error.message().contains("no longer leads"), "{error}");
}

#[tokio::test]
async fn refusals_of_a_disk_have_their_kinds_and_hints() {
    for (errno, kind, hint) in [
        (28, ErrorKind::Unavailable, "make room"),
        (122, ErrorKind::Unavailable, "quota"),
        (30, ErrorKind::PermissionDenied, "read-only"),
        (13, ErrorKind::PermissionDenied, "owner and mode"),
        (24, ErrorKind::Unavailable, "ulimit -n"),
        (27, ErrorKind::Unavailable, "ulimit -f"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let hook = hook(move |op| match op {
            DiskOp::Write { .. } => DiskVerdict::Fail(errno),
            _ => DiskVerdict::Proceed,
        });
        let store = open(dir.path(), &StoreOptions::default().disk_hook(hook));
        match store.create(KEY, payload("x"), &Identity::of("aa.0")).await {
            Created::Refused(error) => {
                assert_eq!(error.kind(), kind, "{error}");
                assert!(error.hint().is_some_and(|told| told.contains(hint)), "{errno}: {error:?}");
                assert!(error.to_string().contains(&format!("(os error {errno})")), "{error}");
            }
            other => panic!("{errno}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_disk_without_an_inode_left_says_so() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let dir = tempfile::tempdir().unwrap();
    if let Err(error) = mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), c"nr_inodes=20") {
        eprintln!("SKIPPED a_disk_without_an_inode_left_says_so: mount: {error}");
        return;
    }
    let store = open(dir.path(), &StoreOptions::default());
    let first = store.create(KEY, payload("x"), &Identity::of("aa.0")).await;
    let full = (0..20).find_map(|n| std::fs::File::create(dir.path().join(n.to_string())).err());
    let second = store.create("ns/t/0/second", payload("x"), &Identity::of("aa.1")).await;
    drop(store);
    unmount(dir.path(), UnmountFlags::DETACH).unwrap();
    assert!(matches!(first, Created::Yes(_)) && full.is_some(), "{first:?}");
    let Created::Refused(error) = second else { panic!("{second:?}") };
    assert!(error.message().contains("no inode is left") && error.hint().is_some(), "{error:?}");
}

#[tokio::test]
async fn a_file_system_without_hard_links_is_unsupported() {
    // EPERM as FAT and exFAT say, EOPNOTSUPP, ENOSYS, EMLINK.
    for errno in [1, 95, 38, 31] {
        for options in both() {
            let dir = tempfile::tempdir().unwrap();
            let hook = hook(move |op| match op {
                DiskOp::Link { .. } => DiskVerdict::Fail(errno),
                _ => DiskVerdict::Proceed,
            });
            let store = open(dir.path(), &options.disk_hook(hook));
            match store.create(KEY, payload("x"), &Identity::of("aa.0")).await {
                Created::Refused(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                    assert!(error.hint().is_some_and(|hint| hint.contains("hard links")), "{error:?}");
                }
                other => panic!("{errno}: {other:?}"),
            }
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the test's own runtime and task are no part of the library")]
fn tries_behind_one_that_hangs_in_the_disk_take_no_further_thread() {
    use std::sync::mpsc;
    let dir = tempfile::tempdir().unwrap();
    let (release, released) = mpsc::channel::<()>();
    let (entered, released) = (Arc::new(AtomicUsize::new(0)), Mutex::new(released));
    let count = entered.clone();
    let hook = hook(move |op| {
        if matches!(op, DiskOp::SyncFile { key } if *key == KEY) && count.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = released.lock().unwrap().recv();
        }
        DiskVerdict::Proceed
    });
    let store = open(dir.path(), &StoreOptions::default().disk_hook(hook));
    // One thread hangs, and one is left. It takes work in the order in which that was given.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(2).build().unwrap();
    // The sender is moved in, so that the thread is released when an assertion fails.
    runtime.block_on(async move {
        let hung = {
            let store = store.clone();
            tokio::spawn(async move { store.create(KEY, payload("x"), &Identity::of("aa.0")).await })
        };
        while entered.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // Its waiter gives up, as after 30 s. The work still runs.
        hung.abort();
        let _ = hung.await;
        for _ in 0..8 {
            let identity = Identity::of("aa.0");
            let again = store.create(KEY, payload("x"), &identity);
            assert!(futures_util::FutureExt::now_or_never(again).is_none());
        }
        assert!(matches!(store.create("ns/t/0/other", payload("y"), &Identity::of("aa.1")).await, Created::Yes(_)));
        assert_eq!(entered.load(Ordering::SeqCst), 1, "tries that wait have no thread");
        release.send(()).unwrap();
        assert!(matches!(store.create(KEY, payload("x"), &Identity::of("aa.0")).await, Created::Yes(_)));
    });
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the test's own tasks are no part of the library")]
async fn reads_and_listings_that_hang_in_the_disk_take_no_more_threads_than_requests_may_be_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let large = vec![7; 100 << 10];
    let unmapped = StoreOptions::default().map(false).max_in_flight(2);
    let store = open(dir.path(), &unmapped);
    store.put(KEY, PutPayload::from(large.clone())).await.unwrap();
    for lists in [false, true] {
        let hangs = Arc::new((Mutex::new(true), std::sync::Condvar::new()));
        let (entered, gate) = (Arc::new(AtomicUsize::new(0)), hangs.clone());
        let count = entered.clone();
        let hook = hook(move |op| {
            if matches!(op, DiskOp::Read { .. } | DiskOp::List { .. }) {
                count.fetch_add(1, Ordering::SeqCst);
                drop(gate.1.wait_while(gate.0.lock().unwrap(), |hangs| *hangs).unwrap());
            }
            DiskVerdict::Proceed
        });
        let store = open(dir.path(), &unmapped.clone().disk_hook(hook));
        let ask = |store: Store| async move {
            match lists {
                true => store.list_page("ns/", None, 5).await.map(|page| page.objects.len()),
                false => store.get(KEY, ReadRange::Whole, None).await.map(|fetched| fetched.bytes.len()),
            }
        };
        // Each is given up, as after a time limit. What hangs goes on hanging.
        for number in 0..2 {
            let hung = tokio::spawn(ask(store.clone()));
            while entered.load(Ordering::SeqCst) <= number {
                tokio::task::yield_now().await;
            }
            hung.abort();
            let _ = hung.await;
        }
        for _ in 0..8 {
            assert!(futures_util::FutureExt::now_or_never(ask(store.clone())).is_none());
        }
        // Writes do not wait for them, and reads go on when the disk does.
        store.put("ns/t/0/other", payload("y")).await.unwrap();
        let threads = entered.load(Ordering::SeqCst);
        *hangs.0.lock().unwrap() = false;
        hangs.1.notify_all();
        assert_eq!(threads, 2);
        assert_eq!(ask(store.clone()).await.unwrap(), if lists { 2 } else { large.len() });
    }
}
