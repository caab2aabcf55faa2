//! The time index of a segment: one range of timestamps and offsets.

use bytes::{BufMut, Bytes, BytesMut};

use super::Malformed;
use super::fields::{array, be_i64, be_u32};
use crate::text::counted;

/// Bytes of a time index object.
pub const TIME_INDEX_LEN: usize = 40;

const MAGIC: [u8; 4] = *b"KFTF";
const VERSION: u32 = 1;

/// The least and greatest timestamp of a segment's records, and their offsets' range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TimeIndex {
    /// The least timestamp of a record, Unix milliseconds.
    pub min_ts: i64,
    /// The greatest.
    pub max_ts: i64,
    /// The least offset of a record.
    pub min_offset: i64,
    /// The greatest.
    pub max_offset: i64,
}

impl TimeIndex {
    /// A time index that covers one record.
    pub fn of(timestamp: i64, offset: i64) -> Self {
        TimeIndex { min_ts: timestamp, max_ts: timestamp, min_offset: offset, max_offset: offset }
    }

    /// Covers one more record.
    pub fn add(&mut self, timestamp: i64, offset: i64) {
        self.min_ts = self.min_ts.min(timestamp);
        self.max_ts = self.max_ts.max(timestamp);
        self.min_offset = self.min_offset.min(offset);
        self.max_offset = self.max_offset.max(offset);
    }

    /// Reads a time index object.
    ///
    /// # Errors
    /// [`Malformed`] unless it has 40 bytes, magic and version, and ranges that don't end before
    /// they start.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (Some(magic), Some(version), Some(min_ts), Some(max_ts), Some(min_offset), Some(max_offset)) = (
            array::<4>(bytes, 0),
            be_u32(bytes, 4),
            be_i64(bytes, 8),
            be_i64(bytes, 16),
            be_i64(bytes, 24),
            be_i64(bytes, 32),
        ) else {
            return Err(Malformed::new(bytes.len() as u64, "the end of the bytes", "a time index of 40 bytes"));
        };
        if magic != MAGIC {
            return Err(Malformed::new(0, format!("magic {:?}", magic.escape_ascii().to_string()), "\"KFTF\""));
        }
        if version != VERSION {
            return Err(Malformed::unsupported(4, format!("time index version {version}"), "version 1"));
        }
        if bytes.len() != TIME_INDEX_LEN {
            let found = format!("a time index of {}", counted(bytes.len(), "byte"));
            return Err(Malformed::new(TIME_INDEX_LEN as u64, found, "40 bytes"));
        }
        if min_ts > max_ts {
            return Err(Malformed::new(8, format!("timestamps from {min_ts} to {max_ts}"), "an ascending range"));
        }
        if min_offset < 0 || min_offset > max_offset {
            let found = format!("offsets from {min_offset} to {max_offset}");
            return Err(Malformed::new(24, found, "an ascending range from 0"));
        }
        Ok(TimeIndex { min_ts, max_ts, min_offset, max_offset })
    }

    /// The object's 40 bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(TIME_INDEX_LEN);
        out.put_slice(&MAGIC);
        out.put_u32(VERSION);
        for field in [self.min_ts, self.max_ts, self.min_offset, self.max_offset] {
            out.put_i64(field);
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests;
