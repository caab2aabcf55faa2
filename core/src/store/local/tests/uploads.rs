//! Large files: uploads in parts, and copies. The old file or the new one has the name, whole and durable.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMultipartOptions};
use rustix::io::Errno;

use super::{DiskOp, DiskVerdict, LocalStore, hook, open, payload, tree};
use crate::store::{PART_BYTES, ReadRange, StoreOptions};
use crate::{Error, ErrorKind};

fn large() -> Vec<Bytes> {
    (0..=2).map(|n| Bytes::from(vec![n; PART_BYTES])).collect()
}

/// A store whose calls are written down, each once in a row.
fn recorded(dir: &std::path::Path) -> (crate::store::Store, Arc<Mutex<Vec<&'static str>>>) {
    let calls: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let written = calls.clone();
    let recording = hook(move |op| {
        let call = match op {
            DiskOp::Stage { .. } => "stage",
            DiskOp::Write { .. } | DiskOp::WriteAt { .. } => "write",
            DiskOp::SyncFile { .. } => "sync file",
            DiskOp::SyncDir { path: "t" } => "sync dir",
            DiskOp::Rename { .. } => "rename",
            DiskOp::Unlink { .. } => "unlink",
            _ => return DiskVerdict::Proceed,
        };
        let mut calls = written.lock().unwrap();
        if calls.last() != Some(&call) {
            calls.push(call);
        }
        DiskVerdict::Proceed
    });
    (open(dir, &StoreOptions::default().disk_hook(recording)), calls)
}

#[tokio::test]
async fn a_streamed_file_and_a_copy_are_flushed_before_they_get_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let (store, calls) = recorded(dir.path());
    store.put("t/a", payload("old")).await.unwrap();
    let expected = ["stage", "write", "sync file", "rename", "sync dir"];
    calls.lock().unwrap().clear();
    store.put_stream("t/a", stream::iter(large().into_iter().map(Ok))).await.unwrap();
    assert_eq!(*calls.lock().unwrap(), expected);
    calls.lock().unwrap().clear();
    store.copy("t/a", "t/b").await.unwrap();
    assert_eq!(*calls.lock().unwrap(), expected);
    for key in ["t/a", "t/b"] {
        assert_eq!(store.get(key, ReadRange::Whole, None).await.unwrap().bytes, large().concat());
    }
    assert_eq!(tree(dir.path()), ["t/a", "t/b"]);
}

#[tokio::test]
async fn a_streamed_file_that_fails_leaves_the_old_one_and_no_staging_file() {
    for fails in ["write", "sync file", "rename"] {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &StoreOptions::default()).put("t/a", payload("old")).await.unwrap();
        let failing = hook(move |op| match op {
            DiskOp::WriteAt { at: 1.., .. } if fails == "write" => DiskVerdict::Fail(Errno::NOSPC.raw_os_error()),
            DiskOp::SyncFile { .. } if fails == "sync file" => DiskVerdict::Fail(Errno::IO.raw_os_error()),
            DiskOp::Rename { .. } if fails == "rename" => DiskVerdict::Fail(Errno::NOSPC.raw_os_error()),
            _ => DiskVerdict::Proceed,
        });
        let store = open(dir.path(), &StoreOptions::default().disk_hook(failing));
        let error = store.put_stream("t/a", stream::iter(large().into_iter().map(Ok))).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Unavailable, Some("t/a")), "{fails}: {error}");
        assert_eq!(crate::store::SyncFailure::of(&error).is_some(), fails == "sync file", "{error}");
        assert_eq!(store.get("t/a", ReadRange::Whole, None).await.unwrap().bytes, "old", "{fails}");
        // A part that is still being written keeps the staging file until then.
        while tree(dir.path()) != ["t/a"] {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_leaves_no_staging_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    let broken = large().into_iter().map(Ok).chain([Err(Error::new(ErrorKind::Corrupt, "it broke off"))]);
    let error = store.put_stream("t/a", stream::iter(broken)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    while !tree(dir.path()).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_upload_is_completed_only_if_all_parts_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path(), &StoreOptions::default()).unwrap();
    let path = Path::from("t/a");
    let begin = async || store.put_multipart_opts(&path, PutMultipartOptions::default()).await.unwrap();
    let mut upload = begin().await;
    let (first, second) = (upload.put_part(payload("one, ")), upload.put_part(payload("two")));
    second.await.unwrap();
    first.await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one, two");
    // A part that was never sent would be a hole, which is read as zeros.
    let mut upload = begin().await;
    drop(upload.put_part(payload("one, ")));
    upload.put_part(payload("two")).await.unwrap();
    let error = upload.complete().await.unwrap_err().to_string();
    assert!(error.contains("3 bytes were written, expected 8"), "{error}");
    assert!(upload.put_part(payload("x")).await.is_err() && upload.complete().await.is_err());
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one, two");
    begin().await.abort().await.unwrap();
    assert_eq!(tree(dir.path()), ["t/a"]);
}
