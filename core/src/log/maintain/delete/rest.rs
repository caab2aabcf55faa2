//! What is left of a log without its segments.

use std::sync::Arc;

use super::super::copy::forget_copy;
use super::super::entries::PAGE_KEYS;
use super::super::requests::remove;
use crate::error::Result;
use crate::format::ObjectName;
use crate::log::state::PartitionState;

/// The objects of a log that are left, and how many others stand among them.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Log start marks, least first.
    marks: Vec<String>,
    /// `log.manifest`, `claim.json` and `log.json`, in this order.
    names: Vec<String>,
    pub(super) foreign: u64,
}

impl Rest {
    /// Lists them: a LIST for each 1,000 keys.
    pub(super) async fn find(state: &PartitionState) -> Result<Self> {
        let prefix = state.id.prefix();
        let (mut rest, mut after) = (Rest::default(), None::<String>);
        loop {
            let page = state.list_page_through(state.store(), &prefix, after.as_deref(), PAGE_KEYS).await?;
            for object in page.objects {
                match object.key.strip_prefix(&prefix).and_then(ObjectName::parse) {
                    Some(ObjectName::LogStart(_)) => rest.marks.push(object.key.clone()),
                    Some(ObjectName::LogManifest) => rest.names.insert(0, object.key.clone()),
                    Some(ObjectName::Claim | ObjectName::LogJson) => rest.names.push(object.key.clone()),
                    Some(ObjectName::Segment(_) | ObjectName::Index(_) | ObjectName::TimeIndex(_)) => {}
                    None => rest.foreign = rest.foreign.saturating_add(1),
                }
                after = Some(object.key);
            }
            if page.complete {
                return Ok(rest);
            }
        }
    }

    /// Removes them. The marks go last: a writer that finds one of them and no segment asks whether the log is being deleted, and
    /// without them it would not.
    pub(super) async fn remove(&self, state: &Arc<PartitionState>) -> Result<()> {
        forget_copy(state).await?;
        for key in self.names.iter().chain(&self.marks) {
            remove(state, "removing what is left of a log", key).await?;
        }
        Ok(())
    }
}
