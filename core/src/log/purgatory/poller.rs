//! The one task that all fetches of a bucket wait with.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::table::{DelayedFetch, Purgatory};
use super::tail::{NextPoll, Tail};
use crate::runtime::{BoxFuture, Runtime, wake_all};

/// The most tails that are polled at the same time.
const MOST_POLLS: usize = 32;

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
    under_way: FuturesUnordered<BoxFuture<Arc<dyn Tail>>>,
    next: u64,
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
            if let Poll::Ready(Some(tail)) = polls.under_way.poll_next_unpin(context) {
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

    /// Begins the polls that are due. Returns when the next one is, unless one that ends comes first.
    fn begin(&mut self, now: Duration) -> Option<Duration> {
        while let Some(entry) = self.later.first_entry() {
            let due = entry.key().0;
            if self.under_way.len() >= MOST_POLLS {
                return None;
            }
            if due > now {
                return Some(due);
            }
            let tail = entry.remove();
            match tail.clone().next_poll(now) {
                NextPoll::Never => {}
                NextPoll::At(at) => self.put(tail, at.max(now.saturating_add(Duration::from_millis(1)))),
                NextPoll::Now(poll) => {
                    let polled = Polled(tail);
                    self.under_way.push(Box::pin(async move {
                        poll.await;
                        polled.0.clone()
                    }));
                }
            }
        }
        None
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
