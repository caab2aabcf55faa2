//! The LZ4 frame format, over raw blocks of lz4_flex.
//!
//! Frames are taken apart here so that a block is decompressed into its place in the output: linked
//! blocks find their history there, and no buffer is sized by what a frame's header promises.

use lz4_flex::block::{
    DecompressError, compress_into, decompress_into, decompress_into_with_dict, get_maximum_output_size,
};
use twox_hash::XxHash32;

use super::spare::Spare;
use super::{Codec, Malformed, beyond_limit, codec_failed};
use crate::error::Result;
use crate::format::varint::Cursor;
use crate::text::counted;

const MAGIC: u32 = 0x184d_2204;
/// Skippable frames have these 28 bits, then any 4.
const SKIPPABLE: u32 = 0x184d_2a50;
/// The highest bit of a block's size: stored, not compressed.
const STORED: u32 = 1 << 31;
/// How far back a block may refer.
const WINDOW: usize = 64 * 1024;
/// The block size that is written, Kafka's default.
const BLOCK_LEN: usize = 64 * 1024;

/// A frame's descriptor: `FLG` and `BD`.
struct Frame {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    block_max: usize,
}

impl Frame {
    /// What a compressed block is given at first. Most compress less than eightfold, and one that
    /// does not is tried again. A frame may allow 4 MiB for a block of some bytes; only what really
    /// grows gets that much.
    fn guess(&self, len: usize) -> usize {
        len.saturating_mul(8).max(64).min(self.block_max)
    }
}

pub(super) fn decompress(payload: &[u8], limit: usize) -> Result<Spare, Malformed> {
    let mut reader = BlockReader { payload, cursor: Cursor::new(payload), limit, out: Spare::take() };
    while !reader.cursor.rest().is_empty() {
        reader.frame()?;
    }
    Ok(reader.out)
}

struct BlockReader<'a> {
    payload: &'a [u8],
    cursor: Cursor<'a>,
    limit: usize,
    out: Spare,
}

impl<'a> BlockReader<'a> {
    fn position(&self) -> usize {
        self.payload.len() - self.cursor.rest().len()
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let at = self.position();
        self.cursor.take(len).ok_or_else(|| {
            Malformed::new(
                at as u64,
                counted(self.cursor.rest().len(), "byte"),
                format!("{what} of {}", counted(len, "byte")),
            )
        })
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        let bytes = self.take(4, what)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    /// One frame, skippable or not.
    fn frame(&mut self) -> Result<(), Malformed> {
        let at = self.position();
        let magic = self.u32("an LZ4 frame's magic number")?;
        if magic & !0xf == SKIPPABLE {
            let len = self.u32("a skippable frame's size")? as usize;
            self.take(len, "a skippable frame")?;
            return Ok(());
        }
        if magic != MAGIC {
            return Err(Malformed::new(at as u64, format!("magic number {magic:08x}"), "an LZ4 frame (184d2204)"));
        }
        let frame = self.descriptor()?;
        let start = self.out.len();
        while self.block(&frame, start)? {}
        let content = self.out.bytes().get(start..).unwrap_or_default();
        let len = content.len() as u64;
        if let Some(size) = frame.content_size.filter(|size| *size != len) {
            let expected = format!("{len}, which its blocks have");
            return Err(Malformed::new(at as u64, format!("an LZ4 content size of {size}"), expected));
        }
        if frame.content_checksum {
            let computed = XxHash32::oneshot(0, content);
            self.checksum(computed, "content checksum")?;
        }
        Ok(())
    }

    fn descriptor(&mut self) -> Result<Frame, Malformed> {
        let at = self.position();
        let start = self.cursor.rest();
        let (flags, block) = match *self.take(2, "an LZ4 frame descriptor")? {
            [flags, block] => (flags, block),
            _ => (0, 0),
        };
        let block_max = match block {
            0x40 => 64 << 10,
            0x50 => 256 << 10,
            0x60 => 1 << 20,
            0x70 => 4 << 20,
            _ => 0,
        };
        if flags & 0b1100_0010 != 0b0100_0000 || block_max == 0 {
            let found = format!("LZ4 frame descriptor {flags:02x} {block:02x}");
            return Err(Malformed::new(at as u64, found, "version 1, block size 4 to 7, reserved bits 0"));
        }
        if flags & 1 != 0 {
            return Err(Malformed::unsupported(at as u64, "an LZ4 frame with a dictionary", "one without"));
        }
        let content_size = match flags & 8 != 0 {
            true => {
                let (low, high) = (self.u32("a content size")?, self.u32("a content size")?);
                Some(u64::from(high) << 32 | u64::from(low))
            }
            false => None,
        };
        let computed = (XxHash32::oneshot(0, start.get(..self.position() - at).unwrap_or_default()) >> 8) as u8;
        let at = self.position();
        if self.take(1, "a header checksum")? != [computed] {
            return Err(Malformed::new(at as u64, "a wrong LZ4 header checksum", format!("{computed:02x}")));
        }
        Ok(Frame {
            linked: flags & 0x20 == 0,
            block_checksums: flags & 0x10 != 0,
            content_checksum: flags & 4 != 0,
            content_size,
            block_max,
        })
    }

    /// Appends one block; false at the end mark.
    fn block(&mut self, frame: &Frame, frame_start: usize) -> Result<bool, Malformed> {
        let at = self.position();
        let size = self.u32("an LZ4 block's size")?;
        if size == 0 {
            return Ok(false);
        }
        let data = self.take((size & !STORED) as usize, "an LZ4 block")?;
        if data.len() > frame.block_max {
            let found = format!("an LZ4 block of {}", counted(data.len(), "byte"));
            return Err(Malformed::new(at as u64, found, format!("at most {}", frame.block_max)));
        }
        if frame.block_checksums {
            self.checksum(XxHash32::oneshot(0, data), "block checksum")?;
        }
        if size & STORED == 0 {
            self.compressed(data, at, frame, frame_start)?;
        } else if data.len() > self.limit.saturating_sub(self.out.len()) {
            return Err(beyond_limit(at, self.limit));
        } else {
            let (_, room) = self.out.with_room(data.len());
            room.copy_from_slice(data);
            self.out.advance(data.len());
        }
        Ok(true)
    }

    fn compressed(&mut self, data: &[u8], at: usize, frame: &Frame, frame_start: usize) -> Result<(), Malformed> {
        let start = self.out.len();
        let room = frame.block_max.min(self.limit.saturating_sub(start));
        let history = if frame.linked { frame_start.max(start.saturating_sub(WINDOW)) } else { start };
        let mut len = frame.guess(data.len()).min(room);
        loop {
            let (done, target) = self.out.with_room(len);
            let done = match done.get(history..) {
                Some(history) if !history.is_empty() => linked(data, target, history),
                _ => independent(data, target),
            };
            match done {
                Ok(written) => {
                    self.out.advance(written);
                    return Ok(());
                }
                Err(DecompressError::OutputTooSmall { .. }) if len < room => len = len.saturating_mul(4).min(room),
                Err(DecompressError::OutputTooSmall { .. }) if room < frame.block_max => {
                    return Err(beyond_limit(at, self.limit));
                }
                Err(error) => {
                    let found = format!("a broken LZ4 block ({error})");
                    return Err(Malformed::new(at as u64, found, "a whole LZ4 block"));
                }
            }
        }
    }

    fn checksum(&mut self, computed: u32, what: &'static str) -> Result<(), Malformed> {
        let at = self.position();
        let stored = self.u32(what)?;
        if stored == computed {
            return Ok(());
        }
        Err(Malformed::new(at as u64, format!("LZ4 {what} {stored:08x}"), format!("{computed:08x}")))
    }
}

// lz4_flex inlines all of its decoder; in a function of its own it is compiled to faster code.

#[inline(never)]
fn independent(data: &[u8], target: &mut [u8]) -> Result<usize, DecompressError> {
    decompress_into(data, target)
}

#[inline(never)]
fn linked(data: &[u8], target: &mut [u8], history: &[u8]) -> Result<usize, DecompressError> {
    decompress_into_with_dict(data, target, history)
}

/// Writes one frame with independent blocks and no checksums: Kafka's reader refuses linked blocks,
/// further frames and skippable ones.
pub(super) fn compress(records: &[u8], out: &mut Vec<u8>) -> Result<()> {
    // Version 1, independent blocks; blocks of 64 KiB.
    let descriptor = [0x60, 0x40];
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&descriptor);
    out.push((XxHash32::oneshot(0, &descriptor) >> 8) as u8);
    let mut buffer = vec![0; get_maximum_output_size(BLOCK_LEN.min(records.len()))];
    for chunk in records.chunks(BLOCK_LEN) {
        let len = compress_into(chunk, &mut buffer).map_err(|e| codec_failed(Codec::Lz4, e))?;
        match buffer.get(..len) {
            Some(block) if len < chunk.len() => {
                out.extend_from_slice(&(len as u32).to_le_bytes());
                out.extend_from_slice(block);
            }
            _ => {
                out.extend_from_slice(&(chunk.len() as u32 | STORED).to_le_bytes());
                out.extend_from_slice(chunk);
            }
        }
    }
    out.extend_from_slice(&0u32.to_le_bytes());
    Ok(())
}
