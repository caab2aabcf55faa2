//! What the keys of a log say of where it may be merged, and of what merging left.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::entries::{ListedSegment, SegmentPages};
use crate::error::{ErrorKind, Result};
use crate::format::{FOOTER_LEN, SegmentFooter};
use crate::log::state::PartitionState;
use crate::store::ReadRange;

/// A merged segment is younger than what it replaced by so much at least, in ms. What is merged is older than the bound of 6
/// minutes; the rest is for clocks that tell whole seconds and steps between them.
const YOUNGER_MS: i64 = 5 * 60 * 1000;

/// A segment that reaches beyond the base of the one after it, as merging leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cover {
    pub(super) base: i64,
    /// One past its last offset, by its footer.
    pub(super) end: i64,
    /// When the store last modified it.
    pub(super) modified_ms: i64,
}

/// A segment whose place in the log is known.
#[derive(Clone, Debug)]
pub(super) enum SurveyEntry {
    /// No segment before it is known to hold its first offset. The number is the base of the segment after it.
    Head(ListedSegment, i64),
    /// It begins inside this one.
    Inside(ListedSegment, Cover),
    /// After this one stand indexes of segments that are not there: clearing was interrupted.
    Strays(Cover),
    /// It was merged, and its index is missing or that of the segment before: a merge was interrupted.
    Unfinished(ListedSegment),
    /// The newest segment, which nobody touches.
    Newest,
}

/// Goes through a log from its first segment on, and tells segments that count from those that merging left. It asks for the
/// listing, and for the footer of each segment that may be a merged one: only such a one is 5 minutes younger than the
/// segment after it.
///
/// That is a hint, which a copy of the bucket may have lost. Who merges or removes something reads what it is about.
pub(super) struct Survey {
    state: Arc<PartitionState>,
    pages: SegmentPages,
    listed: VecDeque<ListedSegment>,
    cover: Option<Cover>,
    /// What there is to say of the last segment besides its place.
    ready: VecDeque<SurveyEntry>,
}

impl Survey {
    pub(super) fn of(state: &Arc<PartitionState>) -> Self {
        let pages = SegmentPages::of(state);
        Survey { state: state.clone(), pages, listed: VecDeque::new(), cover: None, ready: VecDeque::new() }
    }

    /// The next segment; `None` after the newest.
    pub(super) async fn next(&mut self) -> Result<Option<SurveyEntry>> {
        if let Some(placed) = self.ready.pop_front() {
            return Ok(Some(placed));
        }
        // A segment is not the newest when its successor is known.
        while self.listed.len() < 2 {
            let Some(page) = self.pages.next(&self.state).await? else { break };
            self.listed.extend(page);
        }
        let Some(segment) = self.listed.pop_front() else { return Ok(None) };
        let Some(next) = self.listed.front() else { return Ok(Some(SurveyEntry::Newest)) };
        let (next_base, strays) = (next.base, next.strays);
        let within = self.cover.filter(|cover| segment.base < cover.end);
        let since = segment.object.modified_ms.saturating_sub(next.object.modified_ms);
        let may_be_merged = since >= YOUNGER_MS;
        if is_unfinished(&segment, may_be_merged) {
            self.ready.push_back(SurveyEntry::Unfinished(segment.clone()));
        }
        if may_be_merged {
            let least = within.map_or(next_base, |cover| cover.end);
            let end = end_of(&self.state, &segment).await?;
            if let Some(end) = end.filter(|end| *end > least) {
                let modified_ms = segment.object.modified_ms;
                self.cover = Some(Cover { base: segment.base, end, modified_ms });
            }
        }
        if strays && within.is_none() && self.cover.is_none_or(|cover| cover.base != segment.base) {
            let cover = Cover { base: segment.base, end: next_base, modified_ms: segment.object.modified_ms };
            self.ready.push_back(SurveyEntry::Strays(cover));
        }
        Ok(Some(match within {
            Some(cover) => SurveyEntry::Inside(segment, cover),
            None => SurveyEntry::Head(segment, next_base),
        }))
    }
}

/// Whether a segment may be a merged one whose index was not written. The index is written after the segment, and that of the
/// segment before is about as old as that segment was.
fn is_unfinished(segment: &ListedSegment, may_be_merged: bool) -> bool {
    let slack = if may_be_merged { 0 } else { YOUNGER_MS };
    segment.index_ms.map_or(may_be_merged, |index| index < segment.object.modified_ms.saturating_sub(slack))
}

/// Where a segment ends, by its footer. `None` where it changed since it was listed, or the footer can't be read.
async fn end_of(state: &PartitionState, segment: &ListedSegment) -> Result<Option<i64>> {
    let range = ReadRange::Suffix(FOOTER_LEN as u64);
    match state.get(&segment.object.key, range, Some(&segment.object.version)).await {
        Ok(found) => Ok(SegmentFooter::parse(&found.bytes).ok().map(|footer| footer.last_offset.saturating_add(1))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(None),
        Err(error) => Err(error),
    }
}
