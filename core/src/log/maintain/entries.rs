//! What a partition's keys show of the beginning of its log, in one listing.

use crate::error::Result;
use crate::format::ObjectName;
use crate::log::seen::Seen;
use crate::log::state::PartitionState;
use crate::mutant::mutant;
use crate::store::ObjectInfo;

/// Keys of one listing.
pub(super) const PAGE_KEYS: usize = 1000;

/// A segment as a listing shows it.
#[derive(Clone, Debug)]
pub(super) struct OldSegment {
    pub(super) base: i64,
    pub(super) object: ObjectInfo,
    /// The base of the segment that follows.
    pub(super) next: i64,
}

/// The beginning of a log, as one listing shows it: so the marks and the segments are of the same log.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// The log start marks, least first.
    pub(super) marks: Vec<i64>,
    /// The first segments. The last one of the listing is left out, for its successor is not known. So the newest of the log
    /// is never among them.
    pub(super) entries: Vec<OldSegment>,
    /// Bases of indexes and time indexes before the first segment: theirs was removed.
    pub(super) orphans: Vec<i64>,
}

impl Beginning {
    /// The greatest log start mark.
    pub(super) fn mark(&self) -> Option<i64> {
        self.marks.last().copied()
    }

    /// The first segments whose successors begin at or below the offset.
    pub(super) fn below(&self, offset: i64) -> impl Iterator<Item = &OldSegment> {
        let begins_below = move |entry: &&OldSegment| mutant!(RemoveAcrossMark) && entry.base < offset;
        self.entries.iter().take_while(move |entry| entry.next <= offset || begins_below(entry))
    }
}

/// A segment of one page of a listing.
#[derive(Clone, Debug)]
pub(super) struct ListedSegment {
    pub(super) base: i64,
    pub(super) object: ObjectInfo,
    /// When the page was asked for.
    pub(super) seen: Seen,
    /// Indexes or time indexes of segments that are not there stand between the one before and this one.
    pub(super) strays: bool,
    /// When the store last modified its index; `None` where there is none.
    pub(super) index_ms: Option<i64>,
}

/// Lists the segments of a log from one offset on: a LIST for each 1,000 keys.
pub(super) struct SegmentPages {
    prefix: String,
    after: String,
    is_complete: bool,
    /// The base of the last segment, and that of an index that came after it.
    last: Option<i64>,
    beside: Option<i64>,
    index_ms: Option<i64>,
    strays: bool,
}

impl SegmentPages {
    /// From the first segment on.
    pub(super) fn of(state: &PartitionState) -> Self {
        let prefix = state.id.prefix();
        let after = format!("{prefix}segment-");
        SegmentPages { after, prefix, is_complete: false, last: None, beside: None, index_ms: None, strays: false }
    }

    /// The next segments, which may be none; `None` at the end.
    pub(super) async fn next(&mut self, state: &PartitionState) -> Result<Option<Vec<ListedSegment>>> {
        if self.is_complete {
            return Ok(None);
        }
        let seen = Seen::now(&**state.runtime().clock());
        let page = state.list_page_through(state.store(), &self.prefix, Some(&self.after), PAGE_KEYS).await?;
        self.is_complete = page.complete;
        let mut segments = Vec::new();
        for object in page.objects {
            self.after.clone_from(&object.key);
            let name = object.key.strip_prefix(&self.prefix).and_then(ObjectName::parse);
            if let Some(ObjectName::Index(base) | ObjectName::TimeIndex(base)) = name
                && self.last != Some(base)
            {
                self.end_strays(base);
                self.beside = Some(base);
                self.index_ms = matches!(name, Some(ObjectName::Index(_))).then_some(object.modified_ms);
            }
            if let Some(ObjectName::Segment(base)) = name {
                // Its index came before it.
                self.end_strays(base);
                (self.last, self.beside) = (Some(base), None);
                let (strays, index_ms) = (std::mem::take(&mut self.strays), self.index_ms.take());
                segments.push(ListedSegment { base, object, seen, strays, index_ms });
            }
        }
        Ok(Some(segments))
    }

    /// The next key is of this base. If an index of another one came before it, the segment of that is not there.
    fn end_strays(&mut self, next: i64) {
        if self.beside.is_some_and(|beside| beside != next) {
            (self.strays, self.beside, self.index_ms) = (true, None, None);
        }
    }
}

/// How many segments a log has, and their bytes.
pub(super) async fn count_all(state: &PartitionState) -> Result<(u64, u64)> {
    let (mut pages, mut segments, mut bytes) = (SegmentPages::of(state), 0_u64, 0_u64);
    while let Some(page) = pages.next(state).await? {
        segments = segments.saturating_add(page.len() as u64);
        bytes = page.iter().fold(bytes, |sum, segment| sum.saturating_add(segment.object.size));
    }
    Ok((segments, bytes))
}

/// How many segments lie wholly below an offset, as far as keys tell, and their bytes.
pub(super) async fn count_below(state: &PartitionState, offset: i64) -> Result<(u64, u64)> {
    let (mut pages, mut last) = (SegmentPages::of(state), None::<u64>);
    let (mut segments, mut bytes) = (0_u64, 0_u64);
    while let Some(page) = pages.next(state).await? {
        for ListedSegment { base, object, .. } in page {
            if base > offset {
                return Ok((segments, bytes));
            }
            if let Some(size) = last.replace(object.size) {
                (segments, bytes) = (segments.saturating_add(1), bytes.saturating_add(size));
            }
        }
    }
    Ok((segments, bytes))
}

/// Lists the marks and the first segments. Where marks and foreign keys fill a page, more pages follow.
pub(super) async fn beginning(state: &PartitionState) -> Result<Beginning> {
    let prefix = state.id.prefix();
    let (mut found, mut after) = (Beginning::default(), format!("{prefix}log-start-"));
    // A segment counts when its successor is known.
    while found.entries.len() < 2 {
        let page = state.list_page_through(state.store(), &prefix, Some(&after), PAGE_KEYS).await?;
        for object in page.objects {
            after.clone_from(&object.key);
            match object.key.strip_prefix(&prefix).and_then(ObjectName::parse) {
                Some(ObjectName::LogStart(offset)) => found.marks.push(offset),
                Some(ObjectName::Segment(base)) => {
                    if let Some(last) = found.entries.last_mut() {
                        last.next = base;
                    }
                    found.entries.push(OldSegment { base, object, next: i64::MAX });
                }
                Some(ObjectName::Index(base) | ObjectName::TimeIndex(base)) if found.entries.is_empty() => {
                    found.orphans.push(base);
                }
                _ => {}
            }
        }
        if page.complete {
            break;
        }
    }
    // The index of a segment sorts before the segment itself.
    let first = found.entries.first().map_or(i64::MAX, |entry| entry.base);
    found.orphans.retain(|base| *base < first);
    found.orphans.dedup();
    match found.entries.last_mut().filter(|_| mutant!(RemoveNewest)) {
        Some(newest) => newest.next = newest.base,
        None => drop(found.entries.pop()),
    }
    Ok(found)
}
