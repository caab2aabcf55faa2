//! The commit: batches into a segment, the segment into its slot (design.md, "Commit").

use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
pub(super) use super::env::Failure;
use super::env::{Env, gave_up};
use super::options::{OnConflict, WriterOptions};
use super::rival::Found;
use super::seen::Seen;
use super::slot::{Flight, SlotEnd};
use crate::error::{Error, Result, Stored};
use crate::format::{Batch, BuiltSegment, Limits, PartitionId, Segment, SegmentBuilder};
use crate::log::partition::PartitionState;
use crate::mutant::mutant;
use crate::store::Version;

/// Time of losing before a writer says *contended*.
const LONGEST_CONTENTION: Duration = Duration::from_secs(30);

/// Where this writer stands in the chain of segments.
#[derive(Debug)]
pub(super) struct Chain {
    /// Random, per opened writer: 32 hex digits.
    pub(super) writer_id: String,
    pub(super) flush_number: u64,
    /// The partition was empty and `log.json` was not there: the first commit makes it.
    pub(super) start: Start,
    /// The next slot.
    pub(super) next: i64,
    pub(super) previous: Option<Previous>,
    /// Of a log without a segment: the `log.json` that fixed its start.
    pub(super) log_json: Option<Version>,
    /// The last commit or look.
    pub(super) seen: Seen,
    pub(super) committed: bool,
}

/// Whether all writers agree on the first slot yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// There is a segment, or `log.json` was read.
    Fixed,
    /// Neither: with the offset asked for and the greatest log start mark.
    Open { asked: Option<i64>, mark: Option<i64> },
}

/// The segment before the next slot.
#[derive(Clone, Debug)]
pub(super) struct Previous {
    pub(super) base: i64,
    pub(super) version: Version,
    /// Another writer's: its index is made right before anything follows it.
    pub(super) index_unsure: Option<Segment>,
}

/// A segment that is durable.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) base: i64,
    pub(super) end: i64,
    pub(super) size: u64,
    pub(super) version: Version,
    pub(super) previous: Option<i64>,
}

impl Chain {
    pub(super) fn next_slot(&self) -> i64 {
        self.next
    }

    /// Before its first commit a writer that takes over commits little: one small segment is won
    /// against a busy owner where a large one would lose for ever.
    pub(super) fn wants_small(&self, options: &WriterOptions) -> bool {
        !self.committed && options.on_conflict == OnConflict::Takeover
    }

    /// Whether only a failure can change the offsets of what is buffered (invariant 2).
    pub(super) fn offsets_final(&self, options: &WriterOptions) -> bool {
        match options.on_conflict {
            OnConflict::Takeover => self.committed || mutant!(PromiseTooEarly),
            OnConflict::Fence => self.start == Start::Fixed,
            OnConflict::Rebase => false,
        }
    }

    fn may_move(&self, options: &WriterOptions) -> bool {
        match options.on_conflict {
            OnConflict::Takeover => !self.committed || mutant!(GoOnAfterLoss),
            OnConflict::Fence => false,
            OnConflict::Rebase => true,
        }
    }

    /// Makes the batches durable as one segment.
    pub(super) async fn commit(
        &mut self,
        state: &Arc<PartitionState>,
        options: &WriterOptions,
        control: &Control,
        batches: &[Batch],
    ) -> Result<Committed, Failure> {
        let env = Env { state, options, control };
        let (mut losses, mut losing) = (0_u32, None);
        loop {
            self.fix_start(&env).await?;
            let created_ms = state.now_ms();
            let batches = match batches.split_last() {
                Some((_, kept)) if mutant!(DropBatchesOnFailure) && losses > 0 && !kept.is_empty() => kept,
                _ => batches,
            };
            let built = self.build(&env, batches, created_ms).map_err(|error| Failure::fatal(error, Stored::Not))?;
            self.flush_number = self.flush_number.saturating_add(1);
            let flight = Flight::new(self, &env, built);
            let lost = match flight.win(self, &env).await {
                SlotEnd::Won(committed) => {
                    self.committed = true;
                    return Ok(committed);
                }
                SlotEnd::Failed(failure) => return Err(failure),
                SlotEnd::Lost(rival) => {
                    rival.check_epoch(options).map_err(|error| Failure::fatal(error, Stored::Not))?;
                    if !self.may_move(options) {
                        return Err(Failure::fatal(rival.fenced(), Stored::Not));
                    }
                    let lost = rival.fenced();
                    match rival.found {
                        Some(found) => self.follow(found),
                        None => self.reopen(&env).await?,
                    }
                    lost
                }
                SlotEnd::Gone(error) => {
                    if !self.may_move(options) {
                        return Err(Failure::fatal(error, Stored::Not));
                    }
                    self.reopen(&env).await?;
                    error
                }
            };
            losses = losses.saturating_add(1);
            let clock = env.state.runtime().clock();
            let since: &mut Seen = losing.get_or_insert_with(|| env.now());
            let contended = losses >= options.most_losses || since.is_past(LONGEST_CONTENTION, &**clock);
            if contended && !mutant!(LoseForEver) {
                let error = Error::contended(losses).with_source(lost);
                return Err(Failure::fatal(error, Stored::Not));
            }
        }
    }

    fn build(&self, env: &Env<'_>, batches: &[Batch], created_ms: i64) -> Result<BuiltSegment> {
        let mut builder = SegmentBuilder::new(self.next, created_ms, env.options.index_interval)?;
        if env.options.time_index {
            builder = builder.with_time_index(Limits::default());
        }
        builder.reserve(batches);
        for batch in batches {
            builder.push(batch, env.options.leader_epoch)?;
        }
        builder.finish()
    }

    /// Goes on behind the segment that won the slot. That is no look at the tail: the log may have
    /// passed the next slot long ago, and merging may have taken it away since.
    fn follow(&mut self, found: Found) {
        let Found { segment, info } = found;
        let next = segment.next_offset();
        self.previous = Some(Previous { base: self.next, version: info.version, index_unsure: Some(segment) });
        (self.start, self.next) = (Start::Fixed, next);
    }

    /// The tail has moved in a way that no slot of ours could have caused: find it anew.
    async fn reopen(&mut self, env: &Env<'_>) -> Result<(), Failure> {
        let found = env
            .patiently(|| super::open::find(env.state, env.options))
            .await
            .ok_or_else(|| gave_up(false))?
            .map_err(|error| Failure::fatal(error, Stored::Not))?;
        (self.start, self.next, self.seen) = (found.start, found.next, found.seen);
        (self.previous, self.log_json) = (found.previous, found.log_json);
        Ok(())
    }
}

/// The key of the slot of an offset.
pub(super) fn slot_key(id: &PartitionId, base: i64) -> String {
    id.segment_key(base)
}
