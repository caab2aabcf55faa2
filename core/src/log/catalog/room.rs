//! The bytes that all catalogs of a bucket may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a known segment, about: its base, its version, an ETag on the heap.
const ENTRY_BYTES: usize = 112;

/// What all catalogs of a bucket hold, and how much they should at most.
#[derive(Debug)]
pub(crate) struct CatalogRoom {
    limit: usize,
    used: AtomicUsize,
}

impl CatalogRoom {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(CatalogRoom { limit, used: AtomicUsize::new(0) })
    }

    /// Whether more than three quarters are in use.
    pub(crate) fn is_tight(&self) -> bool {
        self.used() > self.limit / 4 * 3
    }

    /// Bytes in use, about.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// One catalog's part of it; none for a catalog that lives only for a look.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) room: Option<Arc<CatalogRoom>>,
    pub(super) counted: usize,
}

impl Share {
    pub(super) fn is_over(&self) -> bool {
        self.room.as_ref().is_some_and(|room| room.used() > room.limit)
    }

    /// The catalog holds so many segments now.
    pub(super) fn count(&mut self, segments: usize) {
        let Some(room) = &self.room else { return };
        let bytes = segments.saturating_mul(ENTRY_BYTES);
        room.used.fetch_add(bytes, Ordering::Relaxed);
        room.used.fetch_sub(self.counted, Ordering::Relaxed);
        self.counted = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.count(0);
    }
}
