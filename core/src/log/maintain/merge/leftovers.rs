//! Removing the segments that merging left in place for whoever was reading them.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, future, stream};

use super::super::entries::PAGE_KEYS;
use super::super::removal::delete;
use super::super::requests::remove;
use super::super::store_time::{BOUND, StoreTime};
use super::policy::MergePolicy;
use super::report::{MergeReport, MergeWatcher};
use super::sidecars::mend_beside;
use super::steps::{FRAME_LEN, Leftovers};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{CrcCheck, FOOTER_LEN, MAX_SEGMENT_LEN, ObjectName, Segment, SegmentBatches, SegmentFooter};
use crate::log::retry::{Retry, patiently};
use crate::log::seen::Seen;
use crate::log::state::PartitionState;
use crate::mutant::mutant;
use crate::store::{ObjectInfo, ReadRange};

/// Indexes that are deleted at the same time.
const AT_ONCE: usize = 8;

/// The merged segment, as it was read whole.
struct ReadCover {
    segment: Segment,
    info: ObjectInfo,
}

/// Removes the segments that lie wholly inside a merged one, strictly from the oldest up. With an older one in place, readers
/// would find that one instead of the merged one.
///
/// Step by step:
///
/// 1. The merged segment is read whole, and its age counts: nothing goes before the grace and the bound are over. The
///    listings and locations that others remember from before the merge are forgotten by then.
/// 2. Its index and its time index are made right, for readers are led there once the others are gone.
/// 3. A listing of what is after its key, and a HEAD that tells that it is still the version that was read, are one look.
///    A DELETE is sent only while that is younger than the bound, by both clocks.
/// 4. A segment goes if its batches are among those of the merged one. Its size in the listing tells, for merging keeps
///    batches as they are; where it does not, the segment's footer tells whether it ends there.
/// 5. The next one's turn comes when this one is known to be gone. Their indexes follow, and those that an interrupted call
///    left.
pub(super) async fn clear(
    state: &Arc<PartitionState>,
    policy: &MergePolicy,
    time: &StoreTime,
    (leftovers, report, told): (&Leftovers, &mut MergeReport, MergeWatcher<'_>),
) -> Result<()> {
    let key = state.id.segment_key(leftovers.cover.base);
    let found = match state.get(&key, ReadRange::AtMost(MAX_SEGMENT_LEN), None).await {
        Ok(found) => found,
        // Retention removed it.
        Err(gone) if gone.kind() == ErrorKind::NotFound => return Ok(()),
        // What merging left is needed.
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            report.add_broken(Some(error));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    // It may have been merged again since it was listed.
    if !is_due(state, policy, time, found.info.modified_ms) {
        return Ok(());
    }
    let segment = match Segment::parse_at(leftovers.cover.base, &found.bytes, CrcCheck::Verify) {
        Ok(segment) => segment,
        Err(malformed) => {
            report.add_broken(Some(malformed.into_error(&key)));
            return Ok(());
        }
    };
    if !mutant!(ClearWithoutIndex) {
        mend_beside(state, &segment, &found.info.version).await?;
    }
    let batches = segment.batches();
    let cover = ReadCover { segment, info: found.info };
    let place = ListingPlace::after(&key);
    let mut clearing = Clearing { state, cover, batches, place, after: key, beside: Vec::new(), report };
    let mut retry = Retry::begin(&state.retries, state.runtime(), "removing segments that were merged");
    loop {
        let looked = clearing.look().await;
        // What stands beside the segments that are gone goes whatever happened.
        let beside = clearing.remove_beside().await;
        told(clearing.report);
        let looked = looked?;
        beside?;
        match looked {
            Look::Ended => break,
            Look::Again => {}
            Look::Failed(error) => retry.after(error).await,
        }
    }
    retry.done();
    Ok(())
}

/// Whether the grace of what such a merge left is over.
pub(super) fn is_due(state: &PartitionState, policy: &MergePolicy, time: &StoreTime, modified_ms: i64) -> bool {
    let age = time.since(modified_ms, state.runtime().clock().elapsed());
    age > policy.grace.saturating_add(BOUND) || mutant!(ClearAtOnce)
}

/// How a look ended.
enum Look {
    /// Nothing is left that may go.
    Ended,
    /// There may be more.
    Again,
    /// A segment is not known to be gone.
    Failed(Error),
}

struct Clearing<'a> {
    state: &'a Arc<PartitionState>,
    cover: ReadCover,
    /// The batches of the merged segment from the last leftover on.
    batches: SegmentBatches,
    /// The last key that is done.
    after: String,
    place: ListingPlace,
    /// Keys of what stands beside segments that are gone.
    beside: Vec<String>,
    report: &'a mut MergeReport,
}

/// Where a listing stands.
struct ListingPlace {
    /// The last key that was listed.
    after: String,
    /// A segment whose successor is not known yet: the newest is never touched. With when it was listed.
    last: Option<(i64, ObjectInfo, Seen)>,
    /// Indexes and time indexes of this segment and the one that is to come, with their bases.
    beside: Vec<(i64, String)>,
}

impl ListingPlace {
    fn after(key: &str) -> Self {
        ListingPlace { after: key.to_string(), last: None, beside: Vec::new() }
    }
}

impl Clearing<'_> {
    /// Lists a page, and removes what may go of it.
    async fn look(&mut self) -> Result<Look> {
        let (state, end) = (self.state, self.cover.segment.next_offset());
        let (prefix, base) = (state.id.prefix(), self.cover.segment.base_offset());
        let seen = Seen::now(&**state.runtime().clock());
        let page = state.list_page_through(state.store(), &prefix, Some(&self.place.after), PAGE_KEYS).await?;
        if !self.is_in_place().await? {
            return Ok(Look::Ended);
        }
        for object in page.objects {
            self.place.after.clone_from(&object.key);
            match object.key.strip_prefix(&prefix).and_then(ObjectName::parse) {
                Some(ObjectName::Segment(next)) => {
                    let last = self.place.last.replace((next, object, seen));
                    let last_base = last.as_ref().map(|(base, ..)| *base);
                    // The segments of these are not there: clearing was interrupted.
                    self.end_beside(|of| of != next && Some(of) != last_base);
                    match self.judge(last).await? {
                        Some(look) => return Ok(look),
                        None if next >= end => return Ok(Look::Ended),
                        None => self.end_beside(|of| of != next),
                    }
                }
                Some(ObjectName::Index(of) | ObjectName::TimeIndex(of)) if of > base && of < end => {
                    self.place.beside.push((of, object.key));
                }
                _ => {}
            }
        }
        Ok(if page.complete { Look::Ended } else { Look::Again })
    }

    /// What stands beside the segments of these bases is to go.
    fn end_beside(&mut self, is_gone: impl Fn(i64) -> bool) {
        let gone = self.place.beside.extract_if(.., |(of, _)| is_gone(*of));
        self.beside.extend(gone.map(|(_, key)| key));
    }

    /// Whether the merged segment is the version that was read.
    async fn is_in_place(&self) -> Result<bool> {
        let (state, key) = (self.state, &self.cover.info.key);
        let looked =
            patiently(&state.retries, state.runtime(), "looking at a merged segment", || state.store().head(key));
        match looked.await {
            Ok(head) => Ok(head.info.version.same_as(&self.cover.info.version)),
            Err(gone) if gone.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a segment whose successor is known, if it is a leftover. `None` where the next one's turn has come.
    async fn judge(&mut self, listed: Option<(i64, ObjectInfo, Seen)>) -> Result<Option<Look>> {
        let Some((base, object, seen)) = listed else { return Ok(None) };
        if !self.holds(base, &object).await? {
            return Ok(Some(Look::Ended));
        }
        let state = self.state;
        if seen.is_past(BOUND, &**state.runtime().clock()) {
            self.place = ListingPlace::after(&self.after);
            return Ok(Some(Look::Again));
        }
        if let Some(failure) = delete(state, &object.key).await? {
            self.place = ListingPlace::after(&self.after);
            return Ok(Some(Look::Failed(failure)));
        }
        state.observer().leftover_removed(&state.id, &object.key);
        self.report.leftovers = self.report.leftovers.saturating_add(1);
        self.report.leftover_bytes = self.report.leftover_bytes.saturating_add(object.size);
        self.end_beside(|of| of == base);
        self.after = object.key;
        Ok(None)
    }

    /// Whether the merged segment holds all that this one has.
    async fn holds(&mut self, base: i64, object: &ObjectInfo) -> Result<bool> {
        let end = self.cover.segment.next_offset();
        // What came later than the merge is not of it.
        let is_older = object.modified_ms <= self.cover.info.modified_ms;
        if is_older && ends_among(&mut self.batches, base, object.size.saturating_sub(FRAME_LEN)).is_some() {
            return Ok(true);
        }
        let range = ReadRange::Suffix(FOOTER_LEN as u64);
        match self.state.get(&object.key, range, None).await {
            Ok(found) => match SegmentFooter::parse(&found.bytes) {
                Ok(footer) => Ok((base..end).contains(&footer.last_offset)),
                Err(_) => Ok(false),
            },
            // Somebody else removed it, and it stays so.
            Err(gone) if gone.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Removes the indexes and the time indexes of segments that are gone.
    async fn remove_beside(&mut self) -> Result<()> {
        let state = self.state;
        let gone = std::mem::take(&mut self.beside).into_iter();
        let deletes = gone.map(|key| async move { remove(state, "removing an index", &key).await });
        stream::iter(deletes).buffer_unordered(AT_ONCE).try_for_each(|()| future::ready(Ok(()))).await
    }
}

/// Where so many bytes of batches from a base offset on end. `None` where no batch begins or ends there. The bases of
/// successive calls ascend.
fn ends_among(batches: &mut SegmentBatches, base: i64, bytes: u64) -> Option<i64> {
    let mut ahead = batches.clone();
    let mut batch = loop {
        let begins_here = ahead.clone();
        let at = ahead.next()?;
        if at.batch.base_offset() >= base {
            *batches = begins_here;
            break Some(at.batch).filter(|batch| batch.base_offset() == base)?;
        }
    };
    let mut left = bytes;
    loop {
        left = left.checked_sub(batch.bytes().len() as u64)?;
        if left == 0 {
            return Some(batch.next_offset());
        }
        batch = ahead.next()?.batch;
    }
}
