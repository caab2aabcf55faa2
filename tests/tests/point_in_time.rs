//! What is restored up to a time or an offset, of the vectors: every codec, timestamps out of order, transactions, compaction.
//! It is compared with a reference that goes record by record.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use kfs_core::format::{BackupName, CrcCheck, Limits, OwnedRecord, Segment};
use kfs_core::store::StoreOptions;
use kfs_core::{BackupOptions, Bucket, BucketOptions, CopyOptions, Partition};
use kfs_tests::vectors;

/// The most times and offsets that are tried of one vector.
const TRIES: usize = 12;

fn segments(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("vectors") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            segments(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "kfs") {
            found.push(path);
        }
    }
}

/// A record, with the fields of its batch that a restore keeps.
#[derive(Debug, PartialEq)]
struct Found {
    record: OwnedRecord,
    attributes: i16,
    producer: (i64, i16, i32),
    leader_epoch: i32,
}

fn found_in(batches: impl Iterator<Item = kfs_core::format::Batch>) -> Vec<Found> {
    let mut found = Vec::new();
    for batch in batches {
        let header = *batch.header();
        let producer = (header.producer_id, header.producer_epoch, header.base_sequence);
        for record in batch.records(&Limits::default()).expect("records") {
            let record = record.expect("a record");
            let (attributes, leader_epoch) = (header.attributes.bits(), header.leader_epoch);
            found.push(Found { record, attributes, producer, leader_epoch });
        }
    }
    found
}

async fn all_of(partition: &Partition) -> Vec<Found> {
    let range = partition.refresh().await.expect("a log");
    let (reader, mut offset, mut batches) = (partition.reader(), range.log_start, Vec::new());
    while offset < range.high_watermark {
        let fetched = reader.fetch(offset, 16 << 20).await.expect("batches");
        batches.extend(fetched.batches().map(|batch| batch.expect("a whole one")));
        offset = fetched.next_offset;
    }
    found_in(batches.into_iter())
}

/// Some of them, evenly, with the first and the last.
fn some<T: Copy>(all: &[T]) -> Vec<T> {
    let step = all.len().div_ceil(TRIES).max(1);
    all.iter().copied().step_by(step).chain(all.last().copied()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_up_to_a_time_or_an_offset_gives_exactly_the_records_before_it() {
    let mut paths = Vec::new();
    segments(&vectors(), &mut paths);
    let mut tried = 0;
    for path in paths {
        let bytes = Bytes::from(std::fs::read(&path).expect("a vector"));
        let segment = Segment::parse(&bytes, CrcCheck::Verify).expect("a good segment");
        let store = kfs_core::store::Store::open("memory:", &StoreOptions::default()).expect("a store");
        let bucket = Bucket::from_store(store.clone(), BucketOptions::default()).expect("a bucket");
        let source = bucket.partition("t", 0).expect("a name");
        let (id, base) = (source.id().clone(), segment.base_offset());
        store.put(&id.index_key(base), segment.index(100).encode().into()).await.expect("an index");
        store.put(&id.segment_key(base), bytes.clone().into()).await.expect("a segment");

        let name = BackupName::new("b").expect("a name");
        let plan =
            bucket.plan_backup(&name, std::slice::from_ref(&source), &BackupOptions::default()).await.expect("a plan");
        let backup = bucket.back_up(&plan).await.expect("a backup");
        let copy = backup.partition(&id).expect("its copy");
        let records = found_in(segment.batches().map(|at| at.batch));
        let mut times: Vec<i64> = records.iter().map(|found| found.record.timestamp_ms).collect();
        times.sort_unstable();
        times.dedup();
        let offsets: Vec<i64> = (base..=segment.next_offset()).collect();
        let limits = some(&times).into_iter().flat_map(|time| [time, time + 1]).map(|time| (Some(time), None));
        let limits = limits.chain(some(&offsets).into_iter().map(|offset| (None, Some(offset))));
        for (at, (time, offset)) in limits.enumerate() {
            let target = bucket.partition("restored", at as i32).expect("a name");
            let mut options = CopyOptions::default();
            (options.before_time, options.to) = (time, offset);
            let plan = copy.plan_copy(&target, &options).await.expect("a plan");
            let report =
                copy.copy(&target, &plan).await.unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
            // The stated rule, record by record: the first record that is not before the limit ends the log.
            let is_before = |found: &Found| match (time, offset) {
                (Some(time), _) => found.record.timestamp_ms < time,
                (_, Some(offset)) => found.record.offset < offset,
                _ => true,
            };
            let kept = records.iter().take_while(|found| is_before(found)).count();
            let restored = all_of(&target).await;
            assert_eq!(restored.len(), kept, "{} {time:?} {offset:?}", path.display());
            assert_eq!(restored, records[..kept], "{} {time:?} {offset:?}", path.display());
            let end = match (offset, records.get(kept)) {
                (Some(offset), _) => offset,
                (None, Some(first)) => first.record.offset,
                (None, None) => segment.next_offset(),
            };
            // Where no batch holds the offset before it, the log ends with the last batch below.
            let before = segment.batches().map(|at| at.batch).filter(|batch| batch.base_offset() < end);
            let end = before.map(|batch| batch.next_offset().min(end)).max().unwrap_or(base);
            assert_eq!(report.next, end, "{} {time:?}", path.display());
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried} restores");
}
