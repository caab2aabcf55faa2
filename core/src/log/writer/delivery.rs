//! The one way in which callers learn how their appends ended.
//!
//! Outcomes are put on a queue and told from there by one thread at a time, in the order of the
//! appends. No lock of the library is held while a caller's code runs, and all that the outcome frees
//! (room in the buffer, the place of the exclusive writer) is free by then. A callback or a waker that
//! panics harms no other caller.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use crate::error::Result;
use crate::mutant::mutant;
use crate::runtime::{Runtime, shielded, with_shielded_waker};

thread_local! {
    /// Whose callbacks this thread runs now, the outermost first.
    static RUNNING: RefCell<Vec<WriterId>> = const { RefCell::new(Vec::new()) };
}

/// Tells one writer's outcomes from another's: where they lie in memory.
type WriterId = usize;

/// Whether this thread runs a completion callback now, where nothing may wait.
pub fn in_callback() -> bool {
    RUNNING.with_borrow(|running| !running.is_empty())
}

/// Which writer's callback waits for which writer's callbacks to return: `(the one that waits, the one it waits for)`.
static WAITS: Mutex<Vec<(WriterId, WriterId)>> = Mutex::new(Vec::new());

/// The waits of one thread, from within callbacks.
struct Waits(Vec<(WriterId, WriterId)>);

impl Waits {
    /// Notes that callbacks of the writers in `running` wait for `target`; `None` where one of them is waited for by
    /// a callback of `target`, at once or through others, so that neither wait would end.
    fn begin(running: &[WriterId], target: WriterId) -> Option<Self> {
        let mut all = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reached = vec![target];
        let mut next = 0;
        while let Some(at) = reached.get(next).copied() {
            if running.contains(&at) {
                return None;
            }
            next += 1;
            for (_, to) in all.iter().filter(|(from, _)| *from == at) {
                if !reached.contains(to) {
                    reached.push(*to);
                }
            }
        }
        let mine: Vec<_> = running.iter().map(|from| (*from, target)).collect();
        all.extend(&mine);
        Some(Waits(mine))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut all = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        for wait in &self.0 {
            if let Some(at) = all.iter().position(|one| one == wait) {
                all.swap_remove(at);
            }
        }
    }
}

pub(super) type Callback = Box<dyn FnOnce(&Result<i64>) + Send>;

/// A callback with the first offset of its append, relative to the writer's own count.
type AppendCallback = (i64, Callback);

/// How the flush of a group of appends ended. They share a segment, so they share its outcome.
#[derive(Default)]
pub(super) struct FlushOutcome {
    /// What must be added to a relative offset to have the absolute one; or why it failed.
    result: OnceLock<Result<i64>>,
    settled: Notify,
    callbacks: Mutex<Vec<AppendCallback>>,
}

impl FlushOutcome {
    fn callbacks(&self) -> MutexGuard<'_, Vec<AppendCallback>> {
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides it, and queues the callbacks and wakers that must be told.
    pub(super) fn settle(self: Arc<Self>, result: Result<i64>, deliveries: &Deliveries) {
        let mut callbacks = {
            let mut callbacks = self.callbacks();
            if self.result.set(result).is_err() {
                return;
            }
            std::mem::take(&mut *callbacks)
        };
        // In the order of the appends: threads may have asked for callbacks in another order.
        callbacks.sort_by_key(|(first, _)| *first);
        deliveries.add(self, callbacks.into_iter().map(|(_, callback)| callback).collect());
    }

    pub(super) fn get(&self) -> Option<&Result<i64>> {
        self.result.get()
    }

    /// Wakes all tasks that wait for it.
    pub(super) fn wake(&self) {
        self.settled.notify_waiters();
    }

    pub(super) async fn wait(&self) -> Result<i64> {
        loop {
            let settled = self.settled.notified();
            if let Some(result) = self.result.get() {
                return result.clone();
            }
            with_shielded_waker(settled).await;
        }
    }

    /// Keeps the callback of an append, by its first offset, until the outcome is decided; gives it back when it is.
    pub(super) fn keep(&self, first: i64, callback: Callback) -> Option<Callback> {
        let mut callbacks = self.callbacks();
        if self.result.get().is_some() {
            return Some(callback);
        }
        callbacks.push((first, callback));
        None
    }
}

/// The outcomes of one writer that callers must still be told.
#[derive(Default)]
pub(super) struct Deliveries {
    state: Mutex<DeliveryQueue>,
    progress: Notify,
    /// The same for threads that wait.
    told: Condvar,
}

#[derive(Default)]
struct DeliveryQueue {
    queue: VecDeque<Delivery>,
    /// A thread tells them now. Whatever others add, it tells too.
    telling: bool,
    /// Outcomes that are decided and will be added.
    expected: usize,
}

impl DeliveryQueue {
    /// Only as the mutant `LoseOutcomes`.
    fn lose(&mut self) {
        if mutant!(LoseOutcomes) {
            self.queue.clear();
        }
    }

    fn is_over(&self) -> bool {
        self.queue.is_empty() && !self.telling && self.expected == 0
    }
}

/// A settled outcome with its callbacks. The tasks that await it are woken.
struct Delivery {
    outcome: Arc<FlushOutcome>,
    callbacks: Vec<Callback>,
}

impl Deliveries {
    fn lock(&self) -> MutexGuard<'_, DeliveryQueue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that outcomes will be added: until the guard is dropped, [`finished`](Self::finished) waits.
    pub(super) fn expect(self: &Arc<Self>) -> Expected {
        let mut state = self.lock();
        state.expected += 1;
        Expected(self.clone())
    }

    pub(super) fn add(&self, outcome: Arc<FlushOutcome>, callbacks: Vec<Callback>) {
        self.lock().queue.push_back(Delivery { outcome, callbacks });
    }

    /// Tells on this thread what is in the queue, unless another thread is at it.
    pub(super) fn tell(&self) {
        let mut state = self.lock();
        if state.telling {
            return;
        }
        state.telling = true;
        while let Some(delivery) = state.queue.pop_front() {
            drop(state);
            delivery.tell(self.id());
            state = self.lock();
            state.lose();
        }
        state.telling = false;
        drop(state);
        self.moved();
    }

    fn moved(&self) {
        self.told.notify_all();
        shielded(|| self.progress.notify_waiters());
    }

    fn id(&self) -> WriterId {
        std::ptr::from_ref(self).addr()
    }

    /// Tells on a thread of the runtime. If that was shut down, the task is dropped on this thread, and
    /// tells here.
    pub(super) fn tell_on(self: &Arc<Self>, runtime: &Runtime) {
        let on_drop = Tell(self.clone());
        runtime.spawn(async move { drop(on_drop) });
    }

    /// Waits on this thread until everything that was decided is told, and helps with it: no other thread is needed
    /// for that but those that run callbacks already. `false` when this thread runs a callback of the same writer,
    /// or one that a callback of this writer waits for: what is left is told after that has returned.
    pub(super) fn wait_here(&self) -> bool {
        let running = RUNNING.with_borrow(Clone::clone);
        let Some(_waits) = Waits::begin(&running, self.id()) else { return false };
        loop {
            self.tell();
            let state = self.lock();
            if state.is_over() {
                return true;
            }
            if state.telling || state.queue.is_empty() {
                drop(self.told.wait(state).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Waits until everything that was decided is told.
    pub(super) async fn finished(&self) {
        loop {
            let progress = self.progress.notified();
            if self.lock().is_over() {
                return;
            }
            with_shielded_waker(progress).await;
        }
    }
}

/// See [`Deliveries::expect`].
pub(super) struct Expected(Arc<Deliveries>);

impl Drop for Expected {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.expected -= 1;
        drop(state);
        self.0.moved();
    }
}

struct Tell(Arc<Deliveries>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.tell();
    }
}

impl Delivery {
    fn tell(self, writer: WriterId) {
        shielded(|| self.outcome.wake());
        let Some(result) = self.outcome.get() else { return };
        for callback in self.callbacks {
            RUNNING.with_borrow_mut(|running| running.push(writer));
            shielded(|| callback(result));
            RUNNING.with_borrow_mut(|running| running.pop());
        }
    }
}
