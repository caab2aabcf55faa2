//! Raw record batches, back to back.

use std::io::Read;

use bytes::Bytes;
use kfs_core::format::{BATCH_HEADER_LEN, Batch, BatchCheck, BatchHeader, CrcCheck, Malformed};
use kfs_core::text::counted;
use kfs_core::{Error, ErrorKind};

use super::chunks::Buffer;
use super::{Chunk, Content, Found, Sender, hand_over};
use crate::portion::Part;

/// Bytes that can't begin a batch when all are zero: a base offset of 0 and a length of 0.
const ZEROS: usize = 12;

/// Checked batches.
#[derive(Debug)]
pub(crate) struct Batches {
    batches: Vec<Batch>,
    /// Each batch's size and records.
    parts: Vec<Part>,
}

impl Batches {
    /// Takes batches from the front, as many as `choose` wants of those that are left, and counts their
    /// records.
    pub(crate) fn next(&mut self, choose: impl FnOnce(&[Part]) -> usize) -> Option<(Vec<Batch>, u64)> {
        if self.parts.is_empty() {
            return None;
        }
        let count = choose(&self.parts).clamp(1, self.parts.len());
        let records = self.parts.drain(..count).map(|part| part.records).fold(0, u64::saturating_add);
        Some((self.batches.drain(..count.min(self.batches.len())).collect(), records))
    }
}

/// Checks each batch and hands over those that were read together.
pub(super) fn read(input: impl Read, check: BatchCheck, send: &Sender) -> Result<(), Error> {
    let mut reading = Reading { buffer: Buffer::new(input), check, position: 0, next_offset: None };
    loop {
        reading.buffer.more()?;
        if reading.stands_at_zeros() {
            let zeros = reading.zeros()?;
            let found = Found { zeros: Some((reading.position, zeros)), ..Found::default() };
            hand_over(send, Chunk { bytes: zeros, found, ..Chunk::default() });
            return Ok(());
        }
        let len = whole(reading.buffer.bytes(), reading.position)?;
        if len > 0 {
            // A copy of its own size: what waits for a flush holds no more memory than it counts.
            let bytes = Bytes::copy_from_slice(reading.buffer.bytes().get(..len).unwrap_or_default());
            drop(reading.buffer.take(len));
            let (chunk, fault) = reading.check(&bytes);
            if !hand_over(send, chunk) {
                return Ok(());
            }
            if let Some(error) = fault {
                return Err(error);
            }
            reading.position = reading.position.saturating_add(len as u64);
        }
        if reading.buffer.ended() {
            return match reading.buffer.bytes().len() {
                0 => Ok(()),
                left => {
                    Err(refuse(reading.position, &format!("the input ends {} into a batch", counted(left, "byte"))))
                }
            };
        }
    }
}

struct Reading<R> {
    buffer: Buffer<R>,
    check: BatchCheck,
    /// Of the buffer's front in the input.
    position: u64,
    /// The end of the batch that was read last.
    next_offset: Option<i64>,
}

impl<R: Read> Reading<R> {
    fn stands_at_zeros(&self) -> bool {
        let bytes = self.buffer.bytes();
        let enough = bytes.len() >= ZEROS || (self.buffer.ended() && !bytes.is_empty());
        enough && bytes.iter().take(ZEROS).all(|b| *b == 0)
    }

    /// How many zeros the input ends with from here.
    ///
    /// # Errors
    /// When something else follows them.
    fn zeros(&mut self) -> Result<u64, Error> {
        let mut zeros = 0_u64;
        loop {
            let bytes = self.buffer.bytes().len();
            if let Some(at) = self.buffer.bytes().iter().position(|b| *b != 0) {
                let zeros = zeros.saturating_add(at as u64);
                return Err(refuse(self.position, &format!("found {} and then other bytes", counted(zeros, "zero"))));
            }
            zeros = zeros.saturating_add(bytes as u64);
            drop(self.buffer.take(bytes));
            if self.buffer.ended() {
                return Ok(zeros);
            }
            self.buffer.more()?;
        }
    }

    /// The good batches at the front of the bytes, and the error of the one after them.
    fn check(&mut self, bytes: &Bytes) -> (Chunk, Option<Error>) {
        let (mut good, mut fault) = (Batches { batches: Vec::new(), parts: Vec::new() }, None);
        let (mut at, mut found) = (0, Found::default());
        while at < bytes.len() {
            let batch = match self.checked(bytes, at) {
                Ok(batch) => batch,
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            };
            let header = batch.header();
            let missing = self.next_offset.and_then(|next| header.base_offset.checked_sub(next)).unwrap_or(0);
            if missing > 0 {
                found.holes = found.holes.saturating_add(1);
                found.hole_offsets = found.hole_offsets.saturating_add(missing.unsigned_abs());
            }
            self.next_offset = Some(header.next_offset());
            let records = u64::try_from(header.record_count).unwrap_or(0);
            good.parts.push(Part { bytes: batch.bytes().len(), records, batches: 1 });
            at = at.saturating_add(batch.bytes().len());
            good.batches.push(batch);
        }
        let content = (!good.batches.is_empty()).then_some(Content::Batches(good));
        (Chunk { content, bytes: bytes.len() as u64, found }, fault)
    }

    fn checked(&self, bytes: &Bytes, at: usize) -> Result<Batch, Error> {
        let batch = Batch::parse(bytes, at, CrcCheck::Verify).map_err(|fault| not_a_batch(fault, self.position))?;
        let position = self.position.saturating_add(at as u64);
        self.check.check(batch).map_err(|fault| not_taken(fault, position, self.check))
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

fn not_a_batch(malformed: Malformed, position: u64) -> Error {
    let malformed = malformed.offset_position(position);
    refuse(malformed.position(), &format!("found {}, expected {}", malformed.found(), malformed.expected()))
}

/// A batch that is whole, and not what `--check` asks for. It starts at `position` of the input.
fn not_taken(malformed: Malformed, position: u64, check: BatchCheck) -> Error {
    let hint = match check {
        _ if malformed.is_beyond_limit() => "readers take no more by default; --check crc stores it all the same",
        BatchCheck::Produce => "--check decode takes whatever another log holds, if its records decode",
        _ => "no reader can decode it; --check crc stores it all the same",
    };
    let malformed = malformed.offset_position(position);
    let message = format!("the record batch at byte {position} of the input is refused: {malformed}");
    Error::new(ErrorKind::InvalidInput, message).with_hint(hint)
}

fn refuse(position: u64, what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("the input is no record batch at byte {position}: {what}"))
        .with_hint("--raw takes Kafka record batches of magic 2, back to back, as `kfs cat --format raw` writes them")
}
