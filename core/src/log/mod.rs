//! The bucket and the logs of its partitions.

mod bucket;
mod budget;
mod cache;
mod catalog;
#[cfg(test)]
pub(crate) mod fixtures;
mod identity;
mod locate;
mod marks;
mod partition;
mod progress;
pub mod reader;
pub mod repair;
pub(crate) mod retry;
pub mod segments;
pub mod verify;
pub mod writer;

pub use bucket::{Bucket, BucketOptions};
pub use marks::{Marks, Watch};
pub use partition::Partition;
pub(crate) use partition::PartitionState;
pub use retry::Trouble;
