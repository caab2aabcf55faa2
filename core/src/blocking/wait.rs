//! Waiting for a future on a thread: a parker, a time limit, a cancel handle.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::fork::ForkGuard;
use crate::log::writer::in_callback;
use crate::runtime::{Clock, SystemClock};

/// The shortest time between two checks of [`Wait::or_when`]: without one the thread would spin.
const SHORTEST_CHECK: Duration = Duration::from_millis(1);

/// When a wait ends though the work has not: after a time, by a [`Cancel`], by whichever comes
/// first, or never. The time counts from the start of each call that it is given to.
#[derive(Clone, Default)]
pub struct Wait {
    limit: Option<Duration>,
    /// Set when the time runs already: on the system's clock.
    until: Option<Duration>,
    cancel: Option<Cancel>,
    check: Option<StopCheck>,
}

/// A question that is asked now and then while a thread waits.
#[derive(Clone)]
struct StopCheck {
    every: Duration,
    stop: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Wait {
    /// Waits for as long as the work takes.
    pub fn forever() -> Self {
        Self::default()
    }

    /// Waits for `limit` at most. With a limit of zero a call gives what is there already.
    pub fn at_most(limit: Duration) -> Self {
        Wait { limit: Some(limit), ..Self::default() }
    }

    /// Ends the wait when `cancel` is cancelled, too.
    #[must_use]
    pub fn or_until(mut self, cancel: &Cancel) -> Self {
        self.cancel = Some(cancel.clone());
        self
    }

    /// Asks `stop` on the waiting thread each time that `every` has passed (at least 1 ms), and ends the wait when it says
    /// true: for what wakes no thread by itself, such as a signal in an interpreter.
    #[must_use]
    pub fn or_when(mut self, every: Duration, stop: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.check = Some(StopCheck { every: every.max(SHORTEST_CHECK), stop: Arc::new(stop) });
        self
    }

    /// The same, but its time runs from now on, over all calls that it is given to.
    #[must_use]
    pub fn begun(&self) -> Self {
        Wait { until: self.until.or_else(|| self.limit.map(from_now)), ..self.clone() }
    }

    /// How long a call that is given this now waits at most.
    pub fn limit(&self) -> Option<Duration> {
        match self.until {
            Some(until) => Some(until.saturating_sub(SystemClock.elapsed())),
            None => self.limit,
        }
    }

    /// The same without a time limit.
    pub(super) fn without_limit(&self) -> Self {
        Wait { limit: None, until: None, ..self.clone() }
    }

    /// Waits on this thread for any future of this crate. The future must not need this thread's own runtime to make
    /// progress; those of a bucket that [`open`](super::open) opened never do.
    ///
    /// Within a completion callback ([`in_callback`](super::in_callback)) it refuses to wait: a future that is not ready
    /// at once is dropped, and the error is invalid input.
    ///
    /// # Errors
    /// What the future gives; timed out when the wait ended first. The future is dropped then.
    pub fn on<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        // Inside a tokio task, tokio's own primitives feign to be pending once the task has had its
        // share. The share is renewed when the task returns, which it does not while it waits here.
        let mut work = pin!(tokio::task::coop::unconstrained(work));
        let parker = Arc::new(Parker { thread: thread::current(), woken: AtomicBool::new(false) });
        let waker = Waker::from(parker.clone());
        let mut context = Context::from_waker(&waker);
        if let Poll::Ready(result) = work.as_mut().poll(&mut context) {
            return result;
        }
        if in_callback() {
            return Err(would_deadlock());
        }
        let until = self.until.or_else(|| self.limit.map(from_now));
        let _registered = self.cancel.as_ref().map(|cancel| cancel.register(waker.clone()));
        let mut check_at = self.check.as_ref().map(|check| from_now(check.every));
        loop {
            if self.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
                return Err(cancelled());
            }
            let next = until.into_iter().chain(check_at).min();
            if parker.park(next) {
                if let Poll::Ready(result) = work.as_mut().poll(&mut context) {
                    return result;
                }
                continue;
            }
            if until.is_some_and(|until| until <= SystemClock.elapsed()) {
                return Err(self.timed_out());
            }
            if let Some(check) = &self.check {
                if (check.stop)() {
                    return Err(cancelled());
                }
                check_at = Some(from_now(check.every));
            }
        }
    }

    fn timed_out(&self) -> Error {
        let limit = self.limit.unwrap_or_default();
        Error::new(ErrorKind::TimedOut, format!("not done after {limit:?}"))
            .with_hint("the work goes on; wait longer, or look at the log for what became of it")
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("limit", &self.limit()).field("cancel", &self.cancel).finish_non_exhaustive()
    }
}

/// Completion callbacks run on the task of a writer, which they must not hold up.
fn would_deadlock() -> Error {
    Error::new(ErrorKind::InvalidInput, "a completion callback must not wait: the writer waits for it to return")
        .with_hint("append without waiting there, or hand the result to another thread")
}

fn cancelled() -> Error {
    Error::new(ErrorKind::TimedOut, "the wait was cancelled by its caller")
}

fn from_now(limit: Duration) -> Duration {
    SystemClock.elapsed().saturating_add(limit)
}

/// Wakes one thread. Not the thread's own park token alone: whoever else parks this thread (an
/// executor around this wait) may take that.
struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Parker {
    /// Sleeps until woken; false when `until` (on the system's clock) came first.
    fn park(&self, until: Option<Duration>) -> bool {
        while !self.woken.swap(false, Ordering::Acquire) {
            match until {
                None => thread::park(),
                Some(until) => match until.checked_sub(SystemClock.elapsed()) {
                    Some(left) if !left.is_zero() => thread::park_timeout(left),
                    _ => return false,
                },
            }
        }
        true
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Ends every wait that it was given to, now and later, from any thread. Cheap to clone; all
/// clones are the same handle.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Waiters>);

#[derive(Debug, Default)]
struct Waiters {
    fork: ForkGuard,
    cancelled: AtomicBool,
    wakers: Mutex<CancelWakers>,
}

#[derive(Debug, Default)]
struct CancelWakers {
    next: u64,
    waiting: Vec<(u64, Waker)>,
}

impl Cancel {
    /// A handle that is not cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the waits, for good. May be called again. The waits of a forked child's parent go on.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        if self.0.fork.is_forked() {
            return;
        }
        let waiting = std::mem::take(&mut self.0.lock().waiting);
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// Whether it was cancelled: tells a cancelled wait from one that ran out of time.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    fn register(&self, waker: Waker) -> Registered<'_> {
        let mut wakers = self.0.lock();
        let number = wakers.next;
        wakers.next = number.wrapping_add(1);
        wakers.waiting.push((number, waker));
        Registered { waiters: &self.0, number }
    }
}

impl Waiters {
    fn lock(&self) -> std::sync::MutexGuard<'_, CancelWakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Registered<'a> {
    waiters: &'a Waiters,
    number: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.waiters.lock().waiting.retain(|(number, _)| *number != self.number);
    }
}
