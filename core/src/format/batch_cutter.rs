//! Cutting the batches out of a segment that comes in pieces.

use bytes::{Bytes, BytesMut};

use super::batch_header::{BATCH_HEADER_LEN, CRC_FROM};
use super::segment::append_batch;
use super::segment_frame::{FOOTER_LEN, HEADER_LEN};
use super::{Batch, BatchHeader, Malformed, crc};

/// What stands at a place of a segment where a batch should begin.
#[derive(Debug)]
pub(crate) enum Cut {
    /// A batch that is wholly there; its CRC may be wrong.
    Batch(CutBatch),
    /// No batch. What comes after can't be told, so it is the last cut.
    None {
        /// What is wrong, with a position in the object.
        malformed: Malformed,
        /// The header, if it is one: then its length reaches beyond the batches' end.
        header: Option<BatchHeader>,
    },
}

/// A batch that came in one piece or in several.
#[derive(Debug)]
pub(crate) struct CutBatch {
    /// Its first byte, from the segment's start.
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
    /// Whether its CRC is right; if not, what is wrong, with a position in the object.
    pub(crate) crc: Result<(), Malformed>,
    /// Its bytes, if they came in one piece or were to be kept.
    pub(crate) batch: Option<Batch>,
}

impl Cut {
    /// The header that was read.
    pub(crate) fn header(&self) -> Option<&BatchHeader> {
        match self {
            Cut::Batch(batch) => Some(&batch.header),
            Cut::None { header, .. } => header.as_ref(),
        }
    }
}

/// Takes the pieces of a segment in their order, header and footer included, and gives its batches.
///
/// It holds what is left of one piece, and the bytes of one batch if they are to be kept. A batch that is not kept is
/// followed through all its pieces by its CRC alone.
#[derive(Debug)]
pub(crate) struct BatchCutter {
    /// Bytes that come before the first batch and have not come yet.
    skip: usize,
    /// Where the next batch begins.
    at: u64,
    /// Where the footer begins.
    end: u64,
    /// What is left of the piece that came last.
    piece: Bytes,
    /// The beginning of a header that goes on in the next piece.
    head: BytesMut,
    under_way: Option<PartialBatch>,
    keeps: bool,
    body_crc: u32,
}

impl BatchCutter {
    /// For a segment of this many bytes. Batches that come in several pieces are kept whole if `keeps`.
    pub(crate) fn new(size: u64, keeps: bool) -> Self {
        BatchCutter {
            skip: HEADER_LEN,
            at: HEADER_LEN as u64,
            end: size.saturating_sub(FOOTER_LEN as u64),
            piece: Bytes::new(),
            head: BytesMut::new(),
            under_way: None,
            keeps,
            body_crc: 0,
        }
    }

    /// From now on no batch is kept.
    pub(crate) fn keep_none(&mut self) {
        self.keeps = false;
        if let Some(batch) = &mut self.under_way {
            batch.kept = None;
        }
    }

    /// Takes the next piece. Call it when [`next`](Self::next) has no more.
    pub(crate) fn push(&mut self, mut piece: Bytes) {
        let skipped = piece.split_to(self.skip.min(piece.len()));
        self.skip = self.skip.saturating_sub(skipped.len());
        self.piece = piece;
    }

    /// The next batch; `None` when another piece is needed, and at the end.
    pub(crate) fn next(&mut self) -> Option<Cut> {
        if self.under_way.is_none() {
            if self.is_at_end() {
                return None;
            }
            let left = self.end.saturating_sub(self.at);
            let parsed = self.header(usize::try_from(left).unwrap_or(usize::MAX))?;
            match parsed {
                Err(malformed) => return Some(self.none(malformed, None)),
                Ok(header) if header.total_len() as u64 > left => {
                    let found = format!("a batch of {} bytes where {left} are left", header.total_len());
                    return Some(self.none(Malformed::new(8, found, "a whole batch"), Some(header)));
                }
                Ok(header) if self.head.is_empty() && self.piece.len() >= header.total_len() => {
                    let batch = Batch::from_parts(self.piece.split_to(header.total_len()), header);
                    let crc = batch.check_crc();
                    self.body_crc = append_batch(self.body_crc, &batch);
                    return Some(self.batch(header, crc, Some(batch)));
                }
                Ok(header) => self.under_way = Some(PartialBatch::new(header, self.keeps, self.body_crc)),
            }
        }
        let mut batch = self.under_way.take()?;
        batch.take(&std::mem::take(&mut self.head));
        batch.take(&self.piece.split_to(batch.left().min(self.piece.len())));
        if batch.left() > 0 {
            self.under_way = Some(batch);
            return None;
        }
        let (header, crc) = (batch.header, batch.header.check_crc(batch.crc));
        let covered = header.total_len().saturating_sub(CRC_FROM) as u64;
        self.body_crc = crc::combine(batch.body_crc, header.crc, covered);
        let kept = batch.kept.map(|bytes| Batch::from_parts(bytes.freeze(), header));
        Some(self.batch(header, crc, kept))
    }

    /// Whether all batches were given.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    /// Where the next batch would begin.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// The CRC of all batches so far. It is right only if theirs are.
    pub(crate) fn body_crc(&self) -> u32 {
        self.body_crc
    }

    /// The header at this place; `None` when more bytes of it are needed.
    fn header(&mut self, left: usize) -> Option<Result<BatchHeader, Malformed>> {
        let len = BATCH_HEADER_LEN.min(left);
        if self.head.is_empty() && self.piece.len() >= len {
            return Some(BatchHeader::parse(self.piece.get(..len).unwrap_or_default()));
        }
        let missing = len.saturating_sub(self.head.len()).min(self.piece.len());
        self.head.extend_from_slice(&self.piece.split_to(missing));
        (self.head.len() >= len).then(|| BatchHeader::parse(&self.head))
    }

    fn batch(&mut self, header: BatchHeader, crc: Result<(), Malformed>, batch: Option<Batch>) -> Cut {
        let position = self.at;
        self.at = position.saturating_add(header.total_len() as u64);
        Cut::Batch(CutBatch { position, header, crc: crc.map_err(|e| e.offset_position(position)), batch })
    }

    fn none(&mut self, malformed: Malformed, header: Option<BatchHeader>) -> Cut {
        let malformed = malformed.offset_position(self.at);
        self.at = self.end;
        Cut::None { malformed, header }
    }
}

/// A batch of which some bytes have come.
#[derive(Debug)]
struct PartialBatch {
    header: BatchHeader,
    /// How many bytes of it have come.
    len: usize,
    /// The CRC of those that its own CRC covers.
    crc: u32,
    /// The CRC of the body up to them.
    body_crc: u32,
    kept: Option<BytesMut>,
}

impl PartialBatch {
    fn new(header: BatchHeader, keeps: bool, body_crc: u32) -> Self {
        PartialBatch { header, len: 0, crc: 0, body_crc, kept: keeps.then(BytesMut::new) }
    }

    fn left(&self) -> usize {
        self.header.total_len().saturating_sub(self.len)
    }

    fn take(&mut self, part: &[u8]) {
        let uncovered = CRC_FROM.saturating_sub(self.len).min(part.len());
        let (prefix, covered) = part.split_at_checked(uncovered).unwrap_or_default();
        self.body_crc = crc::append(self.body_crc, prefix);
        self.crc = crc::append(self.crc, covered);
        self.len = self.len.saturating_add(part.len());
        if let Some(kept) = &mut self.kept {
            // It grows with what has come, not by a length that a header claims.
            kept.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests;
