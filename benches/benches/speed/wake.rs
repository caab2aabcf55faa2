//! How long after a durable append a fetch of many partitions that waits for it is answered, against the bare wake-up
//! of a task through a channel. The two take turns, as in `durable.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::Criterion;
use kfs_benches::{batch, figures, payload, size};
use kfs_core::format::Codec;
use kfs_core::{Bucket, BucketOptions, FetchRequest, Partition, Writer};
use object_store::memory::InMemory;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

/// One partition in so many is active.
const ACTIVE: usize = 100;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Microseconds from one moment to another; 0 if it came before.
fn micros(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e6
}

/// Partitions of which each has a log and a writer, and the writers of those that are active.
async fn open(bucket: &Bucket, count: usize, batch: &Bytes) -> (Vec<Partition>, Vec<Writer>) {
    let (mut partitions, mut writers) = (Vec::new(), Vec::new());
    for n in 0..count {
        let partition = bucket.partition("bench", n as i32).expect("name");
        let writer = partition.writer().await.expect("writer");
        writer.append_batches(batch.clone()).await.expect("room").durable().await.expect("durable");
        partitions.push(partition);
        writers.push(writer);
    }
    (partitions, writers)
}

/// A fetch that waits again and again, and tells when it was answered.
#[allow(clippy::disallowed_methods, reason = "the waiting tasks are those of a user")]
fn wait(runtime: &Runtime, bucket: &Bucket, partitions: &[Partition], answered: UnboundedSender<Instant>) {
    let wanted = partitions.iter().map(|partition| (partition, 1, 1 << 20));
    let mut request = FetchRequest::new(wanted).max_wait(Duration::from_secs(3600));
    let bucket = bucket.clone();
    runtime.spawn(async move {
        while let Ok(response) = bucket.fetch_many(&request).await {
            if answered.send(now()).is_err() {
                return;
            }
            request.advance(&response);
        }
    });
}

/// Tasks that wait for a channel to change, and tell when it did.
#[allow(clippy::disallowed_methods, reason = "the floor is tokio's own")]
fn bare(runtime: &Runtime, count: usize) -> (watch::Sender<u32>, UnboundedReceiver<Instant>) {
    let (send, _) = watch::channel(0);
    let (woken, wakes) = unbounded_channel();
    for _ in 0..count {
        let (mut changes, woken) = (send.subscribe(), woken.clone());
        runtime.spawn(async move {
            while changes.changed().await.is_ok() {
                changes.mark_unchanged();
                if woken.send(now()).is_err() {
                    return;
                }
            }
        });
    }
    (send, wakes)
}

/// Lets all waiters wait again.
#[allow(clippy::disallowed_methods, reason = "nothing tells that a task waits")]
async fn rest() {
    tokio::time::sleep(Duration::from_millis(size(50, 5) as u64)).await;
}

pub(crate) fn wake(_: &mut Criterion, row: &str) {
    let (count, waiters) = (size(1000, 100), size(100, 4));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let guard = runtime.enter();
    let bucket = Bucket::from_object_store(Arc::new(InMemory::new()), BucketOptions::default()).expect("bucket");
    drop(guard);
    let one = batch(1, Codec::None, |_| payload(1 << 10)).bytes().clone();
    let (partitions, writers) = runtime.block_on(open(&bucket, count, &one));
    let (answered, mut answers) = unbounded_channel();
    for _ in 0..waiters {
        wait(&runtime, &bucket, &partitions, answered.clone());
    }
    let (send, mut wakes) = bare(&runtime, waiters);
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for n in 0..size(200, 2) {
        let writer = writers.iter().step_by(ACTIVE).nth(n % (count / ACTIVE)).expect("an active one");
        runtime.block_on(async {
            rest().await;
            writer.append_batches(one.clone()).await.expect("room").durable().await.expect("durable");
            let durable = now();
            for _ in 0..waiters {
                ours.push(micros(durable, answers.recv().await.expect("an answer")));
            }
            rest().await;
            let sent = now();
            send.send_modify(|n| *n += 1);
            for _ in 0..waiters {
                floor.push(micros(sent, wakes.recv().await.expect("a wake-up")));
            }
        });
    }
    figures::keep(row, "kfs", median(ours));
    figures::keep(row, "floor: a channel wakes as many tasks", median(floor));
}
