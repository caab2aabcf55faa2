//! Where a writer stands in the chain of segments.

use super::claims::Claims;
use super::options::{OnConflict, WriterOptions};
use super::pace::Pace;
use crate::log::catalog::SegmentRef;
use crate::log::seen::Seen;
use crate::log::state::PartitionState;
use crate::mutant::mutant;
use crate::store::Version;

/// Where this writer stands in the chain of segments.
#[derive(Debug)]
pub(super) struct Chain {
    /// Random, per opened writer: 32 hex digits.
    pub(super) writer_id: String,
    pub(super) flush_number: u64,
    /// PUTs of a segment that the commit under way has sent.
    pub(super) tries: u32,
    /// The partition was empty and `log.json` was not there: the first commit makes it.
    pub(super) start: ChainStart,
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
pub(super) enum ChainStart {
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

impl Committed {
    /// Tells the readers of this process.
    pub(super) fn publish(&self, state: &PartitionState) {
        let segment = SegmentRef { base: self.base, size: self.size, version: self.version.clone() };
        state.with_catalog(|catalog| catalog.committed(self.previous, segment, self.end));
        let log_start = self.previous.is_none().then_some(self.base);
        state.watermarks.learn(log_start, self.end, state.now_ms());
    }
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
            OnConflict::Takeover => self.committed || promises_too_early(),
            OnConflict::Fence => self.start == ChainStart::Fixed,
            OnConflict::Rebase => false,
        }
    }

    pub(super) fn may_move(&self, options: &WriterOptions) -> bool {
        match options.on_conflict {
            OnConflict::Takeover => !self.committed || goes_on_after_loss(),
            OnConflict::Fence => false,
            OnConflict::Rebase => true,
        }
    }
}

/// `true` only as the mutant.
fn promises_too_early() -> bool {
    mutant!(PromiseTooEarly)
}

/// `true` only as the mutant.
fn goes_on_after_loss() -> bool {
    mutant!(GoOnAfterLoss)
}
