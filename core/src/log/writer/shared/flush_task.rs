//! The task that flushes what a writer buffered, until nothing is left.

use std::sync::Arc;
use std::time::Duration;

use super::{Phase, WriterCore, WriterState};
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::format::Batch;
use crate::log::writer::accumulator::{Drained, Group};
use crate::log::writer::chain::{Chain, Committed};
use crate::mutant::mutant;
use crate::observer::FlushFigures;
use crate::runtime::lost_task;

enum Next {
    Flush { batches: Arc<Vec<Batch>>, first: i64, claims: bool },
    Wait(Option<Duration>),
    Rest,
}

/// A flush task that is about to be started, or runs. When it is dropped before its end (its runtime was
/// shut down, which may be before its first poll, or it panicked), it tells every waiting caller, so that none waits for ever.
#[must_use = "dropping it ends the writer"]
pub(super) struct FlushTask {
    core: Option<Arc<WriterCore>>,
    chain: Option<Chain>,
}

impl FlushTask {
    /// Not under the writer's lock: a runtime that was shut down drops the task here.
    pub(super) fn start(self) {
        let Some(core) = self.core.clone() else { return };
        core.state.runtime().spawn(self.run());
    }

    /// Flushes until nothing is buffered. One task at a time: so one segment PUT is in flight (invariant 3).
    async fn run(mut self) {
        let (Some(core), Some(mut chain)) = (self.core.clone(), self.chain.take()) else { return };
        loop {
            let woken = core.wake.notified();
            match core.next(&chain) {
                Next::Flush { batches, first, claims } => {
                    let began = core.now();
                    let commit = Box::pin(chain.commit(&core.state, &core.options, &core.control, &batches, claims));
                    let result = commit.await;
                    // A flush that was given up says why it was in vain.
                    let result = result.map_err(|stop| core.state.explain_since(began, stop.into_error()));
                    // Before anybody learns of it, as the groups' charges.
                    drop(batches);
                    core.tell_flush(began, chain.tries, &result);
                    core.settle(&chain, first, result);
                    core.state.observer().buffered(|| core.state.bucket.budget.used());
                }
                Next::Wait(Some(wait)) => {
                    let sleep = core.state.runtime().clock().sleep(wait);
                    futures_util::pin_mut!(woken);
                    futures_util::future::select(woken, sleep).await;
                }
                Next::Wait(None) => woken.await,
                Next::Rest => match core.rest(chain) {
                    Some(back) => chain = back,
                    None => {
                        self.core = None;
                        return;
                    }
                },
            }
        }
    }
}

impl Drop for FlushTask {
    fn drop(&mut self) {
        let Some(core) = self.core.take() else { return };
        let error = lost_task(std::thread::panicking());
        let in_flight = std::mem::take(&mut core.lock().in_flight);
        core.die(error.with_stored(Stored::Perhaps), in_flight);
        core.ended_now();
    }
}

impl WriterCore {
    /// The task to be started, unless one runs.
    pub(super) fn task(self: &Arc<Self>, inner: &mut WriterState) -> Option<FlushTask> {
        let chain = inner.chain.take()?;
        Some(FlushTask { core: Some(self.clone()), chain: Some(chain) })
    }

    /// Ends the task, or gives the chain back when something came in since `next` looked.
    fn rest(self: &Arc<Self>, chain: Chain) -> Option<Chain> {
        let mut inner = self.lock();
        if !inner.queue.is_empty() && matches!(inner.phase, Phase::Open | Phase::Closing) {
            return Some(chain);
        }
        inner.chain = Some(chain);
        if matches!(inner.phase, Phase::Open) {
            return None;
        }
        let over = self.close_now(&mut inner);
        drop(inner);
        self.leave(over, None);
        self.ended_now();
        None
    }

    /// What the task does now: flush what is due, wait for a trigger, or rest because nothing is buffered.
    fn next(self: &Arc<Self>, chain: &Chain) -> Next {
        // Read before the queue: what comes in later is not due earlier.
        let now = self.now();
        let mut inner = self.lock();
        if inner.queue.is_empty() || !matches!(inner.phase, Phase::Open | Phase::Closing) {
            return Next::Rest;
        }
        let Some(mut at) = self.due_at(&inner) else { return Next::Wait(None) };
        // Other writers get their turn, but a writer that closes does not rest.
        if matches!(inner.phase, Phase::Open) {
            at = at.max(chain.pace.rest_until());
        }
        if at > now {
            return Next::Wait(Some(at - now));
        }
        // What has joined the open batch until now goes with this flush. Appends need the lock meanwhile.
        if let Some(unsealed) = inner.queue.close_open() {
            drop(inner);
            // The queue keeps the error.
            let _ = self.seal(unsealed);
            inner = self.lock();
        }
        // The writer may have ended while the lock was free.
        if !matches!(inner.phase, Phase::Open | Phase::Closing) {
            return Next::Rest;
        }
        if let Some(error) = inner.queue.broken().cloned() {
            // What waits can't be written.
            drop(inner);
            self.die(error, Drained::default());
            return Next::Rest;
        }
        let drained = inner.queue.drain(&self.options, chain.wants_small(&self.options));
        let Some(Group { first, claims, .. }) = drained.groups.first() else {
            // Another thread seals the first batch, and then wakes this task.
            inner.stalled = true;
            return Next::Wait(None);
        };
        let (first, claims) = (*first, *claims);
        // A flush that was asked for covers all that was buffered then, which may take several segments.
        if inner.queue.is_empty() {
            inner.flush_now = false;
        }
        let batches = drained.batches.clone();
        inner.in_flight = drained;
        inner.flushing_since = Some(now);
        drop(inner);
        self.account.flush_began();
        Next::Flush { batches, first, claims }
    }

    fn settle(self: &Arc<Self>, chain: &Chain, first: i64, result: Result<Committed>) {
        // From before the groups leave `in_flight` until they are in the queue of those to be told.
        let expected = self.deliveries.expect();
        self.lock().flushing_since = None;
        match result {
            Ok(committed) => {
                let shift = committed.base.saturating_sub(first);
                // The catalog and the watermarks are told before the waiters, so that a waiter that reads finds its records.
                committed.publish(&self.state);
                let mut inner = self.lock();
                inner.shift = shift;
                inner.owned = Some(chain.seen);
                inner.offsets_final = chain.offsets_final(&self.options);
                let log_end = inner.offsets_final.then(|| shift.saturating_add(inner.queue.end()));
                let moved = self.state.watermarks.set_log_end(log_end);
                let flushed = std::mem::take(&mut inner.in_flight);
                drop(inner);
                drop(moved);
                self.account.flush_ended();
                flushed.settle(&Ok(shift), &self.deliveries);
                drop(expected);
                self.deliveries.tell();
            }
            Err(error) => {
                let mut inner = self.lock();
                let flushed = std::mem::take(&mut inner.in_flight);
                drop(inner);
                if goes_on_after_failed_flush() {
                    self.account.flush_ended();
                    flushed.settle(&Err(error), &self.deliveries);
                    return self.deliveries.tell();
                }
                // Invariant 4: what comes after a failed flush must not be acked, under any policy.
                self.die(error, flushed);
            }
        }
    }

    /// Tells the observer how a flush ended, before those who appended.
    fn tell_flush(&self, began: Duration, tries: u32, result: &Result<Committed>) {
        let (_, records) = self.lock().in_flight.size();
        let (observer, id, flush) = (self.state.observer(), &self.state.id, FlushFigures { began, records, tries });
        match result {
            Ok(committed) => observer.flushed(id, committed.base, committed.end, committed.size, flush),
            Err(error) => observer.flush_failed(id, error, flush),
        }
    }

    /// Ends the writer at once, without waiting for what is on its way, and tells its callbacks on this thread. Waits
    /// until they have returned, and says whether they have: see [`Deliveries::wait_here`].
    ///
    /// [`Deliveries::wait_here`]: crate::log::writer::delivery::Deliveries::wait_here
    pub(crate) fn abandon(self: &Arc<Self>) -> bool {
        self.control.abort();
        let expected = self.deliveries.expect();
        let (in_flight, task_runs) = {
            let mut inner = self.lock();
            if !matches!(inner.phase, Phase::Open | Phase::Closing) {
                drop(inner);
                drop(expected);
                return self.deliveries.wait_here();
            }
            (std::mem::take(&mut inner.in_flight), inner.chain.is_none())
        };
        let error = Error::new(ErrorKind::Closed, "the writer was given up before the append was durable");
        self.die(error.with_stored(Stored::Perhaps), in_flight);
        drop(expected);
        if !task_runs {
            // Else the task does, when it learns of it.
            self.ended_now();
        }
        self.deliveries.wait_here()
    }

    /// The writer is over, for good: what was in flight gets the error as it is, what was never sent
    /// is *not stored* (invariant 4). The partition's place is free before anybody is told.
    fn die(self: &Arc<Self>, error: Error, in_flight: Drained) {
        let later = error.clone().with_stored(Stored::Not);
        let (waiting, over, expected, moved) = {
            let mut inner = self.lock();
            inner.flushing_since = None;
            inner.phase = Phase::Dead(error.clone());
            let moved = self.state.watermarks.set_log_end(None);
            (inner.queue.take_all(), inner.leave(), self.deliveries.expect(), moved)
        };
        drop(moved);
        self.leave(over, Some(&error));
        self.account.flush_ended();
        in_flight.settle(&Err(error), &self.deliveries);
        waiting.settle(&Err(later), &self.deliveries);
        self.account.turn_away();
        drop(expected);
        self.deliveries.tell();
    }
}

/// `true` only as the mutant.
fn goes_on_after_failed_flush() -> bool {
    mutant!(GoOnAfterFailedFlush)
}
