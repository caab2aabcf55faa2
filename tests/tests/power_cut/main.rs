//! A recorded run of writers, cut off after any call to the disk: what was not flushed is dropped,
//! kept or torn, and the log is opened on what is left. Invariants 1 (acked is kept) and 2 (dense).

mod disk;
mod replace;

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use kfs_core::format::{CrcCheck, Limits, NewRecord, ObjectName, Segment};
use kfs_core::object_store::{ObjectStore, PutMode, PutOptions};
use kfs_core::runtime::Runtime;
use kfs_core::store::{LocalStore, StoreOptions};
use kfs_core::testing::{LocalSpawn, PausedClock, Prng, SeededEntropy};
use kfs_core::{Bucket, BucketOptions, Severity, VerifyOptions, Writer};

use self::disk::{Call, Disk, Fate, Recorder, Tree, build};

/// How many seeded choices are tried at each cut, beside "all vanishes" and "all survives".
const CHOICES: u64 = 3;
const PARTITIONS: [&str; 2] = ["0", "1"];

/// An append that was acked as durable: after how many calls, where, what.
#[derive(Debug)]
struct Ack {
    calls: usize,
    partition: usize,
    offset: i64,
    /// `None` for a claim, which shows no record.
    value: Option<String>,
}

/// One thread for the disk, so that calls come one after the other; time passes by itself.
fn run<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).max_blocking_threads(1).build().expect("runtime").block_on(work)
}

/// On memory where there is such: what counts is in the recording, not on this disk.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("directory")
}

fn open(root: &Path, store: StoreOptions, seed: u64) -> Bucket {
    let entropy = Arc::new(SeededEntropy::new(seed));
    let runtime = Runtime::new(PausedClock::new(1_700_000_000_000), entropy.clone(), Arc::new(LocalSpawn));
    let options = BucketOptions::default().runtime(runtime).store(store.entropy(entropy));
    Bucket::open_with(&format!("file://{}", root.display()), options).expect("bucket")
}

async fn writer(bucket: &Bucket, partition: usize) -> Writer {
    let partition = bucket.partition("power", i32::try_from(partition).expect("small")).expect("partition");
    partition.writer().await.expect("a writer opens")
}

struct Run {
    recorder: Arc<Recorder>,
    acks: Vec<Ack>,
}

impl Run {
    /// Appends values that are flushed together.
    async fn append(&mut self, writer: &Writer, partition: usize, values: &[&str]) {
        let mut appends = Vec::new();
        for value in values {
            let record = NewRecord::new(1_700_000_000_000).value(value.as_bytes());
            appends.push(writer.append(&[record]).await.expect("taken"));
        }
        for (append, value) in appends.iter().zip(values) {
            let offset = append.durable().await.expect("durable").base;
            let (calls, value) = (self.recorder.len(), Some((*value).to_owned()));
            self.acks.push(Ack { calls, partition, offset, value });
        }
    }
}

/// What writers do; every call to the disk and every ack is recorded.
async fn story(named_staging: bool) -> (Vec<Call>, Vec<Ack>) {
    let directory = directory();
    let root = directory.path().join("log");
    let recorder = Arc::new(Recorder::default());
    let options = StoreOptions::default().named_staging(named_staging).disk_hook(recorder.clone());
    let mut run = Run { recorder: recorder.clone(), acks: Vec::new() };

    let first = open(&root, options.clone(), 1);
    let one = writer(&first, 0).await;
    run.append(&one, 0, &["a0"]).await;
    run.append(&one, 0, &["a1", "a2", "a3"]).await;
    // What a writer leaves that put its index and died, for the next segment's.
    let store = LocalStore::open(&root, &options).expect("store");
    let key = format!("default/power/0/{}", ObjectName::Index(4));
    let put = PutOptions::from(PutMode::Create);
    store.put_opts(&key.as_str().into(), "a leftover".into(), put).await.expect("leftover");
    run.append(&one, 0, &["a4"]).await;
    // A new partition in the same store.
    let other = writer(&first, 1).await;
    run.append(&other, 1, &["o0", "o1"]).await;

    // Another writer takes over, in a store that knows nothing of the first's directories.
    let second = open(&root, options, 2);
    let two = writer(&second, 0).await;
    let claimed = two.claim().await.expect("claimed").base;
    run.acks.push(Ack { calls: recorder.len(), partition: 0, offset: claimed, value: None });
    run.append(&two, 0, &["b0"]).await;
    run.append(&two, 0, &["b1", "b2"]).await;
    let late = NewRecord::new(1_700_000_000_000).value(b"late");
    if let Ok(append) = one.append(&[late]).await {
        append.durable().await.expect_err("the first writer is fenced");
    }
    run.append(&other, 1, &["o2"]).await;
    (recorder.calls(), run.acks)
}

/// Every value of a partition with its offset, from the bytes of its files; every segment must be
/// whole, every offset there once. Answers too one past the last offset.
fn read(root: &Path, partition: usize, indexed: &HashSet<i64>) -> (BTreeMap<String, i64>, i64) {
    let dir = root.join("default/power").join(PARTITIONS[partition]);
    let mut bases = Vec::new();
    for entry in std::fs::read_dir(&dir).into_iter().flatten() {
        let name = entry.expect("entry").file_name().into_string().expect("text");
        if let Some(ObjectName::Segment(base)) = ObjectName::parse(&name) {
            bases.push(base);
        }
    }
    bases.sort_unstable();
    let (mut values, mut next) = (BTreeMap::new(), 0);
    for base in bases {
        assert_eq!(base, next, "a hole or an overlap");
        let bytes = std::fs::read(dir.join(ObjectName::Segment(base).to_string())).expect("segment").into();
        let segment = Segment::parse(&bytes, CrcCheck::Verify).expect("a segment with a name is whole");
        for at in segment.batches() {
            for record in &at.batch.records(&Limits::default()).expect("records") {
                let record = record.expect("record");
                let value = String::from_utf8(record.value.expect("a value").to_vec()).expect("text");
                assert_eq!(values.insert(value.clone(), record.offset), None, "{value} is kept twice");
            }
        }
        next = segment.next_offset();
        if indexed.iter().any(|offset| (base..next).contains(offset)) {
            let index = std::fs::read(dir.join(ObjectName::Index(base).to_string())).expect("an acked index");
            assert_eq!(index[..], segment.index(100).encode()[..], "the index of {base}");
        }
    }
    (values, next)
}

/// The acked appends are there, and nothing that was never appended.
fn check(root: &Path, acked: &[&Ack], known: &HashSet<&str>) {
    for partition in 0..PARTITIONS.len() {
        let acked = || acked.iter().filter(|ack| ack.partition == partition);
        let (values, next) = read(root, partition, &acked().map(|ack| ack.offset).collect());
        for ack in acked() {
            assert!(ack.offset < next, "{ack:?} is lost");
            if let Some(value) = &ack.value {
                assert_eq!(values.get(value), Some(&ack.offset), "{ack:?}");
            }
        }
        assert!(values.keys().all(|value| known.contains(value.as_str())), "{values:?}");
    }
}

/// Opens the log on what is left, appends, and reads it all.
async fn reopen(root: &Path, options: StoreOptions) {
    let bucket = open(root, options, 3);
    for partition in 0..PARTITIONS.len() {
        let (before, next) = read(root, partition, &HashSet::new());
        let handle = bucket.partition("power", i32::try_from(partition).expect("small")).expect("partition");
        let writer = writer(&bucket, partition).await;
        let record = NewRecord::new(1_700_000_000_001).value(b"after");
        let append = writer.append(&[record]).await.expect("taken");
        assert_eq!(append.durable().await.expect("appends go on").base, next);
        let mut records = handle.reader().records(0);
        let mut values = BTreeMap::new();
        while let Some(record) = records.next().await.expect("readable") {
            let value = String::from_utf8(record.value().expect("a value").to_vec()).expect("text");
            values.insert(value, record.offset());
        }
        let mut expected = before;
        expected.insert("after".into(), next);
        assert_eq!(values, expected);
        let findings = handle.verify(VerifyOptions::default()).all().await.expect("verified");
        assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{findings:?}");
    }
    bucket.close(std::time::Duration::from_secs(60)).await.expect("closed");
}

/// Cuts after every call. `skipped` are calls that the disk never did: as if the store forgot them.
fn cut_everywhere(named_staging: bool, skipped: impl Fn(&Call) -> bool) {
    let (calls, acks) = run(story(named_staging));
    assert!(acks.len() > 8 && calls.iter().any(|call| matches!(call, Call::Rename(_))), "{calls:?}");
    let mut known: HashSet<&str> = acks.iter().filter_map(|ack| ack.value.as_deref()).collect();
    known.extend(["late", "after"]);
    let mut disk = Disk::default();
    let mut seen: HashSet<(Tree, usize)> = HashSet::new();
    for cut in 0..=calls.len() {
        if let Some(last) = cut.checked_sub(1)
            && !skipped(&calls[last])
        {
            disk.apply(&calls[last]);
        }
        let acked: Vec<&Ack> = acks.iter().filter(|ack| ack.calls <= cut).collect();
        for choice in 0..CHOICES + 2 {
            let mut fate = match choice {
                0 => Fate::Vanishes,
                1 => Fate::Survives,
                seed => Fate::Either(Prng::new(cut as u64 * 100 + seed)),
            };
            let tree = disk.cut(&mut fate);
            if !seen.insert((tree.clone(), acked.len())) {
                continue;
            }
            // A panic's output shows which cut it was: the last line printed.
            println!("cut after {cut} calls, choice {choice}, {} acked", acked.len());
            let directory = directory();
            let root = directory.path().join("log");
            build(&tree, &root);
            check(&root, &acked, &known);
            run(reopen(&root, StoreOptions::default().named_staging(named_staging)));
            check(&root, &acked, &known);
        }
    }
    println!("{} calls, {} acks, {} states", calls.len(), acks.len(), seen.len());
}

#[test]
fn a_power_cut_after_any_call_loses_nothing_that_was_acked() {
    cut_everywhere(false, |_| false);
}

#[test]
fn a_power_cut_loses_nothing_where_staging_files_have_names() {
    cut_everywhere(true, |_| false);
}

#[test]
#[should_panic(expected = "is whole")]
fn a_forgotten_flush_of_a_segment_is_found() {
    cut_everywhere(false, |call| matches!(call, Call::SyncFile(key) if key.ends_with(".kfs")));
}

#[test]
#[should_panic(expected = "the index of")]
fn a_forgotten_flush_of_an_index_is_found() {
    cut_everywhere(false, |call| matches!(call, Call::SyncFile(key) if key.ends_with(".index")));
}

#[test]
#[should_panic(expected = "is lost")]
fn a_forgotten_flush_of_names_is_found() {
    cut_everywhere(false, |call| matches!(call, Call::SyncDir(path) if path == "default/power/0"));
}

#[test]
#[should_panic(expected = "is lost")]
fn a_forgotten_flush_of_a_new_directory_is_found() {
    cut_everywhere(false, |call| matches!(call, Call::SyncDir(path) if path == "default/power"));
}
