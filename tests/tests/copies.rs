//! Copies between all kinds of stores.

use bytes::Bytes;
use kfs_core::format::{BatchBuilder, BatchOptions, NewRecord, SegmentBuilder};
use kfs_core::store::ReadRange;
use kfs_core::{Bucket, BucketOptions, CopyOptions, Partition, VerifyOptions};
use kfs_tests::{TestBucket, each_bucket};

const SEGMENTS: i64 = 20;

fn bucket(of: &TestBucket, prefix: &str) -> Bucket {
    Bucket::from_store(of.store(prefix), BucketOptions::default()).expect("a bucket")
}

/// A log of some segments, of a batch or more each, with indexes and time indexes.
async fn fill(partition: &Partition, bucket: &Bucket) {
    let (store, id) = (bucket.store(), partition.id());
    let mut base = 0;
    for number in 0..SEGMENTS {
        let mut segment = SegmentBuilder::new(base, number, 3).expect("a base").with_time_index(Default::default());
        for _ in 0..=number % 4 {
            let mut batch = BatchBuilder::new(BatchOptions::default());
            for n in 0..=number {
                batch.push(&NewRecord::new(1_000 * number + n).value(&[number as u8; 700])).expect("a record");
            }
            segment.push(&batch.finish(0).expect("a batch"), None).expect("room");
        }
        let built = segment.finish().expect("a segment");
        base = built.last_offset + 1;
        let times = built.time_index.expect("records").encode();
        store.put(&id.time_index_key(built.base_offset), times.into()).await.expect("a time index");
        store.put(&id.index_key(built.base_offset), built.index.into()).await.expect("an index");
        let payload = built.chunks.into_iter().collect();
        store.put(&id.segment_key(built.base_offset), payload).await.expect("a segment");
    }
}

/// Names and bytes of all segments, indexes and time indexes.
async fn objects(bucket: &Bucket, partition: &Partition) -> Vec<(String, Bytes)> {
    let prefix = partition.id().prefix();
    let listed = bucket.store().list_page(&prefix, None, 1_000).await.expect("a listing");
    let mut objects = Vec::new();
    for object in listed.objects {
        let name = object.key.strip_prefix(&prefix).expect("its prefix").to_owned();
        if name.starts_with("segment-") {
            let found = bucket.store().get(&object.key, ReadRange::Whole, None).await.expect("an object");
            objects.push((name, found.bytes));
        }
    }
    objects
}

async fn batches(partition: &Partition) -> Vec<Bytes> {
    let end = partition.refresh().await.expect("a log").high_watermark;
    let (reader, mut offset, mut batches) = (partition.reader(), 0, Vec::new());
    while offset < end {
        let fetched = reader.fetch(offset, 1 << 20).await.expect("batches");
        batches.extend(fetched.batches().map(|batch| batch.expect("a whole one").bytes().clone()));
        offset = fetched.next_offset;
    }
    batches
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_goes_through_every_store_comes_back_byte_by_byte() {
    let stores = each_bucket();
    // Round about, so that each store is read and written.
    let mut from = bucket(&stores[0], "copies");
    let origin = from.partition("t", 0).expect("a name");
    fill(&origin, &from).await;
    let first = objects(&from, &origin).await;
    assert_eq!(first.len() as i64, 3 * SEGMENTS);
    let mut source = origin.clone();
    for (hop, store) in stores.iter().skip(1).chain(stores.first()).enumerate() {
        let to = bucket(store, "copies");
        let target = to.partition("t", 1 + hop as i32).expect("a name");
        let plan = source.plan_copy(&target, &CopyOptions::default()).await.expect("a plan");
        let report = source.copy(&target, &plan).await.expect("a copy");
        assert_eq!((report.segments as i64, report.holes), (SEGMENTS, 0), "{}", store.name);
        assert_eq!(objects(&to, &target).await, first, "{}", store.name);
        let findings = target.verify(VerifyOptions::default()).all().await.expect("it is read");
        assert!(findings.is_empty(), "{}: {findings:?}", store.name);
        (from, source) = (to, target);
    }
    assert_eq!(batches(&source).await, batches(&origin).await);
    // Other segments hold the same batches.
    let other = from.partition("other", 0).expect("a name");
    let plan = source.plan_copy(&other, &CopyOptions::default().segment_size(100_000)).await.expect("a plan");
    let report = source.copy(&other, &plan).await.expect("a copy");
    assert!((2..SEGMENTS as u64).contains(&report.segments), "{report}");
    assert_eq!(batches(&other).await, batches(&origin).await);
    let findings = other.verify(VerifyOptions::default()).all().await.expect("it is read");
    assert!(findings.is_empty(), "{findings:?}");
}
