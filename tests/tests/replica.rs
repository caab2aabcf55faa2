//! A copy of the store that lags may answer what is data, and is never asked what the log is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use kfs_core::format::NewRecord;
use kfs_core::object_store::memory::InMemory;
use kfs_core::object_store::{ObjectStore, ObjectStoreExt};
use kfs_core::recorder::{BucketEvent, Recorder, ReplicaOutcome};
use kfs_core::runtime::Runtime;
use kfs_core::store::preflight::{PreflightCheck, PreflightOptions, PreflightVerdict};
use kfs_core::store::{Store, StoreConfig, StoreOptions};
use kfs_core::{Bucket, BucketOptions, ErrorKind, OnConflict, OnCorrupt, ReaderOptions, Writer, WriterOptions};
use kfs_tests::s3::BUCKET;
use kfs_tests::{Action, FaultStore, KeyMatcher, Op, S3Server};

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
async fn copy(primary: &dyn ObjectStore) -> InMemory {
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

/// Broken bytes of a replica are no reason to say that the log is broken: the store itself is asked.
#[tokio::test]
async fn a_replica_whose_bytes_are_broken_is_asked_no_more_and_the_store_gives_what_is_right() {
    for broken_at in [40, 100] {
        let primary = Arc::new(InMemory::new());
        let first = bucket(&primary, &FaultStore::new(Arc::new(InMemory::new())));
        let writer = first.partition("t", 0).expect("name").writer().await.expect("writer");
        let mut expected = Vec::new();
        for n in 0..6 {
            expected.push(format!("value {n}"));
            append(&writer, &expected[n]).await;
        }
        // It has the versions of the store, and other bytes.
        let replica = FaultStore::new(primary.clone());
        let change = Action::change(move |bytes| {
            let mut bytes = bytes.to_vec();
            if let Some(byte) = bytes.get_mut(broken_at) {
                *byte ^= 1;
            }
            bytes.into()
        });
        replica.always(Op::Get, KeyMatcher::matching(|key| key.ends_with(".kfs")), change);

        for on_corrupt in [OnCorrupt::Stop, OnCorrupt::Skip] {
            let second = bucket(&primary, &replica);
            let partition = second.partition("t", 0).expect("name");
            let reader = partition.reader_with(ReaderOptions::default().on_corrupt(on_corrupt));
            let mut records = reader.records(0);
            let mut found = Vec::new();
            while let Some(record) = records.next().await.expect("right bytes") {
                found.push(String::from_utf8(record.value().expect("a value").to_vec()).expect("text"));
            }
            assert_eq!(found, expected, "{on_corrupt:?}, byte {broken_at}");
        }
        assert!(replica.count_of(Op::Get, KeyMatcher::matching(|key| key.ends_with(".kfs"))) > 0, "it was asked");
    }
}

/// How many reads of data ended in which way.
#[derive(Debug, Default)]
struct Outcomes(Mutex<BTreeMap<&'static str, u32>>);

impl Recorder for Outcomes {
    fn record(&self, event: &BucketEvent<'_>) {
        if let BucketEvent::ReplicaRead { outcome, .. } = event {
            *self.0.lock().expect("no panic").entry(outcome.name()).or_default() += 1;
        }
    }
}

impl Outcomes {
    fn of(&self, outcome: ReplicaOutcome) -> u32 {
        self.0.lock().expect("no panic").get(outcome.name()).copied().unwrap_or(0)
    }
}

/// A process that reads from the second server what it can.
fn beside(primary: &S3Server, replica: &S3Server) -> (Bucket, Arc<Outcomes>) {
    let url = format!("{}?readEndpoint={}", primary.url("logs"), replica.endpoint());
    let outcomes = Arc::new(Outcomes::default());
    let options = BucketOptions::default().store(primary.store_options()).recorder(outcomes.clone());
    (Bucket::open_with(&url, options).expect("opened"), outcomes)
}

/// Puts a copy of each object that the filter takes into the replica.
async fn replicate(primary: &S3Server, replica: &S3Server, takes: impl Fn(&str) -> bool) {
    let (from, to) = (primary.client(), replica.client());
    let all: Vec<_> = from.list(None).try_collect().await.expect("listed");
    for object in all.into_iter().filter(|object| takes(object.location.as_ref())) {
        let bytes = from.get(&object.location).await.expect("there").bytes().await.expect("bytes");
        to.put(&object.location, bytes.into()).await.expect("copied");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_answers_what_it_has_and_the_first_one_what_it_lacks() {
    let (Some(primary), Some(mut replica)) = (S3Server::start(), S3Server::start()) else { return };
    let (first, _) = beside(&primary, &replica);
    let writer = first.partition("t", 0).expect("name").writer().await.expect("writer");
    let mut expected = Vec::new();
    for n in 0..6 {
        append(&writer, &format!("v{n}")).await;
        expected.push(format!("v{n}"));
    }
    writer.close(None).await.expect("closed");
    // The replica has nothing yet, not even one of the log's objects.
    let (reader, outcomes) = beside(&primary, &replica);
    assert_eq!(values(&reader, 0).await, expected);
    assert!(outcomes.of(ReplicaOutcome::Missing) > 0 && outcomes.of(ReplicaOutcome::Answered) == 0, "{outcomes:?}");

    // It lags: the first half has arrived, of which one object has a second version here.
    replicate(&primary, &replica, |key| (0..3).any(|n| key.contains(&format!("{n:020}")))).await;
    let second = format!("logs/default/t/0/segment-{:020}.kfs", 1);
    replica.client().put(&second.as_str().into(), "other bytes".into()).await.expect("put");
    let (reader, outcomes) = beside(&primary, &replica);
    assert_eq!(values(&reader, 0).await, expected);
    assert!(outcomes.of(ReplicaOutcome::Answered) > 0, "{outcomes:?}");
    assert!(outcomes.of(ReplicaOutcome::OtherVersion) > 0, "{outcomes:?}");
    assert!(outcomes.of(ReplicaOutcome::Missing) > 0, "{outcomes:?}");

    // It is killed: reads and appends go on.
    replica.kill();
    let (reader, outcomes) = beside(&primary, &replica);
    assert_eq!(values(&reader, 0).await, expected);
    assert!(outcomes.of(ReplicaOutcome::Failed) > 0, "{outcomes:?}");
    let writer = reader.partition("t", 0).expect("name").writer().await.expect("writer");
    assert_eq!(append(&writer, "after").await, 6);
    assert_eq!(values(&reader, 6).await, ["after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_bucket_is_missing_has_failed_and_the_check_names_it() {
    let Some(primary) = S3Server::start() else { return };
    let url = format!("{}?readBucket=no-such-bucket", primary.url("logs"));
    let outcomes = Arc::new(Outcomes::default());
    let options = BucketOptions::default().store(primary.store_options()).recorder(outcomes.clone());
    let bucket = Bucket::open_with(&url, options).expect("opened");
    let writer = bucket.partition("t", 0).expect("name").writer().await.expect("writer");
    append(&writer, "value").await;
    writer.close(None).await.expect("closed");
    assert_eq!(values(&bucket, 0).await, ["value"]);
    assert!(outcomes.of(ReplicaOutcome::Failed) > 0 && outcomes.of(ReplicaOutcome::Missing) == 0, "{outcomes:?}");
    let store = Store::open(&url, &primary.store_options()).expect("opened");
    let runtime = Runtime::current_or_own().expect("a runtime");
    let report = store.preflight(&runtime, &PreflightOptions::default()).await.expect("a report");
    let of_replica = |check| report.step(check).map(|step| (step.verdict, step.found.clone())).expect("a step");
    let (verdict, found) = of_replica(PreflightCheck::ReplicaList);
    assert_eq!(verdict, PreflightVerdict::Warning);
    assert!(found.contains("the replica (bucket no-such-bucket"), "{found}");
    assert_eq!(of_replica(PreflightCheck::ReplicaGet).0, PreflightVerdict::NotTried);
    assert!(report.failure().is_none(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_etags_are_its_own_changes_nothing_that_is_read() {
    let (Some(primary), Some(replica)) = (S3Server::start(), S3Server::start()) else { return };
    let (first, _) = beside(&primary, &replica);
    let writer = first.partition("t", 0).expect("name").writer().await.expect("writer");
    append(&writer, "value").await;
    // The same bytes, as a copy in parts has them.
    let (from, to) = (primary.client(), replica.client());
    let all: Vec<_> = from.list(None).try_collect().await.expect("listed");
    for object in all {
        let bytes = from.get(&object.location).await.expect("there").bytes().await.expect("bytes");
        let mut upload = to.put_multipart(&object.location).await.expect("begun");
        upload.put_part(bytes.into()).await.expect("sent");
        upload.complete().await.expect("copied");
    }
    let (reader, outcomes) = beside(&primary, &replica);
    assert_eq!(values(&reader, 0).await, ["value"]);
    assert!(outcomes.of(ReplicaOutcome::OtherVersion) > 0, "{outcomes:?}");
}

#[test]
fn a_replica_is_named_by_any_face_and_its_mistakes_by_the_name_that_was_written() {
    let options = StoreOptions::default().environment(false);
    let open = |config: StoreConfig| Store::open_config(&config, &options);
    let base = format!("backend: s3\nbucket: {BUCKET}\naccess_key: a\nsecret_key: b\n");
    let document = |more: &str| StoreConfig::from_document(&format!("{base}{more}")).expect("a document");
    for more in ["readBucket: copy\nreadRegion: eu-west-1\nreadEndpoint: https://localhost:1", "read_bucket: copy"] {
        open(document(more)).expect("opened");
    }
    let named = document("").set("KAFSCALE_S3_READ_BUCKET", "copy").expect("a setting");
    open(named).expect("opened");
    for (more, expected) in [
        ("readRegion: eu-west-1", "readRegion names no replica by itself"),
        ("readEndpoint: http://localhost:1", "readEndpoint is not encrypted (http:)"),
        ("readEndpoint: https://localhost:1?x=1", "readEndpoint holds a query"),
        ("readBucket: a/b", "readBucket can't be used"),
        ("readBucket: copy\nreplica_wait: soon", "replica_wait can't be used"),
    ] {
        let error = open(document(more)).expect_err(more);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().starts_with(expected), "{more}: {error}");
    }
    let azure = StoreConfig::from_document(
        "backend: azure\naccount_name: acc\ncontainer_name: logs\n\
        account_key: a2V5\nread_endpoint: https://acc-secondary.blob.core.windows.net",
    );
    open(azure.expect("a document")).expect("opened");
}
