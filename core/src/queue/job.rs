//! A future that completes on a queue. While it waits it is no task: its waker starts a task, which polls it once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::completion::Ended;
use super::promise::Promise;
use crate::runtime::{BoxFuture, Runtime};

/// An operation under way.
pub(super) struct Job {
    promise: Arc<Promise>,
    runtime: Runtime,
    stage: Mutex<Stage>,
}

enum Stage {
    /// Until it is woken.
    Waiting(BoxFuture<Ended>),
    /// A task is about to poll it.
    Woken(BoxFuture<Ended>),
    /// A thread polls it now.
    Polled,
    /// A thread polls it now, and it was woken meanwhile.
    PolledAndWoken,
    Over,
}

impl Job {
    /// An operation that was not polled yet.
    pub(super) fn new(promise: Arc<Promise>, runtime: Runtime, work: BoxFuture<Ended>) -> Arc<Self> {
        Arc::new(Job { promise, runtime, stage: Mutex::new(Stage::Woken(work)) })
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves on from a stage. The future is never polled or dropped under the lock.
    fn step(&self, next: impl FnOnce(Stage) -> Stage) {
        let mut stage = self.lock();
        *stage = next(std::mem::replace(&mut *stage, Stage::Over));
    }

    /// Ends it without a completion.
    pub(super) fn stop(&self) {
        self.promise.forget();
        let ended = std::mem::replace(&mut *self.lock(), Stage::Over);
        drop(ended);
    }

    /// Polls it once, if it was woken.
    pub(super) fn poll_now(self: &Arc<Self>) {
        let mut work = None;
        self.step(|stage| match stage {
            Stage::Woken(woken) => {
                work = Some(woken);
                Stage::Polled
            }
            other => other,
        });
        let Some(mut work) = work else { return };
        let waker = Waker::from(self.clone());
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(&waker))));
        match polled {
            Ok(Poll::Pending) => self.put_back(work),
            Ok(Poll::Ready(ended)) => {
                self.step(|_| Stage::Over);
                drop(work);
                self.promise.keep(ended);
            }
            Err(panic) => {
                // The panic hook has reported it. Dropping what it carries could panic again.
                std::mem::forget(panic);
                self.step(|_| Stage::Over);
                self.promise.lose(true);
            }
        }
    }

    /// It waits again, unless it was woken or stopped while it was polled.
    fn put_back(self: &Arc<Self>, work: BoxFuture<Ended>) {
        let mut work = Some(work);
        let mut again = false;
        self.step(|stage| match (stage, work.take()) {
            (Stage::Polled, Some(waits)) => Stage::Waiting(waits),
            (Stage::PolledAndWoken, Some(woken)) => {
                again = true;
                Stage::Woken(woken)
            }
            (other, stopped) => {
                work = stopped;
                other
            }
        });
        drop(work);
        if again {
            self.start();
        }
    }

    /// Starts the task that polls it.
    fn start(self: &Arc<Self>) {
        let run = Run(Some(self.clone()));
        self.runtime.spawn(async move { run.now() });
    }
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut woken = false;
        self.step(|stage| match stage {
            Stage::Waiting(work) => {
                woken = true;
                Stage::Woken(work)
            }
            Stage::Polled => Stage::PolledAndWoken,
            other => other,
        });
        if woken {
            self.start();
        }
    }
}

/// One poll by a task. If the runtime drops that instead of running it, the operation is lost.
struct Run(Option<Arc<Job>>);

impl Run {
    fn now(mut self) {
        if let Some(job) = self.0.take() {
            job.poll_now();
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(job) = self.0.take() {
            let ended = std::mem::replace(&mut *job.lock(), Stage::Over);
            drop(ended);
            job.promise.lose(std::thread::panicking());
        }
    }
}
