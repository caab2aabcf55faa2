//! How appends enter the queue. What takes long (encoding many records, compressing, checksumming) is done on the
//! caller's thread without the writer's lock, which a flush and other appends need.

use std::sync::Arc;
#[cfg(test)]
use std::sync::PoisonError;
use std::time::Duration;

use super::{WriterCore, refusal};
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::format::{BATCH_HEADER_LEN, Batch, BatchBuilder, NewRecord};
use crate::log::budget::Permit;
use crate::log::writer::accumulator::{Placed, Unsealed};
use crate::log::writer::append::Append;
use crate::log::writer::checked::{Built, CheckedBatches, batch_up};
use crate::runtime::shielded;

/// The most bytes that one append copies under the writer's lock; that takes about 10 microseconds.
const MOST_COPIED: usize = 64 << 10;

/// What an append brings.
pub(in crate::log::writer) enum Content<'a> {
    /// Checked batches.
    Batches(CheckedBatches),
    /// The empty batch of a claim.
    Claim(Batch),
    /// Records to be put into batches.
    Records(&'a [NewRecord<'a>]),
    /// Records that are in batches.
    Built(Built),
}

impl WriterCore {
    /// Puts an append into the queue. Its records are made into batches before it takes the lock, which a flush and
    /// other appends need. A few records, which share a batch with those of other appends, are copied into that batch
    /// under the lock: what a record's bytes are depends on its place in the batch.
    pub(in crate::log::writer) fn enqueue(self: &Arc<Self>, content: Content<'_>, permit: Permit) -> Result<Append> {
        // Outlives the lock: dropping it lets other appends in.
        let mut permit = Some(permit);
        let Content::Records(records) = content else {
            return self.enter(content, &mut permit)?.ok_or_else(not_placed);
        };
        let size = NewRecord::encoded_bounds(records).saturating_add(BATCH_HEADER_LEN);
        if size <= self.options.max_batch().min(MOST_COPIED)
            && let Some(append) = self.enter(content, &mut permit)?
        {
            return Ok(append);
        }
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        let built = self.batch_up(records).map_err(|error| error.with_stored(Stored::Not))?;
        self.enter(Content::Built(built), &mut permit)?.ok_or_else(not_placed)
    }

    /// The same, and tells the observer: call it under no lock. `bytes` is what the append was given.
    pub(in crate::log::writer) fn enqueue_now(
        self: &Arc<Self>,
        content: Content<'_>,
        bytes: usize,
        permit: Permit,
    ) -> Result<Append> {
        let entered = self.enqueue(content, permit);
        self.tell_append(entered.as_ref().ok().map(|append| append.count), bytes, None);
        entered
    }

    /// Tells the observer of an append that took `count` offsets. `None`: it was refused.
    pub(in crate::log::writer) fn tell_append(&self, count: Option<i64>, bytes: usize, waited_since: Option<Duration>) {
        let observer = self.state.observer();
        if let (true, Some(count)) = (observer.records(), count) {
            observer.appended(&self.state.id, bytes, count.unsigned_abs(), waited_since);
            observer.buffered(|| self.state.bucket.budget.used());
        }
    }

    /// The one place where appends enter the queue, in call order. `None`: records that need more than one batch.
    fn enter(self: &Arc<Self>, content: Content<'_>, permit: &mut Option<Permit>) -> Result<Option<Append>> {
        let mut inner = self.lock();
        if let Some(error) = refusal(&inner.phase).or_else(|| inner.queue.broken().cloned()) {
            return Err(error.with_stored(Stored::Not));
        }
        // Before its first commit a writer that takes over commits one small group (docs/design.md, "What losing a
        // slot means").
        let share = inner.offsets_final || !self.options.on_conflict.is_exclusive() || inner.queue.len() > 1;
        let queue = &mut inner.queue;
        // Read only where a group begins: the others are flushed with theirs.
        let now = || self.now();
        let placed = match content {
            Content::Batches(batches) => queue.push_batches(batches, permit, now, share, &self.options).map(Some),
            Content::Claim(batch) => queue.push_claim(batch, permit, now()).map(Some),
            Content::Records(records) => queue.push_records(records, permit, now, share, &self.options),
            Content::Built(built) => queue.push_built(built, permit, now).map(Some),
        };
        let placed = placed.map_err(|error| error.with_stored(Stored::Not))?;
        let Some(Placed { outcome, group, first, count, starts, unsealed }) = placed else { return Ok(None) };
        let log_end = inner.offsets_final.then(|| inner.shift.saturating_add(inner.queue.end()));
        let moved = log_end.map(|log_end| self.state.watermarks.set_log_end(Some(log_end)));
        let task = self.task(&mut inner);
        let wake = self.is_due(&inner, starts);
        drop(inner);
        drop(moved);
        if let Some(task) = task {
            task.start();
        }
        if wake {
            self.wake.notify_one();
        }
        if let Some(unsealed) = unsealed {
            // This append comes after that batch, so if that batch failed it never leaves the queue.
            self.seal(unsealed).map_err(|error| error.with_stored(Stored::Not))?;
        }
        Ok(Some(Append { core: self.clone(), outcome, group, first, count }))
    }

    /// Compresses a batch that was closed, without the lock, and puts it into its place. When that fails, has the
    /// flush task end the writer: records of earlier appends are lost, and what comes after them must not be acked
    /// either.
    pub(super) fn seal(&self, unsealed: Unsealed) -> Result<()> {
        let Unsealed { group, mut builder } = unsealed;
        let mut batch = Err(Error::new(ErrorKind::Internal, "compressing panicked").with_hint("please report it"));
        // Otherwise no caller would learn of it, and no flush would go past it.
        shielded(|| batch = self.finish(&mut builder));
        let mut inner = self.lock();
        let sealed = inner.queue.sealed(group, batch);
        inner.flush_now |= sealed.is_err();
        let wake = std::mem::take(&mut inner.stalled) || sealed.is_err();
        drop(inner);
        self.sealed.notify_all();
        if wake {
            self.wake.notify_one();
        }
        sealed
    }

    fn batch_up(&self, records: &[NewRecord<'_>]) -> Result<Built> {
        batch_up(records, &self.options, |builder| self.finish(builder))
    }

    /// Records in batches that no others join.
    pub(in crate::log::writer) fn build_batches(&self, records: &[NewRecord<'_>]) -> Result<CheckedBatches> {
        let Built { mut closed, mut open, .. } = self.batch_up(records)?;
        closed.push(self.finish(&mut open)?);
        Ok(CheckedBatches::Many(closed))
    }

    fn finish(&self, builder: &mut BatchBuilder) -> Result<Batch> {
        #[cfg(test)]
        {
            let hook = self.before_sealing.lock().unwrap_or_else(PoisonError::into_inner).clone();
            hook.map_or(Ok(()), |hook| hook())?;
        }
        builder.finish(0)
    }

    /// Has a test's own code run before each batch is compressed.
    #[cfg(test)]
    pub(in crate::log::writer) fn before_sealing(&self, hook: impl Fn() -> Result<()> + Send + Sync + 'static) {
        *self.before_sealing.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }
}

fn not_placed() -> Error {
    Error::new(ErrorKind::Internal, "an append found no place in the queue").with_stored(Stored::Not)
}
