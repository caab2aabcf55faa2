//! Finding segments by listing, within the request budget.

use super::catalog::SegmentRef;
use super::partition::PartitionState;
use crate::error::Result;
use crate::format::ObjectName;

/// What a fresh look at a partition's keys told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    /// The segment with the greatest base offset.
    pub(crate) newest: Option<SegmentRef>,
    /// The greatest log start mark.
    pub(crate) log_start_mark: Option<i64>,
    /// The first segment.
    pub(crate) first: Option<SegmentRef>,
    /// Whether `log.json` is there.
    pub(crate) has_log_json: bool,
}

/// A fresh look: pages through all keys.
pub(crate) async fn find_tail(state: &PartitionState) -> Result<Tail> {
    let prefix = state.id.prefix();
    let mut tail = Tail::default();
    let mut after: Option<String> = None;
    loop {
        let page = state.store().list_page(&prefix, after.as_deref(), 1000).await?;
        after = page.objects.last().map(|o| o.key.clone()).or(after);
        for object in page.objects {
            match object.key.strip_prefix(&prefix).and_then(ObjectName::parse) {
                Some(ObjectName::Segment(base)) => {
                    let found = SegmentRef {
                        base,
                        size: object.size,
                        version: object.version,
                        modified_ms: object.modified_ms,
                    };
                    tail.first.get_or_insert_with(|| found.clone());
                    tail.newest = Some(found);
                }
                Some(ObjectName::LogJson) => tail.has_log_json = true,
                Some(ObjectName::LogStart(mark)) => tail.log_start_mark = tail.log_start_mark.max(Some(mark)),
                _ => {}
            }
        }
        if page.complete {
            return Ok(tail);
        }
    }
}
