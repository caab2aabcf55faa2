//! A log under load, while something happens to its store: processes that append, read and follow, and what must hold of
//! them and of the log at the end.
//!
//! Each process has a bucket and a client of its own. None is ever started again: an error that reaches one of them
//! fails the test.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kfs_core::format::{NewRecord, PartitionId};
use kfs_core::recorder::BucketEvent;
use kfs_core::store::Store;
use kfs_core::{
    Append, Bucket, BucketOptions, ErrorKind, OnConflict, Reader, ReaderOptions, Recorder, RetryPolicy, VerifyOptions,
    Writer, WriterOptions,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Prng;
use crate::contest::read_partition;

const TOPIC: &str = "load";
/// Nothing here takes nearly as long. Whoever waits longer fails the test, with what the writers say.
const FOR_EVER: Duration = Duration::from_secs(180);

/// Who writes where. Two writers share the last partition.
const WRITERS: [(&str, i32, OnConflict); 4] = [
    ("takeover", 0, OnConflict::Takeover),
    ("fence", 1, OnConflict::Fence),
    ("rebase-1", 2, OnConflict::Rebase),
    ("rebase-2", 2, OnConflict::Rebase),
];
const PARTITIONS: [i32; 3] = [0, 1, 2];

/// How far all processes together have come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Appends that were begun.
    pub begun: u64,
    /// Appends that were acked as durable.
    pub acked: u64,
    /// Records that followers were given.
    pub followed: u64,
    /// Records that readers were given, which start again and again with nothing in memory.
    pub read: u64,
    /// Requests that failed and were tried again.
    pub retried: u64,
    stop: bool,
    /// The log's end in each partition, once nothing is appended any more.
    ends: Option<[i64; PARTITIONS.len()]>,
}

/// Processes that use a log all the time.
#[derive(Debug)]
pub struct Load {
    progress: watch::Sender<Progress>,
    writers: JoinSet<Written>,
    followers: JoinSet<(i32, Records)>,
    readers: JoinSet<Vec<(i32, i64, String)>>,
    handles: Vec<(&'static str, Writer)>,
}

/// Offsets and values.
type Records = Vec<(i64, String)>;

/// What one writer was told.
#[derive(Debug)]
struct Written {
    name: &'static str,
    partition: i32,
    /// Every append, in the order of the calls.
    acked: Records,
}

/// Counts what is tried again.
#[derive(Debug)]
struct Retries(watch::Sender<Progress>);

impl Recorder for Retries {
    fn record(&self, event: &BucketEvent<'_>) {
        if let BucketEvent::Retry { .. } = event {
            self.0.send_modify(|progress| progress.retried += 1);
        }
    }
}

/// How a process reaches the store.
#[derive(Clone)]
struct Place {
    open: Arc<dyn Fn() -> Store + Send + Sync>,
    progress: watch::Sender<Progress>,
}

impl Place {
    /// A bucket of its own: a process.
    fn bucket(&self) -> Bucket {
        let retry = RetryPolicy::default().first_pause(Duration::from_millis(10));
        let options = BucketOptions::default()
            .recorder(Arc::new(Retries(self.progress.clone())))
            .retry(retry.longest_pause(Duration::from_millis(200)));
        Bucket::from_store((self.open)(), options).expect("bucket")
    }

    fn stops(&self) -> bool {
        self.progress.borrow().stop
    }
}

impl Load {
    /// Starts all processes on a store that answers. Each opens it for itself.
    pub async fn begin(open: impl Fn() -> Store + Send + Sync + 'static, seed: u64) -> Self {
        let progress = watch::Sender::new(Progress::default());
        let place = Place { open: Arc::new(open), progress: progress.clone() };
        let mut prng = Prng::new(seed);
        let mut load = Load {
            progress,
            writers: JoinSet::new(),
            followers: JoinSet::new(),
            readers: JoinSet::new(),
            handles: Vec::new(),
        };
        for (name, partition, policy) in WRITERS {
            let options = WriterOptions::default().name(name).on_conflict(policy);
            let own = place.bucket().partition(TOPIC, partition).expect("name");
            let writer = own.writer_with(options).await.expect("the store answers");
            load.handles.push((name, writer.clone()));
            load.writers.spawn(write(place.clone(), writer, name, partition, prng.fork()));
        }
        for partition in PARTITIONS {
            load.followers.spawn(follow(place.clone(), partition));
        }
        load.readers.spawn(read(place, prng.fork()));
        load
    }

    /// How far they have come.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until they have come as far as that.
    ///
    /// # Panics
    /// When one of them fails first, or when it takes for ever.
    pub async fn until(&mut self, what: &str, reached: impl FnMut(&Progress) -> bool) {
        let mut progress = self.progress.subscribe();
        let reached = async { progress.wait_for(reached).await.map(drop).expect("the sender lives") };
        tokio::select! {
            Some(ended) = self.writers.join_next() => panic!("a writer ended: {ended:?}"),
            Some(ended) = self.followers.join_next() => panic!("a follower ended: {ended:?}"),
            Some(ended) = self.readers.join_next() => panic!("a reader ended: {ended:?}"),
            () = reached => {}
            () = for_ever() => panic!("waited for {what}: {:?}\n{}", self.progress(), self.status()),
        }
    }

    fn status(&self) -> String {
        self.handles.iter().map(|(name, writer)| format!("{name}: {:?}\n", writer.status())).collect()
    }

    /// Ends all processes, and holds what they were told against the log, which is read beneath the library through
    /// `store`.
    ///
    /// # Panics
    /// When anything is lost, kept twice, out of order or wrong.
    pub async fn end(mut self, store: &Store) -> Progress {
        self.progress.send_modify(|progress| progress.stop = true);
        let written = tokio::select! {
            written = all(&mut self.writers) => written,
            () = for_ever() => panic!("the writers do not close: {}", self.status()),
        };
        let (logs, ends) = logs(store).await;
        self.progress.send_modify(|progress| progress.ends = Some(ends));
        let (followed, read) = tokio::select! {
            ended = async { (all(&mut self.followers).await, all(&mut self.readers).await) } => ended,
            () = for_ever() => panic!("the readers do not end: {:?}", self.progress()),
        };
        for written in &written {
            check_acks(written, &logs[&written.partition]);
        }
        for (partition, log) in &logs {
            // No append failed, so that nothing is in the log that was not acked.
            let acked: usize = written.iter().filter(|w| w.partition == *partition).map(|w| w.acked.len()).sum();
            assert_eq!(log.len(), acked, "partition {partition}: records in the log, records acked");
        }
        for (partition, seen) in &followed {
            assert!(logs[partition] == *seen, "partition {partition}: the follower saw something else than the log");
        }
        for (partition, offset, value) in read.into_iter().flatten() {
            let found = logs[&partition].binary_search_by_key(&offset, |(offset, _)| *offset);
            let kept = found.ok().map(|at| &logs[&partition][at].1);
            assert_eq!(kept, Some(&value), "a reader was given this at {partition}/{offset}");
        }
        self.progress()
    }
}

async fn all<T: 'static>(tasks: &mut JoinSet<T>) -> Vec<T> {
    let mut ended = Vec::new();
    while let Some(task) = tasks.join_next().await {
        ended.push(task.expect("no panic"));
    }
    ended
}

#[allow(clippy::disallowed_methods, reason = "a real server may hang in real time")]
async fn for_ever() {
    tokio::time::sleep(FOR_EVER).await;
}

/// What must hold of one writer: each append is in the log, at its offset, in the order of the calls.
fn check_acks(written: &Written, log: &Records) {
    let Written { name, acked, .. } = written;
    assert!(acked.is_sorted_by(|one, next| one.0 < next.0), "{name}: acks are out of the order of the calls");
    for record in acked {
        assert!(log.binary_search(record).is_ok(), "{name}: acked and not in the log: {record:?}");
    }
}

/// The log of each partition, read by names and bytes alone, and its end. `verify` finds nothing in it.
async fn logs(store: &Store) -> (BTreeMap<i32, Records>, [i64; PARTITIONS.len()]) {
    let bucket = Bucket::from_store(store.clone(), BucketOptions::default()).expect("bucket");
    let (mut logs, mut ends) = (BTreeMap::new(), [0; PARTITIONS.len()]);
    for (partition, end) in PARTITIONS.into_iter().zip(&mut ends) {
        let partition = bucket.partition(TOPIC, partition).expect("name");
        let id: &PartitionId = partition.id();
        let log = read_partition(store, &id.prefix()).await;
        *end = log.last().map_or(0, |(offset, _)| offset + 1);
        // Records are decoded: this is what `kfs verify` does without `--headers`.
        let found = partition.verify(VerifyOptions::default()).all().await.expect("verified");
        assert!(found.is_empty(), "{id}: {found:?}");
        logs.insert(id.partition(), log);
    }
    (logs, ends)
}

/// A process that appends, with some appends under way at any time, until it is to stop. Then all is durable.
async fn write(place: Place, writer: Writer, name: &'static str, partition: i32, mut prng: Prng) -> Written {
    let mut pending: VecDeque<(String, Append)> = VecDeque::new();
    let mut acked = Vec::new();
    let mut settle = async |(value, append): (String, Append)| {
        let offsets = append.durable().await.unwrap_or_else(|error| panic!("{name}: {value}: {error:?}"));
        place.progress.send_modify(|progress| progress.acked += 1);
        acked.push((offsets.base, value));
    };
    for n in 0.. {
        if place.stops() {
            break;
        }
        let value = value(name, n, &mut prng);
        let append = writer.append(&[NewRecord::new(n).value(value.as_bytes())]).await;
        pending.push_back((value, append.unwrap_or_else(|error| panic!("{name}: {error:?}"))));
        place.progress.send_modify(|progress| progress.begun += 1);
        let under_way = prng.below(8) as usize;
        while pending.len() > under_way {
            settle(pending.pop_front().expect("not empty")).await;
        }
    }
    for waiting in pending {
        settle(waiting).await;
    }
    assert!(writer.failure().is_none(), "{name}: {:?}", writer.failure());
    writer.close(None).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    Written { name, partition, acked }
}

/// A value of its own. Some are so long that a request is cut within its body.
fn value(name: &str, n: i64, prng: &mut Prng) -> String {
    let longest = if prng.one_in(20) { 256 << 10 } else { 2 << 10 };
    let filler = "x".repeat(prng.below(longest) as usize);
    format!("{name} {n} {filler}")
}

/// A process that follows one partition in one stream, to the end.
async fn follow(place: Place, partition: i32) -> (i32, Records) {
    let mut stream = reader(&place.bucket(), partition).follow_records(0);
    let mut progress = place.progress.subscribe();
    let mut seen = Records::new();
    loop {
        let at_the_end = |progress: &Progress| {
            progress.ends.is_some_and(|ends| ends.get(partition as usize).is_some_and(|end| stream.position() >= *end))
        };
        if at_the_end(&progress.borrow_and_update()) {
            return (partition, seen);
        }
        tokio::select! {
            record = stream.next() => {
                let record = record.unwrap_or_else(|error| panic!("follower of {partition}: {error:?}"));
                seen.push(text(record.expect("a follower has no end")));
                place.progress.send_modify(|progress| progress.followed += 1);
            }
            changed = progress.wait_for(|progress| progress.ends.is_some()) => drop(changed),
        }
    }
}

/// Processes that read from somewhere to the end, one after another, with nothing in memory yet.
async fn read(place: Place, mut prng: Prng) -> Vec<(i32, i64, String)> {
    let mut all = Vec::new();
    while !place.stops() {
        let bucket = place.bucket();
        let partition = prng.below(PARTITIONS.len() as u64) as i32;
        let reader = reader(&bucket, partition);
        let end = async { bucket.partition(TOPIC, partition)?.refresh().await.map(|w| w.high_watermark) };
        let end = match end.await {
            Ok(end) => end,
            Err(error) => {
                // Nothing was appended yet.
                assert_eq!(error.kind(), ErrorKind::NotFound, "reader of {partition}: {error:?}");
                let _ = place.progress.subscribe().changed().await;
                continue;
            }
        };
        let from = end - prng.below(end.clamp(1, 500) as u64) as i64;
        let (mut records, mut next) = (reader.records(from), from);
        let context = |error| panic!("reader of {partition} at {from}: {error:?}");
        while let Some(record) = records.next().await.unwrap_or_else(context) {
            let (offset, value) = text(record);
            assert_eq!(offset, next, "a reader of partition {partition} missed a record");
            all.push((partition, offset, value));
            next = offset + 1;
            place.progress.send_modify(|progress| progress.read += 1);
        }
        assert!(next >= end, "a reader of partition {partition} ended at {next}, the log at {end}");
    }
    all
}

fn reader(bucket: &Bucket, partition: i32) -> Reader {
    let options = ReaderOptions::default()
        .wait_for_partition(true)
        .poll_min(Duration::from_millis(5))
        .poll_max(Duration::from_millis(50));
    bucket.partition(TOPIC, partition).expect("name").reader_with(options)
}

fn text(record: kfs_core::StreamRecord) -> (i64, String) {
    let value = record.value().expect("a value").to_vec();
    (record.offset(), String::from_utf8(value).expect("text"))
}
