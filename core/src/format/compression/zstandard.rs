//! Zstandard, RFC 8878: several frames, skippable ones, the content size absent or given.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::{Codec, Malformed, beyond_limit, codec_failed};
use crate::error::Result;

/// A frame may ask for a window (the history that a decoder keeps) of up to this power of two, as
/// zstd's own decoder allows by default.
const MAX_WINDOW_LOG: u32 = 27;
/// What is allowed under a small limit too, for encoders choose the window before they know the
/// content's size: 8 MiB is that of level 19.
const MIN_WINDOW_LOG: u32 = 23;

pub(super) fn decompress(payload: &[u8], limit: usize) -> Result<Vec<u8>, Malformed> {
    let window_log = (usize::BITS - limit.saturating_sub(1).leading_zeros()).clamp(MIN_WINDOW_LOG, MAX_WINDOW_LOG);
    let mut decoder = Decoder::new()
        .and_then(|mut decoder| decoder.set_parameter(DParameter::WindowLogMax(window_log)).map(|()| decoder))
        .map_err(|e| broken(0, &e))?;
    let mut input = InBuffer::around(payload);
    // One byte more than allowed tells that there is more.
    let most = limit.saturating_add(1);
    let mut out: Vec<u8> = Vec::with_capacity(payload.len().saturating_mul(4).clamp(1024, 1 << 20).min(most));
    loop {
        if out.len() == out.capacity() {
            if out.len() >= most {
                return Err(beyond_limit(input.pos(), limit));
            }
            out.reserve_exact(out.capacity().max(1024).min(most - out.len()));
        }
        let (before, start) = (input.pos(), out.len());
        let mut target = OutBuffer::around_pos(&mut out, start);
        let left = decoder.run(&mut input, &mut target).map_err(|e| broken(before, &e))?;
        let done = input.pos() == payload.len();
        if left == 0 && done {
            break;
        }
        if done && out.len() < out.capacity() || (input.pos() == before && out.len() == start) {
            return Err(Malformed::new(payload.len() as u64, "the end of the bytes", "the rest of a zstd frame"));
        }
    }
    if out.len() > limit {
        return Err(beyond_limit(payload.len(), limit));
    }
    Ok(out)
}

fn broken(at: usize, error: &std::io::Error) -> Malformed {
    Malformed::new(at as u64, format!("a broken zstd frame ({error})"), "whole zstd frames")
}

pub(super) fn compress(records: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Result<()> {
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    let compressed = zstd::bulk::compress(records, level).map_err(|e| codec_failed(Codec::Zstd, e))?;
    out.extend_from_slice(&compressed);
    Ok(())
}
