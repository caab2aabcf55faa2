//! What the benchmarks share. Each compares, in one run, with the floor (`benches/floor.rs`) and
//! with what a user would pick instead.

mod discard;

pub use discard::Discard;

/// Payload sizes in bytes: one small record batch, one default batch, one default flush.
pub const SIZES: [usize; 3] = [4 << 10, 64 << 10, 8 << 20];

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
