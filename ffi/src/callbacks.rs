//! Callbacks that are still to come: a writer's end waits for them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How many callbacks of one writer are still to return.
#[derive(Default)]
pub(crate) struct Callbacks {
    pending: Mutex<usize>,
    none_left: Condvar,
}

/// One callback that is still to return, or will never be called.
pub(crate) struct Pending(Arc<Callbacks>);

impl Callbacks {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(self: &Arc<Self>) -> Pending {
        let mut pending = self.lock();
        *pending = pending.saturating_add(1);
        Pending(self.clone())
    }

    /// Waits until all have returned. Not within a callback.
    pub(crate) fn wait(&self) {
        let mut pending = self.lock();
        while *pending > 0 {
            pending = self.none_left.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut pending = self.0.lock();
        *pending = pending.saturating_sub(1);
        if *pending == 0 {
            self.0.none_left.notify_all();
        }
    }
}
