//! Cutting a batch off at an offset.

use super::batch_builder::seal;
use super::batch_header::BATCH_HEADER_LEN;
use super::{Batch, Compression, Limits, Malformed, compression};
use crate::error::Error;

impl Batch {
    /// The batch without its records from an offset on. It ends where the offset is, and holds the other records byte by byte;
    /// they are compressed again with the same codec. Producer, sequence number, flags and timestamps stay.
    /// Where no record is left, it is an empty batch that takes these offsets, as compaction leaves it. A batch that ends
    /// below the offset stays as it is; `None` for one that begins there or later.
    ///
    /// # Errors
    /// [`Malformed`] with a position from the batch's start: the records can't be read, or not within the limit.
    pub fn cut_before(&self, offset: i64, limits: &Limits) -> Result<Option<Batch>, Malformed> {
        if offset >= self.next_offset() {
            return Ok(Some(self.clone()));
        }
        let Some(taken) = offset.checked_sub(self.base_offset()).filter(|taken| *taken > 0) else { return Ok(None) };
        let mut header = *self.header();
        // Less than the delta that the batch has now.
        header.last_offset_delta = i32::try_from(taken - 1).unwrap_or(header.last_offset_delta);
        let records = self.records(limits)?;
        let kept = records.below(offset)?;
        header.record_count = kept.count;
        if !header.attributes.is_log_append_time() {
            header.max_timestamp = kept.max_timestamp.unwrap_or(-1);
        }
        let mut bytes = vec![0; BATCH_HEADER_LEN];
        if kept.count > 0 {
            let codec = header.attributes.codec().unwrap_or_default();
            compression::compress(
                Compression::from(codec),
                records.bytes().get(..kept.len).unwrap_or_default(),
                &mut bytes,
            )
            .map_err(|error| not_written(&error))?;
        }
        seal(header, bytes).map(Some).map_err(|error| not_written(&error))
    }

    /// The offset of the first record whose timestamp is not before this time, in Unix milliseconds. The header's greatest
    /// timestamp is believed: records are read only where it is not before the time.
    ///
    /// # Errors
    /// As [`cut_before`](Self::cut_before).
    pub fn first_not_before(&self, time_ms: i64, limits: &Limits) -> Result<Option<i64>, Malformed> {
        if self.header().max_timestamp < time_ms {
            return Ok(None);
        }
        for record in &self.records(limits)? {
            let record = record?;
            if record.timestamp_ms >= time_ms {
                return Ok(Some(record.offset));
            }
        }
        Ok(None)
    }

    /// Whether another batch has the same records and the same header, however they are compressed.
    ///
    /// # Errors
    /// As [`cut_before`](Self::cut_before), of either.
    pub(crate) fn is_same_but_for_compression(&self, other: &Batch, limits: &Limits) -> Result<bool, Malformed> {
        if self.bytes() == other.bytes() {
            return Ok(true);
        }
        let (mut ours, theirs) = (*self.header(), *other.header());
        (ours.batch_length, ours.crc) = (theirs.batch_length, theirs.crc);
        Ok(ours == theirs && self.records(limits)?.bytes() == other.records(limits)?.bytes())
    }
}

fn not_written(error: &Error) -> Malformed {
    Malformed::new(0, format!("a batch that can't be written without its last records: {error}"), "one that can")
}

#[cfg(test)]
mod tests;
