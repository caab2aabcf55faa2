//! Reading one version of one segment, whatever the log around it does.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::core::ReaderCore;
use super::gather::Gather;
use super::options::ReaderOptions;
use super::source::{Want, has_changed};
use super::walk::Served;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Batch, CrcCheck, Malformed};
use crate::log::cache::BatchStart;
use crate::log::progress::Progress;
use crate::log::scan_budget::ScanPermit;
use crate::log::state::PartitionState;
use crate::store::Version;

/// Whole batches of one segment; given by [`SegmentHandle::fetch`](crate::SegmentHandle::fetch).
///
/// Dropping it gives back its part of a [`ScanBudget`](crate::ScanBudget). Clones of its chunks then count no more.
#[derive(Debug)]
#[non_exhaustive]
pub struct SegmentFetch {
    /// Stretches of whole batches, as they are stored. The first batch holds the first offset that was asked for, or the
    /// next that the segment holds.
    pub chunks: Vec<Bytes>,
    /// Where to fetch next.
    pub next_offset: i64,
    /// Whether the segment holds no more of the offsets that were asked for.
    pub is_last: bool,
    pub(crate) permit: Option<ScanPermit>,
}

impl SegmentFetch {
    /// Whether there is no batch in it.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes of all batches.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// The batches. They were found whole when they were read.
    pub fn batches(&self) -> impl Iterator<Item = Result<Batch, Malformed>> + '_ {
        self.chunks.iter().flat_map(|chunk| crate::format::batches(chunk, CrcCheck::AlreadyChecked))
    }
}

/// Reads one segment through the block cache, with the checks of a [`Reader`](super::Reader).
#[derive(Clone)]
pub(crate) struct SegmentReader {
    core: Arc<ReaderCore>,
    base: i64,
    /// One past its last offset, as far as the keys tell.
    next: Option<i64>,
}

impl SegmentReader {
    pub(crate) fn new(state: Arc<PartitionState>, base: i64, next: Option<i64>) -> Self {
        SegmentReader { core: Arc::new(ReaderCore::new(state, ReaderOptions::default())), base, next }
    }

    pub(crate) fn state(&self) -> &Arc<PartitionState> {
        &self.core.state
    }

    pub(crate) fn base(&self) -> i64 {
        self.base
    }

    /// The version that the store has now: one GET, whose bytes are cached.
    ///
    /// # Errors
    /// Not found; what the store answers.
    pub(crate) async fn newest_version(&self) -> Result<Version> {
        let fetched = self.core.source.probe(self.base).await?;
        let version = fetched.info.version.clone();
        self.core.source.discovered(self.base, fetched).await?;
        Ok(version)
    }

    /// The batches that hold the offsets from `first` to `last`, of `max_bytes` in all; the first comes whatever its
    /// length.
    pub(crate) async fn fetch(
        &self,
        version: &Version,
        (first, last): (i64, i64),
        max_bytes: usize,
    ) -> Result<SegmentFetch> {
        let mut gather = Gather::new(first.max(self.base), max_bytes, true).until(last.saturating_add(1));
        let ended = match self.gather(version, &mut gather).await {
            Ok(ended) => ended,
            // What was found before the store failed is given; the next fetch says what failed.
            Err(_) if !gather.is_empty() => false,
            Err(error) => return Err(self.explain(error)),
        };
        let next_offset = gather.position();
        let chunks = gather.into_chunks().into_iter().map(|chunk| chunk.bytes).collect();
        Ok(SegmentFetch { chunks, next_offset, is_last: ended || next_offset > last, permit: None })
    }

    /// Gathers batches; whether the segment has no more.
    async fn gather(&self, version: &Version, gather: &mut Gather) -> Result<bool> {
        let (core, base) = (&*self.core, self.base);
        let mut progress = Progress::new(gather.position());
        let mut held = core.source.held(base, version, gather.position(), None);
        let mut want = Want::Offset(gather.position());
        loop {
            progress.step(gather.position(), &core.state.id)?;
            let mut span = match held.take() {
                Some(span) => span,
                None => core.source.load(base, version, want, gather.room(), 0).await?,
            };
            if core.is_faithful(base, version) {
                span.set_faithful();
            }
            match span.serve(gather, self.next, core.options.crc_check, false) {
                Served::Full => return Ok(false),
                Served::End(end) => {
                    gather.skip_to(end);
                    return Ok(true);
                }
                Served::More(..) if span.is_whole() => return Err(self.other_size(version)),
                Served::More(place, need) => {
                    held = core.source.held_from(base, version, gather.position(), place, need);
                    want = Want::Place(place, need);
                }
                Served::Unplaced => want = Want::Offset(gather.position()),
                Served::Doubt | Served::Fault(_) if !gather.is_empty() => return Ok(false),
                Served::Doubt => {
                    core.source.confirm(base, version).await?;
                    core.remember_faithful(base, version);
                    held = Some(span);
                }
                Served::Fault(fault) => {
                    let readable = fault.resume.map(|place| place.offset);
                    return Err(core.fault_error(&span, &fault, readable, self.next));
                }
            }
        }
    }

    /// These bytes of the object. Batches in them are not checked.
    pub(crate) async fn bytes(&self, version: &Version, range: Range<u64>) -> Result<Bytes> {
        let len = range.end.checked_sub(range.start).filter(|_| range.end <= version.size());
        let Some(len) = len.and_then(|len| usize::try_from(len).ok()) else {
            let message = format!("bytes {}..{} of a segment of {}", range.start, range.end, version.size());
            return Err(Error::new(ErrorKind::InvalidInput, message).with_key(self.key()));
        };
        if len == 0 {
            return Ok(Bytes::new());
        }
        let from = BatchStart { offset: self.base, position: range.start };
        let loaded = self.core.source.load(self.base, version, Want::Place(from, len as u64), len, 0).await;
        let span = loaded.map_err(|error| self.explain(error))?;
        span.bytes(range.start, len).ok_or_else(|| self.other_size(version))
    }

    fn key(&self) -> String {
        self.state().id.segment_key(self.base)
    }

    fn other_size(&self, version: &Version) -> Error {
        let message = format!("the store gave fewer bytes than the {} that it listed", version.size());
        Error::new(ErrorKind::Unavailable, message).with_key(self.key())
    }

    /// Says what it means that the object is gone, or is another version.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if !has_changed(&error) {
            return error;
        }
        Error::new(ErrorKind::Conflict, "the segment was replaced or removed since its version was learned")
            .with_key(self.key())
            .with_hint("list the segments again: merging replaces them, and retention removes them")
            .with_source(error)
    }
}

impl fmt::Debug for SegmentReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SegmentReader").field(&self.key()).finish()
    }
}
