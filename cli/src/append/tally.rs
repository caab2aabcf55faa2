//! What became of the appends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kfs_core::{Error, Offsets};
use tokio::sync::Notify;

/// Counts appends as they enter the buffer and as they settle.
#[derive(Debug, Default)]
pub(super) struct Tally {
    state: Mutex<State>,
    failed: Notify,
}

#[derive(Debug, Default)]
struct State {
    pending: u64,
    settled: u64,
    durable_offsets: u64,
    last_offset: Option<i64>,
    first_error: Option<Error>,
}

/// What is durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Durable {
    pub(super) offsets: u64,
    pub(super) last: i64,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self) {
        self.lock().pending += 1;
    }

    pub(super) fn settle(&self, outcome: Result<Offsets, Error>) {
        let mut state = self.lock();
        state.pending = state.pending.saturating_sub(1);
        state.settled += 1;
        match outcome {
            Ok(offsets) => {
                state.durable_offsets += offsets.last.abs_diff(offsets.base) + 1;
                state.last_offset = Some(offsets.last);
            }
            Err(error) => {
                state.first_error.get_or_insert(error);
                drop(state);
                self.failed.notify_waiters();
            }
        }
    }

    /// How many appends settled so far, if some are pending.
    pub(super) fn settled_while_pending(&self) -> Option<u64> {
        let state = self.lock();
        (state.pending > 0).then_some(state.settled)
    }

    pub(super) fn first_error(&self) -> Option<Error> {
        self.lock().first_error.clone()
    }

    pub(super) fn durable(&self) -> Option<Durable> {
        let state = self.lock();
        state.last_offset.map(|last| Durable { offsets: state.durable_offsets, last })
    }

    /// Waits until an append fails.
    pub(super) async fn failure(&self) -> Error {
        loop {
            let failed = self.failed.notified();
            if let Some(error) = self.first_error() {
                return error;
            }
            failed.await;
        }
    }
}
