//! Counts and checksums of a log, by reading all of it.

use std::sync::Arc;

use futures_util::StreamExt;

use super::super::copy::read_listed;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Segment, crc32c, crc32c_combine};
use crate::log::partition::Partition;
use crate::log::state::PartitionState;

/// What all segments of a log add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) segments: u64,
    pub(super) bytes: u64,
    pub(super) batches: u64,
    pub(super) records: u64,
    pub(super) max_timestamp_ms: Option<i64>,
    /// Of the segments' bytes, in the order of their offsets.
    pub(super) crc32c: u32,
}

impl Sums {
    fn add(&mut self, segment: &Segment) {
        let bytes = segment.bytes();
        let len = bytes.len() as u64;
        self.segments = self.segments.saturating_add(1);
        self.bytes = self.bytes.saturating_add(len);
        self.crc32c = crc32c_combine(self.crc32c, crc32c(bytes), len);
        for at in segment.batches() {
            let header = at.batch.header();
            self.batches = self.batches.saturating_add(1);
            self.records = self.records.saturating_add(u64::try_from(header.record_count).unwrap_or(0));
            self.max_timestamp_ms = self.max_timestamp_ms.max(Some(header.max_timestamp).filter(|time| *time >= 0));
        }
    }

    /// Reads all segments of a log, with their CRCs: a LIST for each 500 of them, and a GET of each. `told` gets the bytes
    /// of each that was read.
    pub(super) async fn of(state: &Arc<PartitionState>, told: &(dyn Fn(u64) + Send + Sync)) -> Result<Self> {
        let mut pages = Partition::new(state.clone()).segments(..);
        let mut sums = Sums::default();
        while let Some(page) = pages.next_page().await? {
            let mut reads = std::pin::pin!(read_listed(state.clone(), page));
            while let Some(read) = reads.next().await {
                let (info, segment) = read?;
                let Some(segment) = segment else {
                    let message = "a segment of a backup was changed or removed while it was read";
                    return Err(Error::new(ErrorKind::Conflict, message).with_key(info.key));
                };
                sums.add(&segment);
                told(info.size);
            }
        }
        Ok(sums)
    }
}
