//! Segments: building one of batches that were checked on append, and checking one on the way in,
//! against one checksum pass over the same bytes.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kfs_benches::payload;
use kfs_core::format::{
    Batch, BatchBuilder, BatchOptions, CrcCheck, DEFAULT_INDEX_INTERVAL, NewRecord, Segment, SegmentBuilder,
};

/// What a segment holds by default, in bytes.
const SEGMENT: usize = 8 << 20;

fn batch_of(size: usize) -> Batch {
    let value = payload(size);
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(&NewRecord::new(1_767_225_600_000).value(&value)).expect("a record fits in a batch");
    builder.finish(0).expect("the batch is whole")
}

fn build(batches: &[Batch]) -> Vec<Bytes> {
    let mut builder = SegmentBuilder::new(0, 0, DEFAULT_INDEX_INTERVAL).expect("offset 0 is valid");
    for batch in batches {
        builder.push(batch, None).expect("the batch fits");
    }
    builder.finish().expect("there are batches").chunks
}

fn segment(c: &mut Criterion) {
    let mut group = c.benchmark_group("segment");
    for size in [1 << 10, 16 << 10, 256 << 10] {
        let batches = vec![batch_of(size); SEGMENT / size];
        let whole = Bytes::from(build(&batches).concat());
        group.throughput(Throughput::Bytes(whole.len() as u64));
        group.bench_with_input(BenchmarkId::new("floor: crc32c", size), &whole, |b, whole| {
            b.iter(|| crc32c::crc32c(black_box(whole)));
        });
        group.bench_with_input(BenchmarkId::new("build", size), &batches, |b, batches| {
            b.iter(|| build(black_box(batches)));
        });
        group.bench_with_input(BenchmarkId::new("check", size), &whole, |b, whole| {
            b.iter(|| Segment::parse(black_box(whole), CrcCheck::Verify).expect("the segment is whole"));
        });
    }
    group.finish();
}

criterion_group!(benches, segment);
criterion_main!(benches);
