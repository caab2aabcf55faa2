//! One fetch: what must be asked of the store.

use futures_util::future::{join, join_all};

use super::answer::{Fetch, Hole};
use super::core::ReaderCore;
use super::fetch::BELIEVE_404;
use super::job::{FetchJob, FetchStep, Need};
use super::options::OnCorrupt;
use super::refresh::read_log_json;
use super::source::Want;
use super::source::has_changed;
use super::span::BlockSpan;
use super::walk::ReadFault;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{IndexEntry, SegmentFooter};
use crate::log::cache::BatchStart;
use crate::log::catalog::SegmentRef;
use crate::log::identity::{another_log, confirm_log};
use crate::log::locate::{locate, locate_or_name, look_at_tail};
use crate::mutant::mutant;
use crate::store::{Identity, Version, may_pass};

/// After this many segments in a row that the next key found, a listing says what else there is, so that a
/// backlog is read many segments at a time.
const BACKLOG: u32 = 3;

impl ReaderCore {
    /// Asks the store until the fetch is done.
    pub(super) async fn finish(&self, mut job: FetchJob, mut need: Need) -> Result<Fetch> {
        job.began = self.state.runtime().clock().elapsed();
        let generation = self.state.generation();
        loop {
            job.step(&self.state.id)?;
            match self.supply(&mut job, need).await {
                // What was found before the store failed is given; the next fetch says what failed.
                Err(_) if !job.gather.is_empty() => return Ok(self.answer(job)),
                supplied => supplied?,
            }
            if self.state.generation() != generation {
                return Err(another_log(&self.state.id));
            }
            match self.advance(&mut job)? {
                FetchStep::Done => return Ok(self.answer(job)),
                FetchStep::Need(_) if job.gives_now() => return Ok(self.answer(job)),
                FetchStep::Need(next) => need = next,
            }
        }
    }

    async fn supply(&self, job: &mut FetchJob, need: Need) -> Result<()> {
        match need {
            Need::Locate { fresh } => self.look(job, fresh).await,
            Need::Load { base, version, want } => {
                // With an index, two; that counts for a bound which a cold fetch alone has.
                job.gets += if self.source.is_read_whole(version.size()) { 1 } else { 2 };
                match self.load(job, base, &version, want).await {
                    Ok(span) => {
                        self.hold(job, span);
                        Ok(())
                    }
                    Err(error) if job.by_hint => self.misled(job, &error).await,
                    Err(error) if has_changed(&error) => self.changed(job, base, error).await,
                    Err(error) => Err(error),
                }
            }
            Need::Confirm(span) => match self.source.confirm(span.base(), span.version()).await {
                Ok(()) => {
                    self.remember_faithful(span.base(), span.version());
                    job.span = Some(span);
                    Ok(())
                }
                Err(error) if has_changed(&error) => self.changed(job, span.base(), error).await,
                Err(error) if self.reads_again(job, &span, &error) => Ok(()),
                Err(error) => {
                    let next = self.state.with_catalog(|catalog| catalog.around(span.base()).1);
                    let error = with_next(error, span.base(), next);
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
            Need::Resume { span, fault, next } => {
                let broken = self.fault_error(&span, &fault, None, next);
                if self.reads_again(job, &span, &broken) { Ok(()) } else { self.resume(job, span, &fault, next).await }
            }
        }
    }

    /// Broken bytes may be those of a replica. Whether the segment is to be read again, from the store itself: once for
    /// each fetch.
    fn reads_again(&self, job: &mut FetchJob, span: &BlockSpan, broken: &Error) -> bool {
        let (base, version) = (span.base(), span.version());
        let again = broken.kind() == ErrorKind::Corrupt
            && self.may_be_the_replicas(job, span)
            && self.source.asks_the_store_itself(base, version, broken);
        if again {
            job.read_again = Some(base);
            // What was read ahead may have come from it, too.
            job.ahead.clear();
            self.spot().forget_place();
        }
        again
    }

    /// Reads what is wanted, and at the same time the small segments that the fetch goes on into.
    async fn load(&self, job: &mut FetchJob, base: i64, version: &Version, want: Want) -> Result<BlockSpan> {
        let ahead = self.ahead(job);
        let with = self.read_with(job, base, version, ahead);
        let once = self.source.once();
        // What only the manifest names is not waited for.
        let source = if job.by_hint { &once } else { &self.source };
        let wanted = source.load(base, version, want, job.gather.room(), ahead);
        if with.is_empty() {
            return wanted.await;
        }
        let each = with.iter().map(|segment| {
            let whole = usize::try_from(segment.version.size()).unwrap_or(usize::MAX);
            once.load(segment.base, &segment.version, Want::Offset(segment.base), whole, 0)
        });
        let (span, others) = join(wanted, join_all(each)).await;
        // Where one of the others failed, the fetch that needs it will say so.
        job.ahead.extend(others.into_iter().flatten());
        span
    }

    async fn look(&self, job: &mut FetchJob, fresh: bool) -> Result<()> {
        job.count_look(&self.state.id)?;
        job.listed = true;
        match !fresh && self.takes_hints(job) {
            true => locate_or_name(&self.state, job.position(), self.source.most_whole()).await?,
            false => locate(&self.state, job.position(), fresh).await?,
        }
        if fresh {
            job.fresh_at = Some(job.position());
        }
        // A listing that reached the end needs no next-key GET after it.
        job.tail_known |= self.state.with_catalog(|catalog| catalog.looked()).is_some_and(|looked| looked >= job.began);
        Ok(())
    }

    /// What the manifest names could not be read: it may be older than what the log holds now. A listing tells more, unless the
    /// log was made again since its start was listed.
    async fn misled(&self, job: &mut FetchJob, error: &Error) -> Result<()> {
        job.distrusts_hints = true;
        let asked = self.state.with_catalog(|catalog| {
            // What may pass says nothing about the manifest.
            if !may_pass(error) {
                catalog.drop_hints();
            }
            catalog.start_asked()
        });
        if has_changed(error) && asked < job.began {
            confirm_log(&self.state, self.state.store()).await?;
        }
        Ok(())
    }

    /// A segment is not what the catalog says: another version, or gone.
    async fn changed(&self, job: &mut FetchJob, base: i64, error: Error) -> Result<()> {
        let next = self.state.with_catalog(|catalog| catalog.around(base).1);
        if let (true, Some(next)) = (mutant!(TakeMissingForHole) && error.kind() == ErrorKind::NotFound, next) {
            job.hole = Some(Hole::new(job.position(), next));
            job.gather.skip_to(next);
            return Ok(());
        }
        // Merging changes segments, and retention takes them away; so does making the log again.
        let generation = self.state.generation();
        confirm_log(&self.state, self.state.store()).await?;
        if self.state.generation() != generation {
            return Ok(());
        }
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
    pub(super) async fn look_beyond(&self, job: &mut FetchJob, end: i64) -> Result<()> {
        let now = self.state.runtime().clock().elapsed();
        let (looked, newest) = self.state.with_catalog(|catalog| (catalog.looked(), catalog.newest()));
        let exists = self.state.with_catalog(|catalog| catalog.start().is_some_and(|start| start.exists()));
        let believed =
            looked.is_some_and(|looked| now.saturating_sub(looked) < BELIEVE_404 || mutant!(Believe404ForEver));
        let backlog = self.spot().found >= BACKLOG;
        if exists && believed && job.position() == end && !backlog {
            match self.source.probe(end).await {
                Ok(fetched) => {
                    self.confirm_writer(&fetched.identity).await?;
                    let segment =
                        SegmentRef { base: end, size: fetched.info.size, version: fetched.info.version.clone() };
                    let span = self.source.discovered(end, fetched).await?;
                    self.state.with_catalog(|catalog| {
                        catalog.follows(newest, segment);
                        catalog.set_looked(now);
                    });
                    self.hold(job, span);
                    self.spot().found += 1;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.spot().found = 0;
                    job.tail_known = true;
                }
                Err(error) => return Err(error),
            }
            self.state.with_catalog(|catalog| catalog.set_asked(now));
            return Ok(());
        }
        self.spot().found = 0;
        look_at_tail(&self.state).await?;
        job.tail_known = true;
        job.fresh_at = Some(job.position());
        Ok(())
    }

    /// The next key is there. Where another writer made it than the one before, it may be a segment of
    /// another log, which happens to have come as far: one GET tells.
    async fn confirm_writer(&self, identity: &Identity) -> Result<()> {
        let writer = identity.kfsid.as_deref().map(|kfsid| kfsid.split('.').next().unwrap_or(kfsid).to_string());
        if writer.is_some() && self.spot().writer == writer {
            return Ok(());
        }
        let generation = self.state.generation();
        confirm_log(&self.state, self.state.store()).await?;
        if self.state.generation() != generation {
            return Err(another_log(&self.state.id));
        }
        self.spot().writer = writer;
        Ok(())
    }

    async fn read_log_json(&self, job: &mut FetchJob) -> Result<()> {
        match read_log_json(&self.state).await {
            Err(error) if error.kind() == ErrorKind::NotFound => self.look(job, true).await,
            read => read,
        }
    }

    /// Finds where a broken segment can be read again: says so, or goes on there.
    async fn resume(
        &self,
        job: &mut FetchJob,
        mut span: BlockSpan,
        fault: &ReadFault,
        next: Option<i64>,
    ) -> Result<()> {
        let mut resume = fault.resume;
        if resume.is_none() && !fault.whole {
            let index = self.source.index(span.base(), span.version()).await.unwrap_or_default();
            let after = |entry: IndexEntry| {
                let truthful = span.base_offset_at(entry.position).is_none_or(|base| base == entry.offset);
                let is_after = entry.position > fault.place.position && entry.offset > fault.place.offset;
                (truthful && is_after).then_some(BatchStart { offset: entry.offset, position: entry.position })
            };
            if let Some(place) = index.as_ref().and_then(|index| index.find(job.position())).and_then(after) {
                // What is wanted stands after the broken batch.
                span.note(place);
                job.span = Some(span);
                return Ok(());
            }
            resume = index.and_then(|index| index.next_after(fault.place.position)).and_then(after);
        }
        let mut readable = resume.map(|place| place.offset).or(next);
        if readable.is_none() && span.has_body() {
            // The newest segment: its footer says where the log ends.
            readable = self.footer_end(&span).await.filter(|end| *end > fault.place.offset);
        }
        if readable.is_none() && job.fresh_at != Some(job.position()) {
            // It may be gone or mended since it was listed.
            job.span = Some(span);
            return self.look(job, true).await;
        }
        let error = self.fault_error(&span, fault, readable, next);
        if self.options.on_corrupt != OnCorrupt::Skip {
            return Err(error);
        }
        let Some(readable) = readable else {
            // Nothing tells where the newest segment ends, so no reader can go further than this.
            if self.is_news(span.base(), span.version()) {
                job.skipped.push(error);
            }
            job.stuck = true;
            return Ok(());
        };
        job.skipped.push(error);
        match resume {
            Some(place) => {
                span.note(place);
                job.span = Some(span);
            }
            None if next.is_none() => self.state.with_catalog(|catalog| catalog.set_end(span.base(), readable)),
            None => {}
        }
        job.gather.skip_to(readable);
        Ok(())
    }

    async fn footer_end(&self, span: &BlockSpan) -> Option<i64> {
        let footer = match span.footer() {
            Some(bytes) => SegmentFooter::parse(&bytes).ok()?,
            None => self.source.footer(span.base(), Some(span.version())).await.ok()?.0,
        };
        Some(footer.last_offset + 1)
    }

    /// Finds the log's end by the footer of its newest segment; what can't be read is left open.
    pub(super) async fn find_end(&self) -> Result<()> {
        if !self.state.with_catalog(|catalog| catalog.knows_newest()) {
            look_at_tail(&self.state).await?;
        }
        let Some(newest) = self.state.with_catalog(|catalog| catalog.newest()) else { return Ok(()) };
        if let Ok((footer, _)) = self.source.footer(newest, None).await {
            let end = footer.last_offset + 1;
            self.state.with_catalog(|catalog| catalog.set_end(newest, end));
        }
        Ok(())
    }
}

fn with_next(error: Error, base: i64, next: Option<i64>) -> Error {
    match next {
        Some(next) => error.with_offsets(base, next - 1).with_next_readable(next),
        None => error,
    }
}
