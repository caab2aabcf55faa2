//! Conditional replaces: between processes, under the lock, and with faults at each step.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;
use crate::ErrorKind;
use crate::store::{Created, Identity, ReadRange, Replaced, Version};

const KEY: &str = "ns/t/0/counter";
const DIRECTORY: &str = "KFS_TEST_REPLACE_DIRECTORY";
const DIES_AT: &str = "KFS_TEST_REPLACE_DIES_AT";
const ROUNDS: u64 = 200;
const ENOLCK: i32 = 37;
const EIO: i32 = 5;

/// All counts have the same size, so that only inode and time tell two files apart.
fn count(n: u64) -> PutPayload {
    payload(&format!("{n:08}"))
}

async fn read(store: &Store) -> (u64, Version) {
    let fetched = store.get(KEY, ReadRange::Whole, None).await.unwrap();
    (std::str::from_utf8(&fetched.bytes).unwrap().parse().unwrap(), fetched.info.version)
}

async fn replace(store: &Store, payload: PutPayload, version: &Version) -> Replaced {
    store.replace_if(KEY, payload, &Identity::none(), version).await
}

async fn increment(store: &Store) -> u64 {
    loop {
        let (n, version) = read(store).await;
        match replace(store, count(n + 1), &version).await {
            Replaced::Yes(_) => return n + 1,
            Replaced::Changed => {}
            other => panic!("{other:?}"),
        }
    }
}

fn child(test: &str, dir: &std::path::Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = format!("store::local::tests::replace::{test}");
    command.args([&test, "--exact", "--nocapture"]).env(DIRECTORY, dir).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// What a process of the race does; run by itself it does nothing.
#[tokio::test]
async fn child_that_counts() {
    let Ok(dir) = std::env::var(DIRECTORY) else { return };
    let store = open(std::path::Path::new(&dir), &StoreOptions::default());
    for _ in 0..ROUNDS {
        println!("counted {}", increment(&store).await);
    }
}

#[tokio::test]
async fn of_the_increments_of_two_processes_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    store.put(KEY, count(0)).await.unwrap();
    let children: Vec<_> = (0..2).map(|_| child("child_that_counts", dir.path()).spawn().unwrap()).collect();
    let mut counted = Vec::new();
    for mut child in children {
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        assert!(child.wait().unwrap().success());
        counted
            .extend(output.split("counted ").skip(1).map(|rest| rest.lines().next().unwrap().parse::<u64>().unwrap()));
    }
    counted.sort_unstable();
    assert_eq!(counted, (1..=2 * ROUNDS).collect::<Vec<_>>());
    assert_eq!(read(&store).await.0, 2 * ROUNDS);
    assert_eq!(tree(dir.path()), [KEY]);
}

/// A process that is killed at a call of its replace; run by itself it does nothing.
#[tokio::test]
async fn child_that_dies() {
    let (Ok(dir), Ok(at)) = (std::env::var(DIRECTORY), std::env::var(DIES_AT)) else { return };
    let (at, seen) = (at.parse::<usize>().unwrap(), AtomicUsize::new(0));
    let hook = hook(move |op| {
        if !matches!(op, DiskOp::Read { .. }) && seen.fetch_add(1, Ordering::SeqCst) == at {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        DiskVerdict::Proceed
    });
    let store = open(std::path::Path::new(&dir), &StoreOptions::default().disk_hook(hook));
    println!("counted {}", increment(&store).await);
}

#[tokio::test]
async fn a_process_killed_at_any_step_of_a_replace_leaves_the_old_file_or_the_new_one_and_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), &StoreOptions::default()).put(KEY, count(0)).await.unwrap();
    let (mut expected, mut survived) = (0, false);
    for step in 0..40 {
        let mut child = child("child_that_dies", dir.path()).env(DIES_AT, step.to_string()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut acked) = (String::new(), false);
        while output.read_line(&mut line).unwrap() > 0 {
            acked |= line.contains("counted ");
            line.clear();
        }
        let status = child.wait().unwrap();
        // Another store, as another process has it: its first write sweeps what the crash left.
        let store = open(dir.path(), &StoreOptions::default());
        let (n, _) = read(&store).await;
        assert!(n == expected || n == expected + 1, "step {step}: {n} after {expected}");
        assert!(!acked || n == expected + 1, "step {step}: an acked replace is kept");
        expected = increment(&store).await;
        assert_eq!((expected, tree(dir.path())), (n + 1, vec![KEY.to_string()]), "step {step}");
        if status.success() {
            survived = true;
            break;
        }
        assert_eq!(status.signal(), Some(9), "step {step}");
    }
    assert!(survived, "the steps have an end");
}

#[tokio::test]
async fn a_replacing_file_is_always_newer_so_that_no_version_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    store.put(KEY, count(0)).await.unwrap();
    // A clock that went back: the file is from the future.
    let file = std::fs::File::open(dir.path().join(KEY)).unwrap();
    let future = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    file.set_modified(future).unwrap();
    let modified = |version: &Version| {
        let parts: Vec<_> = version.e_tag().unwrap().split('-').collect();
        i128::from_str_radix(parts[1], 16).unwrap()
    };
    let (_, mut version) = read(&store).await;
    for n in 0..20 {
        let new = match n % 3 {
            0 => store.put(KEY, count(n)).await.unwrap(),
            _ => match replace(&store, count(n), &version).await {
                Replaced::Yes(new) => new,
                other => panic!("{other:?}"),
            },
        };
        assert!(modified(&new) > modified(&version), "{new:?} after {version:?}");
        assert!(new.same_as(&read(&store).await.1));
        assert!(matches!(replace(&store, count(n), &version).await, Replaced::Changed));
        version = new;
    }
}

#[tokio::test]
async fn a_reader_of_the_old_file_reads_the_old_bytes_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    store.put(KEY, payload(&"a".repeat(300_000))).await.unwrap();
    let old = store.get(KEY, ReadRange::Whole, None).await.unwrap();
    assert!(store.maps(300_000));
    let open = std::fs::File::open(dir.path().join(KEY)).unwrap();
    let new = replace(&store, payload(&"b".repeat(300_000)), &old.info.version).await;
    assert!(matches!(new, Replaced::Yes(_)), "{new:?}");
    assert!(old.bytes.iter().all(|byte| *byte == b'a'));
    let mut through = String::new();
    (&open).read_to_string(&mut through).unwrap();
    assert_eq!(through, "a".repeat(300_000));
    assert_eq!(store.get(KEY, ReadRange::Whole, None).await.unwrap().bytes, "b".repeat(300_000));
}

#[tokio::test]
async fn no_symbolic_link_is_followed_or_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    store.put(KEY, count(1)).await.unwrap();
    let (_, version) = read(&store).await;
    std::fs::rename(dir.path().join(KEY), dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), dir.path().join(KEY)).unwrap();
    match replace(&store, count(2), &version).await {
        Replaced::Refused(error) => assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(KEY))),
        other => panic!("{other:?}"),
    }
    assert!(dir.path().join(KEY).is_symlink());
    assert_eq!(std::fs::read_to_string(dir.path().join("elsewhere")).unwrap(), "00000001");
}

#[tokio::test]
async fn a_condition_that_does_not_hold_writes_nothing_and_makes_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let hook = hook({
        let calls = calls.clone();
        move |op| {
            if !matches!(op, DiskOp::Read { .. }) {
                calls.lock().unwrap().push(format!("{op:?}"));
            }
            DiskVerdict::Proceed
        }
    });
    let store = open(dir.path(), &StoreOptions::default().disk_hook(hook));
    let other = Version::new(Some("0-0-0"), 8, None);
    assert!(matches!(replace(&store, count(1), &other).await, Replaced::NotFound));
    assert_eq!((calls.lock().unwrap().len(), dir.path().join("ns").exists()), (0, false));
    store.put(KEY, count(1)).await.unwrap();
    calls.lock().unwrap().clear();
    assert!(matches!(replace(&store, count(2), &other).await, Replaced::Changed));
    assert_eq!(calls.lock().unwrap().len(), 0);
}

/// Runs `other` in another store while a replace is between its comparison and its rename.
async fn amid_a_replace(other: impl AsyncFnOnce(&Store) + Send + 'static) -> (Replaced, Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (comes, came) = mpsc::channel();
    let comes = Mutex::new(comes);
    // Where there is a lock, the other comes to it. Where there were none, it would come to the file itself.
    let outsider = hook(move |op| {
        if matches!(op, DiskOp::Lock { .. } | DiskOp::Rename { .. } | DiskOp::Unlink { .. }) {
            let _ = comes.lock().unwrap().send(());
        }
        DiskVerdict::Proceed
    });
    let outsider = open(dir.path(), &StoreOptions::default().disk_hook(outsider));
    let (start, started) = mpsc::channel::<()>();
    let (start, came) = (Mutex::new(Some(start)), Mutex::new(came));
    let replacing = hook(move |op| {
        if matches!(op, DiskOp::Rename { .. })
            && let Some(start) = start.lock().unwrap().take()
        {
            drop(start);
            came.lock().unwrap().recv().unwrap();
        }
        DiskVerdict::Proceed
    });
    open(dir.path(), &StoreOptions::default()).put(KEY, count(1)).await.unwrap();
    let store = open(dir.path(), &StoreOptions::default().disk_hook(replacing));
    let thread = std::thread::Builder::new().spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _ = started.recv();
        runtime.block_on(other(&outsider));
    });
    let (_, version) = read(&store).await;
    let replaced = replace(&store, count(2), &version).await;
    thread.unwrap().join().unwrap();
    (replaced, store, dir)
}

#[tokio::test]
async fn an_overwrite_amid_a_replace_comes_after_it() {
    let (replaced, store, _dir) =
        amid_a_replace(async |other: &Store| drop(other.put(KEY, count(9)).await.unwrap())).await;
    assert!(matches!(replaced, Replaced::Yes(_)), "{replaced:?}");
    assert_eq!(read(&store).await.0, 9, "the overwrite is not lost");
}

#[tokio::test]
async fn a_removal_amid_a_replace_comes_after_it() {
    let (replaced, store, _dir) = amid_a_replace(async |other: &Store| other.delete(KEY).await.unwrap()).await;
    assert!(matches!(replaced, Replaced::Yes(_)), "{replaced:?}");
    let error = store.get(KEY, ReadRange::Whole, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "what was removed does not come back");
}

#[tokio::test]
async fn where_there_are_no_locks_a_replace_is_unsupported_and_all_else_works() {
    let dir = tempfile::tempdir().unwrap();
    let hook = hook(|op| match op {
        DiskOp::Lock { .. } => DiskVerdict::Fail(ENOLCK),
        _ => DiskVerdict::Proceed,
    });
    let store = open(dir.path(), &StoreOptions::default().disk_hook(hook));
    store.put(KEY, count(1)).await.unwrap();
    store.put(KEY, count(2)).await.unwrap();
    let (_, version) = read(&store).await;
    match replace(&store, count(3), &version).await {
        Replaced::Refused(error) => {
            assert_eq!((error.kind(), error.key()), (ErrorKind::Unsupported, Some(KEY)));
            assert!(error.message().contains("flock"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((read(&store).await.0, tree(dir.path())), (2, vec![KEY.to_string()]));
    store.delete(KEY).await.unwrap();
}

#[tokio::test]
async fn a_failed_fsync_and_a_lost_answer_of_a_replace_are_told() {
    for (step, verdict, there) in [
        ("SyncFile", DiskVerdict::Fail(EIO), 1),
        ("SyncDir", DiskVerdict::Fail(EIO), 2),
        ("Rename", DiskVerdict::Fail(EIO), 1),
        ("Rename", DiskVerdict::FailAfter(EIO), 2),
        ("Lock", DiskVerdict::Fail(EIO), 1),
        ("Write", DiskVerdict::Fail(EIO), 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let hook = hook({
            let armed = armed.clone();
            move |op| {
                let met = armed.load(Ordering::SeqCst) && format!("{op:?}").starts_with(&format!("{step} "));
                if met { verdict } else { DiskVerdict::Proceed }
            }
        });
        let store = open(dir.path(), &StoreOptions::default().disk_hook(hook));
        store.put(KEY, count(1)).await.unwrap();
        let (_, version) = read(&store).await;
        armed.store(true, Ordering::SeqCst);
        let replaced = replace(&store, count(2), &version).await;
        let shown = format!("{step} {verdict:?} {replaced:?}");
        match (step, replaced) {
            ("SyncFile", Replaced::SyncFailed { visible: false, .. }) => {}
            ("SyncDir", Replaced::SyncFailed { visible: true, .. }) => {}
            // The caller reads the object and learns which it is.
            ("Rename", Replaced::Unknown(_)) => {}
            ("Lock" | "Write", Replaced::Refused(_)) => {}
            _ => panic!("{shown}"),
        }
        armed.store(false, Ordering::SeqCst);
        assert_eq!(read(&store).await.0, there, "{shown}");
        assert_eq!(tree(dir.path()), [KEY], "{shown}");
    }
}

#[tokio::test]
async fn a_replace_keeps_who_made_the_file_for_this_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    let Created::Yes(version) = store.create(KEY, count(1), &Identity::of("aa.1")).await else { panic!() };
    let replaced = store.replace_if(KEY, count(2), &Identity::of("aa.2"), &version).await;
    assert!(matches!(replaced, Replaced::Yes(_)), "{replaced:?}");
    assert_eq!(store.head(KEY).await.unwrap().identity.kfsid.as_deref(), Some("aa.2"));
    let Replaced::Changed = store.replace_if(KEY, count(3), &Identity::of("aa.3"), &version).await else { panic!() };
    assert_eq!(store.head(KEY).await.unwrap().identity.kfsid.as_deref(), Some("aa.2"));
}
