//! What was appended and waits for a flush: groups, each of which goes into one segment whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::append::Fate;
use super::checked::{Batches, check_len};
use super::delivery::Deliveries;
use super::options::WriterOptions;
use crate::error::{Error, Result};
use crate::format::{Batch, BatchBuilder, BatchOptions, NewRecord};
use crate::log::budget::Permit;

/// Appends that can't be parted: one append of batches; or appends of records that share batches.
pub(super) struct Group {
    pub(super) id: u64,
    /// How many of the queue's closed batches are its own.
    batches: usize,
    /// The batch that further records may join; only in the last group.
    open: Option<Box<BatchBuilder>>,
    /// Encoded bytes of the closed batches.
    bytes: usize,
    records: u64,
    /// First offset, relative to the writer's count.
    pub(super) first: i64,
    since: Duration,
    waited_for: bool,
    /// A claim: a segment of its own.
    pub(super) claims: bool,
    pub(super) fate: Arc<Fate>,
    permit: Option<Permit>,
}

impl Group {
    /// Whether a segment still holds the group with so much more.
    fn has_room_for(&self, bytes: usize, records: u64, options: &WriterOptions) -> bool {
        let open = self.open.as_ref().map_or(0, |open| open.encoded_len());
        let bytes = self.bytes.saturating_add(open).saturating_add(bytes);
        bytes <= options.max_append() && i32::try_from(self.records.saturating_add(records)).is_ok()
    }
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
        self.groups.iter().fold((0, 0), |(bytes, records), group| {
            (usize::saturating_add(bytes, group.bytes), u64::saturating_add(records, group.records))
        })
    }

    /// Frees all that it holds, then decides the outcome, which the queue of deliveries tells.
    pub(super) fn settle(self, outcome: &Result<i64>, deliveries: &Deliveries) {
        drop(self.batches);
        let mut fates = Vec::with_capacity(self.groups.len());
        let mut charged: Option<Permit> = None;
        for group in self.groups {
            fates.push(group.fate);
            match (&mut charged, group.permit) {
                (Some(charged), Some(permit)) => charged.absorb(permit),
                (charged, permit) => *charged = charged.take().or(permit),
            }
        }
        // Whoever appends again when told must find the room.
        drop(charged);
        for fate in fates {
            fate.settle(outcome.clone(), deliveries);
        }
    }
}

/// Where an append went.
pub(super) struct Placed {
    pub(super) fate: Arc<Fate>,
    pub(super) group: u64,
    pub(super) first: i64,
    pub(super) count: i64,
    /// In a new group.
    pub(super) starts: bool,
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
    /// Groups that somebody waits for.
    waited_for: usize,
    /// When the oldest append that somebody waits for came in.
    waited_since: Option<Duration>,
    /// Why records were lost.
    broken: Option<Error>,
    #[cfg(test)]
    pub(super) fails_to_finish: bool,
}

impl Accumulator {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Bytes that wait, with those of the open batch.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.saturating_add(self.open().map_or(0, |b| b.encoded_len()))
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn batches(&self) -> usize {
        self.batches.len().saturating_add(usize::from(self.open().is_some()))
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

    /// When the oldest append that somebody waits for came in.
    pub(super) fn waited_since(&self) -> Option<Duration> {
        self.waited_since
    }

    /// The closed batches, and the first one's offset relative to the writer's count.
    pub(super) fn closed(&self) -> (i64, impl Iterator<Item = &Batch>) {
        (self.groups.front().map_or(self.next, |g| g.first), self.batches.iter())
    }

    pub(super) fn last_group(&self) -> Option<&Group> {
        self.groups.back()
    }

    fn open(&self) -> Option<&BatchBuilder> {
        self.groups.back().and_then(|g| g.open.as_deref())
    }

    /// Marks that somebody waits for a group; false when it has left the queue.
    pub(super) fn wait_for(&mut self, id: u64) -> bool {
        let Some(front) = self.groups.front().map(|g| g.id) else { return false };
        let index = id.checked_sub(front).and_then(|i| usize::try_from(i).ok());
        match index.and_then(|i| self.groups.get_mut(i)) {
            Some(group) => {
                self.waited_for = self.waited_for.saturating_add(usize::from(!group.waited_for));
                group.waited_for = true;
                let since = group.since;
                self.waited_since = Some(self.waited_since.map_or(since, |oldest| oldest.min(since)));
                true
            }
            None => false,
        }
    }

    fn start_group(&mut self, since: Duration) -> Result<()> {
        self.close_open()?;
        self.groups.push_back(Group {
            id: self.next_group,
            batches: 0,
            open: None,
            bytes: 0,
            records: 0,
            first: self.next,
            since,
            waited_for: false,
            claims: false,
            fate: Arc::default(),
            permit: None,
        });
        self.next_group = self.next_group.wrapping_add(1);
        Ok(())
    }

    /// Closes the batch that records may join. When that fails its records are lost: the queue is broken from
    /// then on, gives nothing to a flush any more, and its writer ends.
    pub(super) fn close_open(&mut self) -> Result<()> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let Some(mut open) = self.groups.back_mut().and_then(|group| group.open.take()) else { return Ok(()) };
        if open.is_empty() {
            return Ok(());
        }
        match self.finish(&mut open) {
            Ok(batch) => {
                self.push_closed(std::iter::once(batch));
                Ok(())
            }
            Err(error) => {
                self.broken = Some(error.clone());
                Err(error)
            }
        }
    }

    #[allow(clippy::unused_self, reason = "a test makes it fail")]
    fn finish(&self, open: &mut BatchBuilder) -> Result<Batch> {
        #[cfg(test)]
        if self.fails_to_finish {
            return Err(Error::new(crate::ErrorKind::Internal, "compressing failed, on purpose"));
        }
        open.finish(0)
    }

    /// Whether records were lost: nothing that waits may be written.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Puts closed batches into the last group.
    fn push_closed(&mut self, batches: impl ExactSizeIterator<Item = Batch>) {
        let Some(group) = self.groups.back_mut() else { return };
        if self.batches.capacity() == 0 {
            self.batches.reserve(batches.len().max(self.usual));
        }
        for batch in batches {
            let bytes = batch.bytes().len();
            group.bytes = group.bytes.saturating_add(bytes);
            group.batches = group.batches.saturating_add(1);
            self.bytes = self.bytes.saturating_add(bytes);
            self.batches.push_back(batch);
        }
    }

    /// An append of batches: joins the last group while both are small, for fewer groups are cheaper and
    /// share a segment anyway; else a group of its own. The permit is taken only when it succeeds: dropping one
    /// lets others in, which must not happen under the writer's lock.
    pub(super) fn push_batches(
        &mut self,
        batches: Batches,
        permit: &mut Option<Permit>,
        now: impl FnOnce() -> Result<Duration>,
        share: bool,
        options: &WriterOptions,
    ) -> Result<Placed> {
        let (mut bytes, mut records, mut count) = (0_usize, 0_u64, 0_i64);
        for batch in batches.as_slice() {
            bytes = bytes.saturating_add(batch.bytes().len());
            records = records.saturating_add(u64::try_from(batch.header().record_count).unwrap_or(0));
            count = count.saturating_add(i64::from(batch.header().last_offset_delta).saturating_add(1));
        }
        let small = options.batch_bytes.min(options.max_flush());
        let joins = self.groups.back().is_some_and(|last| {
            let fits = last.bytes.saturating_add(bytes) <= small && last.has_room_for(0, records, options);
            share && last.open.is_none() && !last.claims && fits && !last.waited_for && self.broken.is_none()
        });
        if !joins {
            self.start_group(now()?)?;
        }
        match batches {
            Batches::One(batch) => self.push_closed(std::iter::once(batch)),
            Batches::Many(batches) => self.push_closed(batches.into_iter()),
        }
        self.place(permit, count, records, !joins)
    }

    /// A claim's batch: a segment of its own.
    pub(super) fn push_claim(&mut self, batch: Batch, permit: &mut Option<Permit>, now: Duration) -> Result<Placed> {
        self.start_group(now)?;
        self.push_closed(std::iter::once(batch));
        if let Some(group) = self.groups.back_mut() {
            group.claims = true;
        }
        self.place(permit, 1, 0, true)
    }

    /// An append of records: joins the open batch if it fits whole, else starts a group. `share` is
    /// false while groups must stay small.
    pub(super) fn push_records(
        &mut self,
        records: &[NewRecord<'_>],
        permit: &mut Option<Permit>,
        now: impl FnOnce() -> Result<Duration>,
        share: bool,
        options: &WriterOptions,
    ) -> Result<Placed> {
        let size: usize = records.iter().map(NewRecord::encoded_bound).sum();
        let joined = share
            && self.open().is_some_and(|open| open.encoded_len().saturating_add(size) <= options.max_batch())
            && self.last_group().is_some_and(|group| group.has_room_for(size, records.len() as u64, options))
            && self.join(records)?;
        if !joined {
            let (closed, open) = batch_up(records, options)?;
            self.start_group(now()?)?;
            self.push_closed(closed.into_iter());
            if let Some(group) = self.groups.back_mut() {
                group.open = Some(open);
            }
        }
        let count = records.len();
        self.place(permit, i64::try_from(count).unwrap_or(i64::MAX), count as u64, !joined)
    }

    fn join(&mut self, records: &[NewRecord<'_>]) -> Result<bool> {
        let Some(open) = self.groups.back_mut().and_then(|g| g.open.as_mut()) else { return Ok(false) };
        open.push_all(records)
    }

    /// Counts an append that the last group holds.
    fn place(&mut self, permit: &mut Option<Permit>, count: i64, records: u64, starts: bool) -> Result<Placed> {
        let Some(group) = self.groups.back_mut() else {
            return Err(Error::new(crate::ErrorKind::Internal, "an append was placed in no group"));
        };
        let placed = Placed { fate: group.fate.clone(), group: group.id, first: self.next, count, starts };
        group.records = group.records.saturating_add(records);
        if let Some(permit) = permit.take() {
            match &mut group.permit {
                Some(charged) => charged.absorb(permit),
                None => group.permit = Some(permit),
            }
        }
        self.records = self.records.saturating_add(records);
        self.next = self.next.saturating_add(count);
        Ok(placed)
    }

    /// The groups of the next segment: as many as fit `max_bytes` (the first always), one if `small`.
    pub(super) fn drain(&mut self, max_bytes: usize, small: bool) -> Result<Drained> {
        self.close_open()?;
        let mut groups: Vec<Group> = Vec::new();
        let (mut bytes, mut records, mut batches) = (0_usize, 0_u64, 0_usize);
        while let Some(group) = self.groups.front() {
            let first = groups.is_empty();
            bytes = bytes.saturating_add(group.bytes);
            records = records.saturating_add(group.records);
            let fits = bytes <= max_bytes && i32::try_from(records).is_ok();
            if !first && (small || group.claims || !fits) {
                break;
            }
            let claims = group.claims;
            batches = batches.saturating_add(group.batches);
            self.waited_for = self.waited_for.saturating_sub(usize::from(group.waited_for));
            self.bytes = self.bytes.saturating_sub(group.bytes);
            self.records = self.records.saturating_sub(group.records);
            groups.extend(self.groups.pop_front());
            if claims {
                break;
            }
        }
        // Not looked for where nobody waits: thousands of groups may be left.
        let waited = if self.waited_for == 0 { None } else { self.groups.iter().find(|g| g.waited_for) };
        self.waited_since = waited.map(|g| g.since);
        self.peak = self.peak.max(self.batches.len());
        let batches: Vec<_> = if batches < self.batches.len() {
            self.batches.drain(..batches).collect()
        } else {
            self.usual = std::mem::take(&mut self.peak);
            std::mem::take(&mut self.batches).into()
        };
        Ok(Drained { groups, batches: Arc::new(batches) })
    }

    /// Everything that waits, to be failed.
    pub(super) fn take_all(&mut self) -> Drained {
        (self.bytes, self.records, self.waited_for, self.waited_since) = (0, 0, 0, None);
        let batches = Arc::new(std::mem::take(&mut self.batches).into());
        Drained { groups: std::mem::take(&mut self.groups).into(), batches }
    }
}

/// Records in batches of up to `batch_bytes`; the last is left open. All of them fit one segment.
pub(super) fn batch_up(records: &[NewRecord<'_>], options: &WriterOptions) -> Result<(Vec<Batch>, Box<BatchBuilder>)> {
    let mut open = Box::new(BatchBuilder::new(BatchOptions::default().with_compression(options.compression)));
    let (mut closed, mut bytes) = (Vec::new(), 0_usize);
    for record in records {
        let full = open.encoded_len().saturating_add(record.encoded_bound()) > options.max_batch();
        if (full && !open.is_empty()) || !open.push(record)? {
            let batch = open.finish(0)?;
            bytes = bytes.saturating_add(batch.bytes().len());
            closed.push(batch);
            if !open.push(record)? {
                return Err(super::too_large("a record does not fit a batch of its own"));
            }
        }
        check_len(bytes.saturating_add(open.finished_bound()), options)?;
    }
    Ok((closed, open))
}
