//! A directory whose fsyncs fail: nothing since the last good one may be acked, whatever a later
//! look or fsync says.

use std::sync::Mutex;

use super::*;
use crate::store::{DiskHook, DiskOp, DiskVerdict, StoreOptions};

const EIO: i32 = 5;

/// Fails the fsyncs that the test arms it for, once each.
#[derive(Debug, Default)]
struct Flaky(Mutex<Option<&'static str>>);

impl Flaky {
    fn arm(&self, what: &'static str) {
        *self.0.lock().unwrap() = Some(what);
    }
}

impl DiskHook for Flaky {
    fn before(&self, op: &DiskOp<'_>) -> DiskVerdict {
        let mut armed = self.0.lock().unwrap();
        let hit = match (op, *armed) {
            (DiskOp::SyncFile { key }, Some(what)) => key.ends_with(what),
            (DiskOp::SyncDir { path }, Some("directory")) => path.ends_with("orders/0"),
            _ => false,
        };
        if hit {
            *armed = None;
            return DiskVerdict::FailAfter(EIO);
        }
        DiskVerdict::Proceed
    }
}

struct Directory {
    hook: Arc<Flaky>,
    bucket: Bucket,
    path: tempfile::TempDir,
}

impl Directory {
    fn new() -> Self {
        let path = tempfile::tempdir().unwrap();
        let hook = Arc::new(Flaky::default());
        let store = StoreOptions::default().disk_hook(hook.clone());
        let url = format!("file://{}", path.path().display());
        let bucket = Bucket::open_with(&url, BucketOptions::default().store(store)).unwrap();
        Directory { hook, bucket, path }
    }

    async fn writer(&self) -> Writer {
        self.bucket.partition("orders", 0).unwrap().writer_with(options()).await.unwrap()
    }

    fn file(&self, key: &str) -> std::path::PathBuf {
        self.path.path().join(key)
    }
}

#[tokio::test]
async fn invariant_1_a_failed_fsync_of_the_segment_poisons_and_stores_nothing() {
    let directory = Directory::new();
    let writer = directory.writer().await;
    append(&writer, "a").await.unwrap();
    directory.hook.arm(".kfs");
    assert_failed(append(&writer, "b").await, ErrorKind::Unavailable, Stored::Not);
    assert!(!directory.file(&segment_key(1)).exists());
    assert_failed(append(&writer, "c").await, ErrorKind::Unavailable, Stored::Not);
}

#[tokio::test]
async fn invariant_1_a_failed_fsync_of_the_directory_poisons_and_is_perhaps_stored() {
    let directory = Directory::new();
    let writer = directory.writer().await;
    append(&writer, "a").await.unwrap();
    directory.hook.arm("directory");
    let error = append(&writer, "b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(writer.failure().is_some());
    drop(writer);
    directory.writer().await;
}

#[tokio::test]
async fn a_failed_fsync_of_the_index_poisons_though_the_segment_is_in() {
    let directory = Directory::new();
    let writer = directory.writer().await;
    append(&writer, "a").await.unwrap();
    directory.hook.arm(".index");
    let error = append(&writer, "b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_failed(append(&writer, "c").await, ErrorKind::Unavailable, Stored::Not);
}

#[tokio::test]
async fn invariant_1_a_failed_fsync_while_a_leftover_index_is_written_over_poisons() {
    let directory = Directory::new();
    let writer = directory.writer().await;
    append(&writer, "a").await.unwrap();
    std::fs::write(directory.file(&index_key(1)), "a leftover").unwrap();
    directory.hook.arm(".index");
    assert_failed(append(&writer, "b").await, ErrorKind::Unavailable, Stored::Perhaps);
    assert!(writer.failure().is_some(), "a second fsync that succeeds proves nothing");
}

#[tokio::test]
async fn a_failed_fsync_of_the_time_index_poisons_the_writer() {
    let directory = Directory::new();
    let partition = directory.bucket.partition("orders", 0).unwrap();
    let writer = partition.writer_with(options().time_index(true)).await.unwrap();
    append(&writer, "a").await.unwrap();
    directory.hook.arm(".kfst");
    let failed = append(&writer, "b").await.unwrap_err();
    assert_eq!(failed.stored(), Some(Stored::Perhaps), "{failed:?}");
    assert!(append(&writer, "c").await.is_err());
    assert!(writer.failure().is_some());
}

#[tokio::test]
async fn a_writer_whose_directory_is_moved_away_acks_nothing_into_the_one_that_is_made_in_its_place() {
    for (moved, is_made_again) in [("default/orders/0", true), ("default/orders", true), ("default", false)] {
        let directory = Directory::new();
        let writer = directory.writer().await;
        for value in ["a", "b"] {
            append(&writer, value).await.unwrap();
        }
        std::fs::rename(directory.file(moved), directory.file("moved")).unwrap();
        if is_made_again {
            let url = format!("file://{}", directory.path.path().display());
            let other = Bucket::open(&url).unwrap().partition("orders", 0).unwrap();
            append(&other.writer_with(options()).await.unwrap(), "of another log").await.unwrap();
        }
        assert_failed(append(&writer, "c").await, ErrorKind::Fenced, Stored::Not);
        assert!(!directory.file(&segment_key(2)).exists(), "nothing is left in {moved}");
    }
}
