//! A future that completes on a queue. While it waits it is no task: its waker starts a task, which polls it once.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::CompletionQueue;
use super::completion::Ended;
use super::promise::{CancelHandle, CancelledWork, Promise};
use crate::error::Error;
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

/// Begins an operation on the calling thread. It completes there if it need not wait.
pub(super) fn begin(
    queue: &CompletionQueue,
    tag: u64,
    runtime: &Runtime,
    lost: fn(Error) -> Ended,
    work: impl Future<Output = Ended> + Send + 'static,
) -> CancelHandle {
    let number = queue.0.next_job();
    let promise = Promise::new(queue, tag, number, lost);
    if queue.0.fork.is_forked() {
        promise.forget();
        return CancelHandle::new(&promise, CancelledWork::Over);
    }
    let stage = Mutex::new(Stage::Woken(Box::pin(work)));
    let job = Arc::new(Job { promise: promise.clone(), runtime: runtime.clone(), stage });
    let is_open = queue.0.keep(number, &job);
    // On a closed queue too: the first poll of a close is what begins it.
    job.poll_now();
    if !is_open {
        job.stop();
    }
    CancelHandle::new(&promise, CancelledWork::Job(Arc::downgrade(&job)))
}

impl Job {
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
    fn poll_now(self: &Arc<Self>) {
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
