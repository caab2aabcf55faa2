//! What the batches of a segment say together, and whether its header and its footer agree.

use super::{BatchHeader, Malformed, SegmentFooter, SegmentHeader};

/// A batch whose base offset is below the end of what precedes it.
///
/// KafScale's broker gives only the first batch of a produce call its offset, so that the ones after
/// it keep the client's. Readers pass over such a batch, as Kafka's clients do; the index and the
/// message count leave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Overlap {
    /// The batch's first byte, from the segment's start.
    pub position: u64,
    /// The batch's base offset.
    pub base_offset: i64,
    /// The least offset that it could have.
    pub expected_offset: i64,
}

/// The sum of a segment's batches, which are added in their order.
#[derive(Clone, Debug)]
pub(crate) struct BatchSum {
    base_offset: i64,
    footer_last: i64,
    footer_matched: bool,
    batches: usize,
    next_offset: i64,
    /// Records of batches that don't overlap, and of all.
    records: i64,
    all_records: i64,
    overlaps: Vec<Overlap>,
}

impl BatchSum {
    pub(crate) fn new(header: &SegmentHeader, footer: &SegmentFooter) -> Self {
        BatchSum {
            base_offset: header.base_offset,
            footer_last: footer.last_offset,
            footer_matched: false,
            batches: 0,
            next_offset: header.base_offset,
            records: 0,
            all_records: 0,
            overlaps: Vec::new(),
        }
    }

    /// Adds the batch that begins at this byte of the segment, and says whether it overlaps what precedes it.
    ///
    /// # Errors
    /// [`Malformed`] with a position in the object, for a first batch that does not begin where the segment does.
    pub(crate) fn add(&mut self, position: u64, batch: &BatchHeader) -> Result<bool, Malformed> {
        if self.batches == 0 && batch.base_offset != self.base_offset {
            let found = format!("base offset {}", batch.base_offset);
            return Err(Malformed::new(position, found, format!("{}, the segment's", self.base_offset)));
        }
        let records = i64::from(batch.record_count);
        self.batches += 1;
        self.all_records += records;
        self.footer_matched |= batch.last_offset() == self.footer_last;
        let overlaps = batch.base_offset < self.next_offset;
        if overlaps {
            let (base_offset, expected_offset) = (batch.base_offset, self.next_offset);
            self.overlaps.push(Overlap { position, base_offset, expected_offset });
        } else {
            self.records += records;
            self.next_offset = batch.next_offset();
        }
        Ok(overlaps)
    }

    /// Compares header and footer with what the batches say; the body's CRC too, where it was computed.
    ///
    /// # Errors
    /// [`Malformed`] with a position in the object, whose footer begins at `footer_at`.
    pub(crate) fn check(
        &self,
        header: &SegmentHeader,
        footer: &SegmentFooter,
        footer_at: u64,
        body_crc: Option<u32>,
    ) -> Result<(), Malformed> {
        if let Some(body_crc) = body_crc.filter(|crc| *crc != footer.crc) {
            return Err(Malformed::new(
                footer_at,
                format!("body CRC {:08x}", footer.crc),
                format!("{body_crc:08x}, which the body has"),
            ));
        }
        let count = i64::from(header.message_count);
        // KafScale counts what it gave an offset; what overlaps it may count or not.
        let counted = if self.overlaps.is_empty() { count == self.records } else { count <= self.all_records };
        if !counted {
            let expected = format!("{}, which the batches have", self.records);
            return Err(Malformed::new(16, format!("a message count of {count}"), expected));
        }
        let last = footer.last_offset;
        let ends = if self.overlaps.is_empty() { last + 1 == self.next_offset } else { self.footer_matched };
        if !ends {
            let expected = format!("{}, the last batch's", self.next_offset - 1);
            return Err(Malformed::new(footer_at + 4, format!("last offset {last}"), expected));
        }
        Ok(())
    }

    /// How many batches were added.
    pub(crate) fn batches(&self) -> usize {
        self.batches
    }

    /// One past the last offset of the batches that don't overlap.
    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The batches that overlap, in their order.
    pub(crate) fn overlaps(&self) -> &[Overlap] {
        &self.overlaps
    }

    /// The same, without the sum.
    pub(super) fn into_overlaps(self) -> Vec<Overlap> {
        self.overlaps
    }
}
