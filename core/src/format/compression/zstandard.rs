//! Zstandard, RFC 8878: several frames, skippable ones, the content size absent or given.

use std::cell::Cell;

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{DCtx, ErrorCode, get_error_name, get_frame_content_size};

use super::{Codec, Malformed, beyond_limit, codec_failed};
use crate::error::Result;

thread_local! {
    /// zstd's state, about 100 KiB. To make it takes longer than to decompress a small batch.
    static CONTEXT: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
}

/// Decompresses straight into the output, which so is the history that frames refer to: a frame
/// that asks for a window of gigabytes costs no more than another.
///
/// The output's size is not known before, unless a frame says it. Too small a buffer is an error
/// of zstd's, and four times as much is tried.
pub(super) fn decompress(payload: &[u8], limit: usize) -> Result<Vec<u8>, Malformed> {
    // What a frame says may be a lie, and gets no more than good text compresses to.
    let hint = get_frame_content_size(payload).ok().flatten().unwrap_or(u64::MAX);
    let guess = payload.len().saturating_mul(if hint == u64::MAX { 16 } else { 40 }).max(4096);
    let mut capacity = guess.min(usize::try_from(hint).unwrap_or(usize::MAX)).min(limit);
    let mut context = (CONTEXT.try_with(Cell::take).ok().flatten())
        .or_else(DCtx::try_create)
        .ok_or_else(|| Malformed::new(0, "no memory for zstd's state", "enough memory"))?;
    let mut out: Vec<u8>;
    loop {
        out = Vec::with_capacity(capacity);
        match context.decompress(&mut out, payload) {
            Ok(_) if out.len() > limit => return Err(beyond_limit(payload.len(), limit)),
            Ok(_) => break,
            Err(code) if !is_too_small(code) => {
                let found = format!("a broken zstd frame ({})", get_error_name(code));
                return Err(Malformed::new(0, found, "whole zstd frames"));
            }
            Err(_) if capacity >= limit => return Err(beyond_limit(payload.len(), limit)),
            Err(_) => capacity = capacity.saturating_mul(4).max(4096).min(limit),
        }
    }
    // Not after an error. A thread that ends has no place for it any more.
    CONTEXT.try_with(|kept| kept.set(Some(context))).ok();
    if out.len() < out.capacity() / 2 {
        out.shrink_to_fit();
    }
    Ok(out)
}

fn is_too_small(code: ErrorCode) -> bool {
    code.wrapping_neg() == ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize
}

pub(super) fn compress(records: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Result<()> {
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    let compressed = zstd::bulk::compress(records, level).map_err(|e| codec_failed(Codec::Zstd, e))?;
    out.extend_from_slice(&compressed);
    Ok(())
}
