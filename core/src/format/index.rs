//! The sparse index of a segment: where some of its batches stand.

use std::cmp::Ordering;

use bytes::{BufMut, Bytes, BytesMut};

use super::Malformed;
use super::batch_header::BATCH_HEADER_LEN;
use super::fields::{array, be_i32, be_i64, be_u16};
use super::segment_frame::HEADER_LEN;

/// KafScale's interval: messages between index entries.
pub const DEFAULT_INDEX_INTERVAL: i32 = 100;

const MAGIC: [u8; 4] = *b"IDX\0";
const VERSION: u16 = 1;
const INDEX_HEADER_LEN: usize = 16;
const ENTRY_LEN: usize = 12;

/// One entry: the batch that starts at `offset` stands at byte `position` of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IndexEntry {
    /// The batch's base offset.
    pub offset: i64,
    /// Its first byte, from the segment's start; the first batch's is 32.
    pub position: u64,
}

/// A parsed sparse index, 12 bytes an entry in memory.
///
/// An index only says where to look first (invariant 5): the batch header found at a position must
/// carry the entry's offset, else the index is stale or another segment's.
#[derive(Clone, PartialEq, Eq)]
pub struct SparseIndex {
    interval: i32,
    /// The entries as stored.
    entries: Bytes,
}

impl SparseIndex {
    /// Reads an index; trailing bytes are ignored.
    ///
    /// # Errors
    /// [`Malformed`] for a short header, another magic or version, a negative count, a count that
    /// runs past the end, and entries whose offsets or positions don't ascend.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (Some(magic), Some(version), Some(count), Some(interval), Some(entries)) = (
            array::<4>(bytes, 0),
            be_u16(bytes, 4),
            be_i32(bytes, 6),
            be_i32(bytes, 10),
            bytes.get(INDEX_HEADER_LEN..),
        ) else {
            return Err(Malformed::new(bytes.len() as u64, "the end of the bytes", "an index header of 16 bytes"));
        };
        if magic != MAGIC {
            return Err(Malformed::new(0, format!("magic {:?}", magic.escape_ascii().to_string()), "\"IDX\\0\""));
        }
        if version != VERSION {
            return Err(Malformed::unsupported(4, format!("index version {version}"), "version 1"));
        }
        let len = usize::try_from(count).ok().and_then(|count| count.checked_mul(ENTRY_LEN));
        let Some(entries) = len.and_then(|len| entries.get(..len)) else {
            let expected = format!("0 to {}, which fit", entries.len() / ENTRY_LEN);
            return Err(Malformed::new(6, format!("an entry count of {count}"), expected));
        };
        check_order(entries)?;
        Ok(SparseIndex { interval, entries: Bytes::copy_from_slice(entries) })
    }

    /// The most bytes that an index of a segment of this size can have: each entry stands for a batch, and
    /// a batch has at least 61 bytes. A few bytes more are allowed, for a parser ignores what trails.
    pub(crate) fn max_len(segment_size: u64) -> u64 {
        const TRAILING: u64 = 4096;
        let entries = segment_size / BATCH_HEADER_LEN as u64;
        (INDEX_HEADER_LEN as u64).saturating_add(entries.saturating_mul(ENTRY_LEN as u64)).saturating_add(TRAILING)
    }

    /// The interval that the index was made with: messages between entries.
    pub fn interval(&self) -> i32 {
        self.interval
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len() / ENTRY_LEN
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries, ascending.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = IndexEntry> + '_ {
        self.entries.chunks_exact(ENTRY_LEN).map(entry)
    }

    fn get(&self, index: usize) -> Option<IndexEntry> {
        let at = index.checked_mul(ENTRY_LEN)?;
        self.entries.get(at..)?.get(..ENTRY_LEN).map(entry)
    }

    /// How many entries at the front fulfil a condition that holds for a front part only.
    fn partition_point(&self, holds: impl Fn(IndexEntry) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).map(&holds).cmp(&Some(true)) {
                Ordering::Equal => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// Where to start reading for `offset`: the greatest entry at or below it; below the first, the
    /// first. `None` only when there is no entry.
    pub fn find(&self, offset: i64) -> Option<IndexEntry> {
        self.get(self.partition_point(|entry| entry.offset <= offset).saturating_sub(1))
    }

    /// The first entry that stands after a position: where reading may end.
    pub fn next_after(&self, position: u64) -> Option<IndexEntry> {
        self.get(self.partition_point(|entry| entry.position <= position))
    }

    /// The index object's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(INDEX_HEADER_LEN + self.entries.len());
        out.put_slice(&MAGIC);
        out.put_u16(VERSION);
        // A segment below 2 GiB has fewer entries than i32 holds.
        out.put_i32(self.len() as i32);
        out.put_i32(self.interval);
        out.put_u16(0);
        out.put_slice(&self.entries);
        out.freeze()
    }
}

impl std::fmt::Debug for SparseIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SparseIndex").field("interval", &self.interval).field("entries", &self.len()).finish()
    }
}

/// A lookup by bisection finds nothing in entries that are out of order.
fn check_order(entries: &[u8]) -> Result<(), Malformed> {
    let mut before: Option<IndexEntry> = None;
    for (i, entry) in entries.chunks_exact(ENTRY_LEN).map(entry).enumerate() {
        let ascends = match before {
            Some(before) => entry.offset > before.offset && entry.position > before.position,
            None => entry.offset >= 0 && entry.position >= HEADER_LEN as u64,
        };
        // A negative position reads as one beyond i32.
        if !ascends || entry.position > i32::MAX as u64 {
            return Err(Malformed::new(
                (INDEX_HEADER_LEN + i * ENTRY_LEN) as u64,
                format!("an entry for offset {} at position {}", entry.offset, entry.position as u32 as i32),
                "offsets from 0 and positions from 32, both ascending",
            ));
        }
        before = Some(entry);
    }
    Ok(())
}

fn entry(bytes: &[u8]) -> IndexEntry {
    // Both are there: the caller cut 12 bytes.
    let offset = be_i64(bytes, 0).unwrap_or_default();
    let position = be_i32(bytes, 8).unwrap_or_default();
    IndexEntry { offset, position: position as u64 }
}

/// Builds a sparse index by KafScale's rule, batch after batch.
///
/// The first batch gets an entry, and every batch that comes when at least `interval` messages came
/// since the last entry's batch, that batch included.
#[derive(Clone, Debug)]
pub struct IndexBuilder {
    interval: i32,
    since_last: i64,
    entries: BytesMut,
}

impl IndexBuilder {
    /// An interval of 0 or less counts, and is stored, as 1.
    pub fn new(interval: i32) -> Self {
        IndexBuilder { interval: interval.max(1), since_last: 0, entries: BytesMut::new() }
    }

    /// Takes the next batch into account.
    pub fn push(&mut self, base_offset: i64, position: u64, record_count: i32) {
        if self.entries.is_empty() || self.since_last >= i64::from(self.interval) {
            self.entries.put_i64(base_offset);
            // Segments are smaller than 2 GiB.
            self.entries.put_i32(position as i32);
            self.since_last = 0;
        }
        self.since_last += i64::from(record_count);
    }

    /// The index of the batches so far.
    pub fn finish(self) -> SparseIndex {
        SparseIndex { interval: self.interval, entries: self.entries.freeze() }
    }
}

#[cfg(test)]
mod tests;
