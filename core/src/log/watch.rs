//! A watch: it wakes when the range of a log moves that this process knows of.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use super::partition::Partition;
use super::state::PartitionState;
use super::watermarks::{WatchEntry, WatchQueue, Watermarks};
use crate::error::Result;
use crate::fork::ForkGuard;
use crate::format::PartitionId;

struct Watched {
    state: Arc<PartitionState>,
    entry: Arc<WatchEntry>,
    seen: Option<Watermarks>,
    beyond: Option<Beyond>,
}

/// Bytes beyond an offset, counted as segments come: each segment is counted once.
struct Beyond {
    /// Segments below this are counted.
    counted: i64,
    bytes: u64,
}

/// Waits until the watermarks of one or several partitions move. It costs no task and no request: it
/// wakes on what this process learns, from its writers, its followers and [`Partition::refresh`].
///
/// Each partition has its turn: one that moves all the time does not keep the others from being
/// reported. A wake costs the same however many partitions are watched.
#[derive(Default)]
pub struct Watch {
    fork: ForkGuard,
    queue: Arc<WatchQueue>,
    watched: HashMap<PartitionId, Watched>,
}

impl Watch {
    /// A watch on nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches this partition too. What is known already is reported by the next [`changed`](Self::changed). A partition of
    /// the same name that was added before is watched no longer, also one of another bucket: use a watch for each bucket.
    pub fn add(&mut self, partition: &Partition) {
        self.insert(partition, None);
    }

    /// Watches this partition too, and counts the bytes beyond an offset: [`bytes_beyond`](Self::bytes_beyond)
    /// tells them. Add the partition again to count from another offset.
    pub fn add_from(&mut self, partition: &Partition, offset: i64) {
        self.insert(partition, Some(Beyond { counted: offset, bytes: 0 }));
    }

    fn insert(&mut self, partition: &Partition, beyond: Option<Beyond>) {
        let state = partition.state().clone();
        if state.bucket.fork.is_forked() {
            // A thread of the parent may have held the locks. `changed` says so.
            self.fork = state.bucket.fork;
            return std::mem::forget(state);
        }
        self.remove(partition.id());
        let entry =
            Arc::new(WatchEntry { id: state.id.clone(), queue: self.queue.clone(), queued: AtomicBool::new(false) });
        state.watermarks.attach(&entry);
        if state.watermarks.get().is_some() {
            // No task can wait now, because this watch is borrowed.
            let _ = entry.fire();
        }
        self.watched.insert(state.id.clone(), Watched { state, entry, seen: None, beyond });
    }

    /// Watches this partition no longer.
    pub fn remove(&mut self, id: &PartitionId) {
        if let Some(watched) = self.watched.remove(id) {
            watched.state.watermarks.detach(&watched.entry);
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

    /// The next partition whose watermarks differ from those reported last. Waits for ever on an empty
    /// watch. May be dropped and called again; nothing is lost.
    ///
    /// # Errors
    /// Closed in a forked child.
    pub async fn changed(&mut self) -> Result<(PartitionId, Watermarks)> {
        self.fork.check()?;
        poll_fn(|context| {
            // Both cloning a waker and dropping the one before it may run code of the caller's: not under the lock.
            let waker = context.waker().clone();
            loop {
                let entry = {
                    let mut ready = self.queue.lock();
                    let Some(entry) = ready.entries.pop_front() else {
                        let before = ready.waker.replace(waker);
                        drop(ready);
                        drop(before);
                        return Poll::Pending;
                    };
                    // What moves from here on puts it into the queue again.
                    entry.queued.store(false, Ordering::Relaxed);
                    entry
                };
                let Some(watched) = self.watched.get_mut(&entry.id) else { continue };
                if let Some(watermarks) = watched.news() {
                    return Poll::Ready(Ok((entry.id.clone(), watermarks)));
                }
            }
        })
        .await
    }
}

impl Watched {
    /// The watermarks, if they are others than those reported last.
    fn news(&mut self) -> Option<Watermarks> {
        let now = self.state.watermarks.get();
        let watermarks = now.filter(|_| now != self.seen)?;
        self.seen = now;
        if let Some(beyond) = &mut self.beyond {
            let more =
                self.state.with_catalog(|catalog| catalog.bytes_beyond(beyond.counted, watermarks.high_watermark));
            beyond.bytes = beyond.bytes.saturating_add(more);
            beyond.counted = beyond.counted.max(watermarks.high_watermark);
        }
        Some(watermarks)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.fork.is_forked() {
            // A thread of the parent may have held the locks.
            return std::mem::forget((std::mem::take(&mut self.watched), self.queue.clone()));
        }
        for watched in self.watched.values() {
            watched.state.watermarks.detach(&watched.entry);
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
