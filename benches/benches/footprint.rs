//! What takes memory: bytes allocated per byte appended, and open partitions that are idle.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kfs_benches::{Counting, Discard, asked_for, batch, figures, payload, size, table};
use kfs_core::format::Codec;
use kfs_core::{Bucket, BucketOptions};
use object_store::memory::InMemory;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static MEMORY: Counting = Counting::new();

fn append_batches(row: &str, size: usize, total: usize) {
    if !asked_for(row) {
        return;
    }
    let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
    let batch = batch(1, Codec::None, |_| payload(size - 80)).bytes().clone();
    runtime.block_on(async {
        let bucket = Bucket::from_object_store(Arc::new(Discard), BucketOptions::default()).expect("bucket");
        let partition = bucket.partition("bench", 0).expect("name");
        let writer = partition.writer().await.expect("writer");
        let before = MEMORY.requested();
        for _ in 0..total / size {
            // As they come from a socket: each in a buffer of its own, which is not the library's.
            drop(writer.append_batches(batch.clone()).await.expect("room"));
        }
        writer.close(None).await.expect("closed");
        let allocated = MEMORY.requested() - before;
        figures::keep(row, table::ALLOCATED, allocated as f64 / (total / size * batch.len()) as f64);
    });
}

/// CPU time of this process, in milliseconds.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

async fn open(bucket: &Bucket, count: usize, batch: &Bytes) -> Vec<(kfs_core::Writer, kfs_core::Reader)> {
    let mut open = Vec::with_capacity(count);
    for n in 0..count {
        let partition = bucket.partition("idle", n as i32).expect("name");
        let writer = partition.writer().await.expect("writer");
        writer.append_batches(batch.clone()).await.expect("room").durable().await.expect("durable");
        let reader = partition.reader();
        assert_eq!(reader.fetch(0, 1 << 20).await.expect("fetched").next_offset, 1);
        open.push((writer, reader));
    }
    open
}

/// Each has a writer that appended and a reader that read. Their bytes are those that closing frees.
#[allow(clippy::disallowed_methods, reason = "what is measured is that nothing happens meanwhile")]
fn idle_partitions(row: &str) {
    if !asked_for(row) {
        return;
    }
    let count = size(10_000, 100);
    let runtime: Runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let guard = runtime.enter();
    let bucket = Bucket::from_object_store(Arc::new(InMemory::new()), BucketOptions::default()).expect("bucket");
    drop(guard);
    let batch = batch(1, Codec::None, |_| payload(100)).bytes().clone();
    let open = runtime.block_on(open(&bucket, count, &batch));
    let (requests, begun) = (bucket.requests(), cpu());
    std::thread::sleep(Duration::from_millis(size(1000, 10) as u64));
    figures::keep(row, "ms of CPU in a second", cpu() - begun);
    figures::keep(row, "requests in a second", bucket.requests().since(&requests).total() as f64);
    figures::keep(row, "tasks", runtime.metrics().num_alive_tasks() as f64);
    let held = MEMORY.held();
    runtime.block_on(async {
        for (writer, _) in &open {
            writer.close(None).await.expect("closed");
        }
    });
    drop(open);
    figures::keep(row, "kfs", held.saturating_sub(MEMORY.held()) as f64 / count as f64);
}

fn main() {
    for (row, size) in [("append 16 KiB batches", 16 << 10), ("append 1 KiB batches", 1 << 10)] {
        append_batches(row, size, kfs_benches::size(256 << 20, 32 << 20));
    }
    idle_partitions("10,000 idle partitions, each");
}
