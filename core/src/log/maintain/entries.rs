//! What a partition's keys show of the beginning of its log, in one listing.

use crate::error::Result;
use crate::format::ObjectName;
use crate::log::state::PartitionState;
use crate::store::ObjectInfo;

/// Keys of one listing.
const PAGE_KEYS: usize = 1000;

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
        self.entries.iter().take_while(move |entry| entry.next <= offset)
    }
}

/// How many segments lie wholly below an offset, as far as keys tell, and their bytes. A LIST for each 1,000 keys.
pub(super) async fn count_below(state: &PartitionState, offset: i64) -> Result<(u64, u64)> {
    let prefix = state.id.prefix();
    let (mut after, mut last) = (format!("{prefix}segment-"), None::<u64>);
    let (mut segments, mut bytes) = (0_u64, 0_u64);
    loop {
        let page = state.list_page_through(state.store(), &prefix, Some(&after), PAGE_KEYS).await?;
        for object in page.objects {
            after.clone_from(&object.key);
            let Some(ObjectName::Segment(base)) = object.key.strip_prefix(&prefix).and_then(ObjectName::parse) else {
                continue;
            };
            if base > offset {
                return Ok((segments, bytes));
            }
            if let Some(size) = last.replace(object.size) {
                (segments, bytes) = (segments.saturating_add(1), bytes.saturating_add(size));
            }
        }
        if page.complete {
            return Ok((segments, bytes));
        }
    }
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
    found.entries.pop();
    Ok(found)
}
