//! Appends through a writer into a store that discards, one core, segments of 8 MiB. Batches are checked as a
//! broker checks a producer's, unless the row names another check.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use kfs_benches::{Discard, batch, payload, size};
use kfs_core::format::{Batch, BatchCheck, Codec, NewRecord, crc32c};
use kfs_core::{Bucket, BucketOptions, WriterOptions};
use tokio::runtime::Runtime;

use crate::decode::{copies, decode_ours, json_like};

/// Bytes appended in one round: more than the caches hold.
fn round() -> usize {
    size(256 << 20, 1 << 20)
}

fn discarding() -> (Runtime, Bucket) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let guard = runtime.enter();
    let bucket = Bucket::from_object_store(Arc::new(Discard), BucketOptions::default()).expect("bucket");
    drop(guard);
    (runtime, bucket)
}

pub(crate) fn large(c: &mut Criterion, row: &str) {
    batches(c, row, 16 << 10);
}

pub(crate) fn small(c: &mut Criterion, row: &str) {
    batches(c, row, 1 << 10);
}

fn batches(c: &mut Criterion, row: &str, size: usize) {
    let (runtime, bucket) = discarding();
    let value = payload(size - 80);
    let one = batch(1, Codec::None, |_| value.clone());
    let batches: Vec<_> = (0..round() / size).map(|_| Bytes::copy_from_slice(one.bytes())).collect();
    let mut group = c.benchmark_group(row);
    group.sample_size(10).throughput(Throughput::Bytes(batches.iter().map(|b| b.len() as u64).sum()));
    group.bench_function("floor: CRC pass", |b| {
        b.iter(|| batches.iter().fold(0, |sum, batch| sum ^ crc32c(black_box(batch))));
    });
    group.bench_function("kfs", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let partition = bucket.partition("bench", 0).expect("name");
                let writer = partition.writer().await.expect("writer");
                for batch in black_box(&batches) {
                    drop(writer.append_batches(batch.clone()).await.expect("room"));
                }
                writer.close(None).await.expect("closed");
            });
        });
    });
    group.finish();
}

pub(crate) fn produce(c: &mut Criterion, row: &str) {
    let value = payload(100);
    checked(c, row, BatchCheck::Produce, &batch(160, Codec::None, |_| value.clone()));
}

pub(crate) fn decode(c: &mut Criterion, row: &str) {
    let value = payload(100);
    checked(c, row, BatchCheck::Decode, &batch(160, Codec::None, |_| value.clone()));
}

pub(crate) fn produce_lz4(c: &mut Criterion, row: &str) {
    checked(c, row, BatchCheck::Produce, &batch(1000, Codec::Lz4, json_like));
}

/// Appends whose records are decoded first; the floor only decodes them.
fn checked(c: &mut Criterion, row: &str, check: BatchCheck, one: &Batch) {
    let (runtime, bucket) = discarding();
    let batches = copies(one);
    let records = batches.len() as u64 * u64::from(one.header().record_count.unsigned_abs());
    let mut group = c.benchmark_group(row);
    group.sample_size(10).throughput(Throughput::Elements(records));
    group.bench_function("floor: decode", |b| b.iter(|| decode_ours(black_box(&batches))));
    group.bench_function("kfs", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let partition = bucket.partition("bench", 2).expect("name");
                let writer = partition.writer_with(WriterOptions::default().batch_check(check)).await.expect("writer");
                for batch in black_box(&batches) {
                    drop(writer.append_batches(batch.clone()).await.expect("room"));
                }
                writer.close(None).await.expect("closed");
            });
        });
    });
    group.finish();
}

pub(crate) fn records(c: &mut Criterion, row: &str) {
    let (runtime, bucket) = discarding();
    let value = payload(100);
    let records: Vec<_> = (0..100).map(|n| NewRecord::new(1_767_225_600_000 + n).value(&value)).collect();
    let appends = size(20_000, 100);
    let mut group = c.benchmark_group(row);
    group.sample_size(10).throughput(Throughput::Elements((appends * records.len()) as u64));
    // The least that any builder does: each value into a batch, and each batch's checksum.
    group.bench_function("floor: memcpy and CRC pass", |b| {
        let mut batch = Vec::with_capacity(64 << 10);
        b.iter(|| {
            let mut sum = 0;
            for _ in 0..appends {
                for record in black_box(&records) {
                    if batch.len() + 100 > batch.capacity() {
                        sum ^= crc32c(&batch);
                        batch.clear();
                    }
                    batch.extend_from_slice(record.value.unwrap_or_default());
                }
            }
            sum
        });
    });
    group.bench_function("kfs", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let partition = bucket.partition("bench", 1).expect("name");
                let writer = partition.writer().await.expect("writer");
                for _ in 0..appends {
                    drop(writer.append(black_box(&records)).await.expect("room"));
                }
                writer.close(None).await.expect("closed");
            });
        });
    });
    group.finish();
}
