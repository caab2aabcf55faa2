//! A copy of the store that lags may answer what is data, and is never asked what the log is.

use std::sync::Arc;

use futures_util::TryStreamExt;
use kfs_core::format::NewRecord;
use kfs_core::object_store::memory::InMemory;
use kfs_core::object_store::{ObjectStore, ObjectStoreExt};
use kfs_core::store::Store;
use kfs_core::{Bucket, BucketOptions, ErrorKind, OnConflict, Writer, WriterOptions};
use kfs_tests::{FaultStore, Op};

/// A process over the store, and a copy that lags.
fn bucket(primary: &Arc<InMemory>, replica: &Arc<FaultStore>) -> Bucket {
    let store = Store::from_object_store_sent_once(primary.clone()).with_replica(replica.clone());
    Bucket::from_store(store, BucketOptions::default()).expect("bucket")
}

async fn append(writer: &Writer, value: &str) -> i64 {
    let record = NewRecord::new(1).value(value.as_bytes());
    writer.append(&[record]).await.expect("admitted").durable().await.expect("durable").base
}

async fn values(bucket: &Bucket, from: i64) -> Vec<String> {
    let reader = bucket.partition("t", 0).expect("name").reader();
    let (mut found, mut offset) = (Vec::new(), from);
    loop {
        let fetched = reader.fetch(offset, 1 << 20).await.expect("fetched");
        if fetched.next_offset == offset {
            return found;
        }
        for record in fetched.records() {
            let record = record.expect("record");
            found.push(String::from_utf8(record.value().expect("a value").to_vec()).expect("text"));
        }
        offset = fetched.next_offset;
    }
}

/// All that the store holds now.
async fn copy(primary: &InMemory) -> InMemory {
    let copy = InMemory::new();
    let all: Vec<_> = primary.list(None).try_collect().await.expect("listed");
    for object in all {
        let bytes = primary.get(&object.location).await.expect("there").bytes().await.expect("bytes");
        copy.put(&object.location, bytes.into()).await.expect("copied");
    }
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_writers_stay_right_beside_a_copy_that_lags_and_no_read_of_truth_asks_it() {
    let primary = Arc::new(InMemory::new());
    let nothing = FaultStore::new(Arc::new(InMemory::new()));
    let first = bucket(&primary, &nothing);
    let options = WriterOptions::default().on_conflict(OnConflict::Fence);
    let writer = first.partition("t", 0).expect("name").writer_with(options).await.expect("writer");
    let mut expected = Vec::new();
    for n in 0..4 {
        append(&writer, &format!("v{n}")).await;
        expected.push(format!("v{n}"));
    }
    // The copy has the beginning of the log, and versions of its own.
    let replica = FaultStore::new(Arc::new(copy(&primary).await));
    for n in 4..8 {
        append(&writer, &format!("v{n}")).await;
        expected.push(format!("v{n}"));
    }

    let second = bucket(&primary, &replica);
    assert_eq!(values(&second, 0).await, expected);
    let follower = second.partition("t", 0).expect("name");
    let watermarks = follower.refresh().await.expect("refreshed");
    assert_eq!(watermarks.high_watermark, 8);

    // A claim and an append after it find the tail, the slots and the markers of the store itself.
    let claimant = follower.writer().await.expect("writer");
    assert_eq!(claimant.claim().await.expect("claimed").base, 8);
    assert_eq!(append(&claimant, "after").await, 9);
    let lost = writer.append(&[NewRecord::new(1)]).await.expect("admitted").durable().await;
    assert_eq!(lost.expect_err("fenced").kind(), ErrorKind::Fenced);
    assert_eq!(values(&second, 9).await, ["after"]);

    // What the store alone knows: where the log starts.
    let mark = format!("log-start-{:020}", 2);
    primary.put(&format!("default/t/0/{mark}").as_str().into(), "".into()).await.expect("marked");
    let third = bucket(&primary, &replica);
    let reader = third.partition("t", 0).expect("name").reader();
    assert_eq!(reader.fetch(1, 1 << 20).await.expect_err("below the start").kind(), ErrorKind::OutOfRange);
    assert_eq!(values(&third, 8).await, ["after"]);

    let asked = replica.log();
    assert!(asked.iter().any(|one| one.request.key.ends_with(".kfs")), "segments are asked of the copy");
    for one in &asked {
        let (op, key) = (one.request.op, &one.request.key);
        assert!(op == Op::Get && (key.ends_with(".kfs") || key.ends_with(".index")), "{one:?}");
    }
}
