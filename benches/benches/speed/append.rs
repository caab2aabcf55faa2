//! Appends through a writer into a store that discards, one core, segments of 8 MiB; against one
//! checksum pass over the same bytes, which are more than the caches hold.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kfs_benches::{Discard, payload};
use kfs_core::format::{BatchBuilder, BatchOptions, NewRecord};
use kfs_core::{Bucket, BucketOptions, WriterOptions};

/// Bytes appended in one round.
const ROUND: usize = 256 << 20;

fn batches(size: usize) -> Vec<Bytes> {
    let value = payload(size - 80);
    let one = |_| {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(&NewRecord::new(1_767_225_600_000).value(&value)).expect("a record fits in a batch");
        builder.finish(0).expect("the batch is whole").bytes().clone()
    };
    (0..ROUND / size).map(one).collect()
}

async fn append_all(bucket: &Bucket, batches: &[Bytes]) {
    let writer = bucket.partition("bench", 0).expect("name").writer(WriterOptions::default()).await.expect("writer");
    for batch in batches {
        drop(writer.append(batch.clone()).await.expect("room"));
    }
    writer.close(None).await.expect("closed");
}

fn append(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let guard = runtime.enter();
    let bucket = Bucket::from_object_store(Arc::new(Discard), BucketOptions::default()).expect("bucket");
    drop(guard);
    let mut group = c.benchmark_group("append");
    group.sample_size(10);
    for size in [1 << 10, 16 << 10] {
        let batches = batches(size);
        group.throughput(Throughput::Bytes(batches.iter().map(|b| b.len() as u64).sum()));
        group.bench_with_input(BenchmarkId::new("floor: crc32c", size), &batches, |b, batches| {
            b.iter(|| batches.iter().fold(0, |sum, batch| sum ^ crc32c::crc32c(black_box(batch))));
        });
        group.bench_with_input(BenchmarkId::new("append", size), &batches, |b, batches| {
            b.iter(|| runtime.block_on(append_all(&bucket, black_box(batches))));
        });
    }
    group.finish();
    let mut group = c.benchmark_group("append records");
    group.sample_size(10);
    let value = payload(100);
    let records: Vec<_> = (0..100).map(|n| NewRecord::new(1_767_225_600_000 + n).value(&value)).collect();
    const COUNT: u64 = 2_000_000;
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("100 bytes, no codec", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let partition = bucket.partition("bench", 1).expect("name");
                let writer = partition.writer(WriterOptions::default()).await.expect("writer");
                for _ in 0..COUNT / 100 {
                    drop(writer.append_records(black_box(&records)).await.expect("room"));
                }
                writer.close(None).await.expect("closed");
            });
        });
    });
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
