//! The claimant's side of a claim: it writes `claim.json`, so that a busy owner leaves it a slot (docs/design.md,
//! "Yielding").
//!
//! `claim()` writes it before its first try; a writer with a higher leader epoch than the owner's when it lost a
//! slot. The marker is worth nothing by itself: the first segment that is won is what displaces the owner.

use std::time::Duration;

use object_store::PutPayload;

use super::chain::Chain;
use super::claims::{Asking, PATIENCE, read_marker};
use super::env::Env;
use super::options::OnConflict;
use super::outcome::Stop;
use crate::format::ClaimMarker;
use crate::log::identity::random_id;
use crate::store::SyncFailure;

/// After its marker is written a claimant's losses do not count as contention for so long: by then a live owner has
/// read it.
const SPARED: Duration = Duration::from_secs(5);
/// How often a claimant that loses slots reads the marker again, and writes its own over another's.
const UPKEEP: Duration = Duration::from_secs(1);
/// An owner yields to a marker once, for 5 s. A claimant that lost all the same asks again under a new id.
const FRESH: Duration = Duration::from_secs(6);
/// A higher leader epoch's marker is left alone for so long.
const RESPECT: Duration = Duration::from_secs(10);
/// Claims of an equal epoch within so long of each other take turns, and wait longer each time.
const TURNS: Duration = Duration::from_secs(600);
/// The longest wait for a turn.
const LONGEST_TURN: Duration = Duration::from_secs(300);

/// What a marker that stands there means to a claimant.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// It may be written over at once, as this turn.
    Free(u64),
    /// Another claim of an equal epoch was not long ago: it may be written over after this, as this turn.
    Wait(Duration, u64),
    /// A higher epoch's, and young.
    Respected,
}

fn standing(marker: Option<&ClaimMarker>, leader_epoch: i32, now_ms: i64) -> Standing {
    let Some(marker) = marker else { return Standing::Free(0) };
    // By two clocks, which may differ. A marker from the future is young.
    let age = now_ms.saturating_sub(marker.claimed_ms);
    let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
    if marker.leader_epoch > leader_epoch && age < RESPECT {
        return Standing::Respected;
    }
    if marker.leader_epoch != leader_epoch || age >= TURNS {
        return Standing::Free(0);
    }
    let turn = marker.turn.saturating_add(1);
    let wait = Duration::from_secs(1 << turn.min(9)).min(LONGEST_TURN).saturating_sub(age);
    if wait.is_zero() { Standing::Free(turn) } else { Standing::Wait(wait, turn) }
}

impl Chain {
    /// Before a claim's first try: waits for its turn, and writes the marker. A writer that owns the partition
    /// already needs none.
    pub(super) async fn claim_slot(&mut self, env: &Env<'_>) -> Result<(), Stop> {
        if env.options.on_conflict != OnConflict::Takeover || self.committed {
            return Ok(());
        }
        let clock = env.state.runtime().clock();
        let epoch = env.options.leader_epoch.unwrap_or(-1);
        let mut waited_for = None;
        let (turn, writes) = loop {
            let read = env.control.unless_aborted(read_marker(env.state)).await?;
            let marker = read.ok().flatten().map(|found| found.marker);
            match standing(marker.as_ref(), epoch, env.state.now_ms()) {
                Standing::Free(turn) => break (turn, true),
                Standing::Respected => break (0, false),
                // A wall clock may stand still, so the writer waits for a claim only once.
                Standing::Wait(_, turn) if marker.as_ref().map(|m| &m.claim_id) == waited_for.as_ref() => {
                    break (turn, true);
                }
                Standing::Wait(wait, _) => {
                    let name = marker.as_ref().map_or("", |marker| &*marker.name);
                    let what = format!("claimed the partition not long ago; this claim's turn is in {wait:?}");
                    let seen = env.waits("waiting for its turn to claim", name, &what);
                    env.control.unless_aborted(clock.sleep(wait)).await?;
                    seen.done();
                    waited_for = marker.map(|marker| marker.claim_id);
                }
            }
        };
        let now = clock.elapsed();
        let mut asking = Asking { turn, fresh: now, upkeep: now, claim_id: None, stands: false, stood: None };
        if writes {
            self.write_marker(env, &mut asking).await?;
        }
        self.claims.asking = Some(asking);
        Ok(())
    }

    /// Whether a slot that a claimant lost does not count as contention. Without a marker that stands it does, for
    /// no owner leaves a slot to that claimant.
    pub(super) fn is_spared(&self, env: &Env<'_>) -> bool {
        let now = env.state.runtime().clock().elapsed();
        let spared = |asking: &Asking| asking.stood.is_some_and(|stood| now.saturating_sub(stood) <= SPARED);
        self.claims.asking.as_ref().is_some_and(|asking| asking.stands && spared(asking))
    }

    /// After a lost slot: keeps the claim alive. A writer that outranks the owner begins to claim here. True when
    /// its marker stands, so that it tries again soon; without one it competes as any other writer does.
    pub(super) async fn keep_claim(&mut self, env: &Env<'_>) -> Result<bool, Stop> {
        let before = self.previous.as_ref().map_or(-1, |previous| previous.leader_epoch);
        let outranks = env.options.leader_epoch.is_some_and(|ours| ours > before);
        if self.claims.asking.is_none() && outranks {
            self.claim_slot(env).await?;
        } else if let Some(mut asking) = self.claims.asking.take() {
            let kept = self.keep_up(env, &mut asking).await;
            self.claims.asking = Some(asking);
            kept?;
        }
        Ok(self.claims.asking.as_ref().is_some_and(|asking| asking.stands))
    }

    /// Once a second: the marker is written again if another's stands there, and under a new id if the owner must
    /// have seen the old one.
    async fn keep_up(&mut self, env: &Env<'_>, asking: &mut Asking) -> Result<(), Stop> {
        let now = env.state.runtime().clock().elapsed();
        if now.saturating_sub(asking.upkeep) < UPKEEP {
            return Ok(());
        }
        asking.upkeep = now;
        if now.saturating_sub(asking.fresh) >= FRESH {
            (asking.fresh, asking.claim_id) = (now, None);
        }
        let read = env.control.unless_aborted(read_marker(env.state)).await?;
        let marker = read.ok().flatten().map(|found| found.marker);
        asking.stands = asking.claim_id.is_some() && marker.as_ref().map(|m| &m.claim_id) == asking.claim_id.as_ref();
        if asking.stands {
            asking.stood.get_or_insert(now);
        }
        let epoch = env.options.leader_epoch.unwrap_or(-1);
        if !asking.stands && standing(marker.as_ref(), epoch, env.state.now_ms()) != Standing::Respected {
            self.write_marker(env, asking).await?;
        }
        Ok(())
    }

    /// Writes the marker. After a failure it may not be there, so this claimant is not spared its losses. A failed
    /// fsync poisons the writer, whichever file it was.
    async fn write_marker(&mut self, env: &Env<'_>, asking: &mut Asking) -> Result<(), Stop> {
        let claim_id = match asking.claim_id.take().map_or_else(|| random_id(env.state.runtime()), Ok) {
            Ok(claim_id) => claim_id,
            Err(_no_randomness) => return Ok(()),
        };
        if !self.claims.knows(&claim_id) {
            self.claims.remember(&claim_id);
        }
        let name = env.options.name.as_deref().unwrap_or_default();
        let marker =
            ClaimMarker::new(&*claim_id, name, env.options.leader_epoch, asking.turn, env.state.now_ms()).encode();
        asking.claim_id = Some(claim_id);
        asking.stands = false;
        let key = env.id().claim_json_key();
        let write = env.store().put(&key, PutPayload::from_bytes(marker));
        let write = env.state.runtime().timeout(PATIENCE, write);
        match env.control.unless_aborted(write).await? {
            Some(Err(error)) if SyncFailure::of(&error).is_some() => Err(error.into()),
            Some(Ok(_)) => {
                asking.stands = true;
                asking.stood.get_or_insert(env.state.runtime().clock().elapsed());
                env.state.observer().claim_written(env.id(), asking.turn);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(leader_epoch: i32, turn: u64) -> ClaimMarker {
        let epoch = (leader_epoch >= 0).then_some(leader_epoch);
        ClaimMarker::new("0123456789abcdef0123456789abcdef", "", epoch, turn, 1_000_000)
    }

    #[test]
    fn claims_of_an_equal_epoch_take_turns_that_double_up_to_five_minutes() {
        let after = |ms: i64, turn| standing(Some(&marker(3, turn)), 3, 1_000_000 + ms);
        assert_eq!(after(0, 0), Standing::Wait(Duration::from_secs(2), 1));
        assert_eq!(after(500, 1), Standing::Wait(Duration::from_millis(3_500), 2));
        assert_eq!(after(2_000, 0), Standing::Free(1));
        assert_eq!(after(0, 8), Standing::Wait(Duration::from_secs(300), 9));
        assert_eq!(after(1_000, u64::MAX), Standing::Wait(Duration::from_secs(299), u64::MAX));
        assert_eq!(after(599_999, 20), Standing::Free(21));
        assert_eq!(after(600_000, 20), Standing::Free(0), "ten minutes later nobody takes turns");
        assert_eq!(after(-60_000, 0), Standing::Wait(Duration::from_secs(2), 1), "a marker from the future is young");
    }

    #[test]
    fn a_higher_epochs_marker_is_left_alone_for_ten_seconds() {
        let after = |ms: i64, ours| standing(Some(&marker(3, 5)), ours, 1_000_000 + ms);
        assert_eq!(after(9_999, 2), Standing::Respected);
        assert_eq!(after(10_000, 2), Standing::Free(0));
        assert_eq!(after(0, 4), Standing::Free(0), "a lower epoch's is written over at once");
        assert_eq!(standing(None, 4, 0), Standing::Free(0));
    }
}
