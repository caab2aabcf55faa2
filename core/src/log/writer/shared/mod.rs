//! The writer's shared state: the accumulator and its triggers.

mod flush_task;
pub(super) mod intake;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::accumulator::{Accumulator, Drained};
use super::chain::Chain;
use super::delivery::{Deliveries, FlushOutcome};
use super::env::Control;
use super::options::WriterOptions;
use super::status::{WriterPhase, WriterStatus};
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::format::PartitionId;
use crate::log::budget::{Account, Flushable};
use crate::log::seen::Seen;
use crate::log::state::{LiveWriter, PartitionState, Reservation};
use crate::runtime::{BoxFuture, shielded, with_shielded_waker};

/// Whether a writer takes appends.
#[derive(Clone)]
enum Phase {
    Open,
    /// `close` was called: what is buffered is flushed, nothing more comes in.
    Closing,
    Closed,
    /// A flush failed (fenced, contended, poisoned). What was in flight got this error, and every later append gets it
    /// as *not stored*.
    Dead(Error),
}

struct WriterState {
    phase: Phase,
    queue: Accumulator,
    /// The flush that is on its way, and since when.
    in_flight: Drained,
    flushing_since: Option<Duration>,
    /// What is added to a relative offset to get the absolute one, by what is known now.
    shift: i64,
    /// Nothing but failure changes `shift` any more.
    offsets_final: bool,
    /// Flush without waiting for a trigger.
    flush_now: bool,
    /// The flush task waits for a batch that another thread seals.
    stalled: bool,
    /// When the tail was last seen to be this writer's own; `None` before its first commit.
    owned: Option<Seen>,
    /// While no task runs.
    chain: Option<Chain>,
    /// Until the writer has ended.
    reservation: Option<Reservation>,
}

impl WriterState {
    /// What the writer holds of its partition; to be dropped outside the lock, before anybody is told
    /// that the writer has ended.
    fn leave(&mut self) -> Option<Reservation> {
        self.reservation.take()
    }
}

#[cfg(test)]
type SealingHook = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// What handles of one writer share.
pub(crate) struct WriterCore {
    state: Arc<PartitionState>,
    pub(super) options: WriterOptions,
    inner: Mutex<WriterState>,
    wake: Notify,
    /// Wakes `close` when all is settled.
    idle: Notify,
    /// Tells threads that a batch was sealed.
    sealed: Condvar,
    #[cfg(test)]
    before_sealing: Mutex<Option<SealingHook>>,
    pub(super) control: Arc<Control>,
    pub(super) deliveries: Arc<Deliveries>,
    /// Its share of the bucket's buffer.
    pub(super) account: Account,
    writer_id: String,
}

impl WriterCore {
    pub(super) fn new(reservation: Reservation, options: WriterOptions, chain: Chain) -> Arc<Self> {
        let state = reservation.state().clone();
        let writer_id = chain.writer_id.clone();
        let inner = WriterState {
            phase: Phase::Open,
            queue: Accumulator::default(),
            in_flight: Drained::default(),
            flushing_since: None,
            shift: chain.next_slot(),
            offsets_final: chain.offsets_final(&options),
            flush_now: false,
            stalled: false,
            owned: None,
            chain: Some(chain),
            reservation: Some(reservation),
        };
        Arc::new_cyclic(|writer: &Weak<WriterCore>| WriterCore {
            account: state.bucket.budget.account(writer.clone()),
            state,
            options,
            inner: Mutex::new(inner),
            wake: Notify::new(),
            idle: Notify::new(),
            sealed: Condvar::new(),
            #[cfg(test)]
            before_sealing: Mutex::default(),
            control: Arc::default(),
            deliveries: Arc::default(),
            writer_id,
        })
    }

    fn lock(&self) -> MutexGuard<'_, WriterState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.state.runtime().clock().elapsed()
    }

    pub(super) fn state(&self) -> &Arc<PartitionState> {
        &self.state
    }

    pub(super) fn final_shift(&self) -> Option<i64> {
        let inner = self.lock();
        (inner.offsets_final && !matches!(inner.phase, Phase::Dead(_))).then_some(inner.shift)
    }

    /// Why it takes no appends, if it does not.
    pub(super) fn refusal(&self) -> Option<Error> {
        refusal(&self.lock().phase)
    }

    /// Why it has failed, if it has: some of what it took may be lost.
    pub(super) fn death(&self) -> Option<Error> {
        let inner = self.lock();
        if let Phase::Dead(_) = &inner.phase { refusal(&inner.phase) } else { None }
    }

    pub(super) fn status(&self) -> WriterStatus {
        let now = self.now();
        let inner = self.lock();
        let (in_flight_bytes, in_flight_records) = inner.in_flight.size();
        let mut status = WriterStatus {
            phase: WriterPhase::Open,
            doing: "nothing",
            buffered_bytes: inner.queue.bytes() + in_flight_bytes,
            buffered_records: inner.queue.records() + in_flight_records,
            flushing_for: inner.flushing_since.map(|since| now.saturating_sub(since)),
            trouble: None,
            failure: None,
        };
        match &inner.phase {
            Phase::Open => {}
            Phase::Closing => status.phase = WriterPhase::Closing,
            Phase::Closed => status.phase = WriterPhase::Closed,
            Phase::Dead(error) => (status.phase, status.failure) = (WriterPhase::Failed, Some(error.clone())),
        }
        drop(inner);
        if status.flushing_for.is_some() {
            status.doing = self.state.retries.doing().unwrap_or("building a segment");
            status.trouble = self.state.retries.worst(now);
        }
        status
    }

    /// A caller waits for a group, so it is flushed after `linger`.
    pub(super) fn caller_waits(&self, group: u64) {
        if self.lock().queue.wait_for(group) {
            self.wake.notify_one();
        }
    }

    /// Flushes what is buffered now; gives what tells when all of it is settled.
    pub(super) fn flush_all(self: &Arc<Self>) -> Option<Arc<FlushOutcome>> {
        let mut inner = self.lock();
        let last = inner.queue.last_group().or(inner.in_flight.groups.last()).map(|g| g.outcome.clone());
        if !inner.queue.is_empty() {
            inner.flush_now = true;
            let task = self.task(&mut inner);
            drop(inner);
            if let Some(task) = task {
                task.start();
            }
            self.wake.notify_one();
        }
        last
    }

    /// Takes no more appends, flushes, and closes when all is settled: at once if nothing is buffered.
    pub(crate) fn begin_close(self: &Arc<Self>) {
        let mut inner = self.lock();
        if !matches!(inner.phase, Phase::Open) {
            return;
        }
        inner.phase = Phase::Closing;
        inner.flush_now = true;
        if inner.chain.is_some() && inner.queue.is_empty() {
            let over = self.close_now(&mut inner);
            drop(inner);
            self.leave(over, None);
            self.account.turn_away();
            return self.ended_now();
        }
        let task = self.task(&mut inner);
        drop(inner);
        self.account.turn_away();
        if let Some(task) = task {
            task.start();
        }
        self.wake.notify_one();
    }

    /// Nothing is buffered or in flight: a writer that was closing is closed.
    fn close_now(&self, inner: &mut WriterState) -> Option<Reservation> {
        if matches!(inner.phase, Phase::Closing) {
            inner.phase = Phase::Closed;
        }
        inner.leave()
    }

    /// Frees the writer's place in its partition, and tells the observer once that it has ended. `error` says why, unless
    /// it was closed. Under no lock.
    fn leave(&self, place: Option<Reservation>, error: Option<&Error>) {
        if place.is_some() {
            drop(place);
            self.state.observer().writer_ended(&self.state.id, error);
        }
    }

    /// Tells those who wait for the end.
    fn ended_now(&self) {
        self.state.writes().forget_writer(&self.writer_id);
        shielded(|| self.idle.notify_waiters());
    }

    /// Waits until nothing is buffered or in flight, all outcomes are told, and the writer has ended.
    pub(crate) async fn ended(&self) -> Result<()> {
        loop {
            let idle = self.idle.notified();
            let end = match &self.lock().phase {
                Phase::Closed => Some(Ok(())),
                Phase::Dead(error) => Some(Err(error.clone())),
                Phase::Open | Phase::Closing => None,
            };
            if let Some(end) = end {
                self.deliveries.finished().await;
                return end;
            }
            with_shielded_waker(idle).await;
        }
    }

    fn sealed_from(&self, inner: &WriterState, offset: i64, max_bytes: usize) -> Vec<Bytes> {
        let (shift, epoch) = (inner.shift, self.options.leader_epoch);
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        let (queued_from, queued) = inner.queue.sealed_batches();
        // What is in flight comes directly before what waits.
        let first = inner.in_flight.groups.first().map_or(queued_from, |group| group.first);
        let mut base = shift.saturating_add(first);
        for batch in inner.in_flight.batches.iter().chain(queued) {
            let next = base.saturating_add(i64::from(batch.header().last_offset_delta)).saturating_add(1);
            if next > offset {
                bytes += batch.bytes().len();
                if !found.is_empty() && bytes > max_bytes {
                    return found;
                }
                let Ok(batch) = batch.with_base_offset(base, epoch) else { return found };
                found.push(batch.bytes().clone());
            }
            base = next;
        }
        found
    }

    /// Whether the queue must be flushed at once.
    fn is_full(&self, inner: &WriterState) -> bool {
        let (queue, options) = (&inner.queue, &self.options);
        inner.flush_now
            || queue.bytes() >= options.max_flush()
            || queue.records() >= options.flush_records
            || queue.batches() >= options.flush_batches
    }

    /// When the queue must be flushed: at once, at a time, or not by itself.
    fn due_at(&self, inner: &WriterState) -> Option<Duration> {
        let (queue, options) = (&inner.queue, &self.options);
        if self.is_full(inner) {
            return Some(Duration::ZERO);
        }
        let oldest = queue.oldest().map(|since| since.saturating_add(options.flush_interval));
        let waited = queue.waited_since().map(|since| since.saturating_add(options.linger));
        oldest.into_iter().chain(waited).min()
    }

    /// Whether the sleeping task must be told: only when it would sleep too long. An append that
    /// joined a group moved no time.
    fn is_due(&self, inner: &WriterState, starts: bool) -> bool {
        self.is_full(inner)
            || (starts && (inner.queue.len() == 1 || self.due_at(inner).is_some_and(|at| at <= self.now())))
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

impl LiveWriter for WriterCore {
    fn partition_id(&self) -> &PartitionId {
        &self.state.id
    }

    fn is_exclusive(&self) -> bool {
        self.options.on_conflict.is_exclusive() && self.is_live()
    }

    fn owns_tail(&self) -> bool {
        let clock = self.state.runtime().clock();
        let owned = self.lock().owned;
        self.is_exclusive() && owned.is_some_and(|seen| !seen.is_past(self.options.stale_after, &**clock))
    }

    fn has_committed(&self) -> bool {
        self.is_exclusive() && self.lock().owned.is_some()
    }

    fn is_live(&self) -> bool {
        matches!(self.lock().phase, Phase::Open | Phase::Closing)
    }

    fn give_up(&self) {
        self.control.abort();
    }

    fn gave_up(&self) -> bool {
        self.control.is_aborted()
    }

    fn buffered(&self, offset: i64, max_bytes: usize) -> Vec<Bytes> {
        let mut inner = self.lock();
        loop {
            if !inner.offsets_final {
                return Vec::new();
            }
            let found = self.sealed_from(&inner, offset, max_bytes);
            let end = inner.shift.saturating_add(inner.queue.end());
            if !found.is_empty() || offset >= end || inner.queue.broken().is_some() {
                return found;
            }
            // What holds the offset is open, or another thread is about to have sealed it.
            if let Some(unsealed) = inner.queue.close_open() {
                drop(inner);
                if self.seal(unsealed).is_err() {
                    return Vec::new();
                }
                inner = self.lock();
            } else if inner.queue.is_sealing() {
                inner = self.sealed.wait(inner).unwrap_or_else(PoisonError::into_inner);
            } else {
                return found;
            }
        }
    }

    fn close(self: Arc<Self>) {
        self.begin_close();
    }

    fn end(self: Arc<Self>) -> BoxFuture<Result<()>> {
        Box::pin(async move { self.ended().await })
    }
}

impl Flushable for WriterCore {
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
