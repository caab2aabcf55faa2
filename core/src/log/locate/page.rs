//! One page of a partition's keys.

use crate::error::{Error, ErrorKind, Result};
use crate::format::ObjectName;
use crate::log::catalog::{Covered, SegmentRef, StartInfo};
use crate::log::state::PartitionState;
use crate::store::{StoreReader, Version};

/// Keys of one page; a listing counts one request per 1,000 keys begun.
const PAGE_KEYS: usize = 1000;

/// A page, or several where foreign keys fill them: it holds a segment unless it is the last.
#[derive(Debug, Default)]
pub(super) struct SegmentPage {
    pub(super) segments: Vec<SegmentRef>,
    pub(super) to_end: bool,
}

impl SegmentPage {
    /// Offsets per segment, about, where the page lies.
    pub(super) fn density(&self) -> Option<i64> {
        let (first, last) = (self.segments.first()?.base, self.segments.last()?.base);
        let gaps = i64::try_from(self.segments.len()).ok()?.checked_sub(1)?;
        last.checked_sub(first)?.checked_div(gaps).map(|d| d.max(1))
    }

    /// What the page says of the bases above `after`.
    pub(super) fn covered(&self, after: i64) -> Covered<'_> {
        Covered { after, segments: &self.segments, to_end: self.to_end }
    }
}

/// What the listings of one page showed.
#[derive(Debug, Default)]
pub(super) struct ListedKeys {
    pub(super) page: SegmentPage,
    /// The greatest log start mark.
    mark: Option<i64>,
    pub(super) log_json: Option<Version>,
    pub(super) manifest: Option<Version>,
    /// The base of the last index.
    pub(super) last_index: Option<i64>,
    /// How many listings were sent.
    pub(super) listings: u64,
}

impl ListedKeys {
    /// Where the log starts, if the page begins at its start.
    pub(super) fn start(&self) -> StartInfo {
        let first = self.page.segments.first().map(|s| s.base);
        StartInfo { mark: self.mark, first, has_log_json: self.log_json.is_some(), ..StartInfo::default() }
    }
}

/// Sends listings until one shows a segment or the log's end. Only foreign keys make that more than one.
pub(super) async fn list(state: &PartitionState, store: &StoreReader, after: i64) -> Result<ListedKeys> {
    let id = &state.id;
    let prefix = id.prefix();
    // No name of a segment sorts after this one.
    let last_key = id.segment_key(i64::MAX);
    let from_start = after < 0;
    // Log start marks sort before all other keys of the log. Keys before them are foreign.
    let mut from = if from_start { format!("{prefix}log-start-") } else { id.segment_key(after) };
    let mut keys = ListedKeys::default();
    while keys.page.segments.is_empty() && !keys.page.to_end {
        let listed = state.list_page_through(store, &prefix, Some(&from), PAGE_KEYS).await?;
        keys.listings += 1;
        keys.page.to_end = listed.complete;
        if let Some(last) = listed.objects.last() {
            keys.page.to_end |= last.key > last_key;
            // A store that gives the same keys again would be listed without end.
            if last.key <= from {
                let message = "a listing gave keys that come before those asked for";
                return Err(Error::new(ErrorKind::Internal, message).with_key(store.redact(&last.key)));
            }
            from.clone_from(&last.key);
            // Past `log.json` only segments and their indexes are of interest: the keys between are passed over.
            let segments = format!("{prefix}segment-");
            if from_start && *from >= *id.log_json_key() && *from < *segments {
                from = segments;
            }
        }
        for object in listed.objects {
            match object.key.strip_prefix(&prefix).and_then(ObjectName::parse) {
                Some(ObjectName::Segment(base)) => {
                    keys.page.segments.push(SegmentRef { base, size: object.size, version: object.version })
                }
                Some(ObjectName::LogStart(offset)) => keys.mark = keys.mark.max(Some(offset)),
                Some(ObjectName::LogJson) => keys.log_json = Some(object.version),
                Some(ObjectName::LogManifest) => keys.manifest = Some(object.version),
                Some(ObjectName::Index(base)) => keys.last_index = Some(base),
                _ => {}
            }
        }
    }
    Ok(keys)
}
