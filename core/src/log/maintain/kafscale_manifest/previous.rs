//! The manifest that is there: what it says of segments that have not changed need not be read again.

use std::collections::HashMap;

use crate::error::{ErrorKind, Result};
use crate::format::{KafscaleEntry, PartitionId};
use crate::log::bucket::Bucket;
use crate::log::maintain::listing::SegmentBeside;
use crate::log::retry::patiently;
use crate::store::ReadRange;

/// The most bytes of a manifest. KafScale's SQL processor holds all of it.
pub(super) const MAX_LEN: u64 = 1 << 30;

/// What it says of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownEntry {
    base: i64,
    size: u64,
    modified_ms: i64,
    pub(super) end: i64,
    pub(super) times: Option<(i64, i64)>,
}

/// The entries that this library wrote. Those of others are not used: they take a segment's end from the next key.
#[derive(Debug, Default)]
pub(super) struct PreviousManifest {
    entries: HashMap<PartitionId, Vec<KnownEntry>>,
}

impl PreviousManifest {
    /// Reads it: one GET. One that is missing or can't be read says nothing.
    pub(super) async fn read(bucket: &Bucket, key: &str) -> Result<Self> {
        let (inner, mut previous) = (&bucket.0, PreviousManifest::default());
        let get = || inner.reads.get(key, ReadRange::AtMost(MAX_LEN), None);
        let found = match patiently(&inner.retries, &inner.runtime, "reading the manifest for KafScale", get).await {
            Ok(found) => found,
            Err(none) if matches!(none.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => return Ok(previous),
            Err(error) => return Err(error),
        };
        let read = KafscaleEntry::read_all(&found.bytes, &inner.options.namespace, |entry| previous.take(entry));
        if read.is_err() {
            return Ok(PreviousManifest::default());
        }
        for entries in previous.entries.values_mut() {
            entries.sort_unstable_by_key(|entry| entry.base);
        }
        Ok(previous)
    }

    fn take(&mut self, entry: KafscaleEntry) {
        let KafscaleEntry { partition, base_offset: base, last_offset, times, size, modified_ms, is_exact, .. } = entry;
        let Some(end) = last_offset.filter(|last| is_exact && *last >= base).and_then(|last| last.checked_add(1))
        else {
            return;
        };
        self.entries.entry(partition).or_default().push(KnownEntry { base, size, modified_ms, end, times });
    }

    /// What it says of this segment, if it was the same object.
    pub(super) fn of(&self, partition: &PartitionId, segment: &SegmentBeside) -> Option<KnownEntry> {
        let entries = self.entries.get(partition)?;
        let at = entries.binary_search_by_key(&segment.base, |entry| entry.base).ok()?;
        let known = entries.get(at)?;
        let is_same = known.size == segment.object.size && known.modified_ms == segment.object.modified_ms;
        is_same.then_some(*known)
    }
}
