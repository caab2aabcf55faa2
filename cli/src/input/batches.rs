//! Raw record batches, back to back.

use std::io::Read;

use bytes::Bytes;
use kfs_core::format::{BATCH_HEADER_LEN, Batch, BatchHeader, CrcCheck, Malformed};
use kfs_core::{Error, ErrorKind};

use super::chunks::Buffer;
use super::{Chunk, Content, Sender, hand_over};

/// Checks each batch, its CRC too, and hands over those that were read together.
pub(super) fn read(input: impl Read, send: &Sender) -> Result<(), Error> {
    let mut buffer = Buffer::new(input);
    let mut position = 0_u64;
    loop {
        buffer.more()?;
        let len = whole(buffer.bytes(), position)?;
        if len > 0 {
            // A copy of its own size: what waits for a flush holds no more memory than it counts.
            let bytes = Bytes::copy_from_slice(buffer.bytes().get(..len).unwrap_or_default());
            drop(buffer.take(len));
            let (good, fault) = check(&bytes);
            let content = (good > 0).then(|| Content::Batches(bytes.slice(..good)));
            if !hand_over(send, Chunk { content, bytes: len as u64, control_skipped: 0 }) {
                return Ok(());
            }
            if let Some(malformed) = fault {
                return Err(not_a_batch(malformed, position));
            }
            position = position.saturating_add(len as u64);
        }
        if buffer.ended() {
            return match buffer.bytes().len() {
                0 => Ok(()),
                left => Err(refuse(position, &format!("the input ends {left} bytes into a batch"))),
            };
        }
    }
}

/// Bytes of whole batches at the front.
fn whole(bytes: &[u8], position: u64) -> Result<usize, Error> {
    let mut at = 0_usize;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= BATCH_HEADER_LEN) {
        let header = match BatchHeader::parse(rest) {
            Ok(header) => header,
            // What is whole and good before it is taken first; then it stands at the front.
            Err(_) if at > 0 => break,
            Err(malformed) => return Err(not_a_batch(malformed, position)),
        };
        match at.checked_add(header.total_len()).filter(|end| *end <= bytes.len()) {
            Some(end) => at = end,
            None => break,
        }
    }
    Ok(at)
}

/// Bytes of good batches at the front, and what is wrong with the one after them.
fn check(bytes: &Bytes) -> (usize, Option<Malformed>) {
    let mut at = 0;
    while at < bytes.len() {
        match Batch::parse(bytes, at, CrcCheck::Verify) {
            Ok(batch) => at = at.saturating_add(batch.bytes().len()),
            Err(malformed) => return (at, Some(malformed)),
        }
    }
    (at, None)
}

fn not_a_batch(malformed: Malformed, position: u64) -> Error {
    let malformed = malformed.offset_position(position);
    refuse(malformed.position(), &format!("found {}, expected {}", malformed.found(), malformed.expected()))
}

fn refuse(position: u64, what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("the input is no record batch at byte {position}: {what}"))
        .with_hint("--raw takes Kafka record batches of magic 2, back to back, as `kfs cat --format raw` writes them")
}
