//! A segment object: header, record batches back to back, footer.

use bytes::Bytes;

use super::batch::batch_headers;
use super::batch_header::CRC_FROM;
use super::batch_sum::{BatchSum, Overlap};
use super::segment_frame::{FOOTER_LEN, HEADER_LEN, SegmentFooter, SegmentHeader};
use super::{Batch, CrcCheck, IndexBuilder, Limits, Malformed, SparseIndex, TimeIndex, crc};

/// A batch and where it stands in its segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchAt {
    /// The batch's first byte, from the segment's start.
    pub position: u64,
    /// The batch.
    pub batch: Batch,
    /// Whether the batch's base offset is below its predecessor's end: see [`Overlap`]. Readers pass
    /// over it.
    pub overlaps: bool,
}

/// A whole, checked segment; a view that shares the object's bytes.
#[derive(Clone, Debug)]
pub struct Segment {
    bytes: Bytes,
    header: SegmentHeader,
    footer: SegmentFooter,
    next_offset: i64,
    batch_count: usize,
    overlaps: Vec<Overlap>,
}

impl Segment {
    /// Reads a whole segment and checks all of it in one pass: header, footer, every batch's header
    /// and CRC, the body's CRC, ascending offsets, and that header and footer agree with the
    /// batches. Records are not decoded.
    ///
    /// # Errors
    /// [`Malformed`] with a position in the object.
    pub fn parse(bytes: &Bytes, check: CrcCheck) -> Result<Segment, Malformed> {
        let header = SegmentHeader::parse(bytes)?;
        let Some((body, footer)) = bytes.len().checked_sub(FOOTER_LEN).and_then(|end| bytes.split_at_checked(end))
        else {
            return Err(Malformed::new(bytes.len() as u64, "the end of the bytes", "a segment footer of 16 bytes"));
        };
        if bytes.len() > i32::MAX as usize {
            return Err(Malformed::new(i32::MAX as u64, format!("{} bytes", bytes.len()), "less than 2 GiB"));
        }
        let footer_at = body.len() as u64;
        let footer = SegmentFooter::parse(footer).map_err(|e| e.offset_position(footer_at))?;
        let mut sum = BatchSum::new(&header, &footer);
        let crc = walk(&bytes.slice(..body.len()), &mut sum, check)?;
        sum.check(&header, &footer, footer_at, crc)?;
        Ok(Segment {
            bytes: bytes.clone(),
            header,
            footer,
            batch_count: sum.batches(),
            next_offset: sum.next_offset(),
            overlaps: sum.into_overlaps(),
        })
    }

    /// Like [`parse`](Self::parse), and checks that the segment is the one that its key names.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); and [`Malformed`] for another base offset.
    pub(crate) fn parse_at(base: i64, bytes: &Bytes, check: CrcCheck) -> Result<Segment, Malformed> {
        let segment = Self::parse(bytes, check)?;
        segment.header.check_key(base)?;
        Ok(segment)
    }

    /// The header's fields.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The footer's fields.
    pub fn footer(&self) -> &SegmentFooter {
        &self.footer
    }

    /// The whole object.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The first offset.
    pub fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// The offset that follows the segment. The footer's last offset is one less, unless batches
    /// overlap.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// How many batches there are, those that overlap included; at least one.
    pub fn batch_count(&self) -> usize {
        self.batch_count
    }

    /// The batches whose base offset is below their predecessor's end, in their order; empty for
    /// every segment that this library wrote.
    pub fn overlaps(&self) -> &[Overlap] {
        &self.overlaps
    }

    /// The batches in their order, with their positions. Nothing is checked again.
    pub fn batches(&self) -> SegmentBatches {
        let end = self.bytes.len().saturating_sub(FOOTER_LEN);
        SegmentBatches { body: self.bytes.slice(..end), at: HEADER_LEN, next_offset: self.header.base_offset }
    }

    /// The sparse index that belongs to the segment, made by the rule with the given interval.
    /// Batches that overlap are left out, as KafScale does.
    pub fn index(&self, interval: i32) -> SparseIndex {
        let mut builder = IndexBuilder::new(interval);
        let mut next_offset = self.header.base_offset;
        let body = self.bytes.get(..self.bytes.len().saturating_sub(FOOTER_LEN)).unwrap_or_default();
        for (at, header) in batch_headers(body, HEADER_LEN) {
            if header.base_offset >= next_offset {
                builder.push(header.base_offset, at as u64, header.record_count);
                next_offset = header.next_offset();
            }
        }
        builder.finish()
    }

    /// The range of timestamps and offsets of the segment's records, control records included;
    /// decodes them all. `None` when there is no record.
    ///
    /// # Errors
    /// [`Malformed`] with a position in the object, for records that can't be read.
    pub fn time_range(&self, limits: &Limits) -> Result<Option<TimeIndex>, Malformed> {
        let mut range: Option<TimeIndex> = None;
        for at in self.batches().filter(|at| !at.overlaps) {
            add_times(&mut range, &at.batch, limits).map_err(|e| e.offset_position(at.position))?;
        }
        Ok(range)
    }
}

/// Adds a batch's records to a range.
pub(crate) fn add_times(range: &mut Option<TimeIndex>, batch: &Batch, limits: &Limits) -> Result<(), Malformed> {
    for record in &batch.records(limits)? {
        let record = record?;
        range
            .get_or_insert_with(|| TimeIndex::of(record.timestamp_ms, record.offset))
            .add(record.timestamp_ms, record.offset);
    }
    Ok(())
}

/// One pass over a segment's batches. Gives the body's CRC, if CRCs are checked.
fn walk(body: &Bytes, sum: &mut BatchSum, check: CrcCheck) -> Result<Option<u32>, Malformed> {
    let (mut at, mut crc) = (HEADER_LEN, 0);
    // A segment without a batch is none.
    while at < body.len() || sum.batches() == 0 {
        let batch = Batch::parse(body, at, check)?;
        sum.add(at as u64, batch.header())?;
        if check == CrcCheck::Verify {
            crc = append_batch(crc, &batch);
        }
        at += batch.bytes().len();
    }
    Ok((check == CrcCheck::Verify).then_some(crc))
}

/// The CRC of bytes and a batch after them, of which the batch's own CRC was checked.
pub(super) fn append_batch(crc: u32, batch: &Batch) -> u32 {
    let (prefix, covered) = batch.bytes().split_at_checked(CRC_FROM).unwrap_or_default();
    append_covered(crc::append(crc, prefix), batch.header().crc, covered)
}

/// The CRC of bytes and further ones, whose own CRC is known.
#[inline]
pub(super) fn append_covered(crc: u32, covered_crc: u32, covered: &[u8]) -> u32 {
    /// Below this a second pass over bytes that are in the cache takes less time than combining
    /// (measured: 200 bytes take as long as a call).
    const COMBINE_FROM: usize = 200;
    if covered.len() < COMBINE_FROM {
        crc::append(crc, covered)
    } else {
        crc::combine(crc, covered_crc, covered.len() as u64)
    }
}

/// Iterator over a segment's batches; see [`Segment::batches`].
#[derive(Clone, Debug)]
pub struct SegmentBatches {
    body: Bytes,
    at: usize,
    next_offset: i64,
}

impl Iterator for SegmentBatches {
    type Item = BatchAt;

    fn next(&mut self) -> Option<BatchAt> {
        // Checked when the segment was read.
        let batch = Batch::parse(&self.body, self.at, CrcCheck::AlreadyChecked).ok()?;
        let position = self.at as u64;
        self.at += batch.bytes().len();
        let overlaps = batch.base_offset() < self.next_offset;
        if !overlaps {
            self.next_offset = batch.next_offset();
        }
        Some(BatchAt { position, batch, overlaps })
    }
}

impl std::iter::FusedIterator for SegmentBatches {}

#[cfg(test)]
mod tests;
