//! Completions on a queue that a caller polls: for programs with a loop of their own, and for other languages.
//!
//! Each `*_on` call (such as [`Admission::complete_on`](crate::Admission::complete_on) and
//! [`Reader::fetch_on`](crate::Reader::fetch_on)) takes a [`CompletionQueue`] and a tag of the caller's. When the operation
//! ends, exactly one [`Completion`] with that tag arrives on the queue. No callback runs under a lock, and no task exists
//! for the sake of a waiting operation: the queue costs one entry for each completion.
//!
//! The completions of one writer's appends arrive in the order of the appends. There is no order between other operations.
//!
//! ```
//! use kfs_core::format::NewRecord;
//! use kfs_core::queue::{CompletionQueue, Ended};
//! use kfs_core::Bucket;
//!
//! # let runtime = tokio::runtime::Runtime::new().unwrap();
//! # let writer = runtime.block_on(async {
//! let bucket = Bucket::open("memory:")?;
//! let writer = bucket.partition("orders", 0)?.writer().await?;
//! # Ok::<_, kfs_core::Error>(writer) }).unwrap();
//! let queue = CompletionQueue::new();
//! writer.append(&[NewRecord::new(0).value(b"paid")]).complete_on(&queue, 7);
//!
//! let completion = queue.poll(None)?.expect("without a time limit it waits for a completion");
//! assert_eq!(completion.tag, 7);
//! assert!(matches!(completion.ended, Ended::Append(Ok(offsets)) if offsets.last == 0));
//! # Ok::<(), kfs_core::Error>(())
//! ```

mod calls;
mod cancel;
mod completion;
mod job;
mod promise;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

pub use self::cancel::CancelHandle;
pub use self::completion::{Completion, Ended};
use self::job::Job;
use crate::error::{Error, ErrorKind, Result};
use crate::fork::ForkGuard;
use crate::log::writer::in_callback;
use crate::runtime::{Clock, SystemClock, shielded};

thread_local! {
    /// While this thread runs a hook: the hooks that it calls after that one has returned.
    static NEXT_HOOKS: RefCell<Option<VecDeque<Hook>>> = const { RefCell::new(None) };
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// Where operations end. Cheap to clone; all clones are the same queue, and any thread may poll it.
///
/// The queue has no bound of its own. It holds at most one completion for each operation that was begun on it and not
/// polled yet, so a caller bounds it by what it has in flight: an append waits for room in
/// [`buffer_bytes`](crate::BucketOptions::buffer_bytes), and a fetch is one that the caller asked for. The batches of a
/// fetch are in memory until its completion is polled; [`bytes`](Self::bytes) counts them.
///
/// When the queue is closed, or its last clone is dropped, its completions are dropped in silence. Appends, flushes and
/// the closing of writers go on; fetches end.
///
/// A forked child can't use the queue: polling it is an error there, and no completion arrives.
#[derive(Clone)]
pub struct CompletionQueue(Arc<QueueCore>);

/// What the clones of a queue share. Operations hold it weakly.
struct QueueCore {
    fork: ForkGuard,
    state: Mutex<QueueState>,
    arrived: Condvar,
    next_job: AtomicU64,
}

#[derive(Default)]
struct QueueState {
    ready: VecDeque<Completion>,
    /// Bytes of batches in `ready`.
    bytes: usize,
    closed: bool,
    hook: Option<Hook>,
    /// The operations that end with the queue, by their number.
    jobs: HashMap<u64, Weak<Job>>,
}

impl CompletionQueue {
    /// An empty queue.
    pub fn new() -> Self {
        CompletionQueue(Arc::new(QueueCore {
            fork: ForkGuard::here(),
            state: Mutex::default(),
            arrived: Condvar::new(),
            // Zero is the number of an operation that does not end with the queue.
            next_job: AtomicU64::new(1),
        }))
    }

    /// Sets what is called each time the queue goes from empty to not empty, for example to wake a loop through a file
    /// descriptor. It replaces the hook before it. If the queue holds completions already, `hook` is called at once.
    ///
    /// The hook runs under no lock, on whichever thread completed the operation, also on two threads at the same time, but
    /// never within another hook: if a hook begins an operation that completes at once, the next call comes after it has
    /// returned. It may poll this queue, but not wait for it, and must be short: a writer or a fetch waits for it to
    /// return. If it panics, only the rest of that call is lost. A hook that holds the queue keeps it alive until
    /// [`close`](Self::close).
    pub fn set_hook(&self, hook: impl Fn() + Send + Sync + 'static) {
        if self.0.fork.is_forked() {
            return;
        }
        let hook: Hook = Arc::new(hook);
        let mut state = self.0.lock();
        if state.closed {
            return;
        }
        let before = state.hook.replace(hook.clone());
        let is_ready = !state.ready.is_empty();
        drop(state);
        shielded(|| drop(before));
        if is_ready {
            call(hook);
        }
    }

    /// The next completion. Waits for it for at most `timeout`, or for as long as it takes if that is `None`. `None` if
    /// the time ran out.
    ///
    /// Within a completion callback or a hook it takes what is there and does not wait.
    ///
    /// # Errors
    /// Closed when the queue is, and in a forked child; invalid input where it would have to wait within a callback or a
    /// hook.
    pub fn poll(&self, timeout: Option<Duration>) -> Result<Option<Completion>> {
        self.0.wait(timeout, QueueState::take)
    }

    /// The next completion if there is one. Never waits.
    ///
    /// # Errors
    /// Closed when the queue is, and in a forked child.
    pub fn try_poll(&self) -> Result<Option<Completion>> {
        self.poll(Some(Duration::ZERO))
    }

    /// The next completions, `max` at most. Waits as [`poll`](Self::poll) does until there is one, and takes what else is
    /// there. Empty if the time ran out, or if `max` is 0.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn poll_many(&self, max: usize, timeout: Option<Duration>) -> Result<Vec<Completion>> {
        if max == 0 {
            self.0.fork.check()?;
            return Ok(Vec::new());
        }
        let taken = self.0.wait(timeout, |state| {
            let taken: Vec<_> = std::iter::from_fn(|| state.take()).take(max).collect();
            (!taken.is_empty()).then_some(taken)
        })?;
        Ok(taken.unwrap_or_default())
    }

    /// How many completions are there to be polled; 0 in a forked child.
    pub fn len(&self) -> usize {
        if self.0.fork.is_forked() { 0 } else { self.0.lock().ready.len() }
    }

    /// Whether no completion is there to be polled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the batches that completed fetches hold until they are polled; 0 in a forked child.
    pub fn bytes(&self) -> usize {
        if self.0.fork.is_forked() { 0 } else { self.0.lock().bytes }
    }

    /// Closes the queue for all its clones. Threads that poll it get the error *closed*, completions are dropped, and
    /// fetches end. It drops the hook, which may still be running on another thread. Does nothing in a forked child, and
    /// when called again.
    pub fn close(&self) {
        if self.0.fork.is_forked() {
            return;
        }
        let mut state = self.0.lock();
        let ended = std::mem::replace(&mut *state, QueueState { closed: true, ..QueueState::default() });
        drop(state);
        self.0.arrived.notify_all();
        // Under no lock: this drops what belongs to callers.
        ended.end();
    }
}

impl QueueCore {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `take` finds something.
    fn wait<T>(&self, timeout: Option<Duration>, take: impl Fn(&mut QueueState) -> Option<T>) -> Result<Option<T>> {
        self.fork.check()?;
        let mut until = None;
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(Error::new(ErrorKind::Closed, "the completion queue was closed"));
            }
            if let Some(taken) = take(&mut state) {
                return Ok(Some(taken));
            }
            if timeout == Some(Duration::ZERO) {
                return Ok(None);
            }
            if in_callback() || in_hook() {
                return Err(would_deadlock());
            }
            // After each wait it looks once more before it gives up: the notice may have come at the last moment.
            state = match timeout {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(limit) => {
                    let now = SystemClock.elapsed();
                    let left = until.get_or_insert_with(|| now.saturating_add(limit)).saturating_sub(now);
                    if left.is_zero() {
                        return Ok(None);
                    }
                    self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Puts a completion on the queue. Call it under no lock, for it may call the hook.
    fn push(&self, job: u64, completion: Completion) {
        // A forked child must not wait for the lock.
        if self.fork.is_forked() {
            return std::mem::forget(completion);
        }
        let mut state = self.lock();
        state.jobs.remove(&job);
        if state.closed {
            drop(state);
            return;
        }
        let hook = if state.ready.is_empty() { state.hook.clone() } else { None };
        state.bytes = state.bytes.saturating_add(completion.bytes());
        state.ready.push_back(completion);
        drop(state);
        self.arrived.notify_one();
        if let Some(hook) = hook {
            call(hook);
        }
    }

    /// Has a job end with the queue. `false` if the queue is closed.
    fn keep(&self, number: u64, job: &Arc<Job>) -> bool {
        let mut state = self.lock();
        if !state.closed {
            state.jobs.insert(number, Arc::downgrade(job));
        }
        !state.closed
    }

    fn next_job(&self) -> u64 {
        self.next_job.fetch_add(1, Ordering::Relaxed)
    }
}

impl QueueState {
    fn take(&mut self) -> Option<Completion> {
        let taken = self.ready.pop_front()?;
        self.bytes = self.bytes.saturating_sub(taken.bytes());
        Some(taken)
    }

    /// Ends the operations that end with the queue. What is dropped here is callers' code too, so each is shielded.
    fn end(self) {
        for job in self.jobs.into_values().filter_map(|job| job.upgrade()) {
            shielded(|| job.stop());
        }
        shielded(|| drop(self.hook));
    }
}

impl Drop for QueueCore {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let ended = std::mem::take(state);
        if self.fork.is_forked() {
            // To drop what operations hold would take locks that threads of the parent may have held.
            std::mem::forget(ended);
        } else {
            ended.end();
        }
    }
}

fn in_hook() -> bool {
    NEXT_HOOKS.try_with(|next| next.borrow().is_some()).unwrap_or(false)
}

/// Calls a hook, or has this thread call it after the hook that it runs now. Hooks do not nest: one that begins a fetch of
/// what is in memory completes it within itself, and would call itself without end.
fn call(hook: Hook) {
    let mut hook = Some(hook);
    let outermost = NEXT_HOOKS.try_with(|next| match &mut *next.borrow_mut() {
        Some(next) => {
            next.extend(hook.take());
            false
        }
        outermost => {
            *outermost = Some(VecDeque::new());
            true
        }
    });
    while let Some(next) = hook {
        shielded(|| next());
        // It may be the last to hold the hook.
        shielded(|| drop(next));
        hook = take_next();
    }
    if outermost == Ok(true) {
        NEXT_HOOKS.set(None);
    }
}

/// The next hook to be called on this thread. None is left for later on a thread that is ending.
fn take_next() -> Option<Hook> {
    NEXT_HOOKS.try_with(|next| next.borrow_mut().as_mut()?.pop_front()).ok().flatten()
}

fn would_deadlock() -> Error {
    Error::new(ErrorKind::InvalidInput, "a completion callback or hook must not wait: what it completes waits for it")
        .with_hint("use try_poll there, or poll on another thread")
}

impl Default for CompletionQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CompletionQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionQueue").field("len", &self.len()).field("bytes", &self.bytes()).finish()
    }
}
