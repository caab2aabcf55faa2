//! What became of the appends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kfs_core::text::counted;
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
    pending_records: u64,
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

    /// An append of this number of records is on its way.
    pub(super) fn enter(&self, records: u64) {
        self.lock().pending_records += records;
    }

    /// It is durable, or failed.
    pub(super) fn settle(&self, records: u64, outcome: Result<Offsets, Error>) {
        let mut state = self.lock();
        state.pending_records = state.pending_records.saturating_sub(records);
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

    pub(super) fn first_error(&self) -> Option<Error> {
        self.lock().first_error.clone()
    }

    /// Says what is durable and what is not. An append that never settled was not taken, if the writer has
    /// ended; else nobody knows.
    pub(super) fn say(&self, writer_ended: bool) {
        let state = self.lock();
        let durable = state.last_offset.map_or_else(
            || "nothing".to_string(),
            |last| format!("{}, the last is {last}", counted(state.durable_offsets, "offset")),
        );
        output::note(&format!("durable before that: {durable}"));
        let unsettled = |counted| if counted { state.pending_records } else { 0 };
        let not_stored = state.not_stored.saturating_add(unsettled(writer_ended));
        let perhaps_stored = state.perhaps_stored.saturating_add(unsettled(!writer_ended));
        let parts = [(not_stored, "not stored"), (perhaps_stored, "perhaps stored")];
        let parts: Vec<_> = parts.iter().filter(|(count, _)| *count > 0).collect();
        if !parts.is_empty() {
            let parts: Vec<_> =
                parts.iter().map(|(count, what)| format!("{} {what}", counted(*count, "record"))).collect();
            output::note(&format!("not durable: {}", parts.join(", ")));
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
