//! What the buckets of one router share: the room for appends, and the memory for reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::budget::Budget;
use super::cache::{BlockCache, IndexCache};
use super::options::BucketOptions;
use crate::observer::Observer;

/// The budgets that one bucket has, or several share.
pub(super) struct BucketShares {
    pub(super) budget: Arc<Budget>,
    blocks: BlockCache,
    indexes: IndexCache,
    /// The number of the next bucket.
    next: AtomicU32,
}

impl BucketShares {
    pub(super) fn new(options: &BucketOptions) -> Self {
        let observer = Observer::default();
        BucketShares {
            budget: Budget::new(options.buffer_bytes),
            // Half is for blocks. The indexes and catalogs that find them save many requests.
            blocks: BlockCache::new(options.cache_bytes / 2, observer.clone()),
            indexes: IndexCache::new(options.cache_bytes / 4, observer),
            next: AtomicU32::new(0),
        }
    }

    /// The caches as one more bucket has them: what another bucket holds is never found in them, also if it is called the
    /// same and has the same version.
    pub(super) fn caches(&self, observer: &Observer) -> (BlockCache, IndexCache) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (self.blocks.of_bucket(number, observer.clone()), self.indexes.of_bucket(number, observer.clone()))
    }
}
