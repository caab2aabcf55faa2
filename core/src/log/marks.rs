//! What is known of a log's range, kept in memory, and watches that wake when it moves.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
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
    entries: Vec<Weak<Entry>>,
}

/// Those who wait for marks that moved. They are woken when this is dropped. A waker may run code of the caller's, so no
/// lock may be held then.
#[derive(Default)]
#[must_use = "dropping it under a lock calls the caller's code there"]
pub(crate) struct Wakers(Vec<Waker>);

impl Drop for Wakers {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
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
    pub(crate) fn learn(&self, log_start: Option<i64>, high_watermark: i64, now_ms: i64) {
        self.change(|old| {
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

    /// The writer's buffered end moved (or fell back to the high watermark, when the buffer was lost). The caller holds
    /// its writer's lock, and lets go of the wakers after that.
    pub(crate) fn set_log_end(&self, log_end: Option<i64>) -> Wakers {
        let mut cell = self.lock();
        if let Some(marks) = &mut cell.marks {
            let end = log_end.unwrap_or_default().max(marks.high_watermark);
            if end != marks.log_end {
                marks.log_end = end;
                return Self::fire(cell);
            }
        }
        Wakers::default()
    }

    /// The partition was deleted and made again: what was known no longer holds.
    pub(crate) fn forget(&self) {
        self.lock().marks = None;
    }

    fn change(&self, change: impl FnOnce(Option<Marks>) -> Marks) {
        let mut cell = self.lock();
        let old = cell.marks;
        let new = change(old);
        cell.marks = Some(new);
        let moved = old.is_none_or(|old| {
            (old.log_start, old.high_watermark, old.log_end) != (new.log_start, new.high_watermark, new.log_end)
        });
        if moved {
            drop(Self::fire(cell));
        }
    }

    /// Puts the partition into the queue of every watch on it.
    fn fire(mut cell: MutexGuard<'_, Cell>) -> Wakers {
        let mut wakers = Vec::new();
        cell.entries.retain(|entry| match entry.upgrade() {
            Some(entry) => {
                wakers.extend(entry.fire());
                true
            }
            None => false,
        });
        Wakers(wakers)
    }

    fn attach(&self, entry: &Arc<Entry>) {
        let mut cell = self.lock();
        cell.entries.retain(|entry| entry.strong_count() > 0);
        cell.entries.push(Arc::downgrade(entry));
    }

    fn detach(&self, entry: &Arc<Entry>) {
        self.lock().entries.retain(|held| held.as_ptr() != Arc::as_ptr(entry));
    }
}

/// A partition's place in one watch.
struct Entry {
    id: PartitionId,
    queue: Arc<Queue>,
    /// It is in the queue. Changed with the queue locked.
    queued: AtomicBool,
}

impl Entry {
    /// Goes to the queue's end, unless it is in it already: so each partition has its turn, however often
    /// another one moves. The waker of who waits is given back.
    fn fire(self: &Arc<Self>) -> Option<Waker> {
        let mut ready = self.queue.lock();
        if !self.queued.swap(true, Ordering::Relaxed) {
            ready.entries.push_back(self.clone());
        }
        ready.waker.take()
    }
}

/// Partitions that moved, in the order in which they did.
#[derive(Default)]
struct Queue(Mutex<Ready>);

#[derive(Default)]
struct Ready {
    entries: VecDeque<Arc<Entry>>,
    waker: Option<Waker>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Ready> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watched {
    state: Arc<PartitionState>,
    entry: Arc<Entry>,
    seen: Option<Marks>,
    beyond: Option<Beyond>,
}

/// Bytes beyond an offset, counted as segments come: each segment is counted once.
struct Beyond {
    /// Segments below this are counted.
    counted: i64,
    bytes: u64,
}

/// Waits until the marks of one or several partitions move. It costs no task and no request: it
/// wakes on what this process learns, from its writers, its followers and [`Partition::refresh`].
///
/// Each partition has its turn: one that moves all the time does not keep the others from being
/// reported. A wake costs the same however many partitions are watched.
#[derive(Default)]
pub struct Watch {
    queue: Arc<Queue>,
    watched: HashMap<PartitionId, Watched>,
}

impl Watch {
    /// A watch on nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches this partition too. What is known already is reported by the next [`changed`](Self::changed).
    pub fn add(&mut self, partition: &Partition) {
        self.insert(partition, None);
    }

    /// Watches this partition too, and counts the bytes beyond an offset: [`bytes_beyond`](Self::bytes_beyond)
    /// tells them. Add the partition again to count from another offset.
    pub fn add_from(&mut self, partition: &Partition, offset: i64) {
        self.insert(partition, Some(Beyond { counted: offset, bytes: 0 }));
    }

    fn insert(&mut self, partition: &Partition, beyond: Option<Beyond>) {
        self.remove(partition.id());
        let state = partition.state().clone();
        let entry = Arc::new(Entry { id: state.id.clone(), queue: self.queue.clone(), queued: AtomicBool::new(false) });
        state.marks.attach(&entry);
        if state.marks.get().is_some() {
            // Nobody waits: this watch is borrowed.
            let _ = entry.fire();
        }
        self.watched.insert(state.id.clone(), Watched { state, entry, seen: None, beyond });
    }

    /// Watches this partition no longer.
    pub fn remove(&mut self, id: &PartitionId) {
        if let Some(watched) = self.watched.remove(id) {
            watched.state.marks.detach(&watched.entry);
            self.queue.lock().entries.retain(|entry| !Arc::ptr_eq(entry, &watched.entry));
        }
    }

    /// Bytes of the segments beyond the offset that [`add_from`](Self::add_from) was given, as far as this
    /// process knew when the partition was last reported. The segment that holds the offset counts whole;
    /// segments that this process has not listed are left out. 0 for a partition that is watched without
    /// an offset.
    pub fn bytes_beyond(&self, id: &PartitionId) -> u64 {
        self.watched.get(id).and_then(|watched| watched.beyond.as_ref()).map_or(0, |beyond| beyond.bytes)
    }

    /// The next partition whose marks differ from those reported last. Waits for ever on an empty
    /// watch. May be dropped and called again; nothing is lost.
    pub async fn changed(&mut self) -> (PartitionId, Marks) {
        poll_fn(|context| {
            loop {
                let entry = {
                    let mut ready = self.queue.lock();
                    let Some(entry) = ready.entries.pop_front() else {
                        ready.waker = Some(context.waker().clone());
                        return Poll::Pending;
                    };
                    // What moves from here on puts it into the queue again.
                    entry.queued.store(false, Ordering::Relaxed);
                    entry
                };
                let Some(watched) = self.watched.get_mut(&entry.id) else { continue };
                if let Some(marks) = watched.news() {
                    return Poll::Ready((entry.id.clone(), marks));
                }
            }
        })
        .await
    }
}

impl Watched {
    /// The marks, if they are others than those reported last.
    fn news(&mut self) -> Option<Marks> {
        let now = self.state.marks.get();
        let marks = now.filter(|_| now != self.seen)?;
        self.seen = now;
        if let Some(beyond) = &mut self.beyond {
            let more = self.state.with_catalog(|catalog| catalog.bytes_beyond(beyond.counted, marks.high_watermark));
            beyond.bytes = beyond.bytes.saturating_add(more);
            beyond.counted = beyond.counted.max(marks.high_watermark);
        }
        Some(marks)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for watched in self.watched.values() {
            watched.state.marks.detach(&watched.entry);
        }
        // Entries hold their queue.
        self.queue.lock().entries.clear();
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watch").field(&self.watched.len()).finish()
    }
}

#[cfg(test)]
mod tests;
