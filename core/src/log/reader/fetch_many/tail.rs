//! Asking the store what follows the end of a log, on behalf of all fetches that wait there.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};
use crate::format::SegmentFooter;
use crate::log::locate::look_at_tail;
use crate::log::purgatory::{NextPoll, Tail, TooEarly};
use crate::log::reader::core::ReaderCore;
use crate::log::reader::follow::WRITER_CHECK;
use crate::log::reader::job::FetchJob;
use crate::log::reader::options::FetchOptions;
use crate::log::reader::refresh::refresh;
use crate::log::state::PartitionState;
use crate::runtime::lost_task;

/// The turn to ask the store about a tail. Dropping it gives it back.
pub(super) struct PollTurn {
    state: Arc<PartitionState>,
    news: bool,
    failed: Option<(Duration, Error)>,
}

impl PollTurn {
    /// Gives the turn back, and says whether the log had grown.
    pub(super) fn end(mut self, news: bool) {
        self.news = news;
    }

    /// Gives the turn back after a poll that failed. Fetches that come before the next poll get the error.
    fn fail(mut self, error: Error) {
        self.failed = Some((self.state.runtime().clock().elapsed(), error));
    }
}

impl Drop for PollTurn {
    fn drop(&mut self) {
        self.state.pace.end(self.news, self.failed.take());
    }
}

impl ReaderCore {
    /// Takes the turn to ask what follows.
    ///
    /// # Errors
    /// Too early, by the pace of all who poll the partition.
    pub(super) fn take_turn(&self, now: Duration) -> Result<PollTurn, TooEarly> {
        let asked = self.state.with_catalog(|catalog| catalog.asked());
        self.state.pace.take(asked, now, (self.options.poll_min, self.options.poll_max))?;
        Ok(PollTurn { state: self.state.clone(), news: false, failed: None })
    }

    /// The error of a poll that was stopped, with what it waits for.
    fn unanswered(&self, began: Duration) -> Error {
        let state = &self.state;
        let lasted = state.runtime().clock().elapsed().saturating_sub(began).as_secs();
        let message = format!("whether partition {} has grown was not answered within {lasted}s", state.id);
        state.explain_since(began, Error::new(ErrorKind::TimedOut, message))
    }

    /// Asks the store what follows the end that is known, and lets the watermarks know. Whether the log had grown.
    async fn ask_tail(&self) -> Result<bool> {
        if self.state.source.is_some() {
            let before = self.state.watermarks.get().map(|watermarks| watermarks.high_watermark);
            return Ok(Some(refresh(&self.state).await?.high_watermark) > before);
        }
        let known =
            || self.state.with_catalog(|catalog| (catalog.newest(), catalog.start().is_some_and(|s| s.exists())));
        let before = known();
        match self.state.with_catalog(|catalog| catalog.next_slot()) {
            // The next key is known: it is asked for as a follower does.
            Some(end) => {
                let mut job = FetchJob::new(end, FetchOptions::new(1));
                self.look_beyond(&mut job, end).await?;
                let footer = job.span.and_then(|span| Some((span.base(), SegmentFooter::parse(&span.footer()?).ok()?)));
                if let Some((base, footer)) = footer.filter(|(base, footer)| footer.last_offset >= *base) {
                    self.state.with_catalog(|catalog| catalog.set_end(base, footer.last_offset + 1));
                }
            }
            None => look_at_tail(&self.state).await?,
        }
        let after = known();
        if after == before {
            return Ok(false);
        }
        // The watermarks are told how far the log goes, not only that it goes on.
        if after.0.is_some() && self.state.with_catalog(|catalog| catalog.newest_end()).is_none() {
            self.find_end().await?;
        }
        match self.state.with_catalog(|catalog| (catalog.newest_end(), catalog.start().and_then(|s| s.log_start()))) {
            (Some(end), log_start) => self.state.watermarks.learn(log_start, end, self.state.now_ms()),
            // The newest segment can't be read, or the log has no segment. The fetches find out what that means for them.
            (None, _) => self.state.watermarks.tell_fetches(),
        }
        Ok(true)
    }
}

impl Tail for ReaderCore {
    fn next_poll(self: Arc<Self>, now: Duration) -> NextPoll {
        if !self.state.watermarks.is_awaited() {
            return NextPoll::Never;
        }
        if self.tail_is_ours() {
            return NextPoll::At(now + WRITER_CHECK);
        }
        let turn = match self.take_turn(now) {
            Ok(turn) => turn,
            Err(early) => return NextPoll::At(early.until),
        };
        let (stop, stopped) = oneshot::channel();
        let poll = Box::pin(async move {
            let asked = AssertUnwindSafe(self.ask_tail()).catch_unwind();
            let error = match select(pin!(asked), stopped).await {
                Either::Left((Ok(Ok(news)), _)) => return turn.end(news),
                Either::Left((Ok(Err(error)), _)) => error,
                // The other tails are still polled.
                Either::Left((Err(_panic), _)) => lost_task(true),
                // The fetches wait on: reading the tail now might hang, too. A wait that ends in vain tells the error.
                Either::Right((_, _asked)) => return turn.fail(self.unanswered(now)),
            };
            turn.fail(error);
            self.state.watermarks.tell_fetches();
        });
        NextPoll::Now { poll, stop }
    }

    fn is_awaited(&self) -> bool {
        self.state.watermarks.is_awaited()
    }
}
