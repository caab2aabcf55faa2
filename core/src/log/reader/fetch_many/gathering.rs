//! What a fetch of many partitions has gathered, and how it reads more.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::iter::Peekable;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use std::vec::IntoIter;

use futures_util::FutureExt;

use super::begin::{Begun, begin};
use super::count::{Progression, high_watermark};
use super::request::{FetchPartition, FetchRequest, FetchResponse};
use crate::error::{Error, ErrorKind, Result};
use crate::format::BATCH_HEADER_LEN;
use crate::log::identity::another_log;
use crate::log::purgatory::{DelayedFetch, Tail, Woken, delay};
use crate::log::reader::answer::Fetch;
use crate::log::reader::job::FetchJob;
use crate::log::reader::options::FetchOptions;
use crate::log::state::BucketInner;
use crate::runtime::Running;

/// The most partitions that one fetch reads from the store at the same time.
const READ_TOGETHER: usize = 16;

/// How long reads that are under way may go on once the answer is due. After that their partitions are given as *timed
/// out*, so that a store that does not answer for one partition holds up the others no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A read that lasts this long makes room for another one, so that 16 reads that hang hold up no other partition.
const SLOW: Duration = Duration::from_secs(1);

/// A fetch of many partitions under way.
pub(super) struct Gathering<'a> {
    bucket: &'a Arc<BucketInner>,
    request: &'a FetchRequest,
    parts: Vec<Progression>,
    /// How many of them were not read yet.
    unread: usize,
    /// Those of which something may be in sight. A fetch that is woken looks at no others, however many it has.
    touched: BTreeSet<usize>,
    /// The answer so far, apart from the partitions that were not read.
    results: Vec<Result<Fetch>>,
    /// Bytes of batches in it.
    bytes: usize,
    /// There is something in it, other than batches, that the caller should know now.
    tells: bool,
    /// What comes next does not fit.
    is_full: bool,
    /// Reads have had their time.
    is_late: bool,
    /// The partition that comes first.
    first: usize,
    began: Duration,
    deadline: Duration,
    /// When the answer was due, or will be at the latest.
    due_at: Duration,
    delayed: Option<DelayedFetch>,
    /// How long that waits.
    delayed_until: Duration,
}

/// Partitions that are read at the same time.
struct Round {
    wanted: Peekable<IntoIter<usize>>,
    under_way: Vec<ReadUnderWay>,
    /// Those that had no room.
    left: Vec<usize>,
    /// A batch did not fit into what the others left: no more partitions are asked for theirs.
    is_full: bool,
}

/// A read of the store under way.
struct ReadUnderWay {
    /// The number of its partition.
    index: usize,
    /// The bytes for which it has room.
    limit: usize,
    /// Whether others left it less room than its partition has.
    is_tight: bool,
    /// The high watermark that was known when it began.
    known: i64,
    /// When it makes room for another one.
    slow_at: Duration,
    /// It has made room: it takes no place.
    is_slow: bool,
    running: Running<Fetch>,
}

/// What a fetch waits for while it reads.
enum Awaited {
    /// The read at this place has ended.
    Read(usize, Result<Fetch>),
    /// A read has lasted so long that it makes room for another one.
    Slow,
    /// All reads have had their time.
    Late,
}

impl Round {
    /// The reads that take a place.
    fn placed(&self) -> impl Iterator<Item = &ReadUnderWay> {
        self.under_way.iter().filter(|read| !read.is_slow)
    }

    /// How many bytes the reads under way keep free for themselves. Once one of them is slow none does: it might hang, and
    /// hold up all others.
    fn reserved(&self) -> usize {
        match self.under_way.iter().any(|read| read.is_slow) {
            true => 0,
            false => self.under_way.iter().map(|read| read.limit).sum(),
        }
    }

    /// When the next read makes room for another one, if one waits for that.
    fn next_slow(&mut self) -> Option<Duration> {
        self.wanted.peek()?;
        self.placed().map(|read| read.slow_at).min()
    }

    fn had_no_room(&mut self, index: usize, is_tight: bool) {
        self.is_full |= is_tight;
        self.left.push(index);
    }
}

impl<'a> Gathering<'a> {
    pub(super) fn new(bucket: &'a Arc<BucketInner>, request: &'a FetchRequest) -> Self {
        let count = request.partitions.len();
        let began = bucket.runtime.clock().elapsed();
        let unread = Error::new(ErrorKind::Internal, "a partition was not read");
        let mut gathering = Gathering {
            bucket,
            request,
            parts: Vec::with_capacity(count),
            unread: count,
            touched: BTreeSet::new(),
            results: vec![Err(unread); count],
            bytes: 0,
            tells: false,
            is_full: false,
            is_late: false,
            first: request.turn().checked_rem(count).unwrap_or(0),
            began,
            deadline: began.saturating_add(request.max_wait),
            due_at: began.saturating_add(request.max_wait),
            delayed: None,
            delayed_until: Duration::ZERO,
        };
        for (partition, result) in request.partitions.iter().zip(&mut gathering.results) {
            let core = &partition.reader.0;
            let mut part = Progression::new(core, partition.offset, partition.max_bytes);
            if let Some(error) = refusal(bucket, partition) {
                (*result, part.read, gathering.tells) = (Err(error), true, true);
                gathering.unread -= 1;
            }
            gathering.parts.push(part);
        }
        gathering
    }

    /// How many bytes are enough.
    fn least(&self) -> usize {
        self.request.min_bytes.min(self.request.max_bytes)
    }

    /// Whether the answer may be given: there are enough bytes, there is something to tell, or nothing more fits.
    pub(super) fn is_due(&self) -> bool {
        self.tells || self.is_full || self.parts.is_empty() || self.bytes >= self.least()
    }

    /// The partitions that were not read yet, in their order.
    pub(super) fn unread(&self) -> Vec<usize> {
        self.in_turn(0..self.parts.len(), |part| !part.read)
    }

    /// The partitions of which something is in sight, in their order.
    pub(super) fn in_sight(&self) -> Vec<usize> {
        self.in_turn(self.touched.iter().copied(), |part| part.in_sight > 0 || part.must_read)
    }

    /// The partitions that are worth reading now: all of which something is in sight if that makes enough, else only
    /// those of which nothing else tells more.
    pub(super) fn worth_reading(&self) -> Vec<usize> {
        let touched = self.touched.iter().filter_map(|index| self.parts.get(*index));
        let in_sight = touched.fold(self.bytes, |bytes, part| bytes.saturating_add(part.in_sight));
        if in_sight > self.bytes && in_sight >= self.least() {
            return self.in_sight();
        }
        let now = self.bucket.runtime.clock().elapsed();
        self.in_turn(self.touched.iter().copied(), |part| part.must_read_at().is_some_and(|at| at <= now))
    }

    /// Nothing is worth reading now: sets when the wait ends if no partition moves.
    pub(super) fn rest(&mut self) {
        let touched = self.touched.iter().filter_map(|index| self.parts.get(*index));
        let next_read = touched.filter_map(Progression::must_read_at).min();
        self.delay_until(next_read.map_or(self.deadline, |at| at.min(self.deadline)));
    }

    /// Whether the time of the fetch is over.
    pub(super) fn is_over(&self) -> bool {
        self.deadline <= self.bucket.runtime.clock().elapsed()
    }

    /// Those of these partitions that are wanted, in their order.
    fn in_turn(&self, of: impl Iterator<Item = usize>, wanted: impl Fn(&Progression) -> bool) -> Vec<usize> {
        let mut in_turn: Vec<usize> = of.filter(|index| self.parts.get(*index).is_some_and(&wanted)).collect();
        in_turn.sort_unstable_by_key(|index| self.place(*index));
        in_turn
    }

    /// How many partitions come before this one.
    fn place(&self, index: usize) -> usize {
        let wraps = if index < self.first { self.parts.len() } else { 0 };
        index + wraps - self.first
    }

    /// Reads these partitions while there is room.
    pub(super) async fn read(&mut self, wanted: Vec<usize>) {
        let mut left = self.read_each(wanted).await;
        // Reads that ran beside others had less room than is left now. If nothing fitted, the first partition that has
        // a batch now gives it whole (KIP-74, invariant 6).
        while !left.is_empty() && !self.is_late {
            let before = self.bytes;
            left = self.read_each(left).await;
            if self.bytes == before {
                break;
            }
        }
        let free = self.free();
        self.is_full |= left.iter().any(|index| self.parts.get(*index).is_some_and(|part| part.room > free));
        if let Some(index) = left.first() {
            self.request.set_turn(*index);
        }
        if self.delayed.is_some() {
            self.delay_until(self.deadline);
        }
    }

    /// Reads these partitions while there is room, several at a time. Returns, in their order, those that have a
    /// batch, or may have one, and no room for it.
    async fn read_each(&mut self, wanted: Vec<usize>) -> Vec<usize> {
        let mut round =
            Round { wanted: wanted.into_iter().peekable(), under_way: Vec::new(), left: Vec::new(), is_full: false };
        loop {
            while round.placed().count() < READ_TOGETHER && self.begin_next(&mut round) {}
            if round.under_way.is_empty() {
                break;
            }
            let (at, read) = match self.awaited(&mut round).await {
                Awaited::Read(at, read) => (at, read),
                Awaited::Slow => continue,
                Awaited::Late => {
                    self.give_up(&round.under_way);
                    break;
                }
            };
            let ReadUnderWay { index, is_tight, known, .. } = round.under_way.swap_remove(at);
            if self.bytes > 0 && read.as_ref().is_ok_and(|fetch| fetch.bytes() > self.free()) {
                // A slow read has no room of its own, so others may have taken it. The next fetch finds it in the cache.
                self.pass_over(index, known);
                round.had_no_room(index, true);
            } else if self.take(index, read, known) {
                round.had_no_room(index, is_tight);
            }
        }
        round.left.sort_unstable_by_key(|index| self.place(*index));
        round.left
    }

    /// Begins to read the next partition. `false` if no partition is left, or if a read has to end first.
    fn begin_next(&mut self, round: &mut Round) -> bool {
        let Some(index) = round.wanted.peek().copied() else { return false };
        let Some((partition, part)) = self.request.partitions.get(index).zip(self.parts.get_mut(index)) else {
            return false;
        };
        let known = high_watermark(&partition.reader.0);
        let reserved = round.reserved();
        let limit = part.room.min(self.request.max_bytes.saturating_sub(self.bytes).saturating_sub(reserved));
        let is_tight = limit < part.room;
        let whole = self.bytes == 0 && round.placed().next().is_none();
        if !whole && (round.is_full || limit < BATCH_HEADER_LEN) {
            if !round.is_full && is_tight && reserved > 0 {
                // What is being read may leave room.
                return false;
            }
            part.passed_over(known);
            round.left.push(index);
            round.wanted.next();
            return true;
        }
        round.wanted.next();
        match begin(&partition.reader, part.next, limit, whole) {
            Begun::Reading(running) => {
                let slow_at = self.bucket.runtime.clock().elapsed().saturating_add(SLOW);
                let read = ReadUnderWay { index, limit, is_tight, known, slow_at, is_slow: false, running };
                round.under_way.push(read);
            }
            Begun::Done(read) => {
                if self.take(index, read, known) {
                    round.had_no_room(index, is_tight);
                }
            }
        }
        true
    }

    /// Waits until a read ends, makes room for another one, or has had its time.
    async fn awaited(&mut self, round: &mut Round) -> Awaited {
        if self.is_due() {
            self.due_at = self.due_at.min(self.bucket.runtime.clock().elapsed());
        }
        let late_at = self.due_at.saturating_add(PATIENCE);
        let slow_at = round.next_slow().filter(|slow_at| *slow_at < late_at);
        self.delay_until(slow_at.unwrap_or(late_at));
        let ended = poll_fn(|context| {
            for (at, read) in round.under_way.iter_mut().enumerate() {
                if let Poll::Ready(read) = read.running.poll_unpin(context) {
                    return Poll::Ready(Some((at, read)));
                }
            }
            match self.delayed.as_ref().map(|delayed| delayed.poll_due(context)) {
                Some(Poll::Ready(())) => Poll::Ready(None),
                _ => Poll::Pending,
            }
        });
        if let Some((at, read)) = ended.await {
            return Awaited::Read(at, read);
        }
        // A runtime that was shut down ends the wait before its time, and no read is slow then.
        let now = self.bucket.runtime.clock().elapsed();
        match slow_at.filter(|slow_at| *slow_at <= now && now < late_at) {
            Some(_) => {
                round.under_way.iter_mut().for_each(|read| read.is_slow |= read.slow_at <= now);
                Awaited::Slow
            }
            None => Awaited::Late,
        }
    }

    /// There is no room for a partition.
    fn pass_over(&mut self, index: usize, known: i64) {
        if let Some(part) = self.parts.get_mut(index) {
            part.passed_over(known);
        }
    }

    /// The reads under way have had their time.
    fn give_up(&mut self, under_way: &[ReadUnderWay]) {
        (self.is_late, self.tells) = (true, true);
        for read in under_way {
            let Some(partition) = self.request.partitions.get(read.index) else { continue };
            let state = &partition.reader.0.state;
            let message = format!("partition {} was not read within {PATIENCE:?} after the answer was due", state.id);
            let late = state.explain_since(self.began, Error::new(ErrorKind::TimedOut, message));
            self.take(read.index, Err(late), read.known);
        }
    }

    /// Bytes that still fit.
    fn free(&self) -> usize {
        self.request.max_bytes.saturating_sub(self.bytes)
    }

    /// Takes in what a read gave. `known` is the high watermark that was known when it began. Whether there is a batch
    /// that did not fit.
    fn take(&mut self, index: usize, read: Result<Fetch>, known: i64) -> bool {
        let Some(partition) = self.request.partitions.get(index) else { return false };
        let (Some(part), Some(result)) = (self.parts.get_mut(index), self.results.get_mut(index)) else { return false };
        let core = &partition.reader.0;
        self.unread -= usize::from(!part.read);
        let held = if part.read { result.as_ref().map_or(0, Fetch::bytes) } else { 0 };
        if core.state.generation() != part.generation {
            self.bytes -= held;
            (*result, self.tells) = (Err(another_log(&core.state.id)), true);
            part.read_to(part.next, 0, i64::MAX);
            return false;
        }
        match read {
            Ok(more) => {
                let (bytes, refused) = (more.bytes(), more.refused);
                self.tells |= more.hole().is_some() || !more.skipped().is_empty();
                if held > 0 && more.hole().is_some() {
                    // The next fetch begins after the hole and says so.
                    part.read_to(part.next, 0, i64::MAX);
                    return false;
                }
                self.bytes += bytes;
                part.read_to(more.next_offset, bytes, known);
                if core.state.source.is_some() {
                    part.pace(core, bytes > 0 || refused, self.bucket.runtime.clock().elapsed());
                }
                part.count(core);
                if part.in_sight > 0 {
                    self.touched.insert(index);
                }
                match result {
                    Ok(held) => held.append(more),
                    Err(_) => *result = Ok(more),
                }
                refused
            }
            Err(error) => {
                part.read_to(part.next, 0, i64::MAX);
                self.tells = true;
                // What was found before it failed is given. The next fetch says what failed.
                if held == 0 {
                    *result = Err(error);
                }
                false
            }
        }
    }

    fn delay_until(&mut self, deadline: Duration) {
        match &self.delayed {
            Some(_) if self.delayed_until == deadline => return,
            Some(delayed) => delayed.set_deadline(deadline),
            None => {
                let BucketInner { purgatory, runtime, .. } = &**self.bucket;
                self.delayed = Some(delay(purgatory, runtime, self.parts.len(), deadline));
            }
        }
        self.delayed_until = deadline;
    }

    /// From now on every partition wakes this fetch when it grows.
    pub(super) fn join(&mut self) {
        self.delay_until(self.deadline);
        let Some(delayed) = &self.delayed else { return };
        let mut tails: Vec<Arc<dyn Tail>> = Vec::new();
        for ((number, partition), part) in (0_u32..).zip(&self.request.partitions).zip(&mut self.parts) {
            let core = &partition.reader.0;
            if core.state.watermarks.attach_fetch(delayed, number) {
                tails.push(core.clone());
            }
            // A change before that woke no task.
            part.count(core);
            part.must_read |= core.state.generation() != part.generation;
            if part.in_sight > 0 || part.must_read {
                self.touched.insert(number as usize);
            }
        }
        delayed.purgatory().poll(tails);
    }

    /// Waits until a partition moves or the deadline passes.
    ///
    /// # Errors
    /// Closed when the bucket is, and when the runtime was shut down.
    pub(super) async fn woken(&self) -> Result<Woken> {
        poll_fn(|context| match &self.delayed {
            Some(delayed) => delayed.poll_woken(context),
            None => Poll::Ready(Err(Error::new(ErrorKind::Internal, "a fetch waits for nothing"))),
        })
        .await
    }

    /// A partition moved.
    pub(super) fn moved(&mut self, index: usize, must_read: bool) {
        let Some((partition, part)) = self.request.partitions.get(index).zip(self.parts.get_mut(index)) else { return };
        part.must_read |= must_read;
        part.count(&partition.reader.0);
        self.touched.insert(index);
    }

    /// The wait ends in vain. Partitions whose end the store does not tell say why.
    pub(super) fn tell_trouble(&mut self) {
        let now = self.bucket.runtime.clock().elapsed();
        for (partition, result) in self.request.partitions.iter().zip(&mut self.results) {
            let core = &partition.reader.0;
            if !result.as_ref().is_ok_and(Fetch::is_empty) || core.tail_is_ours() {
                continue;
            }
            if let Some(trouble) = core.state.retries.worst(now).filter(|trouble| trouble.error.is_some()) {
                let message = format!("whether partition {} has grown is not known", core.state.id);
                *result = Err(trouble.explain(Error::new(ErrorKind::TimedOut, message)));
            } else if let Some(error) = core.state.pace.failure(core.state.with_catalog(|catalog| catalog.asked())) {
                *result = Err(error);
            }
        }
    }

    pub(super) fn answer(mut self) -> FetchResponse {
        if self.unread == 0 {
            return FetchResponse { partitions: std::mem::take(&mut self.results) };
        }
        for ((partition, part), result) in self.request.partitions.iter().zip(&self.parts).zip(&mut self.results) {
            if !part.read {
                let core = &partition.reader.0;
                *result = Ok(core.answer(FetchJob::new(part.next, FetchOptions::new(0))));
            }
        }
        FetchResponse { partitions: std::mem::take(&mut self.results) }
    }
}

/// Why a partition can't be fetched, whatever the log holds.
fn refusal(bucket: &Arc<BucketInner>, partition: &FetchPartition) -> Option<Error> {
    let state = &partition.reader.0.state;
    let message = if !Arc::ptr_eq(&state.bucket, bucket) {
        format!("the reader of partition {} belongs to another Bucket", state.id)
    } else if partition.offset < 0 {
        format!("offset {} of partition {} is negative", partition.offset, state.id)
    } else {
        return None;
    };
    Some(Error::new(ErrorKind::InvalidInput, message))
}
