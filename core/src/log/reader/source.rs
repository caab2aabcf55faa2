//! The one place where a reader's segment bytes come from.
//!
//! Small segments, and mapped ones of any size, are read whole and need no index. Of larger ones a
//! range is read from where the index says; the index is never believed (invariant 5): the batch
//! found must carry the entry's offset, else the index is built anew from the segment.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::piece::{Piece, Place};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{
    BATCH_HEADER_LEN, BatchHeader, CrcCheck, DEFAULT_INDEX_INTERVAL, FOOTER_LEN, HEADER_LEN, IndexBuilder, IndexEntry,
    Malformed, SegmentFooter, SparseIndex, crc32c_append,
};
use crate::log::partition::PartitionState;
use crate::mutant::mutant;
use crate::store::{Fetched, ReadRange, Version};

/// The most bytes that one ranged GET asks for beyond a single batch.
const MAX_RANGE: u64 = 64 << 20;
/// Bytes of one GET where a segment is gone through in parts.
const STEP: u64 = 8 << 20;

/// Which bytes of a segment are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// From the batch that holds an offset.
    Offset(i64),
    /// From a known batch on, at least so many bytes.
    Place(Place, u64),
}

/// Reads segments of one partition.
#[derive(Clone)]
pub(crate) struct Source {
    state: Arc<PartitionState>,
    /// Segments of up to so many bytes are read whole; ranges are at least so long.
    pub(crate) block: u64,
    pub(crate) check: CrcCheck,
}

impl Source {
    pub(crate) fn new(state: Arc<PartitionState>, block: usize, check: CrcCheck) -> Self {
        Source { state, block: u64::try_from(block).unwrap_or(u64::MAX).max(4096), check }
    }

    async fn get(&self, base: i64, range: ReadRange, version: Option<&Version>) -> Result<Fetched> {
        self.state.store().get(&self.state.id.segment_key(base), range, version).await
    }

    /// Reads what is wanted of this version of a segment, and about `max_bytes` from there.
    ///
    /// # Errors
    /// Not found or conflict when the segment is not what the catalog says.
    pub(crate) async fn load(&self, base: i64, version: &Version, want: Want, max_bytes: usize) -> Result<Piece> {
        let size = version.size();
        if self.state.store().is_mapped() || size <= self.block {
            let fetched = self.get(base, ReadRange::Whole, Some(version)).await?;
            return self.whole(base, fetched, want).await;
        }
        let ahead = u64::try_from(max_bytes).unwrap_or(u64::MAX).min(MAX_RANGE).max(self.block);
        match want {
            Want::Place(place, need) => {
                let to = place.position.saturating_add(ahead.max(need));
                self.part(base, version, place, place.position..to).await
            }
            Want::Offset(offset) if offset <= base => {
                let start = Place { offset: base, position: HEADER_LEN as u64 };
                self.part(base, version, start, 0..ahead.saturating_add(HEADER_LEN as u64)).await
            }
            Want::Offset(offset) => self.indexed(base, version, offset, ahead).await,
        }
    }

    /// A segment as a GET without a listing found it: the bytes that came are used.
    pub(crate) async fn discovered(&self, base: i64, fetched: Fetched) -> Result<Piece> {
        if fetched.range == (0..fetched.info.size) {
            return self.whole(base, fetched, Want::Offset(base)).await;
        }
        let start = Place { offset: base, position: HEADER_LEN as u64 };
        Ok(Piece::part(base, fetched.info.version, fetched.range.start, fetched.bytes, start))
    }

    /// Asks for a segment that may not be there: its first bytes, the whole of a small one.
    pub(crate) async fn probe(&self, base: i64) -> Result<Fetched> {
        let range = if self.state.store().is_mapped() { ReadRange::Whole } else { ReadRange::Range(0..self.block) };
        self.get(base, range, None).await
    }

    async fn whole(&self, base: i64, fetched: Fetched, want: Want) -> Result<Piece> {
        let version = fetched.info.version;
        let small = version.size() <= self.block;
        let piece = Piece::whole(base, version.clone(), fetched.bytes, small.then_some(self.check));
        match want {
            Want::Offset(offset) if !small && offset > base => piece.note(self.mapped_place(&piece, offset).await?),
            Want::Offset(_) => {}
            Want::Place(place, _) => piece.note(place),
        }
        Ok(piece)
    }

    /// Where to start in a mapped segment, by its index if that tells the truth.
    async fn mapped_place(&self, piece: &Piece, offset: i64) -> Result<Place> {
        let truthful = |entry: &IndexEntry| piece.base_offset_at(entry.position) == Some(entry.offset);
        let index = self.index(piece.base, &piece.version).await?;
        let entry = match index.as_ref().and_then(|index| index.find(offset)).filter(truthful) {
            Some(entry) => Some(entry),
            None => self.rebuild(piece.base, &piece.version).await?.find(offset).filter(truthful),
        };
        Ok(match entry.filter(|entry| entry.offset <= offset) {
            Some(entry) => Place { offset: entry.offset, position: entry.position },
            None => Place { offset: piece.base, position: HEADER_LEN as u64 },
        })
    }

    async fn indexed(&self, base: i64, version: &Version, offset: i64, ahead: u64) -> Result<Piece> {
        for attempt in 0..2 {
            let index = match self.index(base, version).await? {
                Some(index) if attempt == 0 => index,
                _ => self.rebuild(base, version).await?,
            };
            let entry = index.find(offset).filter(|entry| entry.offset <= offset);
            let mut place = entry.map_or(Place { offset: base, position: HEADER_LEN as u64 }, |entry| Place {
                offset: entry.offset,
                position: entry.position,
            });
            if mutant!(StartAtNextEntry) {
                place.position = index.next_after(place.position).map_or(place.position, |entry| entry.position);
            }
            // The batch that holds the offset ends before the next entry's starts.
            let next = index.next_after(place.position).map_or(version.size(), |entry| entry.position);
            let to = next.max(place.position).saturating_add(ahead).min(place.position.saturating_add(MAX_RANGE));
            if place.position < version.size() {
                let piece = self.part(base, version, place, place.position..to).await?;
                let truthful = piece.base_offset_at(place.position) == Some(place.offset);
                if truthful || attempt > 0 || mutant!(BelieveIndex) {
                    return Ok(piece);
                }
            }
        }
        let start = Place { offset: base, position: HEADER_LEN as u64 };
        self.part(base, version, start, 0..ahead).await
    }

    async fn part(&self, base: i64, version: &Version, place: Place, range: Range<u64>) -> Result<Piece> {
        let size = version.size();
        // What little is left is read too.
        let end = if range.end.saturating_add(self.block / 16) >= size { size } else { range.end };
        let fetched = self
            .get(base, ReadRange::Range(range.start..end.max(range.start.saturating_add(1))), Some(version))
            .await?;
        Ok(Piece::part(base, version.clone(), fetched.range.start, fetched.bytes, place))
    }

    /// The segment's index, from the cache or the store; `None` when it is missing or malformed.
    pub(crate) async fn index(&self, base: i64, version: &Version) -> Result<Option<Arc<SparseIndex>>> {
        let (bucket, id) = (&self.state.bucket, &self.state.id);
        if let Some(index) = bucket.indexes.get(id, base, version) {
            return Ok(Some(index));
        }
        let fetched = match self.state.store().get(&id.index_key(base), ReadRange::Whole, None).await {
            Ok(fetched) => fetched,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(index) = SparseIndex::parse(&fetched.bytes) else { return Ok(None) };
        let index = Arc::new(index);
        bucket.indexes.put(id, base, version, index.clone());
        Ok(Some(index))
    }

    /// Builds the index from the batch headers, reading the segment in parts, up to the first that
    /// is broken.
    async fn rebuild(&self, base: i64, version: &Version) -> Result<Arc<SparseIndex>> {
        let mut builder = IndexBuilder::new(DEFAULT_INDEX_INTERVAL);
        let end = version.size().saturating_sub(FOOTER_LEN as u64);
        let (mut position, mut offset) = (HEADER_LEN as u64, base);
        let mut held = (0, Bytes::new());
        while position < end {
            let header = match header_at(&held, position) {
                Some(header) => header,
                None => {
                    let to = position.saturating_add(STEP).min(end.max(position.saturating_add(1)));
                    let fetched = self.get(base, ReadRange::Range(position..to), Some(version)).await?;
                    held = (position, fetched.bytes);
                    match header_at(&held, position) {
                        Some(header) => header,
                        None => break,
                    }
                }
            };
            let Ok(header) = header else { break };
            if header.base_offset >= offset {
                builder.push(header.base_offset, position, header.record_count);
                offset = header.next_offset();
            }
            position = position.saturating_add(header.total_len() as u64);
        }
        let index = Arc::new(builder.finish());
        self.state.bucket.indexes.put(&self.state.id, base, version, index.clone());
        Ok(index)
    }

    /// Compares the body's CRC with the bytes, reading the segment in parts.
    ///
    /// # Errors
    /// Corrupt when they differ.
    pub(crate) async fn confirm(&self, base: i64, version: &Version) -> Result<()> {
        let key = self.state.id.segment_key(base);
        let body_end = version.size().saturating_sub(FOOTER_LEN as u64);
        let mut crc = 0;
        let mut position = HEADER_LEN as u64;
        while position < body_end {
            let to = position.saturating_add(STEP).min(body_end);
            let fetched = self.get(base, ReadRange::Range(position..to), Some(version)).await?;
            crc = crc32c_append(crc, &fetched.bytes);
            position = to;
        }
        let footer = self.footer(base, Some(version)).await?.0;
        if footer.crc != crc {
            let found = format!("body CRC {:08x}", footer.crc);
            return Err(Malformed::new(body_end, found, format!("{crc:08x}, which the body has")).into_error(&key));
        }
        Ok(())
    }

    /// Reads a segment's footer: one GET.
    ///
    /// # Errors
    /// Corrupt when it is none.
    pub(crate) async fn footer(&self, base: i64, version: Option<&Version>) -> Result<(SegmentFooter, Version)> {
        let fetched = self.get(base, ReadRange::Suffix(FOOTER_LEN as u64), version).await?;
        let footer = SegmentFooter::parse(&fetched.bytes)
            .map_err(|e| e.offset_position(fetched.range.start).into_error(&self.state.id.segment_key(base)))?;
        Ok((footer, fetched.info.version))
    }
}

fn header_at(held: &(u64, Bytes), position: u64) -> Option<std::result::Result<BatchHeader, Malformed>> {
    let from = usize::try_from(position.checked_sub(held.0)?).ok()?;
    let rest = held.1.get(from..).filter(|rest| rest.len() >= BATCH_HEADER_LEN)?;
    Some(BatchHeader::parse(rest))
}

/// Whether a read failed because the object is gone or another version.
pub(crate) fn has_changed(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict)
}
