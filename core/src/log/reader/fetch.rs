//! One fetch: what can be served from memory.

use std::time::Duration;

use super::answer::{Fetch, FetchDetails, FetchOrigin, Hole};
use super::core::ReaderCore;
use super::job::{FetchJob, FetchStep, Need};
use super::options::{OnCorrupt, ReaderOptions};
use super::source::Want;
use super::span::BlockSpan;
use super::walk::{ReadFault, Served};

use crate::error::{Error, ErrorKind, Result};
use crate::format::Malformed;
use crate::log::catalog::{Catalog, Lookup, NamedSegment};
use crate::log::identity::not_found;
use crate::log::progress::Progress;
use crate::mutant::mutant;
use crate::recorder::CacheKind;
use crate::store::Version;

/// How long a 404 of the next key is believed before a listing says whether the log goes on
/// elsewhere (docs/design.md, "Reading").
pub(super) const BELIEVE_404: Duration = Duration::from_secs(60);

impl ReaderCore {
    /// Goes on until a request is needed.
    pub(super) fn advance(&self, job: &mut FetchJob) -> Result<FetchStep> {
        let mut progress = Progress::new(job.start);
        loop {
            if job.beyond_stored || job.stuck || job.gather.is_full() {
                return Ok(FetchStep::Done);
            }
            let position = job.position();
            progress.step(position, &self.state.id)?;
            let found = self.state.with_catalog(|catalog| Some((catalog.start()?, self.find(job, catalog))));
            let Some((start, at)) = found else { return Ok(FetchStep::Need(Need::Locate { fresh: false })) };
            if let Some(log_start) = start.log_start().filter(|log_start| position < *log_start) {
                if job.gather.is_empty() {
                    return self.out_of_range(job, log_start);
                }
                return Ok(FetchStep::Done);
            }
            match at {
                Located::Unknown => return Ok(FetchStep::Need(Need::Locate { fresh: false })),
                Located::Segment { base, version, want } => {
                    return Ok(FetchStep::Need(Need::Load { base, version, want }));
                }
                Located::Held { span, next } => {
                    if let Some(step) = self.serve(job, span, next)? {
                        return Ok(step);
                    }
                }
                Located::End(end) => return self.at_end(job, end),
                Located::Empty => {
                    if !start.exists() {
                        return self.at_nothing(job);
                    }
                    return match start.empty_log_start() {
                        Some(log_start) => {
                            self.state.watermarks.learn(Some(log_start), log_start, self.state.now_ms());
                            self.at_end(job, log_start)
                        }
                        None => Ok(FetchStep::Need(Need::LogJson)),
                    };
                }
            }
        }
    }

    /// Where the fetch goes on, by what is known, and for its first segment by the log's manifest.
    fn find(&self, job: &mut FetchJob, catalog: &Catalog) -> Located {
        let lookup = catalog.lookup(job.position());
        let named = match lookup {
            Lookup::Unknown if self.takes_hints(job) => catalog.hinted(job.position(), self.source.most_whole()),
            _ => None,
        };
        job.by_hint = named.is_some();
        if let Some(NamedSegment { base, version, next }) = named {
            return self.found(job, base, &version, Some(next));
        }
        match lookup {
            Lookup::In { base, version, next } => self.found(job, base, version, next),
            Lookup::End { end } => Located::End(end),
            Lookup::Below | Lookup::Unknown => Located::Unknown,
            Lookup::Empty => Located::Empty,
        }
    }

    fn found(&self, job: &mut FetchJob, base: i64, version: &Version, next: Option<i64>) -> Located {
        match self.held(job, base, version) {
            Ok(span) => Located::Held { span, next },
            Err(want) => Located::Segment { base, version: version.clone(), want },
        }
    }

    /// Whether the fetch may begin with a segment that the log's manifest names. One that goes on where the last one ended
    /// lists, because its reader is going to need what follows, too. A replica may still have what the manifest names,
    /// though the store has it no longer.
    pub(super) fn takes_hints(&self, job: &FetchJob) -> bool {
        let begins = job.position() == job.start && (job.by_hint || !self.spot().goes_on(job.start));
        begins && !job.distrusts_hints && !self.state.store().has_replica()
    }

    /// Serves from a span; `None` when the fetch goes on elsewhere.
    fn serve(&self, job: &mut FetchJob, mut span: BlockSpan, next: Option<i64>) -> Result<Option<FetchStep>> {
        let lenient = self.options.on_corrupt == OnCorrupt::Skip;
        if lenient && span.has_body() {
            self.report(job, &span);
        }
        let before = job.position();
        match span.serve(&mut job.gather, next, self.options.crc_check, lenient) {
            Served::Full => {
                job.refused = job.gather.is_empty();
                self.leave(job, &span);
                Ok(Some(FetchStep::Done))
            }
            Served::End(end) => {
                let step = self.segment_ended(job, &span, next, end, before);
                self.leave(job, &span);
                step
            }
            Served::More(place, need) => {
                let (base, version) = (span.base(), span.version().clone());
                if span.is_whole() {
                    // The catalog's size and the bytes differ.
                    return Ok(Some(FetchStep::Need(Need::Locate { fresh: true })));
                }
                if let Some(more) = self.source.held_from(base, &version, job.position(), place, need) {
                    job.span = Some(more);
                    return Ok(None);
                }
                self.leave(job, &span);
                Ok(Some(FetchStep::Need(Need::Load { base, version, want: Want::Place(place, need) })))
            }
            Served::Unplaced => {
                let (base, version) = (span.base(), span.version().clone());
                Ok(Some(FetchStep::Need(Need::Load { base, version, want: Want::Offset(job.position()) })))
            }
            Served::Doubt if self.is_faithful(span.base(), span.version()) => {
                span.set_faithful();
                job.span = Some(span);
                Ok(None)
            }
            Served::Doubt | Served::Fault(_) if job.by_hint => {
                // What is wrong with a segment is said of those that a listing shows.
                self.state.with_catalog(|catalog| catalog.drop_hints());
                Ok(Some(FetchStep::Need(Need::Locate { fresh: false })))
            }
            Served::Doubt if !job.gather.is_empty() => Ok(Some(FetchStep::Done)),
            Served::Doubt => Ok(Some(FetchStep::Need(Need::Confirm(span)))),
            Served::Fault(_) if !job.gather.is_empty() => Ok(Some(FetchStep::Done)),
            Served::Fault(fault) => match (lenient, fault.resume) {
                (true, Some(resume)) if !self.may_be_the_replicas(job, &span) => {
                    job.skipped.push(self.fault_error(&span, &fault, Some(resume.offset), next));
                    span.note(resume);
                    job.gather.skip_to(resume.offset);
                    job.span = Some(span);
                    Ok(None)
                }
                _ => Ok(Some(FetchStep::Need(Need::Resume { span, fault, next }))),
            },
        }
    }

    /// Whether broken bytes may be those of a replica: then the segment is read again before anything is said of it.
    pub(super) fn may_be_the_replicas(&self, job: &FetchJob, span: &BlockSpan) -> bool {
        job.read_again != Some(span.base()) && self.state.store().has_replica()
    }

    fn segment_ended(
        &self,
        job: &mut FetchJob,
        span: &BlockSpan,
        next: Option<i64>,
        end: i64,
        before: i64,
    ) -> Result<Option<FetchStep>> {
        let position = job.position();
        let Some(next) = next else {
            let known = self.state.with_catalog(|catalog| {
                catalog.set_end(span.base(), end);
                catalog.newest_end() == Some(end)
            });
            if known {
                let log_start = self.state.with_catalog(|catalog| catalog.start().and_then(|s| s.log_start()));
                self.state.watermarks.learn(log_start, end, self.state.now_ms());
            }
            // Else a newer one came in between: the next lookup knows.
            return Ok(None);
        };
        if position >= next || position > before {
            return Ok(None);
        }
        // Nothing at this offset, though the log goes on: only a fresh look may call that a hole.
        if !job.gather.is_empty() {
            return Ok(Some(FetchStep::Done));
        }
        if job.fresh_at != Some(position) {
            return Ok(Some(FetchStep::Need(Need::Locate { fresh: true })));
        }
        job.hole = Some(Hole::new(job.hole.map_or(position, |hole| hole.from), next));
        self.state.observer().hole_crossed(&self.state.id, position, next);
        job.gather.skip_to(next);
        Ok(None)
    }

    /// The offset is at or beyond the end that is known.
    fn at_end(&self, job: &mut FetchJob, end: i64) -> Result<FetchStep> {
        let position = job.position();
        let buffered = job.options.include_buffered || mutant!(ServeBuffered);
        if let (true, Some(writer)) = (buffered, self.state.exclusive_writer()) {
            let chunks = writer.buffered(position, job.gather.room().max(1));
            if job.gather.take_buffered(chunks) {
                job.beyond_stored = true;
                return Ok(FetchStep::Done);
            }
        }
        if !job.gather.is_empty() || job.tail_known || (position == end && self.tail_is_ours()) {
            if job.gather.is_empty() && position > end && !self.is_buffered(job, position) {
                let start = self.state.with_catalog(|catalog| catalog.start().and_then(|s| s.log_start()));
                return self.out_of_range(job, start.unwrap_or(end));
            }
            return Ok(FetchStep::Done);
        }
        Ok(FetchStep::Need(Need::Tail { end }))
    }

    /// Whether a writer of this process owns the tail, so that nothing need be asked: it has committed,
    /// and it or a reader found the tail untouched not long ago. A writer that was displaced while it
    /// was idle learns nothing of it by itself.
    pub(super) fn tail_is_ours(&self) -> bool {
        let now = self.state.runtime().clock().elapsed();
        let asked = self.state.with_catalog(|catalog| catalog.asked());
        let fresh = asked.is_some_and(|asked| now.saturating_sub(asked) < BELIEVE_404);
        self.state.live_writers().iter().any(|writer| writer.owns_tail() || (fresh && writer.has_committed()))
    }

    /// Whether the offset is the end of what this process has buffered.
    fn is_buffered(&self, job: &FetchJob, position: i64) -> bool {
        job.options.include_buffered
            && self.state.watermarks.get().is_some_and(|watermarks| position <= watermarks.log_end)
    }

    /// By what is known, the partition does not exist.
    fn at_nothing(&self, job: &mut FetchJob) -> Result<FetchStep> {
        if !job.tail_known {
            return Ok(FetchStep::Need(Need::Tail { end: job.position() }));
        }
        if self.options.wait_for_partition { Ok(FetchStep::Done) } else { Err(not_found(&self.state.id)) }
    }

    pub(super) fn fault_error(
        &self,
        span: &BlockSpan,
        fault: &ReadFault,
        readable: Option<i64>,
        next: Option<i64>,
    ) -> Error {
        let key = self.state.id.segment_key(span.base());
        corrupt(fault.malformed.clone(), &key, fault.place.offset, readable.or(next))
    }

    fn out_of_range(&self, job: &mut FetchJob, log_start: i64) -> Result<FetchStep> {
        let known = self.state.with_catalog(|catalog| catalog.newest_end().is_some() || catalog.newest().is_none());
        if !known && !std::mem::replace(&mut job.end_asked, true) {
            return Ok(FetchStep::Need(Need::End));
        }
        let message = format!("offset {} of partition {}", job.position(), self.state.id);
        let newest = self.state.with_catalog(|catalog| catalog.least_end());
        let end = self.high_watermark(log_start, newest);
        Err(Error::new(ErrorKind::OutOfRange, message).with_log_range(log_start, end))
    }

    /// One past the last offset known to be durable, at least `floor`; `newest` is what the catalog knows
    /// of it.
    fn high_watermark(&self, floor: i64, newest: Option<i64>) -> i64 {
        let known = self.state.watermarks.get().map(|watermarks| watermarks.high_watermark);
        known.max(newest).map_or(floor, |end| end.max(floor))
    }

    /// How the batches from this offset on were asked for.
    pub(super) fn origin(&self, from: i64) -> FetchOrigin {
        let ReaderOptions { limits, control_records, .. } = self.options;
        FetchOrigin { partition: self.state.id.clone(), from, limits, control_records }
    }

    pub(super) fn answer(&self, job: FetchJob) -> Fetch {
        if job.hits > 0 {
            self.state.observer().cache_used(CacheKind::Blocks, job.hits, 0);
        }
        let next_offset = job.gather.position();
        let (start, newest) = self.state.with_catalog(|catalog| (catalog.start(), catalog.least_end()));
        let mut log_start = start.and_then(|start| start.log_start()).unwrap_or(0);
        if self.state.source.is_some() {
            log_start = self.state.watermarks.get().map_or(0, |watermarks| watermarks.log_start);
        }
        // What was read from the store is durable, though the newest segment's end may not be known yet.
        let stored = !job.beyond_stored && !job.gather.is_empty();
        let chunks = job.gather.into_chunks();
        Fetch {
            next_offset,
            high_watermark: self.high_watermark(if stored { next_offset } else { log_start }, newest),
            log_start,
            refused: job.refused,
            details: FetchDetails {
                hole: job.hole,
                skipped: job.skipped,
                origin: (!chunks.is_empty()).then(|| self.origin(job.start)),
                places: chunks.iter().map(|chunk| chunk.at).collect(),
            }
            .boxed(),
            chunks: chunks.into_iter().map(|chunk| chunk.bytes).collect(),
        }
    }
}

/// Where a lookup ended, without borrowing the catalog.
enum Located {
    Held { span: BlockSpan, next: Option<i64> },
    Segment { base: i64, version: Version, want: Want },
    End(i64),
    Empty,
    Unknown,
}

/// Bytes of a segment are not what they must be: where, which offsets that concerns, and where
/// reading can go on.
fn corrupt(malformed: Malformed, key: &str, first: i64, readable: Option<i64>) -> Error {
    let error = malformed.into_error(key);
    match readable {
        Some(next) => error.with_offsets(first, (next - 1).max(first)).with_next_readable(next),
        None => error.with_hint("it is the newest segment; `kfs repair` can set it aside"),
    }
}
