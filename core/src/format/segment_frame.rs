//! What stands around the batches of a segment: its header and its footer.

use super::fields::{array, be_i32, be_i64, be_u16, be_u32};
use super::{MAX_OFFSET, Malformed};
use crate::text::counted;

/// Bytes before the first batch.
pub const HEADER_LEN: usize = 32;
/// Bytes after the last batch.
pub const FOOTER_LEN: usize = 16;

pub(super) const MAGIC: [u8; 4] = *b"KAFS";
pub(super) const FOOTER_MAGIC: [u8; 4] = *b"END!";
pub(super) const VERSION: u16 = 1;

/// The first 32 bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SegmentHeader {
    /// The first batch's base offset; the key says the same.
    pub base_offset: i64,
    /// The sum of the batches' record counts.
    pub message_count: i32,
    /// When the segment was made, Unix milliseconds.
    pub created_ms: i64,
}

impl SegmentHeader {
    /// Reads the header from the start of bytes.
    ///
    /// # Errors
    /// [`Malformed`], *unsupported* for another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (
            Some(magic),
            Some(version),
            Some(flags),
            Some(base_offset),
            Some(message_count),
            Some(created_ms),
            Some(reserved),
        ) = (
            array::<4>(bytes, 0),
            be_u16(bytes, 4),
            be_u16(bytes, 6),
            be_i64(bytes, 8),
            be_i32(bytes, 16),
            be_i64(bytes, 20),
            be_u32(bytes, 28),
        )
        else {
            return Err(Malformed::new(bytes.len() as u64, "the end of the bytes", "a segment header of 32 bytes"));
        };
        if magic != MAGIC {
            return Err(Malformed::new(0, format!("magic {:?}", magic.escape_ascii().to_string()), "\"KAFS\""));
        }
        if version != VERSION {
            return Err(Malformed::unsupported(4, format!("segment version {version}"), "version 1"));
        }
        if flags != 0 {
            return Err(Malformed::new(6, format!("flags {flags:#06x}"), "0, for version 1 has none"));
        }
        if !(0..MAX_OFFSET).contains(&base_offset) {
            return Err(Malformed::new(8, format!("base offset {base_offset}"), format!("0 to {}", MAX_OFFSET - 1)));
        }
        if message_count < 0 {
            return Err(Malformed::new(16, format!("a message count of {message_count}"), "at least 0"));
        }
        if reserved != 0 {
            return Err(Malformed::new(28, format!("reserved bytes {reserved:#010x}"), "0"));
        }
        Ok(SegmentHeader { base_offset, message_count, created_ms })
    }

    /// Checks that the header's base offset is the one in the segment's key.
    ///
    /// # Errors
    /// [`Malformed`] where they differ.
    pub(crate) fn check_key(&self, base: i64) -> Result<(), Malformed> {
        if self.base_offset == base {
            return Ok(());
        }
        let found = format!("base offset {}", self.base_offset);
        Err(Malformed::new(8, found, format!("{base}, which the key says")))
    }
}

/// The last 16 bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SegmentFooter {
    /// CRC-32C of everything between header and footer.
    pub crc: u32,
    /// The last batch's last offset.
    pub last_offset: i64,
}

impl SegmentFooter {
    /// Reads the footer from exactly its 16 bytes. Nothing protects them: whoever trusts
    /// `last_offset` has compared it with the last batch, or takes it for a hint.
    ///
    /// # Errors
    /// [`Malformed`] with a position from the footer's start.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (Some(crc), Some(last_offset), Some(magic)) =
            (be_u32(bytes, 0), be_i64(bytes, 4), array::<4>(bytes, 12).filter(|_| bytes.len() == FOOTER_LEN))
        else {
            let found = counted(bytes.len(), "byte");
            return Err(Malformed::new(0, found, "a segment footer of 16 bytes"));
        };
        if magic != FOOTER_MAGIC {
            return Err(Malformed::new(12, format!("magic {:?}", magic.escape_ascii().to_string()), "\"END!\""));
        }
        if !(0..MAX_OFFSET).contains(&last_offset) {
            return Err(Malformed::new(4, format!("last offset {last_offset}"), format!("0 to {}", MAX_OFFSET - 1)));
        }
        Ok(SegmentFooter { crc, last_offset })
    }

    /// Reads the footer from the end of a segment, or of the last bytes of one.
    pub(crate) fn at_end_of(bytes: &[u8]) -> Option<Self> {
        let at = bytes.len().checked_sub(FOOTER_LEN)?;
        Self::parse(bytes.get(at..)?).ok()
    }
}
