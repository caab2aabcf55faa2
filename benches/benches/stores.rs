//! A log, and large objects, on a real S3 server on loopback, against the same requests sent by hand. What is compared takes
//! turns, because a server's and a disk's mood changes from second to second; so criterion, which measures one after the
//! other, is not used.
//!
//! The floor is object_store's own client with the same settings: the requests alone, with no log around them.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use kfs_benches::{asked_for, batch, figures, measures, payload, size, table};
use kfs_core::format::{BatchCheck, Codec};
use kfs_core::store::{ReadRange, Store};
use kfs_core::{Bucket, BucketOptions, Partition, ReaderOptions, Writer, WriterOptions};
use kfs_tests::S3Server;
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use tokio::runtime::Runtime;

/// The bytes of a segment and of a part, the number of either that is under way at once.
const SEGMENT: usize = 8 << 20;
const PART: usize = 16 << 20;
const AT_ONCE: usize = 8;
/// Room for two segments of each of 8 busy partitions, which get a ninth of the buffer each: one on its way, and the next.
const BUFFER: usize = (AT_ONCE + 1) * 2 * (SEGMENT + (64 << 10));
/// The number of times that each side of a comparison has its turn.
const ROUNDS: usize = 7;

struct Bench {
    server: S3Server,
    runtime: Runtime,
    bare: Arc<AmazonS3>,
    store: Store,
    bucket: Bucket,
}

impl Bench {
    fn start() -> Option<Self> {
        let server = S3Server::start()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
        let guard = runtime.enter();
        let store = Store::open(&server.url("log"), &server.store_options()).expect("store");
        let bucket = Bucket::from_store(store.clone(), BucketOptions::default().buffer_bytes(BUFFER)).expect("bucket");
        let bare = Arc::new(server.client());
        drop(guard);
        Some(Bench { server, runtime, bare, store, bucket })
    }

    fn seconds<T>(&self, act: impl Future<Output = T>) -> (f64, T) {
        #[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
        let begun = Instant::now();
        let done = self.runtime.block_on(act);
        (begun.elapsed().as_secs_f64(), done)
    }

    /// The medians of what both sides measure, which take turns.
    fn compare(
        &self,
        rounds: usize,
        mut ours: impl FnMut(usize) -> f64,
        mut floor: impl FnMut(usize) -> f64,
    ) -> [f64; 2] {
        let (mut of_ours, mut of_floor) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            // Neither always comes after the other.
            if round % 2 == 0 {
                of_ours.push(ours(round));
                of_floor.push(floor(round));
            } else {
                of_floor.push(floor(round));
                of_ours.push(ours(round));
            }
        }
        [median(of_ours), median(of_floor)]
    }

    fn partition(&self, topic: &str, number: i32) -> Partition {
        self.bucket.partition(topic, number).expect("name")
    }

    async fn put(&self, key: &str, bytes: Bytes) {
        self.bare.put(&Path::from(key), bytes.into()).await.expect("put");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Megabytes a second.
fn rate(bytes: usize, seconds: f64) -> f64 {
    bytes as f64 / seconds / 1e6
}

fn upload(bench: &Bench, row: &str) {
    let total = size(512 << 20, 2 * PART);
    let part = Bytes::from(payload(PART));
    let pieces = || stream::iter((0..total / PART).map(|_| Ok(part.clone())).collect::<Vec<_>>());
    let ours = |round: usize| {
        let key = format!("up-{round}");
        let (seconds, done) = bench.seconds(bench.store.put_stream(&key, pieces()));
        done.expect("uploaded");
        bench.runtime.block_on(bench.store.delete(&key)).expect("deleted");
        rate(total, seconds)
    };
    let floor = |round: usize| {
        let keys: Vec<String> = (0..total / PART).map(|n| format!("bare/up-{round}-{n}")).collect();
        let puts = stream::iter(keys.clone()).map(|key| {
            let part = part.clone();
            async move { bench.put(&key, part).await }
        });
        let (seconds, ()) = bench.seconds(puts.buffer_unordered(AT_ONCE).collect::<()>());
        for key in keys {
            bench.runtime.block_on(bench.bare.delete(&Path::from(key))).expect("deleted");
        }
        rate(total, seconds)
    };
    let [ours, floor] = bench.compare(size(ROUNDS, 1), ours, floor);
    figures::keep(row, "kfs", ours);
    figures::keep(row, "floor: bare PUTs of 16 MiB, 8 at a time", floor);
}

/// The time in which ranges of an object are read, several at a time and in order.
async fn ranged(bench: &Bench, key: &str, total: usize) {
    let path = Path::from(key);
    let starts: Vec<u64> = (0..total as u64).step_by(SEGMENT).collect();
    let gets = stream::iter(starts).map(|start| {
        let (path, end) = (path.clone(), (start + SEGMENT as u64).min(total as u64));
        async move { bench.bare.get_range(&path, start..end).await.expect("read").len() }
    });
    let read = gets.buffered(AT_ONCE).fold(0, |sum, len| async move { sum + len }).await;
    assert_eq!(read, total);
}

fn download(bench: &Bench, row: &str) {
    let total = size(512 << 20, 2 * PART);
    let part = Bytes::from(payload(PART));
    let pieces = stream::iter((0..total / PART).map(|_| Ok(part.clone())).collect::<Vec<_>>());
    bench.runtime.block_on(bench.store.put_stream("down", pieces)).expect("uploaded");
    let ours = |_| {
        let read = async {
            let stream = bench.store.get_stream("down", ReadRange::Whole).await?;
            stream.try_fold(0, |sum, bytes| async move { Ok(sum + bytes.len()) }).await
        };
        let (seconds, read) = bench.seconds(read);
        assert_eq!(read.expect("read"), total);
        rate(total, seconds)
    };
    let floor = |_| rate(total, bench.seconds(ranged(bench, "log/down", total)).0);
    let [ours, floor] = bench.compare(size(ROUNDS, 1), ours, floor);
    figures::keep(row, "kfs", ours);
    figures::keep(row, "floor: bare ranged GETs of 8 MiB, 8 at a time", floor);
    bench.runtime.block_on(bench.store.delete("down")).expect("deleted");
}

fn writer_options() -> WriterOptions {
    WriterOptions::default().flush_bytes(SEGMENT).segment_bytes(SEGMENT + (64 << 10)).batch_check(BatchCheck::Crc)
}

/// Opens a writer on each of the partitions, which then owns it: that is no part of what is measured.
async fn open(partitions: &[Partition]) -> Vec<Writer> {
    let writers = partitions.iter().map(|partition| async {
        let writer = partition.writer_with(writer_options()).await.expect("writer");
        writer.claim().await.expect("claimed");
        writer
    });
    futures_util::future::join_all(writers).await
}

/// Appends batches of 1 MiB by each of the writers until all segments are durable.
async fn append(writers: &[Writer], segments: usize, one: &Bytes) {
    let appends = writers.iter().map(|writer| async {
        for _ in 0..segments * SEGMENT / one.len() {
            drop(writer.append_batches(one.clone()).await.expect("appended"));
        }
        writer.close(None).await.expect("closed");
    });
    futures_util::future::join_all(appends).await;
}

/// The loops of the floor send what a store is asked for: a segment, and with `indexes` its index at the same time.
fn append_to(bench: &Bench, row: &str, partitions: usize, indexes: bool) {
    let segments = size(512 << 20, 2 * SEGMENT * partitions) / SEGMENT / partitions;
    let total = segments * partitions * SEGMENT;
    // A batch has a header, so eight of these fill a segment.
    let one = batch(1, Codec::None, |_| payload((1 << 20) - 200));
    let ours = |round: usize| {
        let topic = format!("append-{partitions}-{round}");
        let all: Vec<_> = (0..partitions).map(|n| bench.partition(&topic, n as i32)).collect();
        let writers = bench.runtime.block_on(open(&all));
        let (seconds, ()) = bench.seconds(append(&writers, segments, one.bytes()));
        rate(total, seconds)
    };
    // A segment of 8 batches has as many entries in its index.
    let (segment, index) = (Bytes::from(payload(SEGMENT)), Bytes::from(payload(16 + 8 * 12)));
    let floor = |round: usize| {
        let puts = (0..partitions).map(|partition| {
            let (segment, index) = (segment.clone(), index.clone());
            async move {
                for n in 0..segments {
                    let key = format!("bare/append-{partitions}-{round}-{partition}-{n}");
                    let beside = async {
                        if indexes {
                            bench.put(&format!("{key}.index"), index.clone()).await;
                        }
                    };
                    tokio::join!(bench.put(&key, segment.clone()), beside);
                }
            }
        });
        let (seconds, _) = bench.seconds(futures_util::future::join_all(puts));
        rate(total, seconds)
    };
    let [ours, floor] = bench.compare(size(ROUNDS, 1), ours, floor);
    figures::keep(row, "kfs", ours);
    let what = if indexes { "bare PUT loops of 8 MiB and an index" } else { "bare PUT loops of 8 MiB" };
    figures::keep(row, &format!("floor: as many {what}"), floor);
}

fn append_one(bench: &Bench, row: &str) {
    append_to(bench, row, 1, false);
}

fn append_eight(bench: &Bench, row: &str) {
    append_to(bench, row, 8, true);
}

fn scan(bench: &Bench, row: &str) {
    let segments = size(1 << 30, 2 * SEGMENT) / SEGMENT;
    let total = segments * SEGMENT;
    let partition = bench.partition("scan", 0);
    let one = batch(64, Codec::None, |_| payload((16 << 10) - 10));
    let writers = bench.runtime.block_on(open(std::slice::from_ref(&partition)));
    bench.runtime.block_on(append(&writers, segments, one.bytes()));
    let whole = Bytes::from(payload(SEGMENT));
    let pieces = stream::iter((0..segments).map(|_| Ok(whole.clone())).collect::<Vec<_>>());
    bench.runtime.block_on(bench.store.put_stream("bare-scan", pieces)).expect("uploaded");
    let ours = |_| {
        // A cold reader: its bucket has read nothing.
        let guard = bench.runtime.enter();
        let store = Store::open(&bench.server.url("log"), &bench.server.store_options()).expect("store");
        let bucket = Bucket::from_store(store, BucketOptions::default()).expect("bucket");
        drop(guard);
        let read = async {
            let reader = bucket.partition("scan", 0)?.reader_with(ReaderOptions::default().fetch_bytes(SEGMENT));
            let mut batches = reader.batches(0);
            let mut bytes = 0;
            while let Some(batch) = batches.next().await? {
                bytes += batch.bytes().len();
            }
            Ok::<_, kfs_core::Error>(bytes)
        };
        let (seconds, read) = bench.seconds(read);
        rate(read.expect("read"), seconds)
    };
    let floor = |_| rate(total, bench.seconds(ranged(bench, "log/bare-scan", total)).0);
    let [ours, floor] = bench.compare(size(ROUNDS, 1), ours, floor);
    figures::keep(row, "kfs", ours);
    figures::keep(row, "floor: bare ranged GETs of 8 MiB, 8 at a time", floor);
}

fn durable(bench: &Bench, row: &str) {
    let one = batch(1, Codec::None, |_| payload(1 << 10));
    let partition = bench.partition("durable", 0);
    let writer = bench.runtime.block_on(partition.writer_with(WriterOptions::default())).expect("writer");
    let (segment, index) = (Bytes::from(payload(one.bytes().len() + 48)), Bytes::from(payload(28)));
    let ours = |_| {
        let (seconds, done) =
            bench.seconds(async { writer.append_batches(one.bytes().clone()).await?.durable().await });
        done.expect("durable");
        seconds * 1e6
    };
    let floor = |round| {
        let keys = [format!("bare/durable-{round}.kfs"), format!("bare/durable-{round}.index")];
        let both = async {
            tokio::join!(bench.put(&keys[0], segment.clone()), bench.put(&keys[1], index.clone()));
        };
        bench.seconds(both).0 * 1e6
    };
    let [ours, floor] = bench.compare(size(500, 2), ours, floor);
    bench.runtime.block_on(writer.close(None)).expect("closed");
    figures::keep(row, "kfs", ours);
    figures::keep(row, "floor: two bare PUTs at the same time", floor);
}

type Benchmark = fn(&Bench, &str);

const ROWS: &[(&str, Benchmark)] = &[
    ("durable append to S3", durable),
    ("append to S3", append_one),
    ("append to 8 partitions in S3", append_eight),
    ("scan 1 GiB from S3", scan),
    ("upload 512 MiB to S3", upload),
    ("download 512 MiB from S3", download),
];

#[allow(clippy::disallowed_methods, reason = "what is older was measured by another run")]
fn main() {
    let begun = SystemTime::now();
    for (name, benchmark) in ROWS.iter().filter(|(row, _)| asked_for(row)) {
        // Each has a server of its own, whose directory goes with it.
        let Some(bench) = Bench::start() else { return };
        benchmark(&bench, name);
    }
    if measures() {
        println!("\n{}", table::markdown(Some(begun)));
    }
}
