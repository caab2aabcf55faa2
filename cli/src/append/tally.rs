//! What became of the appends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kfs_core::{Error, Offsets, Stored};
use tokio::sync::Notify;

use crate::output;

/// Counts appends as they are handed over and as they settle.
#[derive(Debug, Default)]
pub(super) struct Tally {
    state: Mutex<State>,
    failed: Notify,
}

#[derive(Debug, Default)]
struct State {
    pending: u64,
    pending_records: u64,
    settled: u64,
    durable_offsets: u64,
    last_offset: Option<i64>,
    not_stored: u64,
    perhaps_stored: u64,
    first_error: Option<Error>,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An append of so many records is on its way.
    pub(super) fn enter(&self, records: u64) {
        let mut state = self.lock();
        state.pending += 1;
        state.pending_records += records;
    }

    /// It is durable, or failed.
    pub(super) fn settle(&self, records: u64, outcome: Result<Offsets, Error>) {
        let mut state = self.lock();
        state.pending = state.pending.saturating_sub(1);
        state.pending_records = state.pending_records.saturating_sub(records);
        state.settled += 1;
        match outcome {
            Ok(offsets) => {
                state.durable_offsets += offsets.last.abs_diff(offsets.base) + 1;
                state.last_offset = Some(offsets.last);
            }
            Err(error) => {
                match error.stored() {
                    Some(Stored::Not) => state.not_stored += records,
                    _ => state.perhaps_stored += records,
                }
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

    /// Says what is durable and what is not, after the writer has ended: an append that has not settled by
    /// then was never taken.
    pub(super) fn say(&self) {
        let state = self.lock();
        match state.last_offset {
            Some(last) => {
                output::note(&format!("durable before that: {} offsets, the last is {last}", state.durable_offsets))
            }
            None => output::note("durable before that: nothing"),
        }
        let not_stored = state.not_stored.saturating_add(state.pending_records);
        if not_stored > 0 || state.perhaps_stored > 0 {
            let perhaps = state.perhaps_stored;
            output::note(&format!(
                "not durable: {not_stored} records that are not stored, {perhaps} that are perhaps stored"
            ));
        }
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
