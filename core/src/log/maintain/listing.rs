//! The keys of a partition from its first one on, in one pass.

use super::entries::PAGE_KEYS;
use crate::error::Result;
use crate::format::ObjectName;
use crate::log::state::PartitionState;
use crate::store::{ObjectInfo, Version};

/// A segment and what stands beside it.
#[derive(Clone, Debug)]
pub(super) struct SegmentBeside {
    pub(super) base: i64,
    pub(super) object: ObjectInfo,
    /// The base of the segment after it; `None` for the newest.
    pub(super) next: Option<i64>,
    pub(super) has_index: bool,
    /// When its time index was last modified; `None` where it has none.
    pub(super) times_ms: Option<i64>,
}

/// Lists a partition: a LIST for each 1,000 keys.
pub(super) struct PartitionListing {
    prefix: String,
    after: String,
    is_complete: bool,
    index: Option<i64>,
    /// The last segment, whose successor is not known yet.
    held: Option<SegmentBeside>,
    /// The greatest log start mark. It is known before the first segment: marks sort first.
    pub(super) mark: Option<i64>,
    /// The version of `log.json`, which sorts before the first segment.
    pub(super) log_json: Option<Version>,
    /// There is `log.json`, a mark or a segment.
    pub(super) exists: bool,
}

impl PartitionListing {
    pub(super) fn of(state: &PartitionState) -> Self {
        let prefix = state.id.prefix();
        let after = format!("{prefix}log-start-");
        let (index, held, mark, log_json) = Default::default();
        PartitionListing { prefix, after, is_complete: false, index, held, mark, log_json, exists: false }
    }

    /// The next segments, which may be none; `None` at the end.
    pub(super) async fn next(&mut self, state: &PartitionState) -> Result<Option<Vec<SegmentBeside>>> {
        if self.is_complete {
            return Ok(None);
        }
        let page = state.list_page_through(state.store(), &self.prefix, Some(&self.after), PAGE_KEYS).await?;
        self.is_complete = page.complete;
        let mut found = Vec::new();
        for object in page.objects {
            self.after.clone_from(&object.key);
            match object.key.strip_prefix(&self.prefix).and_then(ObjectName::parse) {
                Some(ObjectName::LogStart(offset)) => {
                    (self.mark, self.exists) = (self.mark.max(Some(offset)), true);
                }
                Some(ObjectName::LogJson) => (self.log_json, self.exists) = (Some(object.version), true),
                Some(ObjectName::Index(base)) => self.index = Some(base),
                Some(ObjectName::TimeIndex(base)) => {
                    if let Some(held) = self.held.as_mut().filter(|held| held.base == base) {
                        held.times_ms = Some(object.modified_ms);
                    }
                }
                Some(ObjectName::Segment(base)) => {
                    self.exists = true;
                    // Its index came before it.
                    let has_index = self.index.take() == Some(base);
                    let segment = SegmentBeside { base, object, next: None, has_index, times_ms: None };
                    if let Some(mut before) = self.held.replace(segment) {
                        before.next = Some(base);
                        found.push(before);
                    }
                }
                _ => {}
            }
        }
        if self.is_complete {
            found.extend(self.held.take());
        }
        Ok(Some(found))
    }
}
