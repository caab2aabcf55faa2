//! Removing what lies below the log start mark, strictly from the oldest segment up.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::{FOOTER_LEN, SegmentFooter};
use crate::log::retry::{Retry, patiently};
use crate::log::seen::Seen;
use crate::log::state::PartitionState;
use crate::log::writer::bounded;
use crate::mutant::mutant;
use crate::store::{ReadRange, may_pass};

use super::entries::{OldSegment, beginning};
use super::requests::remove;
use super::store_time::{BOUND, StoreTime};

/// What was removed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Removed {
    pub(super) segments: u64,
    pub(super) bytes: u64,
    /// Removal ended at a segment that lies below the mark and is younger than the bound.
    pub(super) spared: bool,
}

/// What is known of a segment that may go.
enum Fate {
    Goes,
    /// Somebody else removed it.
    Gone,
    /// It holds offsets from the mark on.
    Stays,
    /// It lies below the mark, and is younger than the bound.
    TooYoung,
}

/// Removes the segments that lie wholly below the greatest log start mark, and what stands beside them. The newest segment
/// stays, and removal ends at the first one that is younger than the bound.
///
/// Step by step, each of which the model shows to be needed:
///
/// 1. One listing shows the marks and the oldest segments. A mark that was remembered may be that of a log that was deleted
///    and made again since.
/// 2. A segment's own footer says where it ends. The next key does not: a segment that was merged may reach beyond keys that
///    merging left.
/// 3. The DELETE is sent while the listing is younger than the bound, by both clocks. Otherwise the listing is sent again.
/// 4. The next segment's turn comes when this one is known to be gone.
pub(super) async fn remove_below_mark(state: &Arc<PartitionState>, time: &StoreTime) -> Result<Removed> {
    let mut removed = Removed::default();
    let mut retry = Retry::begin(&state.retries, state.runtime(), "removing segments below the log start");
    loop {
        let seen = Seen::now(&**state.runtime().clock());
        let found = beginning(state).await?;
        let remembered = state.watermarks.get().map(|watermarks| watermarks.log_start);
        let Some(mark) = found.mark().max(remembered.filter(|_| mutant!(RemoveBeforeMark))) else { break };
        // An earlier call ended between a segment and what stands beside it.
        remove_beside(state, found.orphans.iter().copied().filter(|base| *base < mark)).await?;
        let (mut gone, mut verdict) = (Vec::new(), None);
        for entry in found.below(mark) {
            let of_this = judge(state, time, entry, mark).await?;
            match of_this {
                Fate::Goes if seen.is_past(BOUND, &**state.runtime().clock()) => break,
                Fate::Goes => {
                    if let Some(failure) = delete(state, &entry.object.key).await? {
                        retry.after(failure).await;
                        break;
                    }
                    state.observer().segment_removed(&state.id, &entry.object.key);
                    removed.segments = removed.segments.saturating_add(1);
                    removed.bytes = removed.bytes.saturating_add(entry.object.size);
                    gone.push(entry.base);
                }
                Fate::Gone => gone.push(entry.base),
                Fate::Stays | Fate::TooYoung => {
                    verdict = Some(of_this);
                    break;
                }
            }
        }
        let ended = verdict.is_some() || found.below(mark).next().is_none();
        remove_beside(state, gone.into_iter()).await?;
        if ended {
            removed.spared = matches!(verdict, Some(Fate::TooYoung));
            remove_smaller_marks(state, &found.marks).await?;
            break;
        }
    }
    retry.done();
    Ok(removed)
}

async fn judge(state: &Arc<PartitionState>, time: &StoreTime, entry: &OldSegment, mark: i64) -> Result<Fate> {
    let key = &entry.object.key;
    let found = match state.get(key, ReadRange::Suffix(FOOTER_LEN as u64), None).await {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Fate::Gone),
        Err(error) => return Err(error),
    };
    let end = match SegmentFooter::parse(&found.bytes) {
        Ok(footer) => footer.last_offset.saturating_add(1).max(entry.base.saturating_add(1)),
        // A broken segment goes by the next key, unless it may cover what merging left there.
        Err(_) if found.identity.kfsmerged.is_none() => entry.next,
        Err(malformed) => return Err(malformed.into_error(key)),
    };
    if end > mark && !mutant!(RemoveAcrossMark) {
        return Ok(Fate::Stays);
    }
    match time.age(&found.info, state.runtime().clock().elapsed()) < BOUND && !mutant!(RemoveYoung) {
        true => Ok(Fate::TooYoung),
        false => Ok(Fate::Goes),
    }
}

/// Deletes a segment. `Some` says why it is not known to be gone.
pub(super) async fn delete(state: &Arc<PartitionState>, key: &str) -> Result<Option<Error>> {
    let store = state.writes();
    let error = match bounded(state.runtime(), 0, store.delete(key)).await {
        Ok(Ok(())) => return Ok(None),
        Ok(Err(error)) if !may_pass(&error) => return Err(error),
        Ok(Err(error)) | Err(error) => error.with_key(key),
    };
    // The answer was lost, and the store may have acted all the same.
    match patiently(&state.retries, state.runtime(), "looking for a segment", || store.head(key)).await {
        Ok(_) => Ok(Some(error)),
        Err(lookup) if lookup.kind() == ErrorKind::NotFound => Ok(None),
        Err(lookup) => Err(lookup),
    }
}

/// Deletes the indexes and time indexes of segments that are gone.
async fn remove_beside(state: &Arc<PartitionState>, bases: impl Iterator<Item = i64>) -> Result<()> {
    for base in bases {
        for key in [state.id.index_key(base), state.id.time_index_key(base)] {
            remove(state, "removing an index", &key).await?;
        }
    }
    Ok(())
}

/// The greatest mark was seen, so the smaller ones say nothing any more. They go least first: whatever is interrupted, the
/// greatest one that was there stays.
async fn remove_smaller_marks(state: &Arc<PartitionState>, marks: &[i64]) -> Result<()> {
    let Some((_greatest, smaller)) = marks.split_last() else { return Ok(()) };
    for mark in smaller {
        let key = state.id.log_start_key(*mark);
        remove(state, "removing a log start mark", &key).await?;
    }
    Ok(())
}
