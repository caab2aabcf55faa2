//! snappy: raw blocks, in xerial's framing (snappy-java) or bare.
//!
//! xerial: `\x82SNAPPY\0`, the writer's version and the least compatible one (both i32), then blocks,
//! each after its length (i32). Another header may stand where a block's length is expected.

use super::{Codec, Malformed, beyond_limit, codec_failed};
use crate::error::Result;
use crate::format::varint::Cursor;
use crate::text::counted;

const MAGIC: &[u8] = b"\x82SNAPPY\0";
const HEADER_LEN: usize = 16;
/// What snappy-java cuts its input into.
const BLOCK_LEN: usize = 32 * 1024;

pub(super) fn decompress(payload: &[u8], limit: usize) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    if !payload.starts_with(MAGIC) {
        block(payload, 0, limit, &mut out)?;
        return Ok(out);
    }
    let mut cursor = Cursor::new(payload);
    while !cursor.rest().is_empty() {
        let at = payload.len() - cursor.rest().len();
        if cursor.rest().starts_with(MAGIC) {
            cursor.take(HEADER_LEN).ok_or_else(|| cut(at, "a xerial header of 16 bytes"))?;
            continue;
        }
        let len = cursor.take(4).and_then(|len| len.try_into().ok()).map(i32::from_be_bytes);
        let data = len.and_then(|len| usize::try_from(len).ok()).and_then(|len| cursor.take(len));
        block(data.ok_or_else(|| cut(at, "a snappy block after its length"))?, at + 4, limit, &mut out)?;
    }
    Ok(out)
}

fn cut(at: usize, expected: &'static str) -> Malformed {
    Malformed::new(at as u64, "bytes that end before", expected)
}

/// Appends one raw block.
fn block(data: &[u8], at: usize, limit: usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let broken = |error: snap::Error| {
        Malformed::new(at as u64, format!("a broken snappy block ({error})"), "a whole snappy block")
    };
    let len = snap::raw::decompress_len(data).map_err(broken)?;
    // Three bytes copy 64 at most: a block that promises more lies, and gets no memory for it.
    if len > data.len().saturating_mul(22) {
        return Err(Malformed::new(
            at as u64,
            format!("a snappy block of {} that promises {len}", counted(data.len(), "byte")),
            "at most 22 times as many",
        ));
    }
    let start = out.len();
    if len > limit.saturating_sub(start) {
        return Err(beyond_limit(at, limit));
    }
    out.resize(start + len, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(data, target).map_err(broken)?;
    Ok(())
}

/// Writes xerial's framing, as the Java client does.
pub(super) fn compress(records: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    let mut buffer = vec![0; snap::raw::max_compress_len(BLOCK_LEN.min(records.len()))];
    for chunk in records.chunks(BLOCK_LEN) {
        let len = encoder.compress(chunk, &mut buffer).map_err(|e| codec_failed(Codec::Snappy, e))?;
        // A block is far smaller than 2 GiB.
        out.extend_from_slice(&(len as i32).to_be_bytes());
        out.extend_from_slice(buffer.get(..len).unwrap_or_default());
    }
    Ok(())
}
