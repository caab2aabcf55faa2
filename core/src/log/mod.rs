//! The bucket and the logs of its partitions.

mod bucket;
mod budget;
mod cache;
mod catalog;
mod deletion;
#[cfg(test)]
pub(crate) mod fixtures;
mod identity;
mod kafscale;
mod locate;
pub(crate) mod log_source;
pub(crate) mod maintain;
mod names;
mod options;
mod partition;
mod pieces;
mod progress;
mod purgatory;
pub(crate) mod reader;
pub(crate) mod repair;
pub(crate) mod retry;
mod router;
mod scan_budget;
mod seen;
pub(crate) mod segment_info;
pub(crate) mod segments;
mod shares;
mod state;
mod topic_config;
pub(crate) mod verify;
mod watch;
mod watermarks;
pub(crate) mod writer;

pub use bucket::Bucket;
pub use kafscale::KafscaleTuning;
pub use options::BucketOptions;
pub use partition::Partition;
pub use retry::{RetryPolicy, Trouble};
pub use router::TopicRouter;
pub use scan_budget::{ScanBudget, ScanPermit};
pub use topic_config::TopicConfig;
pub use watch::Watch;
pub use watermarks::Watermarks;
