//! What is known of a log's range, kept in memory, and watches that wake when it moves.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};

use super::partition::{Partition, PartitionState};
use crate::format::PartitionId;

/// A log's range as far as this process knows it. Offsets are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Marks {
    /// Log start offset: the first offset that is served.
    pub log_start: i64,
    /// High watermark: one past the last offset known to be durable.
    pub high_watermark: i64,
    /// Log end offset: one past the last buffered offset that is final; never below the high watermark.
    pub log_end: i64,
    /// When the store was asked last, or the writer committed: Unix milliseconds.
    pub learned_ms: i64,
}

#[derive(Default)]
struct Cell {
    marks: Option<Marks>,
    signals: Vec<Weak<Signal>>,
}

/// The marks of one partition and who waits for them.
#[derive(Default)]
pub(crate) struct MarksCell(Mutex<Cell>);

impl MarksCell {
    fn lock(&self) -> MutexGuard<'_, Cell> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self) -> Option<Marks> {
        self.lock().marks
    }

    /// What a look at the store told: the high watermark never goes back, for a look can be older than a commit.
    pub(crate) fn learn(&self, id: &PartitionId, log_start: Option<i64>, high_watermark: i64, now_ms: i64) {
        self.change(id, |old| {
            let old = old.unwrap_or(Marks {
                log_start: log_start.unwrap_or(0),
                high_watermark,
                log_end: high_watermark,
                learned_ms: now_ms,
            });
            Marks {
                log_start: log_start.unwrap_or(old.log_start).max(old.log_start),
                high_watermark: old.high_watermark.max(high_watermark),
                log_end: old.log_end.max(high_watermark),
                learned_ms: now_ms,
            }
        });
    }

    /// The writer's buffered end moved (or fell back to the high watermark, when the buffer was lost).
    pub(crate) fn set_log_end(&self, id: &PartitionId, log_end: Option<i64>) {
        let mut cell = self.lock();
        if let Some(marks) = &mut cell.marks {
            let end = log_end.unwrap_or_default().max(marks.high_watermark);
            if end != marks.log_end {
                marks.log_end = end;
                Self::fire(cell, id);
            }
        }
    }

    /// The partition was deleted and made again: what was known no longer holds.
    pub(crate) fn forget(&self) {
        self.lock().marks = None;
    }

    fn change(&self, id: &PartitionId, change: impl FnOnce(Option<Marks>) -> Marks) {
        let mut cell = self.lock();
        let old = cell.marks;
        let new = change(old);
        cell.marks = Some(new);
        let moved = old.is_none_or(|old| {
            (old.log_start, old.high_watermark, old.log_end) != (new.log_start, new.high_watermark, new.log_end)
        });
        if moved {
            Self::fire(cell, id);
        }
    }

    fn fire(mut cell: MutexGuard<'_, Cell>, id: &PartitionId) {
        if cell.signals.is_empty() {
            return;
        }
        let live: Vec<_> = cell.signals.iter().filter_map(Weak::upgrade).collect();
        cell.signals.retain(|s| s.strong_count() > 0);
        drop(cell);
        for signal in live {
            signal.fire(id);
        }
    }

    fn attach(&self, signal: &Arc<Signal>) {
        let mut cell = self.lock();
        cell.signals.retain(|s| s.strong_count() > 0);
        cell.signals.push(Arc::downgrade(signal));
    }

    fn detach(&self, signal: &Arc<Signal>) {
        self.lock().signals.retain(|s| s.as_ptr() != Arc::as_ptr(signal));
    }
}

#[derive(Default)]
struct Fired {
    partitions: Vec<PartitionId>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Signal(Mutex<Fired>);

impl Signal {
    fn lock(&self) -> MutexGuard<'_, Fired> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fire(&self, id: &PartitionId) {
        let mut fired = self.lock();
        if !fired.partitions.contains(id) {
            fired.partitions.push(id.clone());
        }
        if let Some(waker) = fired.waker.take() {
            drop(fired);
            waker.wake();
        }
    }
}

struct Watched {
    state: Arc<PartitionState>,
    seen: Option<Marks>,
}

/// Waits until the marks of one or several partitions move. It costs no task and no request: it
/// wakes on what this process learns, from its writers, its followers and [`Partition::refresh`].
#[derive(Default)]
pub struct Watch {
    signal: Arc<Signal>,
    watched: HashMap<PartitionId, Watched>,
}

impl Watch {
    /// A watch on nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches this partition too. What is known already is reported by the next [`changed`](Self::changed).
    pub fn add(&mut self, partition: &Partition) {
        let state = partition.state().clone();
        state.marks.attach(&self.signal);
        if state.marks.get().is_some() {
            self.signal.fire(&state.id);
        }
        self.watched.insert(state.id.clone(), Watched { state, seen: None });
    }

    /// Watches this partition no longer.
    pub fn remove(&mut self, id: &PartitionId) {
        if let Some(watched) = self.watched.remove(id) {
            watched.state.marks.detach(&self.signal);
        }
    }

    /// The next partition whose marks differ from those reported last. Waits for ever on an empty
    /// watch. May be dropped and called again; nothing is lost.
    pub async fn changed(&mut self) -> (PartitionId, Marks) {
        poll_fn(|context| {
            let mut fired = self.signal.lock();
            while let Some(id) = fired.partitions.pop() {
                let Some(watched) = self.watched.get_mut(&id) else { continue };
                // The cell's lock is never taken while a signal's is held by the same thread in the other
                // order: `fire` drops the cell first.
                let now = watched.state.marks.get();
                if let (Some(marks), true) = (now, now != watched.seen) {
                    watched.seen = now;
                    return Poll::Ready((id, marks));
                }
            }
            fired.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for watched in self.watched.values() {
            watched.state.marks.detach(&self.signal);
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watch").field(&self.watched.len()).finish()
    }
}
