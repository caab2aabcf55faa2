//! What was appended and waits for a flush: groups, each of which goes into one segment whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::checked::{Built, CheckedBatches, check_len, new_batch};
use super::delivery::{Deliveries, FlushOutcome};
use super::options::WriterOptions;
use crate::error::{Error, Result};
use crate::format::{Batch, BatchBuilder, NewRecord};
use crate::log::budget::Permit;

/// Appends that can't be parted: one append of batches; or appends of records that share batches.
pub(super) struct Group {
    pub(super) id: u64,
    /// How many of the queue's closed batches are its own.
    batches: usize,
    /// The batch that further records may join; only in the last group.
    open: Option<Box<BatchBuilder>>,
    /// Bytes of its last batch while that is closed and not yet sealed; 0 if there is no such batch.
    unsealed: usize,
    /// Encoded bytes of the closed batches.
    bytes: usize,
    records: u64,
    /// First offset, relative to the writer's count.
    pub(super) first: i64,
    since: Duration,
    waited_for: bool,
    /// A claim: a segment of its own.
    pub(super) claims: bool,
    pub(super) outcome: Arc<FlushOutcome>,
    permit: Option<Permit>,
}

impl Group {
    /// Whether a segment and a flush still hold the group with so much more.
    fn has_room_for(&self, bytes: usize, records: u64, batches: usize, options: &WriterOptions) -> bool {
        let open = self.open.as_ref().map_or(0, |open| open.encoded_len());
        let bytes = self.bytes.saturating_add(open).saturating_add(bytes);
        let batches = self.batches + usize::from(self.open.is_some()) + batches;
        bytes <= options.max_append() && options.one_flush_takes(self.records + records, batches)
    }
}

/// A batch that takes no more records, to be compressed and checksummed without the writer's lock. Whoever closed it
/// must do that and tell [`Accumulator::sealed`]: no flush takes its group or a later one before.
#[must_use = "no flush goes past a batch that is not sealed"]
pub(super) struct Unsealed {
    pub(super) group: u64,
    pub(super) builder: Box<BatchBuilder>,
}

/// What one flush takes: groups, and the batches of all of them in their order.
#[derive(Default)]
pub(super) struct Drained {
    pub(super) groups: Vec<Group>,
    pub(super) batches: Arc<Vec<Batch>>,
}

impl Drained {
    /// Bytes of its batches, and its records.
    pub(super) fn size(&self) -> (usize, u64) {
        self.groups
            .iter()
            .fold((0_usize, 0_u64), |(bytes, records), group| (bytes + group.bytes, records + group.records))
    }

    /// Frees all that it holds, then decides the outcome, which the queue of deliveries tells.
    pub(super) fn settle(self, result: &Result<i64>, deliveries: &Deliveries) {
        drop(self.batches);
        let mut outcomes = Vec::with_capacity(self.groups.len());
        let mut charged: Option<Permit> = None;
        for group in self.groups {
            outcomes.push(group.outcome);
            match (&mut charged, group.permit) {
                (Some(charged), Some(permit)) => charged.absorb(permit),
                (charged, permit) => *charged = charged.take().or(permit),
            }
        }
        // A caller that appends again as soon as it is told must find the room.
        drop(charged);
        for outcome in outcomes {
            outcome.settle(result.clone(), deliveries);
        }
    }
}

/// Where an append went.
pub(super) struct Placed {
    pub(super) outcome: Arc<FlushOutcome>,
    pub(super) group: u64,
    pub(super) first: i64,
    pub(super) count: i64,
    /// In a new group.
    pub(super) starts: bool,
    /// The batch that was closed for it.
    pub(super) unsealed: Option<Unsealed>,
}

/// The queue of groups.
#[derive(Default)]
pub(super) struct Accumulator {
    groups: VecDeque<Group>,
    /// The closed batches of all groups, in their order.
    batches: VecDeque<Batch>,
    /// The most batches that waited at once since there was none, and before that: room for as many
    /// is made at once.
    peak: usize,
    usual: usize,
    next_group: u64,
    /// The next relative offset.
    next: i64,
    bytes: usize,
    records: u64,
    /// CheckedBatches that are closed and not yet sealed, and their bytes.
    unsealed: (usize, usize),
    /// Groups that a caller waits for.
    waited_for: usize,
    /// When the oldest append that a caller waits for came in.
    waited_since: Option<Duration>,
    /// Why records were lost.
    broken: Option<Error>,
}

impl Accumulator {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Bytes that wait, with those of the batches that are open or not yet sealed.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.unsealed.1 + self.open().map_or(0, |b| b.encoded_len())
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn batches(&self) -> usize {
        self.batches.len() + self.unsealed.0 + usize::from(self.open().is_some())
    }

    /// One past the last relative offset.
    pub(super) fn end(&self) -> i64 {
        self.next
    }

    /// How many groups wait.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// When the oldest append came in.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.groups.front().map(|g| g.since)
    }

    /// When the oldest append that a caller waits for came in.
    pub(super) fn waited_since(&self) -> Option<Duration> {
        self.waited_since
    }

    /// The batches before the first that is open or not yet sealed, and the first one's offset relative to the
    /// writer's count.
    pub(super) fn sealed_batches(&self) -> (i64, impl Iterator<Item = &Batch>) {
        let first = self.groups.front().map_or(self.next, |g| g.first);
        let count = match self.unsealed.0 {
            0 if self.broken.is_none() => self.batches.len(),
            _ => {
                let sealed = self.groups.iter().position(|g| g.unsealed > 0);
                let groups = sealed.map_or(self.groups.len(), |at| at + 1);
                self.groups.iter().take(groups).map(|g| g.batches).sum()
            }
        };
        (first, self.batches.iter().take(count))
    }

    /// Whether a batch is being sealed.
    pub(super) fn is_sealing(&self) -> bool {
        self.unsealed.0 > 0
    }

    pub(super) fn last_group(&self) -> Option<&Group> {
        self.groups.back()
    }

    fn open(&self) -> Option<&BatchBuilder> {
        self.groups.back().and_then(|g| g.open.as_deref())
    }

    /// Where a group is in the queue, unless it has left it.
    fn index_of(&self, id: u64) -> Option<usize> {
        let front = self.groups.front()?.id;
        let index = usize::try_from(id.checked_sub(front)?).ok()?;
        (index < self.groups.len()).then_some(index)
    }

    /// Notes that a caller waits for a group. `false` if the group has left the queue.
    pub(super) fn wait_for(&mut self, id: u64) -> bool {
        let Some(group) = self.index_of(id).and_then(|index| self.groups.get_mut(index)) else { return false };
        self.waited_for += usize::from(!group.waited_for);
        group.waited_for = true;
        let since = group.since;
        self.waited_since = Some(self.waited_since.map_or(since, |oldest| oldest.min(since)));
        true
    }

    fn start_group(&mut self, since: Duration) -> Option<Unsealed> {
        let unsealed = self.close_open();
        self.groups.push_back(Group {
            id: self.next_group,
            batches: 0,
            open: None,
            unsealed: 0,
            bytes: 0,
            records: 0,
            first: self.next,
            since,
            waited_for: false,
            claims: false,
            outcome: Arc::default(),
            permit: None,
        });
        self.next_group = self.next_group.wrapping_add(1);
        unsealed
    }

    /// Closes the batch that records may join.
    pub(super) fn close_open(&mut self) -> Option<Unsealed> {
        let group = self.groups.back_mut()?;
        let builder = group.open.take()?;
        group.unsealed = builder.encoded_len();
        self.unsealed.0 += 1;
        self.unsealed.1 += group.unsealed;
        Some(Unsealed { group: group.id, builder })
    }

    /// Puts what became of a group's closed batch into its place.
    ///
    /// # Errors
    /// Why it could not be made. Its records are lost then: the queue is broken from then on, gives nothing more to a
    /// flush, and its writer ends.
    pub(super) fn sealed(&mut self, group: u64, batch: Result<Batch>) -> Result<()> {
        // A writer that ended meanwhile has settled the group.
        let Some(index) = self.index_of(group) else { return batch.map(drop) };
        let Some(group) = self.groups.get_mut(index) else { return batch.map(drop) };
        self.unsealed.0 -= 1;
        self.unsealed.1 -= group.unsealed;
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                self.broken.get_or_insert_with(|| error.clone());
                return Err(error);
            }
        };
        let bytes = batch.bytes().len();
        group.unsealed = 0;
        group.bytes += bytes;
        group.batches += 1;
        self.bytes += bytes;
        // It is the last of its group, and later groups may have batches already.
        let later: usize = self.groups.range(index + 1..).map(|g| g.batches).sum();
        self.batches.insert(self.batches.len() - later, batch);
        Ok(())
    }

    /// Why records were lost, if they were: nothing that waits may be written.
    pub(super) fn broken(&self) -> Option<&Error> {
        self.broken.as_ref()
    }

    /// Puts closed batches into the last group.
    fn push_closed(&mut self, batches: impl ExactSizeIterator<Item = Batch>) {
        let Some(group) = self.groups.back_mut() else { return };
        if self.batches.capacity() == 0 {
            self.batches.reserve(batches.len().max(self.usual));
        }
        for batch in batches {
            let bytes = batch.bytes().len();
            group.bytes += bytes;
            group.batches += 1;
            self.bytes += bytes;
            self.batches.push_back(batch);
        }
    }

    /// An append of batches: joins the last group while both are small, for fewer groups are cheaper and
    /// share a segment anyway; else a group of its own. The permit is taken only when it succeeds: dropping one
    /// lets others in, which must not happen under the writer's lock.
    pub(super) fn push_batches(
        &mut self,
        batches: CheckedBatches,
        permit: &mut Option<Permit>,
        now: impl FnOnce() -> Duration,
        share: bool,
        options: &WriterOptions,
    ) -> Result<Placed> {
        let (mut bytes, mut records, mut count) = (0_usize, 0_u64, 0_i64);
        for batch in batches.as_slice() {
            bytes += batch.bytes().len();
            records += u64::try_from(batch.header().record_count).unwrap_or(0);
            count += i64::from(batch.header().last_offset_delta) + 1;
        }
        let small = options.batch_bytes.min(options.max_flush());
        let joins = self.groups.back().is_some_and(|last| {
            let fits = last.bytes + bytes <= small;
            let fits = fits && last.has_room_for(0, records, batches.as_slice().len(), options);
            let closed = last.open.is_none() && last.unsealed == 0;
            share && closed && !last.claims && fits && !last.waited_for
        });
        let unsealed = if joins { None } else { self.start_group(now()) };
        match batches {
            CheckedBatches::One(batch) => self.push_closed(std::iter::once(batch)),
            CheckedBatches::Many(batches) => self.push_closed(batches.into_iter()),
        }
        self.place(permit, count, records, !joins, unsealed)
    }

    /// A claim's batch: a segment of its own.
    pub(super) fn push_claim(&mut self, batch: Batch, permit: &mut Option<Permit>, now: Duration) -> Result<Placed> {
        let unsealed = self.start_group(now);
        self.push_closed(std::iter::once(batch));
        if let Some(group) = self.groups.back_mut() {
            group.claims = true;
        }
        self.place(permit, 1, 0, true, unsealed)
    }

    /// An append of few records: joins the open batch if it fits whole, else starts a group. `share` is
    /// false while groups must stay small. `None` when the records need more than one batch.
    pub(super) fn push_records(
        &mut self,
        records: &[NewRecord<'_>],
        permit: &mut Option<Permit>,
        now: impl FnOnce() -> Duration,
        share: bool,
        options: &WriterOptions,
    ) -> Result<Option<Placed>> {
        let (size, count) = (NewRecord::encoded_bounds(records), records.len() as u64);
        let joined = share
            && self.open().is_some_and(|open| open.encoded_len().saturating_add(size) <= options.max_batch())
            && self.last_group().is_some_and(|group| group.has_room_for(size, count, 0, options))
            && self.join(records)?;
        if joined {
            return self.place(permit, records.len() as i64, count, false, None).map(Some);
        }
        let mut open = new_batch(options);
        if !open.push_all(records)? {
            return Ok(None);
        }
        check_len(open.finished_bound(), options)?;
        self.push_built(Built { closed: Vec::new(), open, records: records.len() }, permit, now).map(Some)
    }

    /// An append of records that are in batches already; starts a group.
    pub(super) fn push_built(
        &mut self,
        built: Built,
        permit: &mut Option<Permit>,
        now: impl FnOnce() -> Duration,
    ) -> Result<Placed> {
        let unsealed = self.start_group(now());
        self.push_closed(built.closed.into_iter());
        if let Some(group) = self.groups.back_mut() {
            group.open = Some(built.open);
        }
        self.place(permit, built.records as i64, built.records as u64, true, unsealed)
    }

    fn join(&mut self, records: &[NewRecord<'_>]) -> Result<bool> {
        let Some(open) = self.groups.back_mut().and_then(|g| g.open.as_mut()) else { return Ok(false) };
        open.push_all(records)
    }

    /// Counts an append that the last group holds.
    fn place(
        &mut self,
        permit: &mut Option<Permit>,
        count: i64,
        records: u64,
        starts: bool,
        unsealed: Option<Unsealed>,
    ) -> Result<Placed> {
        let Some(group) = self.groups.back_mut() else {
            return Err(Error::new(crate::ErrorKind::Internal, "an append was placed in no group"));
        };
        let placed =
            Placed { outcome: group.outcome.clone(), group: group.id, first: self.next, count, starts, unsealed };
        group.records += records;
        if let Some(permit) = permit.take() {
            match &mut group.permit {
                Some(charged) => charged.absorb(permit),
                None => group.permit = Some(permit),
            }
        }
        self.records += records;
        self.next = self.next.saturating_add(count);
        Ok(placed)
    }

    /// The groups of the next segment: as many as fit a flush (the first always), one if `small`. Empty when the first is
    /// not yet sealed.
    pub(super) fn drain(&mut self, options: &WriterOptions, small: bool) -> Drained {
        let mut groups: Vec<Group> = Vec::new();
        let (mut bytes, mut records, mut batches) = (0_usize, 0_u64, 0_usize);
        while let Some(group) = self.groups.front() {
            // What the flush would hold with this group. The first goes whatever its size: one append is never parted, and
            // its size was checked when it came in.
            let first = groups.is_empty();
            bytes += group.bytes;
            records += group.records;
            let with_its_own = batches + group.batches;
            let fits = bytes <= options.max_flush() && options.one_flush_takes(records, with_its_own);
            // Appends are flushed in call order, so none passes one that is not ready.
            let ready = group.open.is_none() && group.unsealed == 0;
            // A claim needs a segment of its own: what came before it goes first, and nothing comes after it.
            if !ready || (!first && (small || group.claims || !fits)) {
                break;
            }
            // From here on the group is the flush's, and no longer counts as waiting.
            let claims = group.claims;
            batches = with_its_own;
            self.waited_for -= usize::from(group.waited_for);
            self.bytes -= group.bytes;
            self.records -= group.records;
            groups.extend(self.groups.pop_front());
            if claims {
                break;
            }
        }
        // The next trigger counts from the oldest group that is still waited for. It is not looked for where nobody waits:
        // thousands of groups may be left.
        let waited = if self.waited_for == 0 { None } else { self.groups.iter().find(|g| g.waited_for) };
        self.waited_since = waited.map(|g| g.since);
        // The batches of the groups come first in the queue. When all of them go, so does the queue's memory, and the next
        // one begins with room for as many as there were at most this time.
        self.peak = self.peak.max(self.batches.len());
        let batches: Vec<_> = if batches < self.batches.len() {
            self.batches.drain(..batches).collect()
        } else {
            self.usual = std::mem::take(&mut self.peak);
            std::mem::take(&mut self.batches).into()
        };
        Drained { groups, batches: Arc::new(batches) }
    }

    /// Everything that waits, to be failed.
    pub(super) fn take_all(&mut self) -> Drained {
        (self.bytes, self.records, self.waited_for, self.waited_since) = (0, 0, 0, None);
        self.unsealed = (0, 0);
        let batches = Arc::new(std::mem::take(&mut self.batches).into());
        Drained { groups: std::mem::take(&mut self.groups).into(), batches }
    }
}
