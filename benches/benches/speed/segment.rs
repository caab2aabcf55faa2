//! Segments: building one of batches that were checked on append, and checking one on the way in,
//! against one checksum pass over the same bytes.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use kfs_benches::{batch, payload};
use kfs_core::format::{Batch, Codec, CrcCheck, DEFAULT_INDEX_INTERVAL, Segment, SegmentBuilder, crc32c};

/// What a segment holds by default, in bytes.
const SEGMENT: usize = 8 << 20;

fn build(batches: &[Batch]) -> Vec<Bytes> {
    let mut builder = SegmentBuilder::new(0, 0, DEFAULT_INDEX_INTERVAL).expect("offset 0 is valid");
    for batch in batches {
        builder.push(batch, None).expect("the batch fits");
    }
    builder.finish().expect("there are batches").chunks
}

pub(crate) fn segment(c: &mut Criterion, row: &str) {
    let mut group = c.benchmark_group(row);
    for size in [1 << 10, 16 << 10, 256 << 10] {
        let batches = vec![batch(1, Codec::None, |_| payload(size)); SEGMENT / size];
        let whole = Bytes::from(build(&batches).concat());
        group.throughput(Throughput::Bytes(whole.len() as u64));
        group.bench_with_input(BenchmarkId::new("floor: CRC pass", size), &whole, |b, whole| {
            b.iter(|| crc32c(black_box(whole)));
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
