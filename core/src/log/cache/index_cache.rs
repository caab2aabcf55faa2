//! Sparse indexes of all partitions of a bucket, held within a bound of bytes.

use std::mem::size_of;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::shared_gets::{Claim, SharedGets};
use crate::error::Result;
use crate::format::{PartitionId, SparseIndex};
use crate::observer::Observer;
use crate::recorder::CacheKind;
use crate::store::Version;

const INDEX_BYTES: usize = 256;
const ENTRY_BYTES: usize = 12;

/// An index, with the version of the segment that it is believed to describe.
#[derive(Clone, Debug)]
struct CachedIndex {
    version: Version,
    index: Arc<SparseIndex>,
}

/// The bucket, the partition, and where the segment begins.
type IndexKey = (u32, PartitionId, i64);

#[derive(Clone, Debug)]
struct IndexWeight;

impl Weighter<IndexKey, CachedIndex> for IndexWeight {
    fn weight(&self, _: &IndexKey, held: &CachedIndex) -> u64 {
        let entries = held.index.len().saturating_mul(ENTRY_BYTES);
        let fixed = size_of::<IndexKey>().saturating_add(size_of::<CachedIndex>()).saturating_add(INDEX_BYTES);
        u64::try_from(entries.saturating_add(fixed)).unwrap_or(u64::MAX)
    }
}

type Loaded = Result<Option<Arc<SparseIndex>>>;

/// The cache of indexes, by segment and version.
pub(crate) struct IndexCache {
    cache: Arc<Cache<IndexKey, CachedIndex, IndexWeight>>,
    /// By the version for which an index is read.
    gets: Arc<SharedGets<IndexKey, Version, Option<Arc<SparseIndex>>>>,
    /// Several buckets may share the memory.
    bucket: u32,
    observer: Observer,
}

impl IndexCache {
    /// A cache of at most this many bytes.
    pub(crate) fn new(bytes: usize, observer: Observer) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let items = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        let cache = Arc::new(Cache::with_weighter(items, bytes, IndexWeight));
        IndexCache { cache, gets: Arc::default(), bucket: 0, observer }
    }

    /// The same memory for another bucket, which finds nothing there of the others.
    pub(crate) fn of_bucket(&self, bucket: u32, observer: Observer) -> Self {
        IndexCache { cache: self.cache.clone(), gets: self.gets.clone(), bucket, observer }
    }

    fn key(&self, id: &PartitionId, base: i64) -> IndexKey {
        (self.bucket, id.clone(), base)
    }

    pub(crate) fn get(&self, id: &PartitionId, base: i64, version: &Version) -> Option<Arc<SparseIndex>> {
        self.held(&self.key(id, base), version)
    }

    fn held(&self, key: &IndexKey, version: &Version) -> Option<Arc<SparseIndex>> {
        let held = self.cache.get(key)?;
        held.version.same_as(version).then_some(held.index)
    }

    pub(crate) fn put(&self, id: &PartitionId, base: i64, version: &Version, index: Arc<SparseIndex>) {
        self.cache.insert(self.key(id, base), CachedIndex { version: version.clone(), index });
    }

    /// The index that is held, or what one GET brings to all callers that want it now.
    ///
    /// # Errors
    /// What the GET answers. Every caller that waits for it gets the error; later callers ask again.
    pub(crate) async fn load<F: Future<Output = Loaded>>(
        &self,
        id: &PartitionId,
        base: i64,
        version: &Version,
        get: impl FnOnce() -> F,
    ) -> Loaded {
        let key = self.key(id, base);
        let permit = loop {
            let held = || self.held(&key, version);
            match self.gets.claim(key.clone(), held, |of| of.same_as(version), |_| version.clone()) {
                Claim::Held(index) => {
                    self.observer.cache_used(CacheKind::Indexes, 1, 0);
                    return Ok(Some(index));
                }
                Claim::Load(permit) => break permit,
                // If its loader is gone, the next turn claims it.
                Claim::Wait(landing) => {
                    self.observer.cache_used(CacheKind::Indexes, 0, 1);
                    if let Ok(loaded) = landing.await {
                        return loaded;
                    }
                }
            }
        };
        self.observer.cache_used(CacheKind::Indexes, 0, 1);
        let loaded = get().await;
        if let Ok(Some(index)) = &loaded {
            self.put(id, base, version, index.clone());
        }
        permit.land(loaded)
    }

    /// Bytes held, about.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}
