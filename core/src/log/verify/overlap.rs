//! Comparing a segment with the one that it begins in.

use super::finding::{Finding, FindingKind, Severity};
use crate::error::{ErrorKind, Result};
use crate::format::{BATCH_HEADER_LEN, BatchHeader, FOOTER_LEN, HEADER_LEN};
use crate::log::pieces::{PIECE_BYTES, PieceReader, same_bytes};
use crate::log::state::PartitionState;

/// A segment that was found whole, and that is read again where another one begins in it.
#[derive(Clone, Debug)]
pub(super) struct WholeSegment {
    base: i64,
    next_offset: i64,
    reader: PieceReader,
    /// Where to begin: segments come in ascending order, so nothing before that is asked for again.
    from: NextBatch,
}

/// Where the next batch stands, and the least offset that it can begin with.
#[derive(Clone, Copy, Debug)]
struct NextBatch {
    position: u64,
    offset: i64,
}

/// A batch of one segment that is not in the other.
struct Difference {
    position: u64,
    offset: i64,
}

impl WholeSegment {
    pub(super) fn new(base: i64, next_offset: i64, mut reader: PieceReader) -> Self {
        if reader.size() > PIECE_BYTES {
            // What is held is its end, and it is read again from its beginning.
            reader.release();
        }
        let from = NextBatch { position: HEADER_LEN as u64, offset: base };
        WholeSegment { base, next_offset, reader, from }
    }

    /// What it means that `inner` begins in this one: it is what merging left, or a ghost, or it goes on beyond this one's
    /// end. A segment of one piece is held, so it is not read again.
    ///
    /// # Errors
    /// What the store answers.
    pub(super) async fn compare(
        &mut self,
        state: &PartitionState,
        key: &str,
        inner: &mut WholeSegment,
    ) -> Result<Finding> {
        let differs = match self.difference(state, inner).await {
            Ok(differs) => differs,
            Err(gone) if matches!(gone.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                let message = format!(
                    "it starts inside segment {}; one of the two was replaced or removed before they could be compared, so verify again",
                    self.base
                );
                return Ok(Finding::new(Severity::Info, FindingKind::SegmentsOverlap, key, message));
            }
            Err(broken) if broken.kind() == ErrorKind::Corrupt => {
                let key = broken.key().unwrap_or(key).to_owned();
                return Ok(Finding::error(FindingKind::Segment, &key, &broken));
            }
            Err(error) => return Err(error),
        };
        let of = self.base;
        let beyond = inner.next_offset > self.next_offset;
        Ok(match differs {
            None if beyond => {
                let message = format!(
                    "segment {of} holds the same batches up to offset {}; what comes after is in this one alone",
                    self.next_offset.saturating_sub(1)
                );
                Finding::new(Severity::Info, FindingKind::SegmentsOverlap, key, message)
            }
            Some(Difference { position, offset }) if beyond => {
                let message = format!("segment {of} holds other bytes at offset {offset}");
                Finding::new(Severity::Error, FindingKind::SegmentsOverlap, key, message).at(position)
            }
            None => {
                let message = format!("a leftover of merging: segment {of} holds the same batches");
                Finding::new(Severity::Info, FindingKind::Leftover, key, message)
            }
            Some(Difference { position, offset }) => {
                let message = format!(
                    "a ghost: segment {of} holds other bytes at offset {offset}; nothing in it was acknowledged"
                );
                Finding::new(Severity::Error, FindingKind::Ghost, key, message).at(position)
            }
        })
    }

    /// The first batch of `inner`, up to this one's end, that this one does not hold.
    async fn difference(&mut self, state: &PartitionState, inner: &mut WholeSegment) -> Result<Option<Difference>> {
        let (mut theirs, mut ours) = (inner.from, self.from);
        let mut is_first = true;
        while let Some((position, batch)) = inner.next(state, &mut theirs).await? {
            if batch.base_offset >= self.next_offset {
                break;
            }
            let other = loop {
                let before = ours;
                match self.next(state, &mut ours).await? {
                    Some((_, other)) if other.base_offset < batch.base_offset => {}
                    other => {
                        if std::mem::take(&mut is_first) {
                            self.from = before;
                        }
                        break other;
                    }
                }
            };
            let is_same = match other {
                Some((at, other)) if other == batch => {
                    same_bytes(state, (&mut inner.reader, position), (&mut self.reader, at), batch.total_len() as u64)
                        .await?
                }
                _ => false,
            };
            if !is_same {
                return Ok(Some(Difference { position, offset: batch.base_offset }));
            }
        }
        Ok(None)
    }

    /// The next batch that does not overlap its predecessor: its position and its header.
    async fn next(&mut self, state: &PartitionState, place: &mut NextBatch) -> Result<Option<(u64, BatchHeader)>> {
        let end = self.reader.size().saturating_sub(FOOTER_LEN as u64);
        while place.position < end {
            let position = place.position;
            let bytes = self.reader.read(state, position, BATCH_HEADER_LEN).await?;
            // It was found right, so to read it again gives the same.
            let header = BatchHeader::parse(&bytes)
                .map_err(|malformed| malformed.offset_position(position).into_error(self.reader.key()))?;
            place.position = position.saturating_add(header.total_len() as u64);
            if header.base_offset >= place.offset {
                place.offset = header.next_offset();
                return Ok(Some((position, header)));
            }
        }
        Ok(None)
    }
}
