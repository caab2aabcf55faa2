//! What is appended and read.

use kfs_core::format::{Batch, BatchBuilder, BatchOptions, Codec, NewRecord};

/// Bytes that don't compress, the same in every run.
pub fn payload(size: usize) -> Vec<u8> {
    let mut state: u64 = 1;
    (0..size)
        .map(|_| {
            // Knuth's MMIX constants.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// A batch of `count` records with values of their number.
pub fn batch(count: usize, codec: Codec, value: impl Fn(usize) -> Vec<u8>) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default().compression(codec));
    for n in 0..count {
        let value = value(n);
        assert!(builder.push(&NewRecord::new(1_767_225_600_000 + n as i64).value(&value)).expect("small"));
    }
    builder.finish(0).expect("a batch")
}
