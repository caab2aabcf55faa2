//! Sparse indexes of all partitions of a bucket, held within a bound of bytes.

use std::mem::size_of;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::format::{PartitionId, SparseIndex};
use crate::store::Version;

const INDEX_BYTES: usize = 256;
const ENTRY_BYTES: usize = 12;

/// An index, with the version of the segment that it is believed to describe.
#[derive(Clone, Debug)]
struct Held {
    version: Version,
    index: Arc<SparseIndex>,
}

type Key = (PartitionId, i64);

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Key, Held> for Weight {
    fn weight(&self, _: &Key, held: &Held) -> u64 {
        let entries = held.index.len().saturating_mul(ENTRY_BYTES);
        let fixed = size_of::<Key>().saturating_add(size_of::<Held>()).saturating_add(INDEX_BYTES);
        u64::try_from(entries.saturating_add(fixed)).unwrap_or(u64::MAX)
    }
}

/// The cache of indexes, by segment and version.
pub(crate) struct Indexes(Cache<Key, Held, Weight>);

impl Indexes {
    /// A cache of at most so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let items = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        Indexes(Cache::with_weighter(items, bytes, Weight))
    }

    pub(crate) fn get(&self, id: &PartitionId, base: i64, version: &Version) -> Option<Arc<SparseIndex>> {
        let held = self.0.get(&(id.clone(), base))?;
        held.version.same_as(version).then_some(held.index)
    }

    pub(crate) fn put(&self, id: &PartitionId, base: i64, version: &Version, index: Arc<SparseIndex>) {
        self.0.insert((id.clone(), base), Held { version: version.clone(), index });
    }

    /// Bytes held, about.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.0.weight()
    }
}
