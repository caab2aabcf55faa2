mod broken_end;
mod cache;
mod changes;
mod committed;
mod corrupt;
mod extremes;
mod fetch;
mod index;
mod manifest;
mod many_small;
mod mapped;
mod remade;
mod sourced;
mod sources_at_fault;
mod stream;
mod tail;
mod times;

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::error::Result;
use crate::format::{Batch, CrcCheck};
use crate::log::fixtures::{Fixture, batch};
use crate::store::Version;

/// What the log must hold, kept the simplest way.
#[derive(Default)]
pub(super) struct Model {
    pub(super) batches: Vec<Batch>,
}

impl Model {
    pub(super) fn end(&self) -> i64 {
        self.batches.last().map_or(0, |b| b.next_offset())
    }

    /// The bytes that a fetch must give, and the next offset.
    pub(super) fn fetch(&self, offset: i64, max_bytes: usize) -> (Vec<u8>, i64) {
        let (mut bytes, mut next) = (Vec::new(), offset);
        for batch in self.batches.iter().filter(|b| b.next_offset() > offset) {
            if !bytes.is_empty() && bytes.len() + batch.bytes().len() > max_bytes {
                break;
            }
            bytes.extend_from_slice(batch.bytes());
            next = batch.next_offset();
        }
        (bytes, next)
    }

    /// Appends a segment of these batches to the store and to the model.
    pub(super) async fn append(&mut self, f: &Fixture, batches: &[Batch], interval: i32) {
        let base = self.end();
        f.put_segment(base, batches, interval).await;
        for batch in batches {
            self.batches.push(batch.with_base_offset(self.end(), None).unwrap());
        }
    }

    pub(super) fn check(&self, fetch: &Fetch, offset: i64, max_bytes: usize) {
        let (bytes, next) = self.fetch(offset, max_bytes);
        assert!(fetch.chunks.concat() == bytes, "at {offset}, {max_bytes} bytes: {}, not {next}", fetch.next_offset);
        assert_eq!(fetch.next_offset, next);
        self.check_part(fetch, offset, max_bytes);
    }

    /// Checks a fetch that may give less than fits, to spare requests, but not nothing.
    pub(super) fn check_part(&self, fetch: &Fetch, offset: i64, max_bytes: usize) {
        let (bytes, next) = self.fetch(offset, max_bytes);
        let got = fetch.chunks.concat();
        assert!(bytes.starts_with(&got), "at {offset}, {max_bytes} bytes: {}, not {next}", fetch.next_offset);
        assert!(!got.is_empty() || bytes.is_empty(), "at {offset}, {max_bytes} bytes");
        let last = fetch.batches().last().map_or(offset, |batch| batch.unwrap().next_offset());
        assert_eq!(fetch.next_offset, last);
        assert!(fetch.high_watermark >= last, "what was read is durable: {} < {last}", fetch.high_watermark);
        for chunk in &fetch.chunks {
            let whole: usize = crate::format::batches(chunk, CrcCheck::Verify).map(|b| b.unwrap().bytes().len()).sum();
            assert_eq!(whole, chunk.len(), "invariant 6: only whole batches");
        }
    }
}

pub(super) fn sizes() -> Vec<Batch> {
    [(1, 10), (3, 100), (7, 1), (1, 5_000), (2, 0), (20, 30), (1, 1), (1, 1), (5, 900), (1, 40_000), (4, 4)]
        .iter()
        .map(|(count, size)| batch(*count, *size))
        .collect()
}

/// Reads whole segments, and of larger ones parts of 4 KiB.
pub(super) fn small_blocks() -> ReaderOptions {
    ReaderOptions::default().block_bytes(4096)
}

/// A log of five segments: small and large ones, indexes with few and with many entries.
pub(super) async fn log() -> (Fixture, Model) {
    let f = Fixture::new();
    let mut model = Model::default();
    for interval in [1, 10, 100, 5] {
        model.append(&f, &sizes(), interval).await;
        model.append(&f, &[batch(2, 20)], interval).await;
    }
    (f, model)
}

pub(super) async fn flip(f: &Fixture, key: &str, position: usize) {
    let mut bytes = f.get(key).await.to_vec();
    bytes[position] ^= 0x20;
    f.put(key, Bytes::from(bytes)).await;
}
