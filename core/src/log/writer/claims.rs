//! What a writer knows of the claims on its partition, and the marker `claim.json` (docs/design.md, "Yielding").

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::format::ClaimMarker;
use crate::log::state::PartitionState;
use crate::store::ReadRange;

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
    opened_after: Option<i64>,
    /// When the last flight left, and when the last one landed.
    left: Option<Duration>,
    landed: Option<Duration>,
    /// When it looked for a claim last. The first second of an owner counts as a look.
    looked: Option<Duration>,
    /// The marker that the last look found.
    pub(super) found: Arc<Mutex<Option<SeenMarker>>>,
    /// While this writer asks for the partition itself.
    pub(super) asking: Option<Asking>,
}

/// A marker as it was read.
#[derive(Debug)]
pub(super) struct SeenMarker {
    pub(super) marker: ClaimMarker,
    /// Last-modified by the store's clock.
    modified_ms: i64,
}

impl Claims {
    pub(super) fn opened_after(modified_ms: Option<i64>) -> Self {
        Claims { opened_after: modified_ms, ..Claims::default() }
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
    pub(super) fn news(&mut self, leader_epoch: Option<i32>) -> Option<ClaimMarker> {
        let SeenMarker { marker, modified_ms } = self.found.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let lower = marker.leader_epoch < leader_epoch.unwrap_or(-1);
        let settled = self.opened_after.is_some_and(|newest| modified_ms <= newest);
        if lower || settled || self.knows(&marker.claim_id) {
            return None;
        }
        self.remember(&marker.claim_id);
        Some(marker)
    }

    /// Notes that a flight leaves; whether a look is due beside it. A claimant tries every 200 ms, so an owner that
    /// leaves it more time than that between two flights need not look.
    pub(super) fn leaves(&mut self, now: Duration) -> bool {
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

/// A claim under way.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) turn: u64,
    /// When its marker got its id, and when the marker was last read or written.
    pub(super) fresh: Duration,
    pub(super) upkeep: Duration,
    /// The id of its marker, if it was written.
    pub(super) claim_id: Option<String>,
    /// Whether its marker stands, as far as it knows.
    pub(super) stands: bool,
    /// When its marker stood first.
    pub(super) stood: Option<Duration>,
}

/// The marker that stands there. `None` for what means nothing.
///
/// # Errors
/// What the store answers, or that it does not within 2 s.
pub(super) async fn read_marker(state: &PartitionState) -> Result<Option<SeenMarker>> {
    let key = state.id.claim_json_key();
    // One byte more than it may have, so that a longer one is found out.
    let range = ReadRange::Range(0..ClaimMarker::MAX_LEN as u64 + 1);
    let read = state.runtime().timeout(PATIENCE, state.store().get(&key, range, None)).await;
    match read {
        Some(Ok(fetched)) => {
            let modified_ms = fetched.info.modified_ms;
            Ok(ClaimMarker::parse(&fetched.bytes).ok().map(|marker| SeenMarker { marker, modified_ms }))
        }
        Some(Err(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Some(Err(error)) => Err(error),
        None => Err(Error::new(ErrorKind::TimedOut, "the store did not answer").with_key(key)),
    }
}
