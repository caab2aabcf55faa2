//! Building a segment without copying payloads.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::batch::check_range;
use super::batch_header::{CRC_FROM, PATCHED_LEN};
use super::segment::{add_times, append_covered};
use super::segment_frame::{FOOTER_LEN, FOOTER_MAGIC, HEADER_LEN, MAGIC, VERSION};
use super::{Batch, IndexBuilder, Limits, SparseIndex, TimeIndex, crc};
use crate::error::{Error, ErrorKind, Result};

/// The most bytes that a segment may have: index positions are `i32`.
pub const MAX_SEGMENT_LEN: u64 = i32::MAX as u64;

/// Batches below this are copied into the arena: 100 ns at most, where a chunk of its own costs its
/// bookkeeping and a place in every vectored write or HTTP frame.
const COPY_BELOW: usize = 4096;

/// Builds one segment from batches.
///
/// A batch's base offset is set, its leader epoch when asked; all else stays, and its payload is not
/// copied unless it is small. The segment's CRC is combined from those that the batches carry: they
/// must have been checked where the bytes entered.
#[derive(Debug)]
pub struct SegmentBuilder {
    base_offset: i64,
    created_ms: i64,
    next_offset: i64,
    /// Bytes so far, header included.
    len: u64,
    message_count: i32,
    batch_count: usize,
    crc: u32,
    index: IndexBuilder,
    /// Header, patched prefixes, small batches and at last the footer.
    arena: BytesMut,
    pieces: Vec<Piece>,
    times: Option<(Limits, Option<TimeIndex>)>,
}

/// What the segment consists of, in order.
#[derive(Debug)]
enum Piece {
    Arena(Range<usize>),
    Payload(Bytes),
}

/// A segment that is ready to be put, with its sidecars.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BuiltSegment {
    /// The first offset: part of the key.
    pub base_offset: i64,
    /// The last offset, as in the footer.
    pub last_offset: i64,
    /// The sum of the batches' record counts.
    pub message_count: i32,
    /// How many batches there are.
    pub batch_count: usize,
    /// Bytes of the segment object.
    pub size: u64,
    /// The object's bytes, in order; payloads are shared with the batches.
    pub chunks: Vec<Bytes>,
    /// The index object's bytes.
    pub index: Bytes,
    /// The same, to look things up.
    pub sparse: SparseIndex,
    /// The time index, when it was asked for and there is a record.
    pub time_index: Option<TimeIndex>,
}

impl SegmentBuilder {
    /// Starts a segment at an offset. `created_ms` is Unix milliseconds, `index_interval` the
    /// messages between index entries.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when no segment can start at that offset.
    pub fn new(base_offset: i64, created_ms: i64, index_interval: i32) -> Result<Self> {
        check_range(base_offset, 0)?;
        let mut builder = SegmentBuilder {
            base_offset,
            created_ms,
            next_offset: base_offset,
            len: HEADER_LEN as u64,
            message_count: 0,
            batch_count: 0,
            crc: 0,
            index: IndexBuilder::new(index_interval),
            arena: BytesMut::new(),
            pieces: Vec::new(),
            times: None,
        };
        // The message count is filled in at the end.
        builder.append(&[0; HEADER_LEN]);
        Ok(builder)
    }

    /// Asks for a time index too; records are decoded for it, within the limits. It is left out when the
    /// records of some batch can't be read: that must not keep the segment from being written.
    #[must_use]
    pub fn with_time_index(mut self, limits: Limits) -> Self {
        self.times = Some((limits, None));
        self
    }

    /// Makes room at once for what these batches will take: one allocation instead of a growing one.
    pub fn reserve<'b>(&mut self, batches: impl IntoIterator<Item = &'b Batch>) {
        let (mut bytes, mut large) = (FOOTER_LEN, 0_usize);
        for batch in batches {
            let len = batch.bytes().len();
            let copied = if len < COPY_BELOW { len } else { PATCHED_LEN };
            bytes = bytes.saturating_add(copied);
            large = large.saturating_add(usize::from(len >= COPY_BELOW));
        }
        self.arena.reserve(bytes);
        self.pieces.reserve(large.saturating_mul(2).saturating_add(1));
    }

    /// The offset that the next pushed batch gets.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Bytes that the segment would have now, footer included.
    pub fn size(&self) -> u64 {
        self.len + FOOTER_LEN as u64
    }

    /// The sum of the record counts so far.
    pub fn message_count(&self) -> i32 {
        self.message_count
    }

    /// How many batches there are so far.
    pub fn batch_count(&self) -> usize {
        self.batch_count
    }

    /// Whether a batch still fits: the segment stays below 2 GiB and the message count in `i32`.
    pub fn fits(&self, batch: &Batch) -> bool {
        self.size() + batch.bytes().len() as u64 <= MAX_SEGMENT_LEN
            && self.message_count.checked_add(batch.header().record_count).is_some()
    }

    /// Adds a batch at the next offset, stamped with a leader epoch when one is given.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it does not fit or would end beyond 2^63-2. The builder is then as
    /// before.
    pub fn push(&mut self, batch: &Batch, leader_epoch: Option<i32>) -> Result<()> {
        self.add(batch, self.next_offset, leader_epoch)
    }

    /// Adds a batch at the offset that it has: for tools that keep gaps.
    ///
    /// # Errors
    /// As [`SegmentBuilder::push`], and when that offset is below the next one, or for the first
    /// batch is not the segment's.
    pub fn push_at_own_offset(&mut self, batch: &Batch) -> Result<()> {
        let offset = batch.base_offset();
        if offset < self.next_offset || (self.batch_count == 0 && offset != self.base_offset) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("a batch at offset {offset} can't follow offset {}", self.next_offset),
            ));
        }
        self.add(batch, offset, None)
    }

    fn add(&mut self, batch: &Batch, offset: i64, leader_epoch: Option<i32>) -> Result<()> {
        check_range(offset, batch.header().last_offset_delta)?;
        let message_count = self.message_count.checked_add(batch.header().record_count);
        let Some(message_count) = message_count.filter(|_| self.fits(batch)) else {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "a batch of {} bytes and {} records does not fit in a segment of {} bytes and {} messages",
                    batch.bytes().len(),
                    batch.header().record_count,
                    self.size(),
                    self.message_count
                ),
            )
            .with_hint("a segment has less than 2 GiB and at most 2^31-1 messages"));
        };
        self.add_to_time_index(batch, offset);
        self.index.push(offset, self.len, batch.header().record_count);
        self.write(batch, offset, leader_epoch);
        self.message_count = message_count;
        self.batch_count += 1;
        self.len += batch.bytes().len() as u64;
        self.next_offset = offset + i64::from(batch.header().last_offset_delta) + 1;
        Ok(())
    }

    fn add_to_time_index(&mut self, batch: &Batch, offset: i64) {
        let Some((limits, range)) = &mut self.times else { return };
        let mut own = None;
        if add_times(&mut own, batch, limits).is_err() {
            self.times = None;
        } else if let Some(own) = own {
            let moved = offset.wrapping_sub(batch.base_offset());
            let range = range.get_or_insert_with(|| TimeIndex::of(own.min_ts, own.min_offset.wrapping_add(moved)));
            range.add(own.min_ts, own.min_offset.wrapping_add(moved));
            range.add(own.max_ts, own.max_offset.wrapping_add(moved));
        }
    }

    fn write(&mut self, batch: &Batch, offset: i64, leader_epoch: Option<i32>) {
        let prefix = batch.patched_prefix(offset, leader_epoch);
        let rest = batch.bytes().get(PATCHED_LEN..).unwrap_or_default();
        let unchanged = rest.get(..CRC_FROM - PATCHED_LEN).unwrap_or_default();
        // What the batch's own CRC does not cover, in one call.
        let mut uncovered = [0; CRC_FROM];
        let mut out = &mut uncovered[..];
        out.put_slice(&prefix);
        out.put_slice(unchanged);
        self.crc = append_covered(crc::append(self.crc, &uncovered), batch.header().crc, batch.covered());
        self.append(&prefix);
        if batch.bytes().len() < COPY_BELOW {
            self.append(rest);
        } else {
            self.pieces.push(Piece::Payload(batch.bytes().slice(PATCHED_LEN..)));
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        let start = self.arena.len();
        self.arena.put_slice(bytes);
        match self.pieces.last_mut() {
            Some(Piece::Arena(range)) => range.end = self.arena.len(),
            _ => self.pieces.push(Piece::Arena(start..self.arena.len())),
        }
    }

    /// The segment with its sidecars.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it holds no batch.
    pub fn finish(mut self) -> Result<BuiltSegment> {
        if self.batch_count == 0 {
            return Err(Error::new(ErrorKind::InvalidInput, "a segment holds at least one batch"));
        }
        let last_offset = self.next_offset - 1;
        let mut footer = [0; FOOTER_LEN];
        let mut out = &mut footer[..];
        out.put_u32(self.crc);
        out.put_i64(last_offset);
        out.put_slice(&FOOTER_MAGIC);
        self.append(&footer);

        let mut out = self.arena.get_mut(..HEADER_LEN).unwrap_or_default();
        out.put_slice(&MAGIC);
        out.put_u16(VERSION);
        out.put_u16(0);
        out.put_i64(self.base_offset);
        out.put_i32(self.message_count);
        out.put_i64(self.created_ms);
        out.put_u32(0);

        let size = self.size();
        let arena = self.arena.freeze();
        let chunk = |piece| match piece {
            Piece::Arena(range) => arena.slice(range),
            Piece::Payload(bytes) => bytes,
        };
        let sparse = self.index.finish();
        Ok(BuiltSegment {
            base_offset: self.base_offset,
            last_offset,
            message_count: self.message_count,
            batch_count: self.batch_count,
            size,
            chunks: self.pieces.into_iter().map(chunk).collect(),
            index: sparse.encode(),
            sparse,
            time_index: self.times.and_then(|(_, range)| range),
        })
    }
}

#[cfg(test)]
mod tests;
