//! gzip, RFC 1952: members may be concatenated, every header flag is read.

use std::io::{Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Codec, Malformed, beyond_limit, codec_failed};
use crate::error::Result;

pub(super) fn decompress(payload: &[u8], limit: usize) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(payload.len().saturating_mul(4).min(limit));
    let mut decoder = MultiGzDecoder::new(payload);
    // One byte more than allowed tells that there is more; the buffer grows with what was read.
    let read = decoder.by_ref().take((limit as u64).saturating_add(1)).read_to_end(&mut out);
    let position = payload.len() - decoder.get_ref().len();
    match read {
        Ok(_) if out.len() > limit => Err(beyond_limit(position, limit)),
        Ok(_) => Ok(out),
        Err(error) => {
            Err(Malformed::new(position as u64, format!("a broken gzip stream ({error})"), "whole gzip members"))
        }
    }
}

pub(super) fn compress(records: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Result<()> {
    let level = match level {
        Some(level) => flate2::Compression::new(level.unsigned_abs().min(9)),
        None => flate2::Compression::default(),
    };
    let mut encoder = GzEncoder::new(out, level);
    encoder.write_all(records).and_then(|()| encoder.finish()).map_err(|e| codec_failed(Codec::Gzip, e))?;
    Ok(())
}
