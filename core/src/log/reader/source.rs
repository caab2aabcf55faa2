//! The one place where a reader's segment bytes come from.
//!
//! Small segments, and mapped ones of any size, are read whole and need no index. Of larger ones blocks
//! are read from where the index says; the index is never believed (invariant 5): the batch found must
//! carry the entry's offset, else the index is built again from the segment. Blocks come from the
//! bucket's cache and go into it; a map needs none.

use std::ops::Range;
use std::sync::Arc;

use super::span::BlockSpan;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BATCH_HEADER_LEN, HEADER_LEN, IndexEntry, MAX_SEGMENT_LEN, SparseIndex};
use crate::log::cache::{BatchStart, Block, BlockCheck, SegmentBlocks};
use crate::log::state::PartitionState;
use crate::mutant::mutant;
use crate::store::{Fetched, ReadRange, Version, may_pass};

/// The most bytes that one ranged GET asks for beyond a single batch.
const MAX_RANGE: u64 = 64 << 20;
/// The most bytes that are read ahead of what a fetch wants.
const MAX_AHEAD: u64 = 8 << 20;
/// A segment of up to this many blocks is read whole, rather than its index and then a part of it.
const WHOLE_BLOCKS: u64 = 4;

/// Which bytes of a segment are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// From the batch that holds an offset.
    Offset(i64),
    /// From a known batch on, at least this many bytes.
    Place(BatchStart, u64),
}

/// Reads segments of one partition.
#[derive(Clone)]
pub(crate) struct BlockSource {
    pub(super) state: Arc<PartitionState>,
    /// Bytes of a block. A smaller segment is one block; larger ones are read in blocks.
    pub(crate) block: u64,
    /// Whether a read that failed is sent again, until no caller wants its answer.
    patient: bool,
}

impl BlockSource {
    pub(crate) fn new(state: Arc<PartitionState>, block: usize) -> Self {
        BlockSource { state, block: u64::try_from(block).unwrap_or(u64::MAX).max(4096), patient: true }
    }

    /// For reading ahead: each read is sent once. A fetch that needs the bytes later asks again.
    pub(crate) fn once(&self) -> Self {
        BlockSource { patient: false, ..self.clone() }
    }

    /// Reads a part of a segment. With its version that is data; without, it asks whether there is such a segment.
    pub(super) async fn get(&self, base: i64, range: ReadRange, version: Option<&Version>) -> Result<Fetched> {
        let key = self.state.id.segment_key(base);
        match version {
            Some(_) if self.patient => self.state.get_data(base, &key, range, version).await,
            Some(_) => self.state.store_of(base).get_data(&key, range, version).await,
            None if self.patient => self.state.get(&key, range, None).await,
            None => self.state.store().get(&key, range, None).await,
        }
    }

    /// Bytes of a segment are broken. Where a replica may have given them, the store itself is asked from now on, and what
    /// is held of the segment is let go. `false` where the store gave them itself.
    pub(super) fn asks_the_store_itself(&self, base: i64, version: &Version, broken: &Error) -> bool {
        let distrusted = self.state.store().distrust_replica(broken);
        if distrusted {
            self.state.bucket.blocks.forget(&self.of(base, version));
        }
        distrusted
    }

    fn of<'a>(&'a self, base: i64, version: &'a Version) -> SegmentBlocks<'a> {
        SegmentBlocks { id: &self.state.id, base, version, block: self.block }
    }

    /// Whether a segment of this size is mapped: then the map is the cache.
    pub(crate) fn maps(&self, size: u64) -> bool {
        self.state.store().maps(size)
    }

    /// Whether a segment of this size is read by one GET, without its index. Of one of a few blocks that
    /// saves a request and a round trip, for a few blocks more.
    pub(crate) fn is_read_whole(&self, size: u64) -> bool {
        size <= self.most_whole()
    }

    /// The most bytes of a segment that is read by one GET.
    pub(crate) fn most_whole(&self) -> u64 {
        let few = self.block.saturating_mul(WHOLE_BLOCKS).min(MAX_RANGE).min(self.state.bucket.blocks.limit() / 8);
        few.max(self.block)
    }

    /// Whether a segment of this size is one block, and read by a GET that takes a round trip.
    pub(crate) fn is_one_block(&self, size: u64) -> bool {
        size <= self.block && !self.state.store().is_mapped()
    }

    /// Whether a segment of one block is held.
    pub(crate) fn holds(&self, base: i64, version: &Version) -> bool {
        self.held_from(base, version, base, BatchStart::first(base), 0).is_some()
    }

    /// How many bytes are read ahead, given how many were the last time.
    pub(crate) fn more_ahead(&self, last: u64) -> u64 {
        // Of the part of the cache for newcomers, half: what was read ahead is to be there when it is wanted.
        let most = (self.state.bucket.blocks.limit() / 8).min(MAX_AHEAD);
        (last * 2).max(self.block).min(most)
    }

    /// What is held of a segment from the batch with this offset on, without asking the store. `place`
    /// is where that batch stands, if it is known.
    pub(crate) fn held(
        &self,
        base: i64,
        version: &Version,
        offset: i64,
        place: Option<BatchStart>,
    ) -> Option<BlockSpan> {
        let size = version.size();
        if self.maps(size) {
            return None;
        }
        if size <= self.block || offset <= base {
            return self.held_from(base, version, offset, BatchStart::first(base), 0);
        }
        if let Some(place) = place {
            return self.held_from(base, version, offset, place, 0);
        }
        let index = self.state.bucket.indexes.get(&self.state.id, base, version)?;
        let place = index.find(offset).map(place_of).filter(|place| place.offset <= offset)?;
        let span = self.held_from(base, version, offset, place, BATCH_HEADER_LEN as u64)?;
        let truthful = span.base_offset_at(place.position) == Some(place.offset);
        (truthful || mutant!(BelieveIndex)).then_some(span)
    }

    /// The blocks that hold at least `need` bytes from a place on, if all of them are held.
    pub(crate) fn held_from(
        &self,
        base: i64,
        version: &Version,
        offset: i64,
        place: BatchStart,
        need: u64,
    ) -> Option<BlockSpan> {
        let of = self.of(base, version);
        let numbers = self.numbers(place.position..place.position.saturating_add(need.max(1)), version.size());
        let from = |block: &Block| {
            let known = block.place(offset).map_or(0, |known| known.position);
            known.max(place.position).max(block.at())
        };
        let blocks = &self.state.bucket.blocks;
        let first = blocks.find(&of, numbers.start, from)?;
        let mut rest = Vec::new();
        for number in numbers.start + 1..numbers.end {
            rest.push(blocks.find(&of, number, from)?);
        }
        Some(BlockSpan::new(first, rest, place))
    }

    /// The numbers of the blocks in which these bytes lie.
    fn numbers(&self, bytes: Range<u64>, size: u64) -> Range<u64> {
        let first = bytes.start / self.block;
        first..bytes.end.min(size).div_ceil(self.block).max(first + 1)
    }

    /// Reads what is wanted of this version of a segment, and about `max_bytes` from there; `ahead` more
    /// where the store is asked.
    ///
    /// # Errors
    /// Not found or conflict when the segment is not what the catalog says.
    pub(crate) async fn load(
        &self,
        base: i64,
        version: &Version,
        want: Want,
        max_bytes: usize,
        ahead: u64,
    ) -> Result<BlockSpan> {
        let size = version.size();
        if self.maps(size) {
            let fetched = self.get(base, ReadRange::AtMost(MAX_SEGMENT_LEN), Some(version)).await?;
            return self.mapped(base, version.clone(), fetched, want).await;
        }
        let room = u64::try_from(max_bytes).unwrap_or(u64::MAX).min(MAX_RANGE);
        let first = BatchStart::first(base);
        match want {
            Want::Place(place, need) => {
                let to = place.position.saturating_add(room.max(need));
                self.part(base, version, place, place.position..to, ahead).await
            }
            Want::Offset(offset) if offset <= base => {
                self.part(base, version, first, 0..room + HEADER_LEN as u64, ahead).await
            }
            Want::Offset(_) if size <= self.block || (self.is_read_whole(size) && !self.holds_index(base, version)) => {
                self.part(base, version, first, 0..size, 0).await
            }
            Want::Offset(offset) => self.indexed(base, version, offset, room).await,
        }
    }

    /// A segment as a GET without a listing found it: the bytes that came are used.
    pub(crate) async fn discovered(&self, base: i64, fetched: Fetched) -> Result<BlockSpan> {
        let version = fetched.info.version.clone();
        if self.maps(version.size()) {
            return self.mapped(base, version, fetched, Want::Offset(base)).await;
        }
        let of = self.of(base, &version);
        let blocks = of.cut(&version, 0, fetched.bytes, self.check(version.size()));
        self.state.bucket.blocks.put(&of, 0, &blocks);
        BlockSpan::of(blocks, BatchStart::first(base))
    }

    /// Asks for a segment that may not be there: its first bytes, the whole of a small one.
    pub(crate) async fn probe(&self, base: i64) -> Result<Fetched> {
        let whole = ReadRange::AtMost(MAX_SEGMENT_LEN);
        let range = if self.state.store().is_mapped() { whole } else { ReadRange::Range(0..self.block) };
        self.get(base, range, None).await
    }

    /// What is checked of the blocks of a segment of this size.
    fn check(&self, size: u64) -> BlockCheck {
        if size <= self.block { BlockCheck::All } else { BlockCheck::Header }
    }

    async fn mapped(&self, base: i64, version: Version, fetched: Fetched, want: Want) -> Result<BlockSpan> {
        let small = version.size() <= self.block;
        let check = if small { BlockCheck::All } else { BlockCheck::Edges };
        let block = Arc::new(Block::new(base, version, 0, fetched.bytes, check));
        let mut span = BlockSpan::new(block, Vec::new(), BatchStart::first(base));
        match want {
            Want::Offset(offset) if !small && offset > base => span.note(self.mapped_place(&span, offset).await?),
            Want::Offset(_) => {}
            Want::Place(place, _) => span.note(place),
        }
        Ok(span)
    }

    /// Where to start in a mapped segment, by its index if that tells the truth.
    async fn mapped_place(&self, span: &BlockSpan, offset: i64) -> Result<BatchStart> {
        let (base, version) = (span.base(), span.version());
        let truthful = |entry: &IndexEntry| span.base_offset_at(entry.position) == Some(entry.offset);
        let index = self.index(base, version).await?;
        let entry = match index.as_ref().and_then(|index| index.find(offset)).filter(truthful) {
            Some(entry) => Some(entry),
            None => self.rebuild(base, version).await?.find(offset).filter(truthful),
        };
        Ok(entry.filter(|entry| entry.offset <= offset).map_or(BatchStart::first(base), place_of))
    }

    async fn indexed(&self, base: i64, version: &Version, offset: i64, room: u64) -> Result<BlockSpan> {
        for attempt in 0..2 {
            let index = match self.index(base, version).await? {
                Some(index) if attempt == 0 => index,
                _ => self.rebuild(base, version).await?,
            };
            let entry = index.find(offset).filter(|entry| entry.offset <= offset);
            let place = entry.map_or(BatchStart::first(base), place_of);
            // The batch that holds the offset ends before the next entry's starts.
            let next = index.next_after(place.position).map_or(version.size(), |entry| entry.position);
            let to = next.max(place.position).saturating_add(room).min(place.position.saturating_add(MAX_RANGE));
            if place.position < version.size() {
                let span = self.part(base, version, place, place.position..to, 0).await?;
                let truthful = span.base_offset_at(place.position) == Some(place.offset);
                if truthful || attempt > 0 || mutant!(BelieveIndex) {
                    return Ok(span);
                }
            }
        }
        self.part(base, version, BatchStart::first(base), 0..room, 0).await
    }

    /// The blocks in which these bytes lie.
    async fn part(
        &self,
        base: i64,
        version: &Version,
        start: BatchStart,
        bytes: Range<u64>,
        ahead: u64,
    ) -> Result<BlockSpan> {
        let size = version.size();
        // What little is left is read too.
        let rounded = |end: u64| if end.saturating_add(self.block / 16) >= size { size } else { end };
        let wanted = self.numbers(bytes.start..rounded(bytes.end), size);
        let until = self.numbers(bytes.start..rounded(bytes.end.saturating_add(ahead)), size).end;
        let of = self.of(base, version);
        let get = |range: Range<u64>| async move {
            let asked = if range == (0..size) { ReadRange::Whole } else { ReadRange::Range(range.clone()) };
            let fetched = self.get(base, asked, Some(version)).await?;
            if fetched.range == range {
                return Ok((fetched.info.version, fetched.bytes));
            }
            let found = format!("the store gave bytes {:?} of {size}, asked were {range:?}", fetched.range);
            Err(Error::new(ErrorKind::Unavailable, found).with_key(self.state.id.segment_key(base)))
        };
        let from = start.position;
        let load = || self.state.bucket.blocks.load(&of, from, wanted.clone(), until, self.check(size), get);
        let mut loaded = load().await;
        if self.patient && loaded.as_ref().is_err_and(may_pass) {
            // Another task was reading these ahead and asked once. Now they are needed.
            loaded = load().await;
        }
        BlockSpan::of(loaded?, start)
    }

    fn holds_index(&self, base: i64, version: &Version) -> bool {
        self.state.bucket.indexes.get(&self.state.id, base, version).is_some()
    }

    /// The segment's index, from the cache or the store; `None` when it is missing or malformed.
    pub(crate) async fn index(&self, base: i64, version: &Version) -> Result<Option<Arc<SparseIndex>>> {
        let (bucket, id) = (&self.state.bucket, &self.state.id);
        let get = || async move {
            let most = ReadRange::AtMost(SparseIndex::max_len(version.size().min(MAX_SEGMENT_LEN)));
            let fetched = match self.state.get_data(base, &id.index_key(base), most, None).await {
                Ok(fetched) => fetched,
                // Missing, or too large to be one.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => return Ok(None),
                Err(error) => return Err(error),
            };
            Ok(SparseIndex::parse(&fetched.bytes).ok().map(Arc::new))
        };
        bucket.indexes.load(id, base, version, get).await
    }
}

fn place_of(entry: IndexEntry) -> BatchStart {
    BatchStart { offset: entry.offset, position: entry.position }
}

/// Whether a read failed because the object is gone or another version.
pub(crate) fn has_changed(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict)
}
