//! One fetch: what can be served from memory is, and what is missing is asked for.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{Fetch, Hole};
use super::gather::Gather;
use super::options::{FetchOptions, OnCorrupt};
use super::piece::{Fault, Piece, Place, Served};
use super::refresh::read_log_json;
use super::source::{Want, has_changed};
use super::{Core, corrupt};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{IndexEntry, PartitionId, SegmentFooter};
use crate::log::bucket::not_found;
use crate::log::catalog::{Lookup, SegmentRef};
use crate::log::locate::{locate, look_at_tail};
use crate::store::Version;

/// How long a 404 of the next key is believed before a listing says whether the log goes on
/// elsewhere (design.md, "Reading").
const BELIEVE_404: Duration = Duration::from_secs(60);
/// How often a fetch looks anew at a log that changes under it.
const MAX_LOOKS: u32 = 8;

/// A fetch under way.
#[derive(Debug)]
pub(super) struct Job {
    gather: Gather,
    options: FetchOptions,
    hole: Option<Hole>,
    skipped: Vec<Error>,
    /// The store was asked for the tail, and told what the catalog says.
    tail_known: bool,
    /// A fresh look at this offset was taken.
    fresh_at: Option<i64>,
    /// Looks at one position.
    looks: u32,
    looked_at: i64,
    /// It had to list, and how many GETs it sent.
    listed: bool,
    gets: u32,
    /// The log's end was asked for, to say the range.
    end_asked: bool,
    /// When it began, by the clock's elapsed time.
    began: Duration,
    /// Buffered batches were given: nothing that is stored follows them.
    beyond_stored: bool,
}

/// What a fetch needs from the store before it can go on.
#[derive(Debug)]
pub(super) enum Need {
    /// Where the offset lies.
    Locate { fresh: bool },
    /// Bytes of a segment.
    Load { base: i64, version: Version, want: Want },
    /// Whether a segment's body is as it was written.
    Confirm(Arc<Piece>),
    /// Whether the log goes on after its known end.
    Tail { end: i64 },
    /// Where the log ends, to say its range.
    End,
    /// Where an empty log starts.
    LogJson,
    /// Where a broken segment can be read again.
    Resume { piece: Arc<Piece>, fault: Fault, next: Option<i64> },
}

/// Where a fetch stands.
#[derive(Debug)]
pub(super) enum Step {
    Done,
    Need(Need),
}

impl Job {
    pub(super) fn new(offset: i64, options: FetchOptions, began: Duration) -> Self {
        Job {
            gather: Gather::new(offset, options.max_bytes),
            options,
            hole: None,
            skipped: Vec::new(),
            tail_known: false,
            fresh_at: None,
            looks: 0,
            looked_at: offset,
            listed: false,
            gets: 0,
            end_asked: false,
            began,
            beyond_stored: false,
        }
    }

    fn position(&self) -> i64 {
        self.gather.position()
    }

    /// Whether it has something to give and has used up the requests of a cold fetch (design.md).
    fn is_spent(&self) -> bool {
        self.listed && self.gets >= 2 && !self.gather.is_empty()
    }

    fn count_look(&mut self, id: &PartitionId) -> Result<()> {
        if self.looked_at != self.position() {
            (self.looked_at, self.looks) = (self.position(), 0);
        }
        self.looks = self.looks.saturating_add(1);
        if self.looks <= MAX_LOOKS {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, format!("partition {id} changes faster than it can be read")))
    }
}

impl Core {
    /// Goes as far as memory allows.
    pub(super) fn advance(&self, job: &mut Job) -> Result<Step> {
        loop {
            if job.beyond_stored || job.gather.is_full() {
                return Ok(Step::Done);
            }
            let position = job.position();
            let found = self.state.with_catalog(|catalog| {
                let Some(start) = catalog.start() else { return Err(Step::Need(Need::Locate { fresh: false })) };
                Ok(match catalog.lookup(position) {
                    Lookup::In { base, version, next } => {
                        let piece = self.window().filter(|piece| piece.is(base, version));
                        let version = if piece.is_some() { None } else { Some(version.clone()) };
                        (start, At::Segment { base, piece, version, next })
                    }
                    Lookup::End { end } => (start, At::End(end)),
                    Lookup::Below | Lookup::Unknown => (start, At::Unknown),
                    Lookup::Empty => (start, At::Empty),
                })
            });
            let (start, at) = match found {
                Ok(found) => found,
                Err(step) => return Ok(step),
            };
            if let Some(log_start) = start.log_start().filter(|log_start| position < *log_start) {
                if job.gather.is_empty() {
                    return self.out_of_range(job, log_start);
                }
                return Ok(Step::Done);
            }
            match at {
                At::Unknown => return Ok(Step::Need(Need::Locate { fresh: false })),
                At::Segment { base, piece: None, version: Some(version), .. } => {
                    return Ok(Step::Need(Need::Load { base, version, want: Want::Offset(position) }));
                }
                At::Segment { piece: Some(piece), next, .. } => {
                    if let Some(step) = self.serve(job, &piece, next)? {
                        return Ok(step);
                    }
                }
                At::Segment { .. } => return Ok(Step::Need(Need::Locate { fresh: true })),
                At::End(end) => return self.at_end(job, end),
                At::Empty => {
                    if !start.exists() {
                        return self.at_nothing(job);
                    }
                    return match start.log_start() {
                        Some(log_start) if start.log_json_start.is_some() || !start.has_log_json => {
                            self.state.marks.learn(&self.state.id, Some(log_start), log_start, self.state.now_ms());
                            self.at_end(job, log_start)
                        }
                        _ => Ok(Step::Need(Need::LogJson)),
                    };
                }
            }
        }
    }

    /// Serves from a piece; `None` when the fetch goes on elsewhere.
    fn serve(&self, job: &mut Job, piece: &Arc<Piece>, next: Option<i64>) -> Result<Option<Step>> {
        let lenient = self.options.on_corrupt == OnCorrupt::Skip;
        if let Some(malformed) = if lenient { piece.take_whole_fault() } else { None } {
            job.skipped.push(malformed.into_error(&self.state.id.segment_key(piece.base)));
        }
        let before = job.position();
        match piece.serve(&mut job.gather, next, self.options.crc_check, lenient) {
            Served::Full => Ok(Some(Step::Done)),
            Served::End(end) => self.segment_ended(job, piece, next, end, before),
            Served::More(place, need) => {
                let (base, version) = (piece.base, piece.version.clone());
                if piece.is_whole() {
                    // The catalog's size and the bytes differ.
                    return Ok(Some(Step::Need(Need::Locate { fresh: true })));
                }
                Ok(Some(Step::Need(Need::Load { base, version, want: Want::Place(place, need) })))
            }
            Served::Unplaced => {
                let (base, version) = (piece.base, piece.version.clone());
                Ok(Some(Step::Need(Need::Load { base, version, want: Want::Offset(job.position()) })))
            }
            Served::Doubt if !job.gather.is_empty() => Ok(Some(Step::Done)),
            Served::Doubt => Ok(Some(Step::Need(Need::Confirm(piece.clone())))),
            Served::Fault(_) if !job.gather.is_empty() => Ok(Some(Step::Done)),
            Served::Fault(fault) => match (lenient, fault.resume) {
                (true, Some(resume)) => {
                    job.skipped.push(self.fault_error(piece, &fault, Some(resume.offset), next));
                    piece.note(resume);
                    job.gather.skip_to(resume.offset);
                    Ok(None)
                }
                _ => Ok(Some(Step::Need(Need::Resume { piece: piece.clone(), fault, next }))),
            },
        }
    }

    fn segment_ended(
        &self,
        job: &mut Job,
        piece: &Piece,
        next: Option<i64>,
        end: i64,
        before: i64,
    ) -> Result<Option<Step>> {
        let position = job.position();
        let Some(next) = next else {
            let known = self.state.with_catalog(|catalog| {
                catalog.set_end(piece.base, end);
                catalog.newest_end() == Some(end)
            });
            if known {
                let log_start = self.state.with_catalog(|catalog| catalog.start().and_then(|s| s.log_start()));
                self.state.marks.learn(&self.state.id, log_start, end, self.state.now_ms());
            }
            // Else a newer one came in between: the next lookup knows.
            return Ok(None);
        };
        if position >= next || position > before {
            return Ok(None);
        }
        // Nothing at this offset, though the log goes on: only a fresh look may call that a hole.
        if !job.gather.is_empty() {
            return Ok(Some(Step::Done));
        }
        if job.fresh_at != Some(position) {
            return Ok(Some(Step::Need(Need::Locate { fresh: true })));
        }
        job.hole = Some(Hole::new(job.hole.map_or(position, |hole| hole.from), next));
        job.gather.skip_to(next);
        Ok(None)
    }

    /// The offset is at or beyond the end that is known.
    fn at_end(&self, job: &mut Job, end: i64) -> Result<Step> {
        let position = job.position();
        if let (true, Some(writer)) = (job.options.include_buffered, self.state.exclusive_writer()) {
            let chunks = writer.buffered(position, job.gather.room().max(1));
            if job.gather.take_buffered(chunks) {
                job.beyond_stored = true;
                return Ok(Step::Done);
            }
        }
        if !job.gather.is_empty() || job.tail_known || (position == end && self.tail_is_ours()) {
            if job.gather.is_empty() && position > end && !self.is_buffered(job, position) {
                let start = self.state.with_catalog(|catalog| catalog.start().and_then(|s| s.log_start()));
                return self.out_of_range(job, start.unwrap_or(end));
            }
            return Ok(Step::Done);
        }
        Ok(Step::Need(Need::Tail { end }))
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
    fn is_buffered(&self, job: &Job, position: i64) -> bool {
        job.options.include_buffered && self.state.marks.get().is_some_and(|marks| position <= marks.log_end)
    }

    /// There is no such partition, as far as is known.
    fn at_nothing(&self, job: &mut Job) -> Result<Step> {
        if !job.tail_known {
            return Ok(Step::Need(Need::Tail { end: job.position() }));
        }
        if self.options.wait_for_partition { Ok(Step::Done) } else { Err(not_found(&self.state.id)) }
    }

    /// Asks the store until the fetch is done.
    pub(super) async fn finish(&self, mut job: Job, mut need: Need) -> Result<Fetch> {
        loop {
            self.supply(&mut job, need).await?;
            match self.advance(&mut job)? {
                Step::Done => return Ok(self.answer(job)),
                Step::Need(_) if job.is_spent() => return Ok(self.answer(job)),
                Step::Need(next) => need = next,
            }
        }
    }

    async fn supply(&self, job: &mut Job, need: Need) -> Result<()> {
        match need {
            Need::Locate { fresh } => self.look(job, fresh).await,
            Need::Load { base, version, want } => {
                // With an index, two; that counts for a bound which a cold fetch alone has.
                job.gets = job.gets.saturating_add(if version.size() <= self.source.block { 1 } else { 2 });
                match self.source.load(base, &version, want, job.gather.room()).await {
                    Ok(piece) => {
                        if self.is_faithful(base, &version) {
                            piece.set_faithful();
                        }
                        self.set_window(piece);
                        Ok(())
                    }
                    Err(error) if has_changed(&error) => self.changed(job, base, error).await,
                    Err(error) => Err(error),
                }
            }
            Need::Confirm(piece) => match self.source.confirm(piece.base, &piece.version).await {
                Ok(()) => {
                    self.remember_faithful(piece.base, &piece.version);
                    piece.set_faithful();
                    Ok(())
                }
                Err(error) if has_changed(&error) => self.changed(job, piece.base, error).await,
                Err(error) => {
                    let next = self.state.with_catalog(|catalog| catalog.around(piece.base).1);
                    let error = with_next(error, piece.base, next);
                    match (self.options.on_corrupt, next) {
                        (OnCorrupt::Skip, Some(next)) => {
                            job.skipped.push(error);
                            job.gather.skip_to(next);
                            Ok(())
                        }
                        _ => Err(error),
                    }
                }
            },
            Need::Tail { end } => self.look_beyond(job, end).await,
            Need::End => self.find_end().await,
            Need::LogJson => self.read_log_json(job).await,
            Need::Resume { piece, fault, next } => self.resume(job, &piece, &fault, next).await,
        }
    }

    async fn look(&self, job: &mut Job, fresh: bool) -> Result<()> {
        job.count_look(&self.state.id)?;
        job.listed = true;
        locate(&self.state, job.position(), fresh).await?;
        if fresh {
            job.fresh_at = Some(job.position());
        }
        // A listing that reached the end needs no next-key GET after it.
        job.tail_known |= self.state.with_catalog(|catalog| catalog.looked()).is_some_and(|looked| looked >= job.began);
        Ok(())
    }

    /// A segment is not what the catalog says: another version, or gone.
    async fn changed(&self, job: &mut Job, base: i64, error: Error) -> Result<()> {
        if job.fresh_at == Some(job.position()) {
            // A fresh look named it: what it says of a version, or of a key, is not what a GET says.
            if error.kind() == ErrorKind::NotFound {
                return Err(Error::new(ErrorKind::Unavailable, "a listing shows a segment that can't be read")
                    .with_key(self.state.id.segment_key(base))
                    .with_source(error));
            }
            let fetched = self.source.probe(base).await?;
            self.state.with_catalog(|catalog| catalog.set_version(base, fetched.info.version));
            job.count_look(&self.state.id)
        } else {
            self.look(job, true).await
        }
    }

    /// Asks whether the log goes on after `end`: by the next key, or, when that was believed long
    /// enough or the offset lies beyond, by a listing.
    async fn look_beyond(&self, job: &mut Job, end: i64) -> Result<()> {
        let now = self.state.runtime().clock().elapsed();
        let (looked, newest) = self.state.with_catalog(|catalog| (catalog.looked(), catalog.newest()));
        let exists = self.state.with_catalog(|catalog| catalog.start().is_some_and(|start| start.exists()));
        let believed = looked.is_some_and(|looked| now.saturating_sub(looked) < BELIEVE_404);
        if exists && believed && job.position() == end {
            match self.source.probe(end).await {
                Ok(fetched) => {
                    let segment =
                        SegmentRef { base: end, size: fetched.info.size, version: fetched.info.version.clone() };
                    let piece = self.source.discovered(end, fetched).await?;
                    self.state.with_catalog(|catalog| {
                        catalog.follows(newest, segment);
                        catalog.set_looked(now);
                    });
                    self.set_window(piece);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => job.tail_known = true,
                Err(error) => return Err(error),
            }
            self.state.with_catalog(|catalog| catalog.set_asked(now));
            return Ok(());
        }
        look_at_tail(&self.state).await?;
        job.tail_known = true;
        job.fresh_at = Some(job.position());
        Ok(())
    }

    async fn read_log_json(&self, job: &mut Job) -> Result<()> {
        match read_log_json(&self.state).await {
            Err(error) if error.kind() == ErrorKind::NotFound => self.look(job, true).await,
            read => read,
        }
    }

    /// Finds where a broken segment can be read again: says so, or goes on there.
    async fn resume(&self, job: &mut Job, piece: &Arc<Piece>, fault: &Fault, next: Option<i64>) -> Result<()> {
        let mut resume = fault.resume;
        if resume.is_none() && !fault.whole {
            let index = self.source.index(piece.base, &piece.version).await.unwrap_or_default();
            let behind = |entry: IndexEntry| {
                let truthful = piece.base_offset_at(entry.position).is_none_or(|base| base == entry.offset);
                let behind = entry.position > fault.place.position && entry.offset > fault.place.offset;
                (truthful && behind).then_some(Place { offset: entry.offset, position: entry.position })
            };
            if let Some(place) = index.as_ref().and_then(|index| index.find(job.position())).and_then(behind) {
                // What is wanted stands behind the broken batch.
                piece.note(place);
                return Ok(());
            }
            resume = index.and_then(|index| index.next_after(fault.place.position)).and_then(behind);
        }
        let mut readable = resume.map(|place| place.offset).or(next);
        if readable.is_none() {
            // The newest segment: its footer says where the log ends.
            readable = self.footer_end(piece).await.filter(|end| *end > fault.place.offset);
        }
        let error = self.fault_error(piece, fault, readable, next);
        let (OnCorrupt::Skip, Some(readable)) = (self.options.on_corrupt, readable) else { return Err(error) };
        job.skipped.push(error);
        match resume {
            Some(place) => piece.note(place),
            None if next.is_none() => self.state.with_catalog(|catalog| catalog.set_end(piece.base, readable)),
            None => {}
        }
        job.gather.skip_to(readable);
        Ok(())
    }

    async fn footer_end(&self, piece: &Piece) -> Option<i64> {
        let held = piece.is_whole().then(|| piece.bytes());
        let footer = match held {
            Some(bytes) => {
                let at = bytes.len().checked_sub(crate::format::FOOTER_LEN)?;
                SegmentFooter::parse(bytes.get(at..)?).ok()?
            }
            None => self.source.footer(piece.base, Some(&piece.version)).await.ok()?.0,
        };
        footer.last_offset.checked_add(1)
    }

    fn fault_error(&self, piece: &Piece, fault: &Fault, readable: Option<i64>, next: Option<i64>) -> Error {
        let key = self.state.id.segment_key(piece.base);
        corrupt(fault.malformed.clone(), &key, fault.place.offset, readable.or(next))
    }

    fn out_of_range(&self, job: &mut Job, log_start: i64) -> Result<Step> {
        let known = self.state.with_catalog(|catalog| catalog.newest_end().is_some() || catalog.newest().is_none());
        if !known && !std::mem::replace(&mut job.end_asked, true) {
            return Ok(Step::Need(Need::End));
        }
        let message = format!("offset {} of partition {}", job.position(), self.state.id);
        let end = self.high_watermark(log_start);
        Err(Error::new(ErrorKind::OutOfRange, message).with_log_range(log_start, end))
    }

    /// Finds the log's end by the footer of its newest segment; what can't be read is left open.
    async fn find_end(&self) -> Result<()> {
        if !self.state.with_catalog(|catalog| catalog.knows_newest()) {
            look_at_tail(&self.state).await?;
        }
        let Some(newest) = self.state.with_catalog(|catalog| catalog.newest()) else { return Ok(()) };
        if let Ok((footer, _)) = self.source.footer(newest, None).await {
            let end = footer.last_offset.saturating_add(1);
            self.state.with_catalog(|catalog| catalog.set_end(newest, end));
        }
        Ok(())
    }

    /// One past the last offset known to be durable, at least `floor`.
    fn high_watermark(&self, floor: i64) -> i64 {
        let known = self.state.marks.get().map(|marks| marks.high_watermark);
        // Every segment holds at least one offset.
        let newest = self.state.with_catalog(|catalog| {
            catalog.newest_end().or_else(|| catalog.newest().map(|base| base.saturating_add(1)))
        });
        known.max(newest).map_or(floor, |end| end.max(floor))
    }

    pub(super) fn answer(&self, job: Job) -> Fetch {
        let next_offset = job.gather.position();
        let start = self.state.with_catalog(|catalog| catalog.start().and_then(|start| start.log_start()));
        let log_start = start.unwrap_or(0);
        // What was read from the store is durable, though the newest segment's end may not be known yet.
        let stored = !job.beyond_stored && !job.gather.is_empty();
        Fetch {
            next_offset,
            high_watermark: self.high_watermark(if stored { next_offset } else { log_start }),
            log_start,
            hole: job.hole,
            skipped: job.skipped,
            chunks: job.gather.into_chunks(),
        }
    }
}

/// Where a lookup ended, without borrowing the catalog.
enum At {
    Segment { base: i64, piece: Option<Arc<Piece>>, version: Option<Version>, next: Option<i64> },
    End(i64),
    Empty,
    Unknown,
}

fn with_next(error: Error, base: i64, next: Option<i64>) -> Error {
    match next {
        Some(next) => error.with_offsets(base, next.saturating_sub(1)).with_next_readable(next),
        None => error,
    }
}
