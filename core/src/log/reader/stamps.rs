//! Timestamps of one batch's records.
//!
//! They are read from the records. A header's `max_timestamp` is what the producer said: some leave it unset
//! (-1), and a log that was copied or checked by CRC alone keeps that. A header is believed only where the
//! records can't be read.

use bytes::Bytes;

use crate::format::{Batch, BatchHeader, CrcCheck, Limits, Malformed};

/// A record's place by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TimedOffset {
    /// The record's offset.
    pub offset: i64,
    /// Its timestamp, Unix milliseconds.
    pub timestamp_ms: i64,
    /// The leader epoch of its batch, -1 when it has none.
    pub leader_epoch: i32,
}

impl TimedOffset {
    fn of(offset: i64, timestamp_ms: i64, header: &BatchHeader) -> Self {
        TimedOffset { offset, timestamp_ms, leader_epoch: header.leader_epoch }
    }
}

/// The greatest timestamp that a batch's header names; `None` without a record.
pub(super) fn told(header: &BatchHeader) -> Option<i64> {
    (header.record_count > 0).then_some(header.max_timestamp)
}

/// The greatest timestamp of the records of the batch that begins `bytes` and is wholly there.
pub(super) fn greatest(bytes: &Bytes, header: &BatchHeader, limits: &Limits) -> Option<i64> {
    if header.record_count == 0 || header.attributes.is_log_append_time() {
        return told(header);
    }
    Batch::parse(bytes, 0, CrcCheck::Verify).and_then(|batch| decoded(&batch, limits)).unwrap_or_else(|_| told(header))
}

fn decoded(batch: &Batch, limits: &Limits) -> Result<Option<i64>, Malformed> {
    let mut greatest = None;
    for record in &batch.records(limits)? {
        greatest = greatest.max(Some(record?.timestamp_ms));
    }
    Ok(greatest)
}

/// The first record from an offset on that is at or after a time.
///
/// # Errors
/// Records that can't be decoded within the limits, unless the header says that they are all before that time.
pub(super) fn first_at_or_after(
    batch: &Batch,
    time: i64,
    from: i64,
    limits: &Limits,
) -> Result<Option<TimedOffset>, Malformed> {
    let header = batch.header();
    if header.record_count == 0 || (header.attributes.is_log_append_time() && header.max_timestamp < time) {
        return Ok(None);
    }
    let first = || -> Result<Option<TimedOffset>, Malformed> {
        for record in &batch.records(limits)? {
            let record = record?;
            if record.offset >= from && record.timestamp_ms >= time {
                return Ok(Some(TimedOffset::of(record.offset, record.timestamp_ms, header)));
            }
        }
        Ok(None)
    };
    match first() {
        Err(_) if header.max_timestamp < time => Ok(None),
        found => found,
    }
}

/// The first of the records from an offset on that have the greatest timestamp of these.
///
/// # Errors
/// Records that can't be decoded.
pub(super) fn latest(batch: &Batch, from: i64, limits: &Limits) -> Result<Option<TimedOffset>, Malformed> {
    let header = batch.header();
    let mut latest: Option<TimedOffset> = None;
    if header.record_count == 0 {
        return Ok(latest);
    }
    for record in &batch.records(limits)? {
        let record = record?;
        if record.offset >= from && latest.is_none_or(|latest| record.timestamp_ms > latest.timestamp_ms) {
            latest = Some(TimedOffset::of(record.offset, record.timestamp_ms, header));
        }
    }
    Ok(latest)
}
