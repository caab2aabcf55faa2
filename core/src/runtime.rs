//! Where work runs and where time and randomness come from.
//!
//! All I/O of a [`Bucket`](crate::Bucket) runs on its [`Runtime`]. Clock, randomness and spawn are
//! traits, so that a simulation can replay a seed.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};
use crate::fork::ForkGuard;

/// How long work goes on whose caller is gone.
const UNWANTED: Duration = Duration::from_secs(30);

/// A boxed future that owns what it needs.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Unix time in milliseconds. May jump, also backwards.
    fn wall_ms(&self) -> i64;
    /// Time since an arbitrary fixed point; never goes back, and counts time asleep where the
    /// system can tell (CLOCK_BOOTTIME on Linux).
    fn elapsed(&self) -> Duration;
    /// Completes after `duration`. Awaited only on the runtime's own tasks.
    fn sleep(&self, duration: Duration) -> BoxFuture<()>;
}

/// Gives random bytes.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills the buffer with random bytes.
    ///
    /// # Errors
    /// When the system's generator fails.
    fn fill(&self, buffer: &mut [u8]) -> Result<()>;
}

/// Starts tasks.
pub trait Spawn: fmt::Debug + Send + Sync + 'static {
    /// Runs a future to its end, on its own.
    fn spawn(&self, task: BoxFuture<()>);
}

/// Runs a caller's code, which may do what it likes.
pub(crate) fn shielded(code: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(code)) {
        // The panic hook has reported it. Dropping what it carries could panic again.
        std::mem::forget(panic);
    }
}

/// Wakes tasks. A waker may run code of the caller's: one that panics keeps no other from being woken.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(|waker| shielded(|| waker.wake()));
}

/// Awaits a future that waits for a notification beside others. Its waker is wrapped so that it can't panic: tokio's `Notify`
/// wakes many tasks in one call, and those that come after a waker that panics would be lost.
pub(crate) async fn with_shielded_waker<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let waker = Waker::from(Arc::new(ShieldedWaker(context.waker().clone())));
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

struct ShieldedWaker(Waker);

impl Wake for ShieldedWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        shielded(|| self.0.wake_by_ref());
    }
}

/// Clock, randomness and spawn of a [`Bucket`](crate::Bucket). Cheap to clone. A forked child can't use the runtimes of its
/// parent, whose threads did not come along.
#[derive(Clone, Debug)]
pub struct Runtime {
    fork: ForkGuard,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    spawn: Arc<dyn Spawn>,
}

impl Runtime {
    /// A runtime of given parts: for a simulation, or an executor of the caller's.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, spawn: Arc<dyn Spawn>) -> Self {
        Runtime { fork: ForkGuard::here(), clock, entropy, spawn }
    }

    /// The tokio runtime that the caller is in, or one of its own when there is none.
    ///
    /// # Errors
    /// When a runtime is needed and its threads can't be started.
    pub fn current_or_own() -> Result<Self> {
        match tokio::runtime::Handle::try_current() {
            Ok(handle) => Ok(Self::tokio(handle)),
            Err(_) => Self::own(),
        }
    }

    /// Runs on the given tokio runtime, which must have time enabled (and I/O for HTTP stores).
    pub fn tokio(handle: tokio::runtime::Handle) -> Self {
        Self::system(Arc::new(TokioSpawn(handle)))
    }

    /// Starts a runtime of its own with two worker threads; it ends with the last clone.
    ///
    /// # Errors
    /// When its threads can't be started.
    pub fn own() -> Result<Self> {
        Self::own_with(2)
    }

    /// The same with this many worker threads, at least one.
    pub(crate) fn own_with(threads: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("kfs")
            .enable_all()
            .build()
            .map_err(|e| {
                Error::new(ErrorKind::Unavailable, "the runtime's threads could not be started").with_source(e)
            })?;
        Ok(Self::system(Arc::new(OwnTokio { fork: ForkGuard::here(), runtime: Some(runtime) })))
    }

    /// The system's clock and randomness, with tasks started by `spawn`.
    pub(crate) fn system(spawn: Arc<dyn Spawn>) -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy), spawn)
    }

    /// What starts its tasks, for as long as a clone of it lives.
    pub(crate) fn downgrade(&self) -> Weak<dyn Spawn> {
        Arc::downgrade(&self.spawn)
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The source of randomness.
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    /// Starts a task of the library's own.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn.spawn(Box::pin(task));
    }

    /// Starts `work` on the runtime and gives a future for its result that any executor may poll.
    /// Dropping that future ends the wait, never the work. In a forked child nothing is started, and the result is the error
    /// *closed*.
    pub fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Running<T> {
        if let Err(error) = self.fork.check() {
            return Running::of(self, TaskResult::Refused(Some(error)));
        }
        let (mut send, receive) = ResultSender::channel();
        self.spawn(async move {
            let result = work.await;
            send.send(result);
        });
        Running::of(self, TaskResult::Begun(receive))
    }

    /// Like [`run`](Self::run), for work that is of use to its caller alone, and may never end while the
    /// store is away. After that future was dropped the work goes on for 30 s at most: what it brings may
    /// be held for who asks next.
    pub fn ask<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Running<T> {
        if let Err(error) = self.fork.check() {
            return Running::of(self, TaskResult::Refused(Some(error)));
        }
        let (mut send, receive) = ResultSender::channel();
        let clock = self.clock.clone();
        self.spawn(async move {
            let unwanted = async {
                send.closed().await;
                clock.sleep(UNWANTED).await;
            };
            let result = {
                futures_util::pin_mut!(work, unwanted);
                match futures_util::future::select(work, unwanted).await {
                    futures_util::future::Either::Left((result, _)) => result,
                    futures_util::future::Either::Right(_) => return,
                }
            };
            send.send(result);
        });
        Running::of(self, TaskResult::Begun(receive))
    }

    /// Waits for `work` for at most `limit`. `None` if the time ran out; `work` is dropped then, as it is if the future is
    /// dropped.
    pub async fn timeout<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let sleep = self.clock.sleep(limit);
        futures_util::pin_mut!(work);
        match futures_util::future::select(work, sleep).await {
            futures_util::future::Either::Left((value, _)) => Some(value),
            futures_util::future::Either::Right(_) => None,
        }
    }
}

/// The result of work that runs on a [`Runtime`]. Dropping it ends the wait.
#[derive(Debug)]
#[must_use = "the work goes on without it, but its result is lost"]
pub struct Running<T> {
    fork: ForkGuard,
    result: TaskResult<T>,
}

#[derive(Debug)]
enum TaskResult<T> {
    Begun(oneshot::Receiver<Result<T>>),
    /// `None` once the error was taken.
    Refused(Option<Error>),
}

impl<T> Future for Running<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let (TaskResult::Begun(_), Err(error)) = (&self.result, self.fork.check()) {
            return Poll::Ready(Err(error));
        }
        match &mut self.result {
            TaskResult::Begun(receive) => {
                Pin::new(receive).poll(context).map(|received| received.unwrap_or_else(|_| Err(lost_task(false))))
            }
            TaskResult::Refused(error) => Poll::Ready(Err(error.take().unwrap_or_else(|| lost_task(false)))),
        }
    }
}

impl<T> Running<T> {
    fn of(runtime: &Runtime, result: TaskResult<T>) -> Self {
        Running { fork: runtime.fork, result }
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if self.fork.is_forked() {
            // To drop it would wake a task of the parent's runtime, and wait for locks that its threads may have held.
            std::mem::forget(std::mem::replace(&mut self.result, TaskResult::Refused(None)));
        }
    }
}

/// The task's end of a [`Running`]. Dropped without a result it says why there is none.
struct ResultSender<T>(Option<oneshot::Sender<Result<T>>>);

impl<T> ResultSender<T> {
    fn channel() -> (Self, oneshot::Receiver<Result<T>>) {
        let (send, receive) = oneshot::channel();
        (ResultSender(Some(send)), receive)
    }

    fn send(&mut self, result: Result<T>) {
        if let Some(send) = self.0.take() {
            let _ = send.send(result);
        }
    }

    /// Completes when nobody waits for the result.
    async fn closed(&mut self) {
        if let Some(send) = &mut self.0 {
            send.closed().await;
        }
    }
}

impl<T> Drop for ResultSender<T> {
    fn drop(&mut self) {
        self.send(Err(lost_task(std::thread::panicking())));
    }
}

/// The error of work whose task ended before it had a result.
pub(crate) fn lost_task(panicked: bool) -> Error {
    if panicked {
        Error::new(ErrorKind::Internal, "the task panicked").with_hint("please report it")
    } else {
        Error::new(ErrorKind::Closed, "the runtime was shut down before the work ended")
    }
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn wall_ms(&self) -> i64 {
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }

    /// A clock that counts the time asleep. CLOCK_MONOTONIC counts it on macOS and does not on Linux.
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    fn elapsed(&self) -> Duration {
        #[cfg(target_os = "linux")]
        const COUNTS_SLEEP: rustix::time::ClockId = rustix::time::ClockId::Boottime;
        #[cfg(target_vendor = "apple")]
        const COUNTS_SLEEP: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
        let now = rustix::time::clock_gettime(COUNTS_SLEEP);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    fn elapsed(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that sleeps")]
    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The system's random generator.
#[derive(Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[allow(clippy::disallowed_methods, reason = "the one place that draws randomness")]
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer)
            .map_err(|e| Error::new(ErrorKind::Internal, "the system's random generator failed").with_source(e))
    }
}

#[derive(Debug)]
struct TokioSpawn(tokio::runtime::Handle);

impl Spawn for TokioSpawn {
    fn spawn(&self, task: BoxFuture<()>) {
        drop(self.0.spawn(task));
    }
}

/// Left alone in a forked child: to end it would wait for threads that did not come along.
#[derive(Debug)]
struct OwnTokio {
    fork: ForkGuard,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Spawn for OwnTokio {
    fn spawn(&self, task: BoxFuture<()>) {
        if let Some(runtime) = &self.runtime {
            drop(runtime.spawn(task));
        }
    }
}

impl Drop for OwnTokio {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if self.fork.is_forked() {
            std::mem::forget(runtime);
        } else {
            // A plain drop waits for blocking tasks, and panics inside another runtime.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[test]
    fn work_of_a_runtime_that_was_shut_down_is_closed() {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let runtime = Runtime::tokio(tokio.handle().clone());
        let begun = [runtime.run(pending::<Result<()>>()), runtime.ask(pending::<Result<()>>())];
        tokio.shutdown_timeout(Duration::from_secs(1));
        let late = [runtime.run(pending::<Result<()>>()), runtime.ask(pending::<Result<()>>())];
        let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for lost in begun.into_iter().chain(late) {
            let error = other.block_on(lost).unwrap_err();
            assert_eq!(
                (error.kind(), error.message()),
                (ErrorKind::Closed, "the runtime was shut down before the work ended")
            );
        }
    }

    #[tokio::test]
    async fn work_that_panics_is_an_internal_error() {
        let runtime = Runtime::current_or_own().unwrap();
        let panics = || async { panic!("on purpose") };
        for lost in [runtime.run::<()>(panics()), runtime.ask::<()>(panics())] {
            let error = lost.await.unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Internal, "the task panicked"));
        }
    }
}
