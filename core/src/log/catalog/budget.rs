//! The bytes that all catalogs of a bucket may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all catalogs of a bucket hold, and how much they should at most.
#[derive(Debug)]
pub(crate) struct CatalogBudget {
    limit: usize,
    used: AtomicUsize,
}

impl CatalogBudget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(CatalogBudget { limit, used: AtomicUsize::new(0) })
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

/// One catalog's part of the budget. A catalog that lives only for one look has no budget.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) budget: Option<Arc<CatalogBudget>>,
    pub(super) counted: usize,
}

impl Share {
    pub(super) fn is_over(&self) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.used() > budget.limit)
    }

    /// The most bytes that one manifest may have; none are read for a catalog without a budget.
    pub(super) fn most_of_manifest(&self) -> usize {
        self.budget.as_ref().map_or(0, |budget| budget.limit / 2)
    }

    /// Counts the bytes that the catalog holds now.
    pub(super) fn count(&mut self, bytes: usize) {
        let Some(budget) = &self.budget else { return };
        budget.used.fetch_add(bytes, Ordering::Relaxed);
        budget.used.fetch_sub(self.counted, Ordering::Relaxed);
        self.counted = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.count(0);
    }
}
