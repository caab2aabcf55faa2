//! The owner's side of a claim: it looks for `claim.json` beside its flights, and pauses for a claim that it does
//! not know (docs/design.md, "Yielding").
//!
//! An owner knows its next slot before anybody else does, so one that flushes without a pause would win for ever.
//! The marker decides nothing: whoever creates the next segment owns the partition, whatever the marker says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::claiming::Asking;
use super::commit::{Chain, slot_key};
use super::env::{Env, Failure, gave_up};
use super::options::OnConflict;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ClaimMarker;
use crate::log::partition::PartitionState;
use crate::mutant::mutant;
use crate::store::ReadRange;

/// How long an owner leaves its next slot to a claim that it does not know.
const YIELD: Duration = Duration::from_secs(5);
/// How often an owner that yields reads its next slot, and a claimant tries for it.
pub(super) const STEP: Duration = Duration::from_millis(200);
/// How often a busy owner looks for a claim.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a request for the marker may take. It is never worth more: without an answer it means nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Claims that a writer remembers. It meets a second one rarely.
const MOST_KNOWN: usize = 8;

/// What a writer knows of the claims on its partition.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Ids of the markers that it wrote, or yielded to.
    known: VecDeque<String>,
    /// Last-modified of the newest segment when the writer was opened, by the store's clock. The writer found that
    /// segment there, so a claim that is not younger was settled before.
    opened_behind: Option<i64>,
    /// When the last flight left, and when the last one landed.
    left: Option<Duration>,
    landed: Option<Duration>,
    /// When it looked for a claim last. The first second of an owner counts as a look.
    looked: Option<Duration>,
    /// The marker that the last look found.
    found: Arc<Mutex<Option<Found>>>,
    /// While this writer asks for the partition itself.
    pub(super) asking: Option<Asking>,
}

/// A marker as it was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) marker: ClaimMarker,
    /// Last-modified by the store's clock.
    modified_ms: i64,
}

impl Claims {
    pub(super) fn opened_behind(modified_ms: Option<i64>) -> Self {
        Claims { opened_behind: modified_ms, ..Claims::default() }
    }

    pub(super) fn remember(&mut self, claim_id: &str) {
        if self.known.len() >= MOST_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(claim_id.into());
    }

    pub(super) fn knows(&self, claim_id: &str) -> bool {
        self.known.iter().any(|known| known == claim_id)
    }

    /// The claim that the last look found, if the owner must yield to it.
    fn news(&mut self, leader_epoch: Option<i32>) -> Option<ClaimMarker> {
        let Found { marker, modified_ms } = self.found.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let lower = marker.leader_epoch < leader_epoch.unwrap_or(-1);
        let settled = self.opened_behind.is_some_and(|newest| modified_ms <= newest);
        if lower || settled || self.knows(&marker.claim_id) {
            return None;
        }
        self.remember(&marker.claim_id);
        Some(marker)
    }

    /// Notes that a flight leaves; whether a look is due beside it. A claimant tries every 200 ms, so an owner that
    /// leaves it more time than that between two flights need not look.
    fn leaves(&mut self, now: Duration) -> bool {
        let within = |since: Option<Duration>, span| since.is_some_and(|since| now.saturating_sub(since) <= span);
        let busy = within(self.left, LOOK_EVERY) || within(self.landed, STEP);
        self.left = Some(now);
        let due = !within(self.looked, LOOK_EVERY) && self.looked.is_some();
        if due && busy || self.looked.is_none() {
            self.looked = Some(now);
        }
        due && busy
    }

    /// A flight landed: a claim has reached its end.
    pub(super) fn won(&mut self, now: Duration) {
        self.landed = Some(now);
        self.asking = None;
    }
}

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
    pub(super) async fn yield_to_claim(&mut self, env: &Env<'_>) -> Result<(), Failure> {
        if !self.owns(env) || mutant!(NeverYield) {
            return Ok(());
        }
        let Some(claim) = self.claims.news(env.options.leader_epoch) else { return Ok(()) };
        let wait = env.waits("leaving the slot to a claim", &claim.name, "claims the partition; waiting up to 5 s");
        let (runtime, clock) = (env.state.runtime(), env.state.runtime().clock());
        let (key, began) = (slot_key(env.id(), self.next), clock.elapsed());
        loop {
            let left = YIELD.saturating_sub(clock.elapsed().saturating_sub(began));
            if left.is_zero() {
                break;
            }
            env.control.unless_aborted(clock.sleep(STEP.min(left))).await.ok_or_else(|| gave_up(false))?;
            let left = YIELD.saturating_sub(clock.elapsed().saturating_sub(began));
            // A failure says nothing. This is no look at the tail either: what was in the slot may be gone.
            let read = runtime.timeout(left, env.store().head(&key));
            let read = env.control.unless_aborted(read).await.ok_or_else(|| gave_up(false))?;
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

/// The marker that stands there. `None` for what means nothing.
///
/// # Errors
/// What the store answers, or that it does not within 2 s.
pub(super) async fn read_marker(state: &PartitionState) -> Result<Option<Found>> {
    let key = state.id.claim_json_key();
    // One byte more than it may have, so that a longer one is found out.
    let range = ReadRange::Range(0..ClaimMarker::MAX_LEN as u64 + 1);
    let read = state.runtime().timeout(PATIENCE, state.store().get(&key, range, None)).await;
    match read {
        Some(Ok(fetched)) => {
            let modified_ms = fetched.info.modified_ms;
            Ok(ClaimMarker::parse(&fetched.bytes).ok().map(|marker| Found { marker, modified_ms }))
        }
        Some(Err(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Some(Err(error)) => Err(error),
        None => Err(Error::new(ErrorKind::TimedOut, "the store did not answer").with_key(key)),
    }
}
