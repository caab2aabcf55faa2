//! What is merged, and how.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::format::DEFAULT_INDEX_INTERVAL;
use crate::setters::setters;

const DEFAULT_TARGET: u64 = 64 << 20;
const GREATEST_TARGET: u64 = 1 << 30;
/// Room for a segment's frame and a batch.
const LEAST_TARGET: u64 = 4 << 10;
/// A merged segment that is smaller could be merged again.
const SMALL_PART: u64 = 4;
const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);
const LEAST_GRACE: Duration = Duration::from_secs(15 * 60);
/// A fetch of KafScale's broker has one segment in it, and a Kafka consumer asks for 1 MiB of a partition
/// (`max.partition.fetch.bytes`, <https://kafka.apache.org/documentation/#consumerconfigs_max.partition.fetch.bytes>).
const KAFSCALE_TARGET: u64 = 1_000_000;

/// Which segments are merged, and what becomes of them. Start from `MergePolicy::default()`.
///
/// Segments smaller than a quarter of the target size are small. Small neighbours are merged from the oldest on, as many as
/// fit into the target size. The newest segment and segments younger than 6 minutes are never merged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergePolicy {
    /// The most bytes of a merged segment (default 64 MiB, 4 KiB to 1 GiB). Merging takes up to twice as much memory, and 32
    /// MiB.
    pub target_size: u64,
    /// Small neighbours wait until they have this many bytes together. The default, `None`, is a quarter of the target size:
    /// then what was merged is not small, and no byte is merged twice by this policy. With less, few segments stay when a log
    /// gets few records, and bytes are merged again.
    pub min_size: Option<u64>,
    /// How long segments stay after they were merged (default 24 hours, at least 15 minutes). 6 minutes are added. Whoever
    /// listed them before, another process or KafScale's broker, can go on reading them for so long.
    pub grace: Duration,
    /// Whether a merged segment gets a time index (default `true`). Records are decoded for it.
    pub time_index: bool,
    /// Messages between two entries of a merged segment's index (default 100, at least 1).
    pub index_interval: i32,
}

impl Default for MergePolicy {
    fn default() -> Self {
        MergePolicy {
            target_size: DEFAULT_TARGET,
            min_size: None,
            grace: DEFAULT_GRACE,
            time_index: true,
            index_interval: DEFAULT_INDEX_INTERVAL,
        }
    }
}

impl MergePolicy {
    setters! { target_size: u64, min_size: some u64, grace: Duration, time_index: bool, index_interval: i32 }

    /// For logs that KafScale's broker serves, too: segments of at most 1,000,000 bytes. The broker can't serve all offsets of
    /// a segment that is larger than a consumer's `max.partition.fetch.bytes`, which is 1 MiB by default; see
    /// `docs/kafscale.md`.
    pub fn for_kafscale() -> Self {
        MergePolicy { target_size: KAFSCALE_TARGET, ..Self::default() }
    }

    /// A segment of fewer bytes is small.
    pub(super) fn small_size(&self) -> u64 {
        self.target_size.div_ceil(SMALL_PART)
    }

    /// Fewer bytes are not merged.
    pub(super) fn least_size(&self) -> u64 {
        self.min_size.unwrap_or(self.small_size())
    }

    pub(super) fn check(&self) -> Result<()> {
        let MergePolicy { target_size, min_size, grace, index_interval, .. } = self;
        let message = if !(LEAST_TARGET..=GREATEST_TARGET).contains(target_size) {
            format!("target_size is {target_size} bytes, {LEAST_TARGET} to {GREATEST_TARGET} are allowed")
        } else if let Some(min_size) = min_size.filter(|min| min > target_size) {
            format!("min_size is {min_size} bytes, which is more than the target_size of {target_size}")
        } else if *grace < LEAST_GRACE {
            format!("grace is {grace:?}, at least 15 minutes are allowed")
        } else if *index_interval < 1 {
            format!("index_interval is {index_interval}, at least 1 is allowed")
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidInput, format!("the merge policy's {message}")))
    }
}
