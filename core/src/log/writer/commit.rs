//! The commit: batches into a segment, the segment into its slot (docs/design.md, "Commit").

use std::sync::Arc;

use super::chain::{Chain, ChainStart, Committed, Previous};
use super::claims::STEP;
use super::env::{Control, Env, LOOKING};
use super::open::{Adopted, adopt, find};
use super::options::{OnConflict, WriterOptions};
use super::outcome::{SlotEnd, Stop, if_there};
use super::slot::Flight;
use crate::error::{Error, Result};
use crate::format::{Batch, BatchBuilder, BuiltSegment, Limits, SegmentBuilder};
use crate::log::locate::newest_from;
use crate::log::state::PartitionState;
use crate::mutant::mutant;
use crate::store::Version;

impl Chain {
    /// Makes the batches durable as one segment: READY and GIVING WAY of docs/design.md, "States". `claims` says that the
    /// batches are a claim's.
    ///
    /// The futures of its steps are boxed. Unboxed they add up to tens of kilobytes, of which a build without optimisation
    /// keeps several copies on the stack for each that awaits another.
    ///
    /// # Errors
    /// What ends the flush. It ends the writer, too (invariant 4).
    pub(super) async fn commit(
        &mut self,
        state: &Arc<PartitionState>,
        options: &WriterOptions,
        control: &Control,
        batches: &[Batch],
        claims: bool,
    ) -> Result<Committed, Stop> {
        let env = Env { state, options, control };
        let runtime = state.runtime();
        let shares = options.on_conflict == OnConflict::Rebase;
        // Losses are counted by commit: one that is won ends them.
        self.pace.begin();
        self.tries = 0;
        // A claimant puts its marker first, so that a busy owner has read it when the first try is sent.
        if claims {
            Box::pin(self.claim_slot(&env)).await?;
        }
        // An owner that another writer's claim asks for its slot leaves it free for a while.
        Box::pin(self.yield_to_claim(&env)).await?;
        // A writer that shares the partition, and was idle, has probably missed segments. One LIST costs less than lost slots.
        if shares && self.pace.looks_first(&**runtime.clock()) && !Box::pin(self.jump(&env)).await? {
            self.pace.alone();
        }
        loop {
            // Without a segment and without `log.json`, writers do not agree on the first slot yet.
            Box::pin(self.fix_start(&env)).await?;
            // The segment is built for the slot, so it is built again for each.
            let created_ms = state.now_ms();
            let built = self.build(&env, self.batches_to_send(batches), created_ms)?;
            // The identity of this flight is this writer's alone, and never used again.
            self.flush_number += 1;
            let began = runtime.clock().elapsed();
            let flight = Flight::new(self, &env, built);
            self.look_for_claim(&env);
            match Box::pin(flight.win(self, &env)).await? {
                // DURABLE. From here on a lost slot fences a writer that takes over.
                SlotEnd::Won(committed) => {
                    self.committed = true;
                    self.claims.won(runtime.clock().elapsed());
                    self.pace.won(began, shares, runtime);
                    return Ok(committed);
                }
                SlotEnd::Lost(_) if self.believes_marker() => return Box::pin(self.believe_marker(&env)).await,
                SlotEnd::Lost(winner) => Box::pin(self.give_way(&env, winner.fenced(), winner.merged)).await?,
                SlotEnd::Gone(error) => Box::pin(self.give_way(&env, error, true)).await?,
            }
        }
    }

    /// Commits empty batches that take all offsets up to the log's greatest log start mark.
    ///
    /// # Errors
    /// Fenced when another writer won the slot: then the log goes on elsewhere.
    pub(super) async fn cover_up_to(
        &mut self,
        state: &Arc<PartitionState>,
        options: &WriterOptions,
        mark: i64,
    ) -> Result<()> {
        let batches = BatchBuilder::empty_batches(mark.saturating_sub(self.next))?;
        // Whoever wins the slot decides where the log goes on, so the batches are good for this slot only.
        let options = options.clone().on_conflict(OnConflict::Fence);
        let committed = Box::pin(self.commit(state, &options, &Control::default(), &batches, false)).await;
        let committed = committed.map_err(Stop::into_error)?;
        committed.publish(state);
        // The mark was read already: this process serves nothing below it.
        state.watermarks.learn(Some(mark), committed.end, state.now_ms());
        Ok(())
    }

    /// Another writer won the slot, or the log went elsewhere (`gone`): finds where it goes on, at a pace at
    /// which all writers get on.
    async fn give_way(&mut self, env: &Env<'_>, lost: Error, gone: bool) -> Result<(), Stop> {
        env.state.observer().slot_lost(env.id(), self.next, &lost);
        // The policy decides first: a writer that must not move is fenced, whatever the pace.
        if !self.may_move(env.options) {
            return Err(lost.into());
        }
        let runtime = env.state.runtime();
        // The claim comes before the count: a claimant's losses are spared, and its pauses short, only while its marker
        // stands.
        let presses = Box::pin(self.keep_claim(env)).await?;
        self.pace.lost(self.is_spared(env), &**runtime.clock());
        if self.is_contended(env) {
            let error = Error::contended(self.pace.losses()).with_source(lost);
            return Err(error.into());
        }
        // The pause comes before the look, so that the look is fresh when the next try is sent.
        let pause = if presses { STEP } else { self.pace.pause(runtime) };
        if !pause.is_zero() {
            env.control.unless_aborted(runtime.clock().sleep(pause)).await?;
        }
        // Where the log goes on. The segment in the slot is the cheapest answer, if it is likely to be the newest. A log that
        // went elsewhere is read as an opening reads it.
        if gone {
            Box::pin(self.reopen(env)).await
        } else if self.jumps(presses) {
            Box::pin(self.jump(env)).await.map(drop)
        } else {
            Box::pin(self.follow(env)).await
        }
    }

    /// Whether the writer lost too many slots, and gives up.
    fn is_contended(&self, env: &Env<'_>) -> bool {
        let shares = env.options.on_conflict == OnConflict::Rebase;
        let clock = env.state.runtime().clock();
        self.pace.is_contended(env.options.losses_borne(), shares, &**clock) && !mutant!(LoseForEver)
    }

    /// Whether the tail is looked for after a lost slot, instead of following the segment that won it. A claimant whose
    /// marker stands (`presses`) always looks.
    fn jumps(&self, presses: bool) -> bool {
        (presses || self.pace.jumps()) && !mutant!(WalkSlotBySlot)
    }

    /// All of them. The mutant `DropBatchesOnFailure` leaves out the last where it was sent before.
    fn batches_to_send<'a>(&self, batches: &'a [Batch]) -> &'a [Batch] {
        match batches.split_last() {
            Some((_, kept)) if mutant!(DropBatchesOnFailure) && self.pace.losses() > 0 && !kept.is_empty() => kept,
            _ => batches,
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
    async fn follow(&mut self, env: &Env<'_>) -> Result<(), Stop> {
        let base = self.next;
        match self.adopt(env, base).await? {
            Some(adopted) if !adopted.merged => {
                self.goes_on_after(base, adopted);
                Ok(())
            }
            _ => Box::pin(self.reopen(env)).await,
        }
    }

    /// Finds the tail by one LIST from the last segment that this writer knows. `false` when that one is the
    /// newest still.
    async fn jump(&mut self, env: &Env<'_>) -> Result<bool, Stop> {
        let seen = env.now();
        let Some(previous) = &self.previous else { return Box::pin(self.reopen(env)).await.map(|()| true) };
        let list = || newest_from(env.state, previous.base, &previous.version);
        match env.patiently(LOOKING, list).await? {
            Some(newest) if newest.base == previous.base => {
                self.saw(seen);
                Ok(false)
            }
            // It begins inside the last segment that is known.
            Some(newest) if newest.base < self.next => Box::pin(self.reopen(env)).await.map(|()| true),
            Some(newest) => {
                match self.adopt(env, newest.base).await? {
                    Some(adopted) => {
                        self.goes_on_after(newest.base, adopted);
                        self.saw(seen);
                    }
                    None => Box::pin(self.reopen(env)).await?,
                }
                Ok(true)
            }
            None => Box::pin(self.reopen(env)).await.map(|()| true),
        }
    }

    /// Reads another writer's segment whole, checks it, and makes its index right, before anything follows
    /// it. `None` when it is gone.
    async fn adopt(&self, env: &Env<'_>, base: i64) -> Result<Option<Adopted>, Stop> {
        let read = || adopt(env.state, env.store(), env.options, base, mends_index_of_winner());
        if_there(env.patiently("reading the segment to follow", read).await)
    }

    fn goes_on_after(&mut self, base: i64, adopted: Adopted) {
        (self.start, self.next, self.log_json) = (ChainStart::Fixed, adopted.next, None);
        self.previous = Some(Previous { base, version: adopted.version, leader_epoch: adopted.leader_epoch });
    }

    /// The tail has moved in a way that no slot of ours could have caused: find it as an opening does.
    async fn reopen(&mut self, env: &Env<'_>) -> Result<(), Stop> {
        let look = || find(env.state, env.store(), env.options);
        let found = env.patiently("finding the end of the log", look).await?.not_below_a_mark(env.state)?;
        (self.start, self.next) = (found.start, found.next);
        self.saw(found.seen);
        (self.previous, self.log_json, self.log) = (found.previous, found.log_json, found.log);
        Ok(())
    }

    /// Only as the mutant `BelieveMarker`: a claimant takes the slot for its own even if another writer has it.
    fn believes_marker(&self) -> bool {
        mutant!(BelieveMarker) && self.claims.asking.is_some()
    }

    /// What [`believes_marker`](Self::believes_marker) leads to.
    async fn believe_marker(&mut self, env: &Env<'_>) -> Result<Committed, Stop> {
        let base = self.next;
        Box::pin(self.follow(env)).await?;
        self.committed = true;
        let version = self.previous.as_ref().map_or_else(|| Version::new(None, 0, None), |p| p.version.clone());
        Ok(Committed { base, end: self.next, size: version.size(), version, previous: None })
    }
}

/// Whether the index of a segment that is followed is repaired.
fn mends_index_of_winner() -> bool {
    !mutant!(SkipIndexOfWinner)
}
