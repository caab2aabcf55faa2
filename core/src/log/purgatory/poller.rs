//! The one task that all fetches of a bucket wait with.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;

use super::table::{DelayedFetch, Purgatory};
use super::tail::{NextPoll, Tail};
use crate::runtime::{BoxFuture, Runtime, wake_all};

/// The most tails that are polled at the same time, apart from slow polls.
const MOST_POLLS: usize = 32;
/// A poll that has lasted as long is slow. Its place is free for another tail, so polls that hang hold up no others for
/// longer than this.
const SLOW: Duration = Duration::from_secs(2);
/// A poll that has lasted as long is stopped. So no more than 32 slow polls for each 2 s of this time are under way.
const LONGEST_POLL: Duration = Duration::from_secs(30);

/// A fetch of this many partitions waits from now on, until `deadline` by the clock's elapsed time at the latest. It
/// starts the poller where none runs.
pub(crate) fn delay(
    purgatory: &Arc<Purgatory>,
    runtime: &Runtime,
    partitions: usize,
    deadline: Duration,
) -> DelayedFetch {
    let (delayed, starts) = purgatory.enter(partitions, deadline);
    if starts {
        let poller = Poller { purgatory: purgatory.clone(), runtime: runtime.clone(), ended: false };
        runtime.spawn(poller.run());
    }
    delayed
}

/// When it is dropped before its end, which may be before its first poll, no fetch waits for ever.
struct Poller {
    purgatory: Arc<Purgatory>,
    runtime: Runtime,
    ended: bool,
}

/// The tails that are polled.
#[derive(Default)]
struct Polls {
    /// By the time of the next poll, then by the order in which they came.
    later: BTreeMap<(Duration, u64), Arc<dyn Tail>>,
    under_way: FuturesUnordered<BoxFuture<(u64, Arc<dyn Tail>)>>,
    /// The polls under way that were not stopped, in the order in which they began.
    begun: BTreeMap<u64, BegunPoll>,
    next: u64,
}

/// A poll that is stopped by dropping this.
struct BegunPoll {
    at: Duration,
    _stop: oneshot::Sender<()>,
}

impl Poller {
    /// Runs until no fetch waits.
    async fn run(mut self) {
        let clock = self.runtime.clock().clone();
        let mut polls = Polls::default();
        loop {
            let now = clock.elapsed();
            let Some(work) = self.purgatory.work(now) else { break };
            wake_all(work.due);
            work.tails.into_iter().for_each(|tail| polls.put(tail, now));
            let next_poll = polls.begin(now);
            let next = work.next_deadline.into_iter().chain(next_poll).min();
            let sleep = next.map(|next| clock.sleep(next.saturating_sub(now)));
            if let Some(tail) = self.rest(&mut polls, sleep).await {
                polls.put(tail, clock.elapsed());
            }
        }
        self.ended = true;
        // What the fetches left with the partitions is let go of.
        polls.later.into_values().map(Polled).for_each(drop);
    }

    /// Waits until there is something to do. Returns the tail whose poll has ended, if one has.
    async fn rest(&self, polls: &mut Polls, mut sleep: Option<BoxFuture<()>>) -> Option<Arc<dyn Tail>> {
        let mut changed = pin!(self.purgatory.changed.notified());
        poll_fn(|context| {
            if let Poll::Ready(Some((number, tail))) = polls.under_way.poll_next_unpin(context) {
                polls.begun.remove(&number);
                return Poll::Ready(Some(tail));
            }
            let changed = changed.as_mut().poll(context).is_ready();
            let slept = sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready());
            if changed || slept { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}

impl Polls {
    fn put(&mut self, tail: Arc<dyn Tail>, at: Duration) {
        self.later.insert((at, self.next), tail);
        self.next = self.next.wrapping_add(1);
    }

    /// Begins the polls that are due, and stops those that last too long. Returns when there is more to do, unless a poll
    /// ends before.
    fn begin(&mut self, now: Duration) -> Option<Duration> {
        self.stop_longest(now);
        let next_poll = self.begin_due(now);
        let next_stop = self.begun.values().next().map(|oldest| oldest.at.saturating_add(LONGEST_POLL));
        next_poll.into_iter().chain(next_stop).min()
    }

    /// Begins the polls that are due, while there is a place. Returns when the next one can begin.
    fn begin_due(&mut self, now: Duration) -> Option<Duration> {
        while let Some((due, _)) = self.later.keys().next().copied() {
            if due > now {
                return Some(due);
            }
            if let Some(free) = self.next_free(now) {
                return Some(free);
            }
            let Some((_, tail)) = self.later.pop_first() else { break };
            match tail.clone().next_poll(now) {
                NextPoll::Never => {}
                NextPoll::At(at) => self.put(tail, at.max(now.saturating_add(Duration::from_millis(1)))),
                NextPoll::Now { poll, stop } => self.begin_poll(tail, poll, stop, now),
            }
        }
        None
    }

    fn begin_poll(&mut self, tail: Arc<dyn Tail>, poll: BoxFuture<()>, stop: oneshot::Sender<()>, now: Duration) {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.begun.insert(number, BegunPoll { at: now, _stop: stop });
        let polled = Polled(tail);
        self.under_way.push(Box::pin(async move {
            poll.await;
            (number, polled.0.clone())
        }));
    }

    fn stop_longest(&mut self, now: Duration) {
        while let Some(oldest) = self.begun.first_entry() {
            if oldest.get().at.saturating_add(LONGEST_POLL) > now {
                break;
            }
            oldest.remove();
        }
    }

    /// When a place will be free, if none is now.
    fn next_free(&self, now: Duration) -> Option<Duration> {
        let slow_at = self.begun.values().rev().map(|poll| poll.at.saturating_add(SLOW));
        slow_at.take_while(|slow_at| *slow_at > now).nth(MOST_POLLS - 1)
    }
}

/// A tail whose poll is under way or has ended.
struct Polled(Arc<dyn Tail>);

impl Drop for Polled {
    fn drop(&mut self) {
        // What fetches that have ended left with the partition is let go of.
        self.0.is_awaited();
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        if !self.ended {
            self.purgatory.lost();
        }
    }
}
