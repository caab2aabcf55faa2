//! CRC-32C by the two crates that one would take, over the sizes that batches and segments have: in
//! the cache, and in passes over more than the caches hold; and what joining two CRCs costs.

use std::hint::black_box;

use crc_fast::{CrcAlgorithm, Digest, checksum_combine, crc32_iscsi};
use criterion::{Criterion, Throughput};
use kfs_benches::{payload, size};

/// More than the caches hold.
fn cold() -> usize {
    size(256 << 20, 16 << 20)
}

/// 61 bytes of header stand before what a CRC covers, so few batches are aligned.
const SHIFT: usize = 21;

const SIZES: [(&str, usize); 4] = [("1 KiB", 1 << 10), ("4 KiB", 4 << 10), ("16 KiB", 16 << 10), ("8 MiB", 8 << 20)];

type Crc = fn(&[u8]) -> u32;

pub(crate) fn crc(c: &mut Criterion, _: &str) {
    passes(c);
    small(c);
}

fn passes(c: &mut Criterion) {
    let bytes = payload(cold() + SHIFT);
    let bytes = bytes.get(SHIFT..).unwrap_or_default();
    let crates: [(&str, Crc); 3] =
        [("crc32c", crc32c::crc32c), ("crc-fast", crc32_iscsi), ("kfs", kfs_core::format::crc32c)];
    for (size_name, size) in SIZES {
        let hot = &bytes[..size];
        let mut group = c.benchmark_group(format!("crc {size_name} hot"));
        group.throughput(Throughput::Bytes(size as u64));
        for (name, crc) in crates {
            group.bench_function(name, |b| b.iter(|| crc(black_box(hot))));
        }
        group.finish();
        let mut group = c.benchmark_group(format!("crc {size_name} cold"));
        group.sample_size(10).throughput(Throughput::Bytes(cold() as u64));
        for (name, crc) in crates {
            group.bench_function(name, |b| {
                b.iter(|| bytes.chunks(size).fold(0, |sum, chunk| sum ^ crc(black_box(chunk))))
            });
        }
        group.finish();
    }
}

fn small(c: &mut Criterion) {
    let bytes = payload(200 + SHIFT);
    let bytes = bytes.get(SHIFT..).unwrap_or_default();
    for size in [21, 200] {
        let hot = &bytes[..size];
        let mut group = c.benchmark_group(format!("crc append {size} bytes"));
        group.bench_function("crc32c", |b| b.iter(|| crc32c::crc32c_append(black_box(7), black_box(hot))));
        group.bench_function("crc-fast", |b| {
            b.iter(|| {
                let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!black_box(7_u32)));
                digest.update(black_box(hot));
                digest.finalize() as u32
            });
        });
        group.bench_function("kfs", |b| b.iter(|| kfs_core::format::crc32c_append(black_box(7), black_box(hot))));
        group.finish();
    }
    let mut group = c.benchmark_group("crc combine 16 KiB");
    let len = 16 << 10;
    group.bench_function("crc32c", |b| b.iter(|| crc32c::crc32c_combine(black_box(1), black_box(2), black_box(len))));
    group.bench_function("crc-fast", |b| {
        b.iter(|| checksum_combine(CrcAlgorithm::Crc32Iscsi, black_box(1), black_box(2), black_box(len as u64)));
    });
    group.bench_function("kfs", |b| {
        b.iter(|| kfs_core::format::crc32c_combine(black_box(1), black_box(2), black_box(len as u64)));
    });
    group.finish();
}
