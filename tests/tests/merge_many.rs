//! Merging a log of many small segments: what it costs, and that readers get the same bytes all the while. Alone in its process,
//! for it measures the memory of the process.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kfs_core::format::{BatchBuilder, BatchOptions, NewRecord, SegmentBuilder};
use kfs_core::store::RequestCounts;
use kfs_core::{Bucket, BucketOptions, MergePolicy, MergeReport, Partition};
use kfs_tests::S3Server;
use object_store::PutPayload;

/// Segments of the log. `KFS_MERGE_SEGMENTS=10000` is the full size.
fn segments() -> i64 {
    std::env::var("KFS_MERGE_SEGMENTS").ok().and_then(|number| number.parse().ok()).unwrap_or(1_000)
}

const SEGMENT: usize = 10 << 10;
const MEMORY: u64 = 256 << 20;
const GRACE: Duration = Duration::from_secs(15 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("field");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") << 10
}

/// A segment of one batch, as a producer with small flushes leaves it, and its index.
fn small_segment(base: i64) -> (PutPayload, PutPayload) {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for n in 0..10_u8 {
        let value: Vec<u8> = (0..1_000_u32).map(|at| (at as u8).wrapping_mul(n).wrapping_add(base as u8)).collect();
        batch.push(&NewRecord::new(1_767_225_600_000 + base).value(&value)).expect("a record");
    }
    let mut segment = SegmentBuilder::new(base, 1_767_225_600_000, 100).expect("a base");
    segment.push(&batch.finish(0).expect("a batch"), None).expect("room");
    let built = segment.finish().expect("a segment");
    assert!((SEGMENT * 9 / 10..SEGMENT * 11 / 10).contains(&(built.size as usize)), "{} bytes", built.size);
    (built.chunks.into_iter().collect(), built.index.into())
}

async fn fill(partition: &Partition, bucket: &Bucket) {
    let (store, id) = (bucket.store(), partition.id());
    stream::iter(0..segments())
        .for_each_concurrent(16, |number| async move {
            let (segment, index) = small_segment(number * 10);
            store.put(&id.index_key(number * 10), index).await.expect("an index");
            store.put(&id.segment_key(number * 10), segment).await.expect("a segment");
        })
        .await;
}

/// Makes all objects of a directory older. Both servers tell the times of files.
fn age(directory: &Path, by: Duration) {
    for entry in std::fs::read_dir(directory).expect("a partition") {
        let file = File::options().write(true).open(entry.expect("an entry").path()).expect("an object");
        let modified = file.metadata().and_then(|meta| meta.modified()).expect("a time");
        file.set_modified(modified - by).expect("an older object");
    }
}

/// A hash of all batches, as a reader gets them.
async fn content(partition: &Partition) -> u64 {
    let end = partition.refresh().await.expect("a log").high_watermark;
    let (reader, mut offset, mut hash) = (partition.reader(), 0, 0xcbf2_9ce4_8422_2325_u64);
    while offset < end {
        let fetched = reader.fetch(offset, 1 << 20).await.expect("batches");
        assert!(fetched.next_offset > offset, "the reader stands still at {offset}");
        offset = fetched.next_offset;
        for byte in fetched.chunks.iter().flat_map(|chunk| chunk.iter()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

struct Outcome {
    report: MergeReport,
    merge: RequestCounts,
    cleared: MergeReport,
    clear: RequestCounts,
    memory: u64,
}

/// Merges, waits until the grace is over, and merges again.
async fn merge_and_clear(bucket: &Bucket, partition: &Partition, directory: &Path) -> Outcome {
    std::fs::write("/proc/self/clear_refs", "5").expect("reset VmHWM");
    let policy = MergePolicy::default().grace(GRACE).min_size(0);
    let mut done = Vec::new();
    for _ in 0..2 {
        let plan = partition.plan_merge(&policy).await.expect("a plan");
        let start = bucket.requests();
        let report = partition.merge(&plan).await.expect("a merge");
        done.push((report, bucket.requests().since(&start)));
        age(directory, HOUR);
    }
    let memory = peak();
    let [(report, merge), (cleared, clear)] = done.try_into().expect("two merges");
    Outcome { report, merge, cleared, clear, memory }
}

/// Merges a log, with a reader in a loop beside it.
async fn merge(name: &str, open: impl Fn(BucketOptions) -> Bucket, directory: &Path) {
    // The memory that is measured is that of the merge, and not the reader's cache.
    let reader = || open(BucketOptions::default().cache_bytes(1 << 20)).partition("t", 0).expect("a name");
    let bucket = open(BucketOptions::default());
    let partition = bucket.partition("t", 0).expect("a name");
    fill(&partition, &bucket).await;
    age(directory, HOUR);
    let before = content(&reader()).await;

    let (over, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let beside = reader();
    let reading = async {
        while !over.load(Ordering::Relaxed) {
            assert_eq!(content(&beside).await, before, "during the merge");
            rounds.fetch_add(1, Ordering::Relaxed);
        }
    };
    let merging = async {
        let outcome = merge_and_clear(&bucket, &partition, directory).await;
        over.store(true, Ordering::Relaxed);
        outcome
    };
    let ((), outcome) = futures_util::join!(reading, merging);
    let Outcome { report, merge, cleared, clear, memory } = outcome;

    let (n, merged) = (segments() as u64, report.merged);
    println!(
        "{name}: {n} segments: {report}\n  {merge:?}\n  {cleared}\n  {clear:?}\n  {memory} bytes at the peak, {rounds:?} reads"
    );
    assert_eq!(content(&reader()).await, before, "after the merge");
    let left = std::fs::read_dir(directory)
        .expect("a partition")
        .filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().ends_with(".kfs"));
    assert!(left.count() <= 3, "{name}");
    assert!(memory < MEMORY, "{name}: {memory} bytes");
    let written = merge.bytes_out + clear.bytes_out;
    assert!(written <= n * SEGMENT as u64 * 105 / 100, "{name}: {written} bytes were written");
    // Of each merged segment: a PUT, one for each of its indexes, and a look whether it is still there. And the store's time.
    assert_eq!((merge.put, merge.delete), (3 * merged + 1, 1), "{name}");
    assert!(merge.get <= n + merged + 2, "{name}: {merge:?}");
    // Each segment has two keys.
    assert!(merge.list <= n / 500 + 4, "{name}: {merge:?}");
    assert!(clear.list <= 2 * (n / 500 + 4), "{name}: {clear:?}");
    assert!(clear.get <= 8 * merged + n / 500 + 4, "{name}: {clear:?}");
    assert_eq!(clear.delete, 2 * (n - 1 - merged) + 1, "{name}: {clear:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_segments_of_a_directory_and_of_s3_become_few() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}", directory.path().display());
    merge(
        "directory",
        |options| Bucket::open_with(&url, options).expect("a bucket"),
        &directory.path().join("default/t/0"),
    )
    .await;
    let Some(server) = S3Server::start() else { return };
    let open = |options: BucketOptions| {
        Bucket::open_with(&server.url(""), options.store(server.store_options())).expect("a bucket")
    };
    merge("S3", open, &server.directory().join("default/t/0")).await;
}
