//! Waiting at the end of a log.

use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::pin_mut;

use super::handle::Reader;
use crate::log::watch::Watch;

/// How often a follower that a writer in this process wakes looks whether that writer still lives and
/// owns the tail. It sends no request.
pub(super) const WRITER_CHECK: Duration = Duration::from_secs(5);

/// The least wait between two polls, whatever the options say.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// How long a follower has waited in vain.
#[derive(Debug)]
pub(super) struct FollowWait {
    watch: Watch,
    next: Duration,
    /// The high watermark for which the store was asked already.
    asked_for: i64,
    /// News ended a wait, and nothing has come since.
    in_vain: bool,
}

impl FollowWait {
    pub(super) fn new(reader: &Reader) -> Self {
        let mut watch = Watch::new();
        watch.add(&reader.partition());
        FollowWait { watch, next: reader.options().poll_min, asked_for: 0, in_vain: false }
    }

    /// Something came: the next wait is short again.
    pub(super) fn reset(&mut self) {
        (self.next, self.in_vain) = (Duration::ZERO, false);
    }

    /// Waits until the store should be asked for `position` again.
    pub(super) async fn wait(&mut self, reader: &Reader, position: i64) {
        // Another process may append, and only the store tells of that.
        if !reader.0.tail_is_ours() {
            return self.poll_wait(reader, position).await;
        }
        // A writer of this process owns the tail: each of its commits wakes the follower, and nothing is asked of the store.
        loop {
            if self.has_news(reader, position) {
                return;
            }
            self.woken_or(reader, WRITER_CHECK).await;
            // The writer ended or was fenced, so the store must be asked at once.
            if !reader.0.tail_is_ours() {
                return;
            }
        }
    }

    /// Waits for the next poll; what this process learns meanwhile ends the wait.
    async fn poll_wait(&mut self, reader: &Reader, position: i64) {
        let clock = reader.0.state.runtime().clock().clone();
        let wait = self.step(reader);
        let until = clock.elapsed().saturating_add(wait);
        // A source may tell of news with every answer and give nothing. Then only time ends the wait.
        let believes_news = !self.in_vain || reader.0.state.source.is_none();
        loop {
            let left = until.saturating_sub(clock.elapsed());
            if left.is_zero() {
                return;
            }
            if believes_news && self.has_news(reader, position) {
                self.in_vain = true;
                return;
            }
            self.woken_or(reader, left).await;
        }
    }

    /// Whether more is known to be there than when the last wait ended. A fetch that returned nothing for a high
    /// watermark returns nothing for the same one later, so each high watermark ends one wait only.
    fn has_news(&mut self, reader: &Reader, position: i64) -> bool {
        let Some(watermarks) = reader.0.state.watermarks.get() else { return false };
        let news = watermarks.high_watermark > position.max(self.asked_for);
        if news {
            self.asked_for = watermarks.high_watermark;
        }
        news
    }

    /// Waits because the store is away.
    pub(super) async fn back_off(&mut self, reader: &Reader) {
        let wait = self.step(reader).max(reader.options().poll_min);
        sleep(reader, wait).await;
    }

    /// How long to wait now. The next wait is twice as long, up to `poll_max`.
    fn step(&mut self, reader: &Reader) -> Duration {
        let options = reader.options();
        // With no wait at all a follower would ask the store as fast as that answers.
        let least = options.poll_min.max(LEAST_WAIT);
        let most = options.poll_max.max(least);
        let wait = self.next.clamp(least, most);
        self.next = wait.saturating_mul(2).min(most);
        wait
    }

    async fn woken_or(&mut self, reader: &Reader, limit: Duration) {
        let changed = self.watch.changed();
        let sleep = sleep(reader, limit);
        pin_mut!(changed, sleep);
        match select(changed, sleep).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }
}

/// Sleeps on the runtime's own tasks, for the caller may run on another executor. The task ends when
/// this is dropped.
async fn sleep(reader: &Reader, duration: Duration) {
    let runtime = reader.0.state.runtime();
    let clock = runtime.clock().clone();
    let (mut send, receive) = tokio::sync::oneshot::channel::<()>();
    runtime.spawn(async move {
        let sleep = clock.sleep(duration);
        let closed = send.closed();
        pin_mut!(closed);
        select(sleep, closed).await;
    });
    // The sender is dropped at the end; nothing is ever sent.
    let _ = receive.await;
}
