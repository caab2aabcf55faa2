//! The 61 bytes that every record batch starts with.

use std::fmt;

use bytes::BufMut;

use super::fields::{be_i16, be_i32, be_i64, be_u32};
use super::{Codec, Malformed};

/// Bytes of a record batch's header, with the length field that counts from byte 12.
pub const BATCH_HEADER_LEN: usize = 61;

/// The greatest end offset (one past the last record's) that a log may reach: 2^63-2.
pub const MAX_OFFSET: i64 = i64::MAX - 1;

/// Bytes before the ones that `batch_length` counts.
pub(super) const LENGTH_FROM: usize = 12;
/// Where the bytes start that the batch's CRC covers.
pub(super) const CRC_FROM: usize = 21;
/// The bytes that a log may change: base offset, length, leader epoch.
pub(super) const PATCHED_LEN: usize = 16;

/// The fields of a record batch's header, magic 2, as they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchHeader {
    /// The offset that deltas count from; the log sets it. Not covered by the CRC.
    pub base_offset: i64,
    /// Bytes after this field: the batch's size less 12.
    pub batch_length: i32,
    /// The leader epoch, -1 when the producer's client left it open. Not covered by the CRC.
    pub leader_epoch: i32,
    /// Always 2.
    pub magic: i8,
    /// CRC-32C of byte 21 to the batch's end.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// The last offset less the base offset. May exceed `record_count - 1`.
    pub last_offset_delta: i32,
    /// What timestamp deltas count from, in milliseconds; the delete horizon when bit 6 is set. Not
    /// by itself the first or least timestamp.
    pub base_timestamp: i64,
    /// The greatest timestamp, in milliseconds; every record's with LogAppendTime.
    pub max_timestamp: i64,
    /// The idempotent producer, -1 for none.
    pub producer_id: i64,
    /// The producer's epoch, -1 for none.
    pub producer_epoch: i16,
    /// The producer's sequence number of the first record.
    pub base_sequence: i32,
    /// Records in the batch; 0 in what compaction leaves of a producer's last batch.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header from the start of bytes that hold at least 61.
    ///
    /// Checked are magic, length (at least 49), codec (at most 4), base offset (not negative), end
    /// offset (at most 2^63-2) and 0 <= record count <= last offset delta + 1. The batch itself may
    /// be longer than the bytes given: compare [`BatchHeader::total_len`].
    ///
    /// # Errors
    /// [`Malformed`] with a position relative to the batch's start.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(header) = Self::read(bytes) else {
            return Err(Malformed::new(
                bytes.len() as u64,
                "the end of the bytes",
                format!("a batch header of {BATCH_HEADER_LEN} bytes"),
            ));
        };
        if header.is_sound() { Ok(header) } else { Err(header.fault()) }
    }

    #[inline(always)]
    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<BATCH_HEADER_LEN>()?;
        Some(BatchHeader {
            base_offset: be_i64(bytes, 0)?,
            batch_length: be_i32(bytes, 8)?,
            leader_epoch: be_i32(bytes, 12)?,
            magic: bytes[16] as i8,
            crc: be_u32(bytes, 17)?,
            attributes: Attributes(be_i16(bytes, 21)?),
            last_offset_delta: be_i32(bytes, 23)?,
            base_timestamp: be_i64(bytes, 27)?,
            max_timestamp: be_i64(bytes, 35)?,
            producer_id: be_i64(bytes, 43)?,
            producer_epoch: be_i16(bytes, 51)?,
            base_sequence: be_i32(bytes, 53)?,
            record_count: be_i32(bytes, 57)?,
        })
    }

    /// Writes the header over the first 61 of these bytes.
    pub(super) fn write(&self, bytes: &mut [u8]) {
        let mut out = bytes.get_mut(..BATCH_HEADER_LEN).unwrap_or_default();
        out.put_i64(self.base_offset);
        out.put_i32(self.batch_length);
        out.put_i32(self.leader_epoch);
        out.put_i8(self.magic);
        out.put_u32(self.crc);
        out.put_i16(self.attributes.bits());
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.record_count);
    }

    #[inline(always)]
    fn is_sound(&self) -> bool {
        self.magic == 2
            && self.batch_length as i64 >= (BATCH_HEADER_LEN - LENGTH_FROM) as i64
            && self.attributes.codec().is_some()
            && self.record_count >= 0
            && i64::from(self.record_count) <= i64::from(self.last_offset_delta) + 1
            && self.last_offset_delta >= 0
            && (0..MAX_OFFSET - i64::from(self.last_offset_delta)).contains(&self.base_offset)
    }

    /// Says which of the checks failed.
    #[cold]
    fn fault(&self) -> Malformed {
        let delta = self.last_offset_delta;
        // No message of an old client is shorter. Zeros are none: they are what a crash leaves.
        const SHORTEST_OLD_MESSAGE: i32 = 14;
        if self.magic != 2 && self.batch_length >= SHORTEST_OLD_MESSAGE {
            let found = format!("magic {}", self.magic);
            // 0 and 1 are the message sets of old clients; beyond 2 nothing is known.
            return Malformed::unsupported(16, found, "a record batch of magic 2");
        }
        if i64::from(self.batch_length) < (BATCH_HEADER_LEN - LENGTH_FROM) as i64 {
            return Malformed::new(8, format!("a batch length of {}", self.batch_length), "at least 49");
        }
        if self.attributes.codec().is_none() {
            let found = format!("codec {}", self.attributes.codec_bits());
            return Malformed::unsupported(21, found, "codec 0 to 4");
        }
        if delta < 0 {
            return Malformed::new(23, format!("a last offset delta of {delta}"), "at least 0");
        }
        if self.record_count < 0 || i64::from(self.record_count) > i64::from(delta) + 1 {
            let expected = format!("0 to {}, the last offset delta plus 1", i64::from(delta) + 1);
            return Malformed::new(57, format!("a record count of {}", self.record_count), expected);
        }
        Malformed::new(
            0,
            format!("base offset {} with last offset delta {delta}", self.base_offset),
            format!("a base offset of at least 0 and a last offset below {MAX_OFFSET}"),
        )
    }

    /// Compares the CRC with the one that the batch's bytes have.
    ///
    /// # Errors
    /// [`Malformed`] with a position from the batch's start.
    #[inline]
    pub(super) fn check_crc(&self, computed: u32) -> Result<(), Malformed> {
        if computed == self.crc {
            return Ok(());
        }
        let found = format!("batch CRC {:08x}", self.crc);
        Err(Malformed::new(17, found, format!("{computed:08x}, which its bytes have")))
    }

    /// The whole batch's size in bytes.
    #[inline]
    pub fn total_len(&self) -> usize {
        // Positive: `parse` saw to it.
        self.batch_length as usize + LENGTH_FROM
    }

    /// The offset of the last record, or of the last that compaction removed.
    #[inline]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset that follows the batch.
    #[inline]
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }
}

/// A batch's attributes: bits 0 to 2 the codec, then flags. Unknown bits are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(pub(super) i16);

impl Attributes {
    pub(super) const LOG_APPEND_TIME: i16 = 1 << 3;
    pub(super) const TRANSACTIONAL: i16 = 1 << 4;
    pub(super) const CONTROL: i16 = 1 << 5;
    pub(super) const DELETE_HORIZON: i16 = 1 << 6;

    /// All bits as stored.
    pub fn bits(self) -> i16 {
        self.0
    }

    /// Bits 0 to 2.
    pub fn codec_bits(self) -> u8 {
        (self.0 & 7) as u8
    }

    /// The codec of the records part; `None` for 5 to 7, which a checked header never has.
    #[inline]
    pub fn codec(self) -> Option<Codec> {
        Codec::from_bits(self.codec_bits())
    }

    /// Bit 3: every record's timestamp is the batch's `max_timestamp`.
    #[inline]
    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Bit 4: part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Bit 5: control records (commit, abort, KRaft's), not data.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Bit 6: `base_timestamp` is the time from which tombstones may go.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({:#06x})", self.0)
    }
}
