//! The task that flushes what a writer buffered, until nothing is left.

use std::sync::Arc;
use std::time::Duration;

use super::{Inner, Phase, WriterCore};
use crate::error::{Error, ErrorKind, Stored};
use crate::format::Batch;
use crate::log::budget::Flushable;
use crate::log::catalog::SegmentRef;
use crate::log::writer::accumulator::Drained;
use crate::log::writer::commit::{Chain, Committed, Failure};

enum Next {
    Flush(Arc<Vec<Batch>>, i64),
    Wait(Option<Duration>),
    Rest,
}

impl WriterCore {
    pub(super) fn run_task(self: &Arc<Self>, inner: &mut Inner) {
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
                    // Before anybody learns of it, as the groups' charges.
                    drop(batches);
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
            Ok(drained) => {
                if inner.queue.is_empty() {
                    inner.flush_now = false;
                }
                let first = drained.groups.first().map_or(0, |g| g.first);
                let batches = drained.batches.clone();
                inner.in_flight = drained;
                Next::Flush(batches, first)
            }
            Err(error) => {
                // Compressing the open batch failed: what waits can't be written.
                drop(inner);
                self.die(error, Drained::default());
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
                let flushed = std::mem::take(&mut inner.in_flight);
                let empty = inner.queue.is_empty();
                drop(inner);
                if empty {
                    let flushable: Arc<dyn Flushable> = self.clone();
                    self.state.bucket.budget.unregister(&flushable);
                }
                flushed.settle(&Ok(shift));
            }
            Err(failure) => {
                let mut inner = self.lock();
                let flushed = std::mem::take(&mut inner.in_flight);
                let fatal = failure.fatal || inner.offsets_final;
                drop(inner);
                if fatal {
                    self.die(failure.error, flushed);
                } else {
                    flushed.settle(&Err(failure.error));
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
    fn die(&self, error: Error, in_flight: Drained) {
        let later = error.clone().with_stored(Stored::Not);
        let waiting = {
            let mut inner = self.lock();
            inner.phase = Phase::Dead(error.clone());
            self.state.marks.set_log_end(&self.state.id, None);
            inner.queue.take_all()
        };
        in_flight.settle(&Err(error));
        waiting.settle(&Err(later));
    }

    fn leave(self: &Arc<Self>) {
        let flushable: Arc<dyn Flushable> = self.clone();
        self.state.bucket.budget.unregister(&flushable);
        self.state.release(self.options.on_conflict.is_exclusive());
        self.idle.notify_waiters();
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
