//! The greatest timestamp of a segment's records, from its time index or else from the records.

use super::pass::greatest_of_records;
use crate::error::{ErrorKind, Result};
use crate::format::{Limits, TIME_INDEX_LEN, TimeIndex};
use crate::log::state::PartitionState;
use crate::mutant::mutant;
use crate::store::ReadRange;

/// Asks segment after segment. Where one has no time index, the others are not asked for theirs.
pub(crate) struct GreatestTimestamps {
    limits: Limits,
    asks_time_indexes: bool,
}

impl GreatestTimestamps {
    pub(crate) fn new(limits: Limits) -> Self {
        GreatestTimestamps { limits, asks_time_indexes: true }
    }

    /// Whether it matters where a segment ends.
    pub(super) fn asks_time_indexes(&self) -> bool {
        self.asks_time_indexes
    }

    /// The greatest timestamp of the records of the segment with this base, which ends before `end`; `None` when it has no
    /// record. One GET of its time index, or one of the whole segment, and more beyond 64 MiB.
    ///
    /// # Errors
    /// Not found when the segment is gone; corrupt for one that can't be read; what the store answers.
    pub(super) async fn of(&mut self, state: &PartitionState, base: i64, end: i64) -> Result<Option<i64>> {
        match self.told(state, base, end).await? {
            Some(told) => Ok(Some(told)),
            None => self.read(state, base).await,
        }
    }

    /// The greatest timestamp of the records, read from all of them; `None` when the segment has no record.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(crate) async fn read(&self, state: &PartitionState, base: i64) -> Result<Option<i64>> {
        greatest_of_records(state, base, &self.limits).await
    }

    /// What the time index says, which is a hint: nothing may be removed because of it. `None` where there is none.
    pub(crate) async fn told(&mut self, state: &PartitionState, base: i64, end: i64) -> Result<Option<i64>> {
        if !self.asks_time_indexes {
            return Ok(None);
        }
        let most = ReadRange::AtMost(TIME_INDEX_LEN as u64);
        match state.get_through(state.store_of(base), &state.id.time_index_key(base), most, None).await {
            // Not believed where it can't be of this segment (invariant 5): one from before a merge ends too early.
            Ok(fetched) => {
                let index = TimeIndex::parse(&fetched.bytes).ok().filter(|index| {
                    index.min_offset >= base && index.max_offset.checked_add(1) == Some(end)
                        || mutant!(BelieveTimeIndex)
                });
                Ok(index.map(|index| index.max_ts))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.asks_time_indexes = false;
                Ok(None)
            }
            // Too large to be one.
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            Err(error) => Err(error),
        }
    }
}
