//! What all clones of a reader share, and what they remember between two fetches.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::job::FetchJob;
use super::options::ReaderOptions;
use super::source::{BlockSource, Want};
use super::span::BlockSpan;
use super::transactions::Transactions;
use crate::format::BATCH_HEADER_LEN;
use crate::log::cache::{BatchStart, Block};
use crate::log::catalog::SegmentRef;
use crate::log::state::PartitionState;
use crate::store::Version;

/// The most bytes of them.
const MAX_READ_WITH: u64 = 8 << 20;

/// Segments whose body's CRC was confirmed and that are remembered.
const MAX_FAITHFUL: usize = 16;

pub(super) struct ReaderCore {
    pub(super) state: Arc<PartitionState>,
    pub(super) source: BlockSource,
    pub(super) options: ReaderOptions,
    spot: Mutex<Spot>,
    /// Segments whose base offsets are as they were written.
    faithful: Mutex<Vec<(i64, Version)>>,
    /// The segment of which it was last said that it is broken outside its batches.
    reported: Mutex<Option<(i64, Version)>>,
    /// What is known of transactions from the next offset on.
    transactions: Mutex<Transactions>,
    /// What looks ahead for the ends of transactions, and remembers where it stood.
    scout: OnceLock<Arc<ReaderCore>>,
}

/// What a reader keeps of its last fetch. It holds no bytes of its own: the bucket's cache does, or the map.
#[derive(Default)]
pub(super) struct Spot {
    /// Where it ended, in a segment of several blocks.
    last: Option<(i64, Version, BatchStart)>,
    /// The next offset that it wanted.
    ended: i64,
    /// Segments in a row that were found by asking for the next key.
    pub(super) found: u32,
    /// The writer of the segment that was found last.
    pub(super) writer: Option<String>,
    /// A segment that is mapped.
    mapped: Option<Arc<Block>>,
    /// Bytes to read ahead: more and more while each fetch goes on where the one before it ended.
    ahead: u64,
}

impl ReaderCore {
    pub(super) fn new(state: Arc<PartitionState>, options: ReaderOptions) -> Self {
        let source = BlockSource::new(state.clone(), options.block_bytes);
        let (spot, faithful, reported, transactions, scout) = Default::default();
        ReaderCore { state, source, options, spot, faithful, reported, transactions, scout }
    }

    pub(super) fn spot(&self) -> MutexGuard<'_, Spot> {
        self.spot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn transactions(&self) -> MutexGuard<'_, Transactions> {
        self.transactions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What looks ahead for the ends of transactions.
    pub(super) fn scout(&self) -> Arc<ReaderCore> {
        self.scout.get_or_init(|| Arc::new(ReaderCore::new(self.state.clone(), self.options.clone()))).clone()
    }

    /// The blocks of a segment from which the fetch goes on, or the bytes that it has to read.
    pub(super) fn held(&self, job: &mut FetchJob, base: i64, version: &Version) -> Result<BlockSpan, Want> {
        if let Some(span) = job.span.take().filter(|span| span.is(base, version)) {
            return Ok(span);
        }
        if let Some(index) = job.ahead.iter().position(|span| span.is(base, version)) {
            return Ok(job.ahead.swap_remove(index));
        }
        let last = {
            let spot = self.spot();
            if let Some(mapped) = spot.mapped.as_ref().filter(|mapped| mapped.is(base, version)) {
                return Ok(BlockSpan::new(mapped.clone(), Vec::new(), BatchStart::first(base)));
            }
            let last = spot.last.as_ref().filter(|(of, as_of, _)| *of == base && as_of.same_as(version));
            // From a place further back the way may lead through many blocks.
            last.map(|(_, _, place)| *place).filter(|place| place.offset == job.position())
        };
        let held = self.source.held(base, version, job.position(), last);
        // Told when the fetch is answered: this may run under a lock.
        job.hits += u64::from(held.is_some());
        held.ok_or_else(|| match last {
            Some(place) => Want::Place(place, BATCH_HEADER_LEN as u64),
            None => Want::Offset(job.position()),
        })
    }

    /// The fetch goes on with these blocks, which were read from the store.
    pub(super) fn hold(&self, job: &mut FetchJob, span: BlockSpan) {
        self.spot().mapped = self.source.maps(span.size()).then(|| span.first().clone());
        job.span = Some(span);
    }

    /// The fetch ends in these blocks, or goes on after them.
    pub(super) fn leave(&self, job: &mut FetchJob, span: &BlockSpan) {
        let mut spot = self.spot();
        job.goes_on |= spot.goes_on(job.start);
        spot.ended = job.position();
        if !span.is_one_block() {
            spot.last = Some((span.base(), span.version().clone(), span.start()));
        }
    }

    /// How many bytes are read ahead of what is wanted.
    pub(super) fn ahead(&self, job: &FetchJob) -> u64 {
        let mut spot = self.spot();
        let goes_on = job.goes_on || spot.goes_on(job.start);
        spot.ahead = if goes_on { self.source.more_ahead(spot.ahead) } else { 0 };
        spot.ahead
    }

    /// Small segments that are read together with this one, because the fetch goes on into them: at
    /// most as many bytes as it has room for, or as are read ahead.
    pub(super) fn read_with(&self, job: &FetchJob, base: i64, version: &Version, ahead: u64) -> Vec<SegmentRef> {
        // A cold fetch has its budget of requests; a map is read when it is touched.
        let goes_on = !job.gather.is_empty() || ahead > 0;
        if !goes_on || job.listed || !self.source.is_one_block(version.size()) {
            return Vec::new();
        }
        let room = u64::try_from(job.gather.room()).unwrap_or(u64::MAX).min(MAX_READ_WITH);
        let mut left = room.max(ahead).saturating_sub(version.size());
        let most = self.options.segments_ahead.min(ReaderOptions::MOST_SEGMENTS_AHEAD);
        let following = self.state.with_catalog(|catalog| catalog.following(base, most));
        let fits = |segment: &SegmentRef| {
            let size = segment.version.size();
            let fits = segment.base < job.options.read_ahead_to && self.source.is_one_block(size) && size <= left;
            left = left.saturating_sub(size);
            fits
        };
        let wanted = following.into_iter().take_while(fits);
        wanted.filter(|segment| !self.source.holds(segment.base, &segment.version)).collect()
    }

    /// `true` the first time that this broken segment is found.
    pub(super) fn is_news(&self, base: i64, version: &Version) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let news = !reported.as_ref().is_some_and(|(known, of)| *known == base && of.same_as(version));
        if news {
            *reported = Some((base, version.clone()));
        }
        news
    }

    pub(super) fn is_faithful(&self, base: i64, version: &Version) -> bool {
        let faithful = self.faithful.lock().unwrap_or_else(PoisonError::into_inner);
        faithful.iter().any(|(known, of)| *known == base && of.same_as(version))
    }

    pub(super) fn remember_faithful(&self, base: i64, version: &Version) {
        let mut faithful = self.faithful.lock().unwrap_or_else(PoisonError::into_inner);
        if faithful.len() >= MAX_FAITHFUL {
            faithful.remove(0);
        }
        faithful.push((base, version.clone()));
    }

    /// Tells a caller that skips corrupt bytes, once, what is wrong with a segment outside its batches.
    pub(super) fn report(&self, job: &mut FetchJob, span: &BlockSpan) {
        let Some(malformed) = span.whole_fault(self.options.crc_check) else { return };
        if self.is_news(span.base(), span.version()) {
            job.skipped.push(malformed.clone().into_error(&self.state.id.segment_key(span.base())));
        }
    }
}

impl Spot {
    /// Whether a fetch of this offset goes on where the last one ended.
    pub(super) fn goes_on(&self, offset: i64) -> bool {
        self.ended == offset && offset > 0
    }

    /// The bytes that it ended in were broken, so its place in them is worth nothing.
    pub(super) fn forget_place(&mut self) {
        self.last = None;
    }
}
