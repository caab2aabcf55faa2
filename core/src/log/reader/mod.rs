//! Reading a partition's log.

mod answer;
mod block;
pub(crate) mod blocks;
mod fetch;
mod follow;
mod gather;
pub(crate) mod indexes;
mod job;
mod options;
mod piece;
mod records;
mod refresh;
pub(crate) mod source;
mod stamps;
mod stream;
mod supply;
mod times;
mod walk;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::block::{Block, Place};
use self::job::{Job, Step};
use self::piece::Piece;
use self::source::{Source, Want};
use super::catalog::SegmentRef;
use super::partition::{Partition, PartitionState};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BATCH_HEADER_LEN, Malformed};
use crate::runtime::Running;
use crate::store::Version;

pub(crate) use self::refresh::exists as refresh_exists;

pub use self::answer::{Fetch, Hole};
pub use self::options::{FetchOptions, OnCorrupt, ReaderOptions};
pub use self::records::{BatchPlace, FetchRecords, RecordStream, StreamRecord};
pub use self::stream::{BatchStream, Notice};
pub use self::times::TimedOffset;

/// Small segments that are read at the same time. A scan of many takes a round trip for so many.
const READ_TOGETHER: usize = 32;
/// The most bytes of them.
const MAX_READ_WITH: u64 = 8 << 20;

/// Segments whose body's CRC was confirmed and that are remembered.
const MAX_FAITHFUL: usize = 16;

/// Reads a partition's log. Cheap to clone; it never writes (invariant 5).
///
/// What it reads from the store is held in the bucket's block cache, which all readers share
/// ([`BucketOptions::cache_bytes`](crate::BucketOptions::cache_bytes)), so that a loop of small fetches
/// reads each segment once. Give each place that reads a reader of its own: it remembers where it stood,
/// and reads ahead while it goes on from there.
#[derive(Clone)]
pub struct Reader(Arc<Core>);

struct Core {
    state: Arc<PartitionState>,
    source: Source,
    options: ReaderOptions,
    spot: Mutex<Spot>,
    /// Segments whose base offsets are as they were written.
    faithful: Mutex<Vec<(i64, Version)>>,
    /// The segment of which it was last said that it is broken outside its batches.
    reported: Mutex<Option<(i64, Version)>>,
}

/// What a reader keeps of its last fetch. It holds no bytes of its own: the bucket's cache does, or the map.
#[derive(Default)]
struct Spot {
    /// Where it ended, in a segment of several blocks.
    last: Option<(i64, Version, Place)>,
    /// The next offset that it wanted.
    ended: i64,
    /// Segments in a row that were found by asking for the next key.
    found: u32,
    /// Who wrote the one that was found last.
    writer: Option<String>,
    /// A segment that is mapped.
    mapped: Option<Arc<Block>>,
    /// Bytes to read ahead: more and more while each fetch goes on where the one before it ended.
    ahead: u64,
}

impl Core {
    fn spot(&self) -> MutexGuard<'_, Spot> {
        self.spot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blocks of a segment from which the fetch goes on, or what is to be read of it.
    fn held(&self, job: &mut Job, base: i64, version: &Version) -> Result<Piece, Want> {
        if let Some(piece) = job.piece.take().filter(|piece| piece.is(base, version)) {
            return Ok(piece);
        }
        if let Some(index) = job.ahead.iter().position(|piece| piece.is(base, version)) {
            return Ok(job.ahead.swap_remove(index));
        }
        let last = {
            let spot = self.spot();
            if let Some(mapped) = spot.mapped.as_ref().filter(|mapped| mapped.is(base, version)) {
                return Ok(Piece::new(mapped.clone(), Vec::new(), Place::first(base)));
            }
            let last = spot.last.as_ref().filter(|(of, as_of, _)| *of == base && as_of.same_as(version));
            // From a place further back the way may lead through many blocks.
            last.map(|(_, _, place)| *place).filter(|place| place.offset == job.position())
        };
        let held = self.source.held(base, version, job.position(), last);
        held.ok_or_else(|| match last {
            Some(place) => Want::Place(place, BATCH_HEADER_LEN as u64),
            None => Want::Offset(job.position()),
        })
    }

    /// The fetch goes on with these blocks, which were read from the store.
    fn hold(&self, job: &mut Job, piece: Piece) {
        self.spot().mapped = self.source.maps(piece.size()).then(|| piece.first().clone());
        job.piece = Some(piece);
    }

    /// The fetch ends in these blocks, or goes on behind them.
    fn leave(&self, job: &mut Job, piece: &Piece) {
        let mut spot = self.spot();
        job.goes_on |= spot.goes_on(job.start);
        spot.ended = job.position();
        if !piece.is_one_block() {
            spot.last = Some((piece.base(), piece.version().clone(), piece.start()));
        }
    }

    /// How many bytes are read ahead of what is wanted.
    fn ahead(&self, job: &Job) -> u64 {
        let mut spot = self.spot();
        let goes_on = job.goes_on || spot.goes_on(job.start);
        spot.ahead = if goes_on { self.source.more_ahead(spot.ahead) } else { 0 };
        spot.ahead
    }

    /// Small segments that are read together with this one, because the fetch goes on into them: at
    /// most so many bytes as it has room for, or as are read ahead.
    fn read_with(&self, job: &Job, base: i64, version: &Version, ahead: u64) -> Vec<SegmentRef> {
        // A cold fetch has its budget of requests; a map is read when it is touched.
        let goes_on = !job.gather.is_empty() || ahead > 0;
        if !goes_on || job.listed || !self.source.is_one_block(version.size()) {
            return Vec::new();
        }
        let room = u64::try_from(job.gather.room()).unwrap_or(u64::MAX).min(MAX_READ_WITH);
        let mut left = room.max(ahead).saturating_sub(version.size());
        let following = self.state.with_catalog(|catalog| catalog.following(base, READ_TOGETHER.saturating_sub(1)));
        let fits = |segment: &SegmentRef| {
            let size = segment.version.size();
            let fits = segment.base < job.options.read_ahead_to && self.source.is_one_block(size) && size <= left;
            left = left.saturating_sub(size);
            fits
        };
        let wanted = following.into_iter().take_while(fits);
        wanted.filter(|segment| !self.source.holds(segment.base, &segment.version)).collect()
    }

    /// Tells of a broken segment once.
    fn is_news(&self, base: i64, version: &Version) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let news = !reported.as_ref().is_some_and(|(known, of)| *known == base && of.same_as(version));
        if news {
            *reported = Some((base, version.clone()));
        }
        news
    }

    fn is_faithful(&self, base: i64, version: &Version) -> bool {
        let faithful = self.faithful.lock().unwrap_or_else(PoisonError::into_inner);
        faithful.iter().any(|(known, of)| *known == base && of.same_as(version))
    }

    fn remember_faithful(&self, base: i64, version: &Version) {
        let mut faithful = self.faithful.lock().unwrap_or_else(PoisonError::into_inner);
        if faithful.len() >= MAX_FAITHFUL {
            faithful.remove(0);
        }
        faithful.push((base, version.clone()));
    }

    /// Tells a caller who skips, once, what is wrong with a segment outside its batches.
    fn report(&self, job: &mut Job, piece: &Piece) {
        let Some(malformed) = piece.whole_fault(self.options.crc_check) else { return };
        if self.is_news(piece.base(), piece.version()) {
            job.skipped.push(malformed.clone().into_error(&self.state.id.segment_key(piece.base())));
        }
    }
}

impl Spot {
    /// Whether a fetch of this offset goes on where the last one ended.
    fn goes_on(&self, offset: i64) -> bool {
        self.ended == offset && offset > 0
    }
}

impl Partition {
    /// A reader. Asks nothing of the store.
    pub fn reader(&self, options: ReaderOptions) -> Reader {
        let state = self.state().clone();
        let source = Source::new(state.clone(), options.block_bytes);
        let (spot, faithful, reported) = Default::default();
        Reader(Arc::new(Core { state, source, options, spot, faithful, reported }))
    }
}

impl Reader {
    /// The batches from the one that holds `offset` on, whole, of `max_bytes` in all; the first comes
    /// whatever its length (invariant 6). At the log's end the answer is empty. Where the offset is in
    /// a hole, the answer begins behind it and says so.
    ///
    /// Small segments that follow each other are read at the same time.
    ///
    /// Nothing is asked of the store when the bytes are held; a cold fetch takes what locating takes
    /// and two GETs (docs/design.md, "Request budget").
    ///
    /// # Errors
    /// Out of range with the log's range; not found for a partition that was never made; corrupt with
    /// key, position, offsets and the next readable offset; what the store answers.
    pub async fn fetch(&self, offset: i64, max_bytes: usize) -> Result<Fetch> {
        self.fetch_with(offset, FetchOptions::new(max_bytes)).await
    }

    /// Like [`fetch`](Self::fetch), with options.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn fetch_with(&self, offset: i64, options: FetchOptions) -> Result<Fetch> {
        if offset < 0 {
            return Err(Error::new(ErrorKind::InvalidInput, format!("offset {offset} is negative")));
        }
        let core = &self.0;
        let mut job = Job::new(offset, options);
        match core.advance(&mut job)? {
            Step::Done => Ok(core.answer(job)),
            Step::Need(need) => {
                let core = core.clone();
                let runtime = core.state.runtime().clone();
                runtime.ask(async move { core.finish(job, need).await }).await
            }
        }
    }

    /// A fetch that goes on while nobody waits for it, on the runtime alone.
    fn begin_fetch(&self, offset: i64, options: FetchOptions) -> Running<Fetch> {
        let core = self.0.clone();
        self.0.state.runtime().ask(async move {
            let mut job = Job::new(offset, options);
            match core.advance(&mut job)? {
                Step::Done => Ok(core.answer(job)),
                Step::Need(need) => core.finish(job, need).await,
            }
        })
    }

    /// The batches from the one that holds `from` on, to the log's end as it is when it is reached.
    pub fn batches(&self, from: i64) -> BatchStream {
        BatchStream::new(self.clone(), from, false)
    }

    /// The records from offset `from` on, to the log's end as it is when it is reached.
    pub fn records(&self, from: i64) -> RecordStream {
        RecordStream::new(self.batches(from))
    }

    /// Like [`batches`](Self::batches), but waits at the end for what is appended: woken by a writer in
    /// this process, else asking for the next key with growing waits.
    pub fn follow(&self, from: i64) -> BatchStream {
        BatchStream::new(self.clone(), from, true)
    }

    /// Like [`follow`](Self::follow), record by record.
    pub fn follow_records(&self, from: i64) -> RecordStream {
        RecordStream::new(self.follow(from))
    }

    /// Where what it asks of the store can be seen.
    pub(crate) fn state(&self) -> &Arc<PartitionState> {
        &self.0.state
    }

    /// The partition that it reads.
    pub fn partition(&self) -> Partition {
        Partition::new(self.0.state.clone())
    }

    /// The options it was made with.
    pub fn options(&self) -> &ReaderOptions {
        &self.0.options
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.0.state.id.to_string()).finish()
    }
}

/// Bytes of a segment are not what they must be: where, which offsets that concerns, and where
/// reading can go on.
fn corrupt(malformed: Malformed, key: &str, first: i64, readable: Option<i64>) -> Error {
    let error = malformed.into_error(key);
    match readable {
        Some(next) => error.with_offsets(first, next.saturating_sub(1).max(first)).with_next_readable(next),
        None => error.with_hint("it is the newest segment; `kfs repair` can set it aside"),
    }
}

#[cfg(test)]
mod tests;
