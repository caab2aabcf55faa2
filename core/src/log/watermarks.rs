//! What is known of a log's range, kept in memory, and the watches that are told when it moves.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use super::purgatory::{DelayedFetch, WaitTags};
use crate::format::PartitionId;
use crate::runtime::wake_all;

/// A log's range as far as this process knows it. Offsets are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watermarks {
    /// Log start offset: the first offset that is served.
    pub log_start: i64,
    /// High watermark: one past the last offset known to be durable.
    pub high_watermark: i64,
    /// Log end offset: one past the last buffered offset that is final; never below the high watermark.
    pub log_end: i64,
    /// When the store was asked last, or the writer committed: Unix milliseconds.
    pub learned_ms: i64,
}

impl Watermarks {
    /// The range of a log of which nothing is buffered, as a [`LogSource`](crate::LogSource) tells it. `learned_ms` is when
    /// it was so, in Unix milliseconds.
    pub fn new(log_start: i64, high_watermark: i64, learned_ms: i64) -> Self {
        Watermarks { log_start, high_watermark, log_end: high_watermark, learned_ms }
    }
}

#[derive(Default)]
struct Cell {
    watermarks: Option<Watermarks>,
    entries: Vec<Weak<WatchEntry>>,
    fetches: WaitTags,
}

/// The tasks that wait for watermarks that moved. They are woken when this is dropped. A waker may run code of the
/// caller's, so no lock may be held then.
#[derive(Default)]
#[must_use = "dropping it under a lock calls the caller's code there"]
pub(crate) struct WatchWakers(Vec<Waker>);

impl Drop for WatchWakers {
    fn drop(&mut self) {
        wake_all(self.0.drain(..));
    }
}

/// The watermarks of one partition, and the watches on them.
#[derive(Default)]
pub(crate) struct WatermarkCell(Mutex<Cell>);

impl WatermarkCell {
    fn lock(&self) -> MutexGuard<'_, Cell> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self) -> Option<Watermarks> {
        self.lock().watermarks
    }

    /// What a look at the store told: the high watermark never goes back, for a look can be older than a commit.
    pub(crate) fn learn(&self, log_start: Option<i64>, high_watermark: i64, now_ms: i64) {
        self.change(|old| {
            let old = old.unwrap_or(Watermarks {
                log_start: log_start.unwrap_or(0),
                high_watermark,
                log_end: high_watermark,
                learned_ms: now_ms,
            });
            Watermarks {
                log_start: log_start.unwrap_or(old.log_start).max(old.log_start),
                high_watermark: old.high_watermark.max(high_watermark),
                log_end: old.log_end.max(high_watermark),
                learned_ms: now_ms,
            }
        });
    }

    /// The writer's buffered end moved (or fell back to the high watermark, when the buffer was lost). The caller holds
    /// its writer's lock, and lets go of the wakers after that.
    pub(crate) fn set_log_end(&self, log_end: Option<i64>) -> WatchWakers {
        let mut cell = self.lock();
        if let Some(watermarks) = &mut cell.watermarks {
            let end = log_end.unwrap_or_default().max(watermarks.high_watermark);
            if end != watermarks.log_end {
                watermarks.log_end = end;
                return Self::fire(cell);
            }
        }
        WatchWakers::default()
    }

    /// The partition was deleted and made again: what was known no longer holds.
    pub(crate) fn forget(&self) {
        self.lock().watermarks = None;
    }

    fn change(&self, change: impl FnOnce(Option<Watermarks>) -> Watermarks) {
        let mut cell = self.lock();
        let old = cell.watermarks;
        let new = change(old);
        cell.watermarks = Some(new);
        let moved = old.is_none_or(|old| {
            (old.log_start, old.high_watermark, old.log_end) != (new.log_start, new.high_watermark, new.log_end)
        });
        // A fetch waits for what is durable. It does not see what is only buffered.
        let grown = old.is_none_or(|old| (old.log_start, old.high_watermark) != (new.log_start, new.high_watermark));
        let fetches = if grown { cell.fetches.fire(false) } else { Vec::new() };
        if moved {
            let mut wakers = Self::fire(cell);
            wakers.0.extend(fetches);
        }
    }

    /// Something happened that the watermarks do not show: the fetches that wait must read the partition.
    pub(crate) fn tell_fetches(&self) {
        let wakers = self.lock().fetches.fire(true);
        drop(WatchWakers(wakers));
    }

    /// A fetch waits, in which this partition has this number. Whether the poller must be told of the partition.
    pub(crate) fn attach_fetch(&self, fetch: &DelayedFetch, index: u32) -> bool {
        self.lock().fetches.attach(fetch, index)
    }

    /// Whether a fetch waits. What others left is let go of.
    pub(crate) fn is_awaited(&self) -> bool {
        self.lock().fetches.is_awaited()
    }

    /// What fetches left, also those that have ended.
    #[cfg(test)]
    pub(crate) fn fetch_tags(&self) -> usize {
        self.lock().fetches.len()
    }

    /// Puts the partition into the queue of every watch on it.
    fn fire(mut cell: MutexGuard<'_, Cell>) -> WatchWakers {
        let mut wakers = Vec::new();
        cell.entries.retain(|entry| match entry.upgrade() {
            Some(entry) => {
                wakers.extend(entry.fire());
                true
            }
            None => false,
        });
        WatchWakers(wakers)
    }

    pub(super) fn attach(&self, entry: &Arc<WatchEntry>) {
        let mut cell = self.lock();
        cell.entries.retain(|entry| entry.strong_count() > 0);
        cell.entries.push(Arc::downgrade(entry));
    }

    /// Whether a watch is attached.
    #[cfg(test)]
    pub(super) fn is_watched(&self) -> bool {
        !self.lock().entries.is_empty()
    }

    pub(super) fn detach(&self, entry: &Arc<WatchEntry>) {
        self.lock().entries.retain(|held| held.as_ptr() != Arc::as_ptr(entry));
    }
}

/// A partition's place in one watch.
pub(super) struct WatchEntry {
    pub(super) id: PartitionId,
    pub(super) queue: Arc<WatchQueue>,
    /// It is in the queue. Changed with the queue locked.
    pub(super) queued: AtomicBool,
}

impl WatchEntry {
    /// Goes to the queue's end, unless it is in it already: so each partition has its turn, however often
    /// another one moves. Returns the waker of the task that waits.
    pub(super) fn fire(self: &Arc<Self>) -> Option<Waker> {
        let mut ready = self.queue.lock();
        if !self.queued.swap(true, Ordering::Relaxed) {
            ready.entries.push_back(self.clone());
        }
        ready.waker.take()
    }
}

/// Partitions that moved, in the order in which they did.
#[derive(Default)]
pub(super) struct WatchQueue(Mutex<Ready>);

#[derive(Default)]
pub(super) struct Ready {
    pub(super) entries: VecDeque<Arc<WatchEntry>>,
    pub(super) waker: Option<Waker>,
}

impl WatchQueue {
    pub(super) fn lock(&self) -> MutexGuard<'_, Ready> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
