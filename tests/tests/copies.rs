//! Copies between all kinds of stores.

use bytes::Bytes;
use kfs_core::format::{BackupName, BatchBuilder, BatchOptions, NewRecord, SegmentBuilder};
use kfs_core::store::ReadRange;
use kfs_core::{BackupOptions, BackupRetention, Bucket, BucketOptions, CopyOptions, Partition, VerifyOptions};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_store_holds_a_backup_gives_it_back_and_lets_logs_and_backups_go() {
    for store in each_bucket() {
        let name = store.name;
        let bucket = bucket(&store, "backups");
        let source = bucket.partition("t", 0).expect("a name");
        fill(&source, &bucket).await;
        let before = objects(&bucket, &source).await;
        for called in ["one", "two"] {
            let called = BackupName::new(called).expect("a name");
            let options = BackupOptions::default();
            let plan = bucket.plan_backup(&called, std::slice::from_ref(&source), &options).await.expect("a plan");
            bucket.back_up(&plan).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
        let backups = bucket.backups().await.expect("backups");
        assert_eq!(backups.iter().map(|backup| backup.name().as_str()).collect::<Vec<_>>(), ["one", "two"], "{name}");
        let faults = backups[1].verify(true).await.expect("a look");
        assert!(faults.is_empty(), "{name}: {faults:?}");

        // The log is deleted, in the three calls that wait for nobody's time but the store's own.
        let plan = source.plan_delete(false).await.expect("a plan");
        let begun = source.delete(&plan).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert!(begun.wait.is_some(), "{name}: {begun}");
        let plan = source.plan_delete(true).await.expect("a plan");
        let done = source.delete(&plan).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!((done.wait, done.foreign), (None, 0), "{name}: {done}");
        let left = bucket.store().list_page(&source.id().prefix(), None, 10).await.expect("a listing");
        assert!(left.objects.is_empty(), "{name}: {:?}", left.objects);

        let target = bucket.partition("restored", 0).expect("a name");
        let copy = backups[1].partition(source.id()).expect("a copy");
        let plan = copy.plan_copy(&target, &CopyOptions::default()).await.expect("a plan");
        copy.copy(&target, &plan).await.expect("a restored log");
        assert_eq!(objects(&bucket, &target).await, before, "{name}");

        let plan = bucket.plan_expire_backups(&BackupRetention::default().keep(1)).await.expect("a plan");
        assert_eq!(plan.expired.len(), 1, "{name}");
        bucket.expire_backups(&plan).await.expect("one that goes");
        assert_eq!(bucket.backups().await.expect("backups").len(), 1, "{name}");
    }
}
