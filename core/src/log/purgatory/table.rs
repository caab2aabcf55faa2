//! The fetches that wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::tail::Tail;
use crate::error::{Error, ErrorKind, Result};
use crate::fork::ForkGuard;
use crate::runtime::{lost_task, wake_all};

/// The fetches of one bucket that wait for a log to grow.
#[derive(Default)]
pub(crate) struct Purgatory {
    fork: ForkGuard,
    table: Mutex<Table>,
    /// Tells the poller that there is something new for it.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    fetches: HashMap<u64, Waiting>,
    /// When each fetch ends its wait, by the clock's elapsed time.
    deadlines: BTreeSet<(Duration, u64)>,
    /// Tails that the poller has not taken over yet.
    fresh: Vec<Arc<dyn Tail>>,
    /// The number of the poller that runs, or that ran last.
    poller: u64,
    polls: bool,
    closed: bool,
}

/// A fetch that waits.
struct Waiting {
    deadline: Duration,
    due: bool,
    /// The poller has ended without being told to.
    lost: Option<bool>,
    waker: Option<Waker>,
    /// Partitions that moved, by their number in the fetch, in the order in which they did.
    moved: Vec<u32>,
    /// What happened to each partition since the fetch last looked.
    news: Vec<News>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum News {
    #[default]
    Nothing,
    Moved,
    MustRead,
}

/// What a partition's watermarks keep of a fetch that waits for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitTag {
    fetch: u64,
    index: u32,
}

/// What ended a wait.
#[derive(Debug)]
pub(crate) struct Woken {
    /// Partitions that moved, by their number in the fetch, and whether they must be read to know more.
    pub(crate) moved: Vec<(usize, bool)>,
    /// The deadline has passed.
    pub(crate) due: bool,
}

/// What the poller does next, apart from its polls.
pub(super) struct Work {
    pub(super) tails: Vec<Arc<dyn Tail>>,
    /// The fetches whose deadline has passed.
    pub(super) due: Vec<Waker>,
    pub(super) next_deadline: Option<Duration>,
}

impl Purgatory {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fetch of this many partitions waits from now on. Also returns whether the caller must start the poller.
    pub(super) fn enter(self: &Arc<Self>, partitions: usize, deadline: Duration) -> (DelayedFetch, bool) {
        let mut table = self.lock();
        let number = table.next;
        table.next = number.wrapping_add(1);
        let news = vec![News::default(); partitions];
        let waiting = Waiting { deadline, due: false, lost: None, waker: None, moved: Vec::new(), news };
        table.fetches.insert(number, waiting);
        table.deadlines.insert((deadline, number));
        let starts = !std::mem::replace(&mut table.polls, true);
        if starts {
            table.poller = table.poller.wrapping_add(1);
        } else {
            self.changed.notify_one();
        }
        let poller = table.poller;
        (DelayedFetch { purgatory: self.clone(), number, poller }, starts)
    }

    /// These tails are to be polled, too.
    pub(crate) fn poll(&self, tails: Vec<Arc<dyn Tail>>) {
        if !tails.is_empty() {
            self.lock().fresh.extend(tails);
            self.changed.notify_one();
        }
    }

    /// A partition moved: tells the fetches that left these tags with it, and drops the tags of those that have ended.
    /// The wakers are to be called with no lock held.
    pub(super) fn moved(&self, tags: &mut Vec<WaitTag>, must_read: bool) -> Vec<Waker> {
        let mut table = self.lock();
        let mut wakers = Vec::new();
        tags.retain(|tag| {
            let Some(waiting) = table.fetches.get_mut(&tag.fetch) else { return false };
            waiting.note(tag.index, must_read);
            wakers.extend(waiting.waker.take());
            true
        });
        wakers
    }

    /// Drops the tags of fetches that have ended.
    pub(super) fn sweep(&self, tags: &mut Vec<WaitTag>) {
        let table = self.lock();
        tags.retain(|tag| table.fetches.contains_key(&tag.fetch));
    }

    /// The bucket was closed: all waits end, now and later.
    pub(crate) fn close(&self) {
        self.end_all(|table| table.closed = true);
    }

    /// The poller is gone, because its runtime was shut down or it panicked.
    pub(super) fn lost(&self) {
        let panicked = std::thread::panicking();
        self.end_all(|table| {
            table.polls = false;
            table.fetches.values_mut().for_each(|waiting| waiting.lost = Some(panicked));
        });
    }

    fn end_all(&self, end: impl FnOnce(&mut Table)) {
        let wakers: Vec<Waker> = {
            let mut table = self.lock();
            end(&mut table);
            table.fetches.values_mut().filter_map(|waiting| waiting.waker.take()).collect()
        };
        wake_all(wakers);
    }

    /// What the poller does next. `None` when no fetch waits: then the poller has ended.
    pub(super) fn work(&self, now: Duration) -> Option<Work> {
        let mut table = self.lock();
        let tails = std::mem::take(&mut table.fresh);
        if table.fetches.is_empty() {
            table.polls = false;
            drop(table);
            // With no lock held: this may be the last handle of a reader.
            drop(tails);
            return None;
        }
        let mut due = Vec::new();
        while let Some((_, number)) = table.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            table.deadlines.pop_first();
            if let Some(waiting) = table.fetches.get_mut(&number) {
                waiting.due = true;
                due.extend(waiting.waker.take());
            }
        }
        Some(Work { tails, due, next_deadline: table.deadlines.first().map(|(deadline, _)| *deadline) })
    }

    /// Fetches that wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().fetches.len()
    }
}

impl Waiting {
    fn note(&mut self, index: u32, must_read: bool) {
        let Some(news) = self.news.get_mut(index as usize) else { return };
        if *news == News::Nothing {
            self.moved.push(index);
        }
        if must_read || *news == News::Nothing {
            *news = if must_read { News::MustRead } else { News::Moved };
        }
    }

    fn take(&mut self) -> Woken {
        let moved = std::mem::take(&mut self.moved);
        let take = |index: u32| {
            let news = self.news.get_mut(index as usize).map(std::mem::take);
            (index as usize, news == Some(News::MustRead))
        };
        Woken { moved: moved.into_iter().map(take).collect(), due: self.due }
    }
}

/// A fetch in the purgatory. Dropping it takes the fetch out.
pub(crate) struct DelayedFetch {
    purgatory: Arc<Purgatory>,
    number: u64,
    poller: u64,
}

impl DelayedFetch {
    pub(crate) fn purgatory(&self) -> &Arc<Purgatory> {
        &self.purgatory
    }

    /// The number of the poller that runs as long as this fetch waits.
    pub(super) fn poller(&self) -> u64 {
        self.poller
    }

    pub(super) fn tag(&self, index: u32) -> WaitTag {
        WaitTag { fetch: self.number, index }
    }

    /// Waits until a partition moves or the deadline passes.
    ///
    /// # Errors
    /// Closed when the bucket is, and when the runtime was shut down.
    pub(crate) fn poll_woken(&self, context: &Context<'_>) -> Poll<Result<Woken>> {
        self.poll(context, |waiting, closed| {
            if closed {
                return Some(Err(Error::new(ErrorKind::Closed, "the bucket was closed while a fetch waited")));
            }
            if let Some(panicked) = waiting.lost {
                return Some(Err(lost_task(panicked)));
            }
            (waiting.due || !waiting.moved.is_empty()).then(|| Ok(waiting.take()))
        })
    }

    /// Waits until the deadline passes, or the runtime is shut down.
    pub(crate) fn poll_due(&self, context: &Context<'_>) -> Poll<()> {
        self.poll(context, |waiting, _| (waiting.due || waiting.lost.is_some()).then_some(()))
    }

    fn poll<T>(&self, context: &Context<'_>, look: impl FnOnce(&mut Waiting, bool) -> Option<T>) -> Poll<T> {
        // A waker may run code of the caller's when it is cloned or dropped: not under the lock.
        let waker = context.waker().clone();
        let mut table = self.purgatory.lock();
        let closed = table.closed;
        let Some(waiting) = table.fetches.get_mut(&self.number) else { return Poll::Pending };
        if let Some(found) = look(waiting, closed) {
            return Poll::Ready(found);
        }
        let old = waiting.waker.replace(waker);
        drop(table);
        drop(old);
        Poll::Pending
    }

    /// The wait ends at another time than was said.
    pub(crate) fn set_deadline(&self, deadline: Duration) {
        let mut table = self.purgatory.lock();
        let Some(waiting) = table.fetches.get_mut(&self.number) else { return };
        let old = std::mem::replace(&mut waiting.deadline, deadline);
        waiting.due = false;
        table.deadlines.remove(&(old, self.number));
        table.deadlines.insert((deadline, self.number));
        drop(table);
        self.purgatory.changed.notify_one();
    }
}

impl Drop for DelayedFetch {
    fn drop(&mut self) {
        // In a forked child a thread of the parent may have held the lock.
        if self.purgatory.fork.is_forked() {
            return;
        }
        let mut table = self.purgatory.lock();
        let Some(waiting) = table.fetches.remove(&self.number) else { return };
        table.deadlines.remove(&(waiting.deadline, self.number));
        let last = table.fetches.is_empty();
        drop(table);
        if last {
            // The poller ends.
            self.purgatory.changed.notify_one();
        }
    }
}
