//! Streams of batches and of records.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::try_unfold;

use super::answer::{BatchPlace, Fetch, Hole};
use super::follow::FollowWait;
use super::gather::ChunkAt;
use super::handle::Reader;
use super::options::FetchOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Batch, CrcCheck};
use crate::log::identity::another_log;
use crate::runtime::Running;

/// Notices that a stream keeps for its caller.
const MAX_NOTICES: usize = 1024;

/// What a stream passed over on its way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// Offsets that do not exist; the stream went on after them.
    Hole(Hole),
    /// Bytes that are corrupt, with their place; only with
    /// [`OnCorrupt::Skip`](crate::OnCorrupt::Skip).
    Skipped(Error),
}

/// Batches in order. [`next`](Self::next) may be dropped and called again; nothing is lost.
pub struct BatchStream {
    pub(super) reader: Reader,
    position: i64,
    /// Where the last fetch ended. What it left out may stand before that.
    fetched_to: i64,
    /// Where the caller means to stop.
    until: i64,
    /// Which of the partition's logs it reads, if that was deleted and made again.
    generation: u64,
    /// Chunks that were fetched, where they stand, and how far the first is read.
    chunks: VecDeque<(Bytes, Option<ChunkAt>)>,
    at: usize,
    /// The batch that was given last.
    place: BatchPlace,
    pub(super) log_start: i64,
    high_watermark: i64,
    notices: VecDeque<Notice>,
    /// Something was read: what goes missing now is a hole, not an offset out of range.
    underway: bool,
    /// What comes next, fetched while the caller is busy with what came, and from which offset. A
    /// caller that reads on once will again; one that stops after the first fetch costs nothing more.
    ahead: Option<(i64, Running<Fetch>)>,
    waiting: Option<FollowWait>,
}

impl Reader {
    /// The batches from the one that holds `from` on, to the log's end as it is when it is reached.
    pub fn batches(&self, from: i64) -> BatchStream {
        BatchStream::new(self.clone(), from, false)
    }

    /// Like [`batches`](Self::batches), but waits at the end for what is appended: woken by a writer in
    /// this process, else asking for the next key with growing waits.
    pub fn follow(&self, from: i64) -> BatchStream {
        BatchStream::new(self.clone(), from, true)
    }
}

impl BatchStream {
    fn new(reader: Reader, from: i64, follow: bool) -> Self {
        let waiting = follow.then(|| FollowWait::new(&reader));
        let state = &reader.0.state;
        let (generation, place) = (state.generation(), BatchPlace::new(Some(state.id.clone()), None));
        BatchStream {
            reader,
            position: from,
            fetched_to: from,
            until: i64::MAX,
            generation,
            chunks: VecDeque::new(),
            at: 0,
            place,
            log_start: 0,
            high_watermark: 0,
            notices: VecDeque::new(),
            underway: false,
            ahead: None,
            waiting,
        }
    }

    /// The next batch; `None` at the log's end, never when following.
    ///
    /// Dropping the future loses no batch.
    ///
    /// # Errors
    /// As [`Reader::fetch`]; not found when the partition was deleted and made again meanwhile, for its
    /// offsets then mean other records. A follower tries again by itself when the store is away. After an
    /// error the stream stands where it was: [`seek`](Self::seek) goes past what is corrupt, and into the
    /// new log.
    pub async fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.buffered()? {
                self.position = batch.next_offset();
                return Ok(Some(batch));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The same as a [`Stream`], for combinators. It ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Batch>> + Send {
        try_unfold(self, |mut batches| async move { Ok(batches.next().await?.map(|batch| (batch, batches))) })
    }

    /// The next offset that the stream gives.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Goes on from this offset.
    pub fn seek(&mut self, offset: i64) {
        (self.position, self.fetched_to) = (offset, offset);
        self.generation = self.reader.0.state.generation();
        self.chunks.clear();
        self.at = 0;
        self.underway = false;
        self.ahead = None;
    }

    /// Says where the caller means to stop, if that is known. Nothing from this offset on is read
    /// ahead. What the stream gives does not change, and the offset may be moved at any time.
    pub fn read_ahead_to(&mut self, offset: i64) {
        self.until = offset;
    }

    /// Where the batch stands that was given last: for errors about its records.
    pub fn place(&self) -> &BatchPlace {
        &self.place
    }

    /// One past the last offset known to be durable when the store was asked last.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// What was passed over since the last call: holes, and what was corrupt and skipped. The latest
    /// 1,024 are kept.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.drain(..).collect()
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        if self.notices.len() >= MAX_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
    }

    fn buffered(&mut self) -> Result<Option<Batch>> {
        while let Some((chunk, at)) = self.chunks.front() {
            if self.at < chunk.len() {
                // Checked when it was read.
                let batch = Batch::parse(chunk, self.at, CrcCheck::AlreadyChecked)?;
                self.place.stands(at.map(|at| at.plus(self.at)));
                self.at += batch.bytes().len();
                return Ok(Some(batch));
            }
            self.chunks.pop_front();
            self.at = 0;
        }
        Ok(None)
    }

    /// Fetches the next chunks; `false` at the end.
    async fn fill(&mut self) -> Result<bool> {
        self.reader.0.state.bucket.fork.check()?;
        self.position = self.position.max(self.fetched_to);
        loop {
            let fetched = match &mut self.ahead {
                Some((from, fetch)) if *from == self.position => fetch.await,
                _ => self.reader.fetch_with(self.position, self.fetch_options()).await,
            };
            self.ahead = None;
            if self.reader.0.state.generation() != self.generation {
                return Err(another_log(&self.reader.0.state.id));
            }
            match fetched {
                Ok(fetch) => {
                    let empty = fetch.is_empty();
                    self.take(fetch);
                    if !empty {
                        return Ok(true);
                    }
                    let Some(waiting) = &mut self.waiting else { return Ok(false) };
                    waiting.wait(&self.reader, self.position).await;
                }
                Err(error) if error.kind() == ErrorKind::OutOfRange && self.underway => {
                    // The log lost what was to come next, or more: retention, or it was made again.
                    let Some(start) = error.log_range().map(|(start, _)| start).filter(|s| *s > self.position) else {
                        return Err(error);
                    };
                    self.notice(Notice::Hole(Hole::new(self.position, start)));
                    let state = &self.reader.0.state;
                    state.observer().hole_crossed(&state.id, self.position, start);
                    self.position = start;
                }
                Err(error) => match &mut self.waiting {
                    Some(waiting) if error.is_retriable() => waiting.back_off(&self.reader).await,
                    _ => return Err(error),
                },
            }
        }
    }

    /// A stream asks again at once, so it takes what is there.
    fn fetch_options(&self) -> FetchOptions {
        FetchOptions::new(self.reader.options().fetch_bytes).read_ahead_to(self.until).eager()
    }

    fn take(&mut self, fetch: Fetch) {
        let details = fetch.details.map(|details| *details).unwrap_or_default();
        if let Some(hole) = details.hole {
            self.notice(Notice::Hole(hole));
        }
        for error in details.skipped {
            self.notice(Notice::Skipped(error));
        }
        self.log_start = fetch.log_start;
        (self.high_watermark, self.fetched_to) = (fetch.high_watermark, fetch.next_offset);
        if fetch.chunks.is_empty() {
            // Only what was skipped moves an empty answer on.
            self.position = self.position.max(fetch.next_offset);
        } else {
            let goes_on = fetch.next_offset < fetch.high_watermark.min(self.until);
            if self.underway && goes_on {
                let fetching = self.reader.begin_fetch(fetch.next_offset, self.fetch_options());
                self.ahead = Some((fetch.next_offset, fetching));
            }
            self.underway = true;
            if let Some(waiting) = &mut self.waiting {
                waiting.reset();
            }
        }
        self.chunks = fetch.chunks.into_iter().zip(details.places).collect();
        self.at = 0;
    }
}

impl fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchStream").field("reader", &self.reader).field("position", &self.position).finish()
    }
}
