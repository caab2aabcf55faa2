//! Finding the segment of an offset in what a process knows of a log of 100,000 segments.

use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use kfs_benches::{Discard, batch, payload, size};
use kfs_core::format::Codec;
use kfs_core::{Bucket, BucketOptions, Partition, WriterOptions};

/// A partition whose every batch is a segment, as the writer's own commits let the process know.
fn partition(segments: usize) -> Partition {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let bucket = Bucket::from_object_store(Arc::new(Discard), BucketOptions::default()).expect("bucket");
        let partition = bucket.partition("bench", 0).expect("name");
        let options = WriterOptions::default().flush_bytes(1);
        let writer = partition.writer_with(options).await.expect("writer");
        let one = batch(10, Codec::None, |_| payload(10));
        for _ in 0..segments {
            drop(writer.append_batches(one.bytes().clone()).await.expect("room"));
        }
        writer.close(None).await.expect("closed");
        partition
    })
}

pub(crate) fn locate(c: &mut Criterion, row: &str) {
    let segments = size(100_000, 100);
    let partition = partition(segments);
    let bases: Vec<_> = (0..segments as i64).map(|n| n * 10).collect();
    // In no order, so that neither branches nor caches foresee them.
    let random = payload(4 << 12);
    let offsets: Vec<_> = random
        .chunks_exact(4)
        .map(|four| i64::from(u32::from_le_bytes(four.try_into().expect("four"))) % (segments as i64 * 10))
        .collect();
    let mut group = c.benchmark_group(row);
    group.bench_function("floor: binary search", |b| {
        let mut offsets = offsets.iter().cycle();
        b.iter(|| {
            let offset = *offsets.next().expect("endless");
            bases.partition_point(|base| *base <= black_box(offset))
        });
    });
    group.bench_function("kfs", |b| {
        let mut offsets = offsets.iter().cycle();
        b.iter(|| {
            let offset = *offsets.next().expect("endless");
            partition.known_segment(black_box(offset)).expect("known")
        });
    });
    group.finish();
}
