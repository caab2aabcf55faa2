//! The floor: what any writer pays for a payload, one copy and one checksum pass.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kfs_benches::{SIZES, payload};

fn floor(c: &mut Criterion) {
    let mut group = c.benchmark_group("floor");
    for size in SIZES {
        let bytes = payload(size);
        let mut copy = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::new("memcpy", size), &bytes, |b, bytes| {
            b.iter(|| {
                copy.copy_from_slice(black_box(bytes));
                black_box(&copy);
            });
        });
        group.bench_with_input(BenchmarkId::new("crc32c", size), &bytes, |b, bytes| {
            b.iter(|| crc32c::crc32c(black_box(bytes)));
        });
    }
    group.finish();
}

criterion_group!(benches, floor);
criterion_main!(benches);
