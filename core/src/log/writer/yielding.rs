//! The owner's side of a claim: it looks for `claim.json` beside its flights, and pauses for a claim that it does
//! not know (docs/design.md, "Yielding").
//!
//! An owner knows its next slot before anybody else does, so one that flushes without a pause would win for ever.
//! The marker decides nothing. The writer that creates the next segment owns the partition, whatever the marker says.

use std::sync::PoisonError;
use std::time::Duration;

use super::chain::Chain;
use super::claims::{STEP, read_marker};
use super::env::Env;
use super::options::OnConflict;
use super::outcome::Stop;
use crate::mutant::mutant;

/// How long an owner leaves its next slot to a claim that it does not know.
const YIELD: Duration = Duration::from_secs(5);
impl Chain {
    /// Whether a lost slot fences this writer, so that it is the owner to which a claimant speaks.
    fn owns(&self, env: &Env<'_>) -> bool {
        match env.options.on_conflict {
            OnConflict::Takeover => self.committed,
            OnConflict::Fence => true,
            OnConflict::Rebase => false,
        }
    }

    /// Before a flight: if the last look found a claim that this owner does not know, nothing is sent until the next
    /// slot is taken, for 5 s at most. Then the flight finds out by itself whose the slot is.
    pub(super) async fn yield_to_claim(&mut self, env: &Env<'_>) -> Result<(), Stop> {
        if !self.owns(env) || never_yields() {
            return Ok(());
        }
        let Some(claim) = self.claims.news(env.options.leader_epoch) else { return Ok(()) };
        let wait = env.waits("leaving the slot to a claim", &claim.name, "claims the partition; waiting up to 5 s");
        let (runtime, clock) = (env.state.runtime(), env.state.runtime().clock());
        let (key, began) = (env.id().segment_key(self.next), clock.elapsed());
        loop {
            let left = YIELD.saturating_sub(clock.elapsed().saturating_sub(began));
            if left.is_zero() {
                break;
            }
            env.control.unless_aborted(clock.sleep(STEP.min(left))).await?;
            let left = YIELD.saturating_sub(clock.elapsed().saturating_sub(began));
            // A failure says nothing. This is no look at the tail either: what was in the slot may be gone.
            let read = runtime.timeout(left, env.store().head(&key));
            let read = env.control.unless_aborted(read).await?;
            if matches!(read, Some(Ok(_))) {
                break;
            }
        }
        wait.done();
        Ok(())
    }

    /// A flight leaves: a busy owner looks for a claim beside it, on a task of its own, so that no ack waits for that.
    pub(super) fn look_for_claim(&mut self, env: &Env<'_>) {
        let runtime = env.state.runtime();
        if !self.owns(env) || !self.claims.leaves(runtime.clock().elapsed()) {
            return;
        }
        let (state, found) = (env.state.clone(), self.claims.found.clone());
        runtime.spawn(async move {
            if let Ok(Some(marker)) = read_marker(&state).await {
                *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(marker);
            }
        });
    }
}

/// `true` only as the mutant.
fn never_yields() -> bool {
    mutant!(NeverYield)
}
