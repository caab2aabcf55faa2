//! The one way in which callers learn how their appends ended.
//!
//! Outcomes are put on a queue and told from there by one thread at a time, in the order of the
//! appends. No lock of the library is held while a caller's code runs, and all that the outcome frees
//! (room in the buffer, the place of the exclusive writer) is free by then. A callback or a waker that
//! panics harms nobody else.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::append::{Callback, Fate};
use crate::runtime::Runtime;

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs a completion callback now, where nothing may wait.
pub fn in_callback() -> bool {
    IN_CALLBACK.get()
}

/// Runs a caller's code, which may do what it likes.
pub(crate) fn shielded(code: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(code)) {
        // The panic hook has reported it. Dropping what it carries could panic again.
        std::mem::forget(panic);
    }
}

/// The outcomes of one writer that callers must still be told.
#[derive(Default)]
pub(super) struct Deliveries {
    state: Mutex<State>,
    progress: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Delivery>,
    /// A thread tells them now. Whatever others add, it tells too.
    telling: bool,
    /// Outcomes that are decided and will be added.
    expected: usize,
}

/// A settled fate, and who asked to be called back. Those who await it are woken.
struct Delivery {
    fate: Arc<Fate>,
    callbacks: Vec<Callback>,
}

impl Deliveries {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that outcomes will be added: until the guard is dropped, [`finished`](Self::finished) waits.
    pub(super) fn expect(self: &Arc<Self>) -> Expected {
        let mut state = self.lock();
        state.expected = state.expected.saturating_add(1);
        Expected(self.clone())
    }

    pub(super) fn add(&self, fate: Arc<Fate>, callbacks: Vec<Callback>) {
        self.lock().queue.push_back(Delivery { fate, callbacks });
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
            delivery.tell();
            state = self.lock();
        }
        state.telling = false;
        drop(state);
        shielded(|| self.progress.notify_waiters());
    }

    /// Tells on a thread of the runtime. If that was shut down, the task is dropped on this thread, and
    /// tells here.
    pub(super) fn tell_on(self: &Arc<Self>, runtime: &Runtime) {
        let on_drop = Tell(self.clone());
        runtime.spawn(async move { drop(on_drop) });
    }

    /// Waits until everything that was decided is told.
    pub(super) async fn finished(&self) {
        loop {
            let progress = self.progress.notified();
            {
                let state = self.lock();
                if state.queue.is_empty() && !state.telling && state.expected == 0 {
                    return;
                }
            }
            progress.await;
        }
    }
}

/// See [`Deliveries::expect`].
pub(super) struct Expected(Arc<Deliveries>);

impl Drop for Expected {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.expected = state.expected.saturating_sub(1);
        drop(state);
        shielded(|| self.0.progress.notify_waiters());
    }
}

struct Tell(Arc<Deliveries>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.tell();
    }
}

impl Delivery {
    fn tell(self) {
        shielded(|| self.fate.wake());
        let Some(outcome) = self.fate.get() else { return };
        for callback in self.callbacks {
            let before = IN_CALLBACK.replace(true);
            shielded(|| callback(outcome));
            IN_CALLBACK.set(before);
        }
    }
}
