//! What is asked of a record batch before it is stored.

use super::{Batch, BatchHeader, Limits, Malformed};

/// How batches are checked before they are stored.
///
/// Magic, length, codec, counts and CRC are checked in any case ([`Batch::parse`]). *Produce* and *Decode*
/// also decode every record, and refuse a compressed batch whose records take more than
/// [`MAX_DECOMPRESSED_BATCH`](super::MAX_DECOMPRESSED_BATCH): no reader takes it by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchCheck {
    /// What a Kafka broker asks of a producer. Records decode, with no bytes left over; their offset deltas
    /// count from 0 to the last offset delta without a gap, and the record count agrees. The batch is not a
    /// control batch, and not marked LogAppendTime unless the writer allows it. A wrong `max_timestamp` is
    /// not refused: it is set to the greatest timestamp of the records, and the CRC is made again.
    #[default]
    Produce,
    /// For copies of a log. Anything whose records decode is stored as it is: batches that compaction
    /// emptied or left gaps in, control batches, a wrong `max_timestamp`.
    Decode,
    /// For brokers that have checked the batches already. Records are not looked at: the log holds whatever
    /// they are, decodable or not, and of any size.
    Crc,
}

impl BatchCheck {
    /// Checks a batch whose header and CRC were checked, and gives it as it is to be stored. It runs on the
    /// calling thread and decompresses once.
    ///
    /// # Errors
    /// [`Malformed`] with a position from the batch's start.
    pub fn check(self, batch: Batch) -> Result<Batch, Malformed> {
        self.check_from(batch, false)
    }

    /// The same; *Produce* takes LogAppendTime if `log_append_time` is set.
    pub(crate) fn check_from(self, batch: Batch, log_append_time: bool) -> Result<Batch, Malformed> {
        match self {
            BatchCheck::Produce => produced(batch, log_append_time),
            BatchCheck::Decode => {
                for record in &batch.records(&Limits::default())? {
                    record?;
                }
                Ok(batch)
            }
            BatchCheck::Crc => Ok(batch),
        }
    }
}

fn produced(batch: Batch, log_append_time: bool) -> Result<Batch, Malformed> {
    check_header(batch.header(), log_append_time)?;
    let records = batch.records(&Limits::default())?;
    let (mut expected, mut greatest) = (batch.base_offset(), i64::MIN);
    for record in &records {
        let record = record?;
        if record.offset != expected {
            return Err(out_of_order(&batch, &records, expected, record.offset));
        }
        // The header's check bounds this sum.
        expected = expected.wrapping_add(1);
        greatest = greatest.max(record.timestamp_ms);
    }
    // Its slice of the batch's bytes would make them look shared.
    drop(records);
    // With LogAppendTime the records have the header's timestamp, so these are equal.
    if greatest == batch.header().max_timestamp { Ok(batch) } else { Ok(batch.with_max_timestamp(greatest)) }
}

/// What a producer may not send, as far as the header tells.
fn check_header(header: &BatchHeader, log_append_time: bool) -> Result<(), Malformed> {
    if header.attributes.is_control() {
        return Err(Malformed::new(21, "a control batch", "records, for producers write no control batches"));
    }
    if header.attributes.is_log_append_time() && !log_append_time {
        return Err(Malformed::new(21, "a batch marked LogAppendTime", "CreateTime, as producers send it"));
    }
    // Both fit: a count is at most the delta plus 1.
    if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        let expected = format!("{}, the last offset delta plus 1", i64::from(header.last_offset_delta) + 1);
        return Err(Malformed::new(57, format!("a record count of {}", header.record_count), expected));
    }
    Ok(())
}

#[cold]
fn out_of_order(batch: &Batch, records: &super::Records, expected: i64, found: i64) -> Malformed {
    let base = batch.base_offset();
    let (index, delta) = (expected.wrapping_sub(base), found.wrapping_sub(base));
    let found = format!("offset delta {delta} in record {index} of {}", records.count());
    records.malformed(usize::try_from(index).unwrap_or(0), &found, format!("{index}"))
}

#[cfg(test)]
mod tests;
