//! The commit: batches into a segment, the segment into its slot (docs/design.md, "Commit").

use std::sync::Arc;

use super::control::Control;
pub(super) use super::env::Failure;
use super::env::{Env, gave_up};
use super::open::Adopted;
use super::options::{OnConflict, WriterOptions};
use super::pace::Pace;
use super::seen::Seen;
use super::slot::{Flight, SlotEnd};
use super::yielding::{Claims, STEP};
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::format::{Batch, BuiltSegment, Limits, PartitionId, SegmentBuilder};
use crate::log::locate::newest_from;
use crate::log::partition::PartitionState;
use crate::mutant::mutant;
use crate::store::Version;

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
    /// The version of `log.json`, which tells this log from one that is made after it was deleted. A log of KafScale's
    /// has none.
    pub(super) log: Option<Version>,
    /// When the log was last seen to be the one that this writer opened. A commit proves only that its slot was free.
    pub(super) confirmed: Seen,
    pub(super) committed: bool,
    /// Its turns among the writers that compete for slots.
    pub(super) pace: Pace,
    /// What it knows of claims on the partition.
    pub(super) claims: Claims,
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
    /// The highest in it, -1 for none.
    pub(super) leader_epoch: i32,
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

    /// A look that began at this moment found the log as this writer knows it.
    pub(super) fn saw(&mut self, seen: Seen) {
        (self.seen, self.confirmed) = (seen, seen);
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

    /// Makes the batches durable as one segment. `claims`: they are a claim's.
    pub(super) async fn commit(
        &mut self,
        state: &Arc<PartitionState>,
        options: &WriterOptions,
        control: &Control,
        batches: &[Batch],
        claims: bool,
    ) -> Result<Committed, Failure> {
        let env = Env { state, options, control };
        let runtime = state.runtime();
        let shares = options.on_conflict == OnConflict::Rebase;
        self.pace.begin();
        if claims {
            self.claim_slot(&env).await?;
        }
        self.yield_to_claim(&env).await?;
        if shares && self.pace.looks_first(&**runtime.clock()) && !self.jump(&env).await? {
            self.pace.alone();
        }
        loop {
            self.fix_start(&env).await?;
            let created_ms = state.now_ms();
            let batches = match batches.split_last() {
                Some((_, kept)) if mutant!(DropBatchesOnFailure) && self.pace.losses() > 0 && !kept.is_empty() => kept,
                _ => batches,
            };
            let built = self.build(&env, batches, created_ms).map_err(|error| Failure::fatal(error, Stored::Not))?;
            self.flush_number = self.flush_number.saturating_add(1);
            let began = runtime.clock().elapsed();
            let flight = Flight::new(self, &env, built);
            self.look_for_claim(&env);
            match flight.win(self, &env).await {
                SlotEnd::Won(committed) => {
                    self.committed = true;
                    self.claims.won(runtime.clock().elapsed());
                    self.pace.won(began, shares, runtime);
                    return Ok(committed);
                }
                SlotEnd::Failed(failure) => return Err(failure),
                SlotEnd::Lost(_) if mutant!(BelieveMarker) && self.claims.asking.is_some() => {
                    return self.believe_marker(&env).await;
                }
                SlotEnd::Lost(rival) => self.give_way(&env, rival.fenced(), rival.merged).await?,
                SlotEnd::Gone(error) => self.give_way(&env, error, true).await?,
            }
        }
    }

    /// Another writer won the slot, or the log went elsewhere (`gone`): finds where it goes on, at a pace at
    /// which all writers get on.
    async fn give_way(&mut self, env: &Env<'_>, lost: Error, gone: bool) -> Result<(), Failure> {
        if !self.may_move(env.options) {
            return Err(Failure::fatal(lost, Stored::Not));
        }
        let runtime = env.state.runtime();
        // First, for only while its marker stands are a claimant's losses spared and its pauses short.
        let presses = self.keep_claim(env).await?;
        self.pace.lost(self.is_spared(env), &**runtime.clock());
        let shares = env.options.on_conflict == OnConflict::Rebase;
        if self.pace.is_contended(env.options.most_losses, shares, &**runtime.clock()) && !mutant!(LoseForEver) {
            let error = Error::contended(self.pace.losses()).with_source(lost);
            return Err(Failure::fatal(error, Stored::Not));
        }
        let pause = if presses { STEP } else { self.pace.pause(runtime) };
        if !pause.is_zero() {
            let slept = env.control.unless_aborted(runtime.clock().sleep(pause)).await;
            slept.ok_or_else(|| gave_up(false))?;
        }
        if gone {
            self.reopen(env).await
        } else if (presses || self.pace.jumps()) && !mutant!(WalkSlotBySlot) {
            self.jump(env).await.map(drop)
        } else {
            self.follow(env).await
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

    /// Goes on after the segment that won the slot. That is no look at the tail: the log may have
    /// passed the next slot long ago, and merging may have taken it away since.
    pub(super) async fn follow(&mut self, env: &Env<'_>) -> Result<(), Failure> {
        let base = self.next;
        match self.adopt(env, base).await? {
            Some(adopted) if !adopted.merged => {
                self.goes_on_after(base, adopted);
                Ok(())
            }
            _ => self.reopen(env).await,
        }
    }

    /// Finds the tail by one LIST from the last segment that this writer knows. `false` when that one is the
    /// newest still.
    async fn jump(&mut self, env: &Env<'_>) -> Result<bool, Failure> {
        let seen = env.now();
        let Some(previous) = &self.previous else { return self.reopen(env).await.map(|()| true) };
        let listed = env
            .patiently("looking at the end of the log", || newest_from(env.state, previous.base, &previous.version))
            .await;
        let newest = listed.ok_or_else(|| gave_up(false))?.map_err(|error| Failure::fatal(error, Stored::Not))?;
        match newest {
            Some(newest) if newest.base == previous.base => {
                self.saw(seen);
                Ok(false)
            }
            // It begins inside the last segment that is known.
            Some(newest) if newest.base < self.next => self.reopen(env).await.map(|()| true),
            Some(newest) => {
                match self.adopt(env, newest.base).await? {
                    Some(adopted) => {
                        self.goes_on_after(newest.base, adopted);
                        self.saw(seen);
                    }
                    None => self.reopen(env).await?,
                }
                Ok(true)
            }
            None => self.reopen(env).await.map(|()| true),
        }
    }

    /// Reads another writer's segment whole, checks it, and makes its index right, before anything follows
    /// it. `None` when it is gone.
    async fn adopt(&self, env: &Env<'_>, base: i64) -> Result<Option<Adopted>, Failure> {
        let mends = !mutant!(SkipIndexOfWinner);
        let read = env
            .patiently("reading the segment to follow", || {
                super::open::adopt(env.state, env.store(), env.options, base, mends)
            })
            .await;
        match read.ok_or_else(|| gave_up(false))? {
            Ok(adopted) => Ok(Some(adopted)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::fatal(error, Stored::Not)),
        }
    }

    fn goes_on_after(&mut self, base: i64, adopted: Adopted) {
        (self.start, self.next, self.log_json) = (Start::Fixed, adopted.next, None);
        self.previous = Some(Previous { base, version: adopted.version, leader_epoch: adopted.leader_epoch });
    }

    /// The tail has moved in a way that no slot of ours could have caused: find it as an opening does.
    async fn reopen(&mut self, env: &Env<'_>) -> Result<(), Failure> {
        let found = env
            .patiently("finding the end of the log", || super::open::find(env.state, env.store(), env.options))
            .await
            .ok_or_else(|| gave_up(false))?
            .map_err(|error| Failure::fatal(error, Stored::Not))?;
        (self.start, self.next) = (found.start, found.next);
        self.saw(found.seen);
        (self.previous, self.log_json, self.log) = (found.previous, found.log_json, found.log);
        Ok(())
    }
}

/// The key of the slot of an offset.
pub(super) fn slot_key(id: &PartitionId, base: i64) -> String {
    id.segment_key(base)
}
