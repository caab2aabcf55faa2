//! The writer's shared state: the accumulator, its triggers, and the task that flushes it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::accumulator::{Accumulator, Group, Placed};
use super::append::{Append, Fate};
use super::commit::{Chain, Committed, Failure};
use super::control::Control;
use super::options::WriterOptions;
use super::seen::Seen;
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::format::{Batch, NewRecord, PartitionId};
use crate::log::budget::{Flushable, Permit};
use crate::log::catalog::SegmentRef;
use crate::log::partition::PartitionState;

/// Whether a writer takes appends.
#[derive(Clone)]
enum Phase {
    Open,
    /// `close` was called: what is buffered is flushed, nothing more comes in.
    Closing,
    Closed,
    /// Fenced or poisoned: what was in flight got this error, every later append gets it as *not stored*.
    Dead(Error),
}

struct Inner {
    phase: Phase,
    queue: Accumulator,
    /// The groups of the flush that is on its way.
    in_flight: Vec<Group>,
    /// Added to a relative offset gives the absolute one, as far as known now.
    shift: i64,
    /// Nothing but failure changes `shift` any more.
    offsets_final: bool,
    /// Flush without waiting for a trigger.
    flush_now: bool,
    /// When the tail was last seen to be this writer's own; `None` before its first commit.
    owned: Option<Seen>,
    /// Between flushes, and while no task runs.
    chain: Option<Chain>,
    task_runs: bool,
}

/// What handles of one writer share.
pub(crate) struct WriterCore {
    state: Arc<PartitionState>,
    pub(super) options: WriterOptions,
    inner: Mutex<Inner>,
    wake: Notify,
    /// Wakes `close` when all is settled.
    idle: Notify,
    pub(super) control: Arc<Control>,
}

enum Next {
    Flush(Vec<Batch>, i64),
    Wait(Option<Duration>),
    Rest,
}

impl WriterCore {
    pub(super) fn new(state: Arc<PartitionState>, options: WriterOptions, chain: Chain) -> Arc<Self> {
        let inner = Inner {
            phase: Phase::Open,
            queue: Accumulator::default(),
            in_flight: Vec::new(),
            shift: chain.next_slot(),
            offsets_final: chain.offsets_final(&options),
            flush_now: false,
            owned: None,
            chain: Some(chain),
            task_runs: false,
        };
        Arc::new(WriterCore {
            state,
            options,
            inner: Mutex::new(inner),
            wake: Notify::new(),
            idle: Notify::new(),
            control: Arc::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.state.runtime().clock().elapsed()
    }

    pub(crate) fn partition_id(&self) -> &PartitionId {
        &self.state.id
    }

    pub(super) fn state(&self) -> &Arc<PartitionState> {
        &self.state
    }

    pub(crate) fn is_exclusive(&self) -> bool {
        self.options.on_conflict.is_exclusive() && self.is_live()
    }

    /// Whether what it knows of the tail may be believed without asking the store: it is the one
    /// exclusive writer, has committed, and that is not longer ago than a writer may sleep. A writer
    /// that was displaced learns of it only by its next flush.
    pub(crate) fn owns_tail(&self) -> bool {
        let clock = self.state.runtime().clock();
        let owned = self.lock().owned;
        self.is_exclusive() && owned.is_some_and(|seen| !seen.is_past(self.options.stale_after, &**clock))
    }

    /// Whether it is exclusive and has committed: the tail was its own, then at least.
    pub(crate) fn has_committed(&self) -> bool {
        self.is_exclusive() && self.lock().owned.is_some()
    }

    /// Whether it still takes or flushes appends.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.lock().phase, Phase::Open | Phase::Closing)
    }

    pub(super) fn final_shift(&self) -> Option<i64> {
        let inner = self.lock();
        (inner.offsets_final && !matches!(inner.phase, Phase::Dead(_))).then_some(inner.shift)
    }

    /// Why it takes no appends, if it does not.
    pub(super) fn refusal(&self) -> Option<Error> {
        refusal(&self.lock().phase)
    }

    /// Puts an append into the queue: the one place where appends enter, in call order.
    pub(super) fn enqueue(self: &Arc<Self>, content: Content<'_>, permit: Permit) -> Result<Append> {
        let now = self.now();
        // Outlives the lock: dropping it lets other appends in.
        let mut permit = Some(permit);
        let mut inner = self.lock();
        if let Some(error) = refusal(&inner.phase) {
            return Err(error);
        }
        let was_empty = inner.queue.is_empty();
        // Before its first commit a writer that takes over commits one small group (design: contention).
        let share = inner.offsets_final || !self.options.on_conflict.is_exclusive() || inner.queue.len() > 1;
        let queue = &mut inner.queue;
        let placed = match content {
            Content::Batches(batches) => queue.push_batches(batches, &mut permit, now, share, &self.options)?,
            Content::Claim(batch) => queue.push_claim(batch, &mut permit, now)?,
            Content::Records(records) => queue.push_records(records, &mut permit, now, share, &self.options)?,
        };
        if was_empty {
            let flushable: Arc<dyn Flushable> = self.clone();
            self.state.bucket.budget.register(&flushable);
        }
        if inner.offsets_final {
            let log_end = inner.shift.saturating_add(inner.queue.end());
            self.state.marks.set_log_end(&self.state.id, Some(log_end));
        }
        self.run_task(&mut inner);
        let wake = self.is_due(&inner, now);
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
        let Placed { fate, group, first, count } = placed;
        Ok(Append { core: self.clone(), fate, group, first, count })
    }

    /// Somebody waits for a group: it is flushed after `linger`.
    pub(super) fn somebody_waits(&self, group: u64) {
        if self.lock().queue.wait_for(group) {
            self.wake.notify_one();
        }
    }

    /// Flushes what is buffered now; gives what tells when all of it is settled.
    pub(super) fn flush_all(self: &Arc<Self>) -> Option<Arc<Fate>> {
        let mut inner = self.lock();
        let last = inner.queue.last_group().or(inner.in_flight.last()).map(|g| g.fate.clone());
        if !inner.queue.is_empty() {
            inner.flush_now = true;
            self.run_task(&mut inner);
            drop(inner);
            self.wake.notify_one();
        }
        last
    }

    /// Takes no more appends, flushes, and closes when all is settled.
    pub(super) fn begin_close(self: &Arc<Self>) {
        let mut inner = self.lock();
        if !matches!(inner.phase, Phase::Open) {
            return;
        }
        inner.phase = Phase::Closing;
        inner.flush_now = true;
        self.run_task(&mut inner);
        drop(inner);
        self.wake.notify_one();
    }

    /// Waits until nothing is buffered or in flight and the writer has ended.
    pub(super) async fn ended(&self) -> Result<()> {
        loop {
            let idle = self.idle.notified();
            match &self.lock().phase {
                Phase::Closed => return Ok(()),
                Phase::Dead(error) => return Err(error.clone()),
                Phase::Open | Phase::Closing => {}
            }
            idle.await;
        }
    }

    /// Batches that are buffered or in flight with final offsets, from the one that holds `offset`
    /// on: whole batches, at least one if there is one, `max_bytes` at most.
    pub(crate) fn buffered(&self, offset: i64, max_bytes: usize) -> Vec<Bytes> {
        let mut inner = self.lock();
        if !inner.offsets_final || inner.queue.close_open().is_err() {
            return Vec::new();
        }
        let (shift, epoch) = (inner.shift, self.options.leader_epoch);
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for group in inner.in_flight.iter().chain(inner.queue.groups()) {
            let mut base = shift.saturating_add(group.first);
            for batch in &group.batches {
                let next = base.saturating_add(i64::from(batch.header().last_offset_delta)).saturating_add(1);
                if next > offset {
                    bytes = bytes.saturating_add(batch.bytes().len());
                    if !found.is_empty() && bytes > max_bytes {
                        return found;
                    }
                    let Ok(batch) = batch.with_base_offset(base, epoch) else { return found };
                    found.push(batch.bytes().clone());
                }
                base = next;
            }
        }
        found
    }

    fn run_task(self: &Arc<Self>, inner: &mut Inner) {
        if !inner.task_runs && inner.chain.is_some() {
            inner.task_runs = true;
            self.state.runtime().spawn(self.clone().task());
        }
    }

    /// Flushes until nothing is buffered. One task at a time: so one segment PUT is in flight (invariant 3).
    async fn task(self: Arc<Self>) {
        let Some(mut chain) = self.lock().chain.take() else { return };
        let mut guard = TaskGuard(Some(self.clone()));
        loop {
            let woken = self.wake.notified();
            match self.next(&chain) {
                Next::Flush(batches, first) => {
                    let result = chain.commit(&self.state, &self.options, &self.control, &batches).await;
                    self.settle(&chain, first, result);
                }
                Next::Wait(Some(wait)) => {
                    let sleep = self.state.runtime().clock().sleep(wait);
                    futures_util::pin_mut!(woken);
                    futures_util::future::select(woken, sleep).await;
                }
                Next::Wait(None) => woken.await,
                Next::Rest => {
                    let mut inner = self.lock();
                    // Something may have come in since `next` looked.
                    if inner.queue.is_empty() || !matches!(inner.phase, Phase::Open | Phase::Closing) {
                        let writer_id = chain.writer_id.clone();
                        inner.chain = Some(chain);
                        inner.task_runs = false;
                        let ended = matches!(inner.phase, Phase::Closing);
                        if ended {
                            inner.phase = Phase::Closed;
                        }
                        let over = !matches!(inner.phase, Phase::Open);
                        drop(inner);
                        guard.0 = None;
                        if over {
                            self.state.store().forget_writer(&writer_id);
                            self.leave();
                        }
                        return;
                    }
                }
            }
        }
    }

    fn leave(self: &Arc<Self>) {
        let flushable: Arc<dyn Flushable> = self.clone();
        self.state.bucket.budget.unregister(&flushable);
        self.state.release(self.options.on_conflict.is_exclusive());
        self.idle.notify_waiters();
    }

    /// When the queue must be flushed: at once, at a time, or not by itself.
    fn due_at(&self, inner: &Inner) -> Option<Duration> {
        let (queue, options) = (&inner.queue, &self.options);
        let full = queue.bytes() >= options.flush_bytes
            || queue.records() >= options.flush_records
            || queue.batches() >= options.flush_batches;
        if full || inner.flush_now {
            return Some(Duration::ZERO);
        }
        let oldest = queue.oldest().map(|since| since.saturating_add(options.flush_interval));
        let waited = queue.waited_since().map(|since| since.saturating_add(options.linger));
        oldest.into_iter().chain(waited).min()
    }

    /// Whether the sleeping task must be told: only when it would sleep too long.
    fn is_due(&self, inner: &Inner, now: Duration) -> bool {
        inner.queue.len() == 1 || self.due_at(inner).is_some_and(|at| at <= now)
    }

    fn next(&self, chain: &Chain) -> Next {
        let now = self.now();
        let mut inner = self.lock();
        if inner.queue.is_empty() || !matches!(inner.phase, Phase::Open | Phase::Closing) {
            inner.flush_now = false;
            return Next::Rest;
        }
        let Some(at) = self.due_at(&inner) else { return Next::Wait(None) };
        if at > now {
            return Next::Wait(Some(at.saturating_sub(now)));
        }
        let small = chain.wants_small(&self.options);
        match inner.queue.drain(self.options.flush_bytes, small) {
            Ok(groups) => {
                if inner.queue.is_empty() {
                    inner.flush_now = false;
                }
                let batches = groups.iter().flat_map(|g| g.batches.iter().cloned()).collect();
                let first = groups.first().map_or(0, |g| g.first);
                inner.in_flight = groups;
                Next::Flush(batches, first)
            }
            Err(error) => {
                // Compressing the open batch failed: what waits can't be written.
                drop(inner);
                self.die(error, Vec::new());
                Next::Rest
            }
        }
    }

    fn settle(self: &Arc<Self>, chain: &Chain, first: i64, result: Result<Committed, Failure>) {
        match result {
            Ok(committed) => {
                let shift = committed.base.saturating_sub(first);
                // The chain is told before the waiters: who wakes reads what was written.
                self.publish(&committed);
                let mut inner = self.lock();
                inner.shift = shift;
                inner.owned = Some(chain.seen);
                inner.offsets_final = chain.offsets_final(&self.options);
                let log_end = inner.offsets_final.then(|| shift.saturating_add(inner.queue.end()));
                self.state.marks.set_log_end(&self.state.id, log_end);
                let groups = std::mem::take(&mut inner.in_flight);
                let empty = inner.queue.is_empty();
                drop(inner);
                if empty {
                    let flushable: Arc<dyn Flushable> = self.clone();
                    self.state.bucket.budget.unregister(&flushable);
                }
                for group in groups {
                    group.settle(Ok(shift));
                }
            }
            Err(failure) => {
                let mut inner = self.lock();
                let groups = std::mem::take(&mut inner.in_flight);
                let fatal = failure.fatal || inner.offsets_final;
                drop(inner);
                if fatal {
                    self.die(failure.error, groups);
                } else {
                    for group in groups {
                        group.settle(Err(failure.error.clone()));
                    }
                }
            }
        }
    }

    fn publish(&self, committed: &Committed) {
        let segment = SegmentRef { base: committed.base, size: committed.size, version: committed.version.clone() };
        if let Ok(mut catalog) = self.state.catalog.lock() {
            catalog.committed(committed.previous, segment, committed.end);
        }
        let log_start = committed.previous.is_none().then_some(committed.base);
        self.state.marks.learn(&self.state.id, log_start, committed.end, self.state.now_ms());
    }

    /// Fenced or poisoned, for good: what was in flight gets the error as it is, what was never sent
    /// is *not stored* (invariant 4).
    fn die(&self, error: Error, in_flight: Vec<Group>) {
        let later = error.clone().with_stored(Stored::Not);
        let waiting = {
            let mut inner = self.lock();
            inner.phase = Phase::Dead(error.clone());
            self.state.marks.set_log_end(&self.state.id, None);
            inner.queue.take_all()
        };
        for group in in_flight {
            group.settle(Err(error.clone()));
        }
        for group in waiting {
            group.settle(Err(later.clone()));
        }
    }
}

/// A task that ends early (its runtime was shut down, or it panicked) leaves nobody waiting for ever.
struct TaskGuard(Option<Arc<WriterCore>>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        if let Some(core) = self.0.take() {
            let in_flight = std::mem::take(&mut core.lock().in_flight);
            let error = Error::new(ErrorKind::Closed, "the runtime was shut down before the flush was durable");
            core.die(error.with_stored(Stored::Perhaps), in_flight);
            core.leave();
        }
    }
}

fn refusal(phase: &Phase) -> Option<Error> {
    match phase {
        Phase::Open => None,
        Phase::Dead(error) => Some(error.clone().with_stored(Stored::Not)),
        Phase::Closing | Phase::Closed => {
            Some(Error::new(ErrorKind::Closed, "the writer was closed").with_stored(Stored::Not))
        }
    }
}

/// What an append brings.
pub(super) enum Content<'a> {
    /// Checked batches.
    Batches(Vec<Batch>),
    /// The empty batch of a claim.
    Claim(Batch),
    /// Records to be put into batches.
    Records(&'a [NewRecord<'a>]),
}

impl Flushable for WriterCore {
    fn buffered(&self) -> usize {
        self.lock().queue.bytes()
    }

    fn relieve(&self) {
        self.lock().flush_now = true;
        self.wake.notify_one();
    }
}

impl fmt::Debug for WriterCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").field(&self.state.id.to_string()).finish()
    }
}
