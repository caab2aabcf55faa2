//! How many keys one request for a listing asks for.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::meter::Attempt;

/// The most keys that one listing request answers, on S3 and by our way of counting.
pub(super) const KEYS_A_REQUEST: usize = 1000;

/// The size of the next page. A page that does not arrive whole gives no keys at all, so after one a smaller page is
/// asked for, and after each that arrives a larger one again.
#[derive(Debug)]
pub(super) struct PageSize(AtomicUsize);

impl Default for PageSize {
    fn default() -> Self {
        PageSize(AtomicUsize::new(KEYS_A_REQUEST))
    }
}

impl PageSize {
    pub(super) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Pages of so many keys arrive.
    pub(super) fn arrived(&self, keys: usize) {
        // Slower than they shrink: where large pages always fail, few are tried.
        let larger = keys.saturating_add(keys.div_ceil(4)).min(KEYS_A_REQUEST);
        self.0.fetch_max(larger, Ordering::Relaxed);
    }

    /// A page of so many keys did not arrive.
    pub(super) fn broke(&self, keys: usize) {
        self.0.fetch_min((keys / 2).max(1), Ordering::Relaxed);
    }

    /// A page of so many keys is asked for.
    pub(super) fn ask<'a>(&'a self, keys: usize, attempt: &'a Attempt) -> Asked<'a> {
        Asked { size: self, keys, attempt, is_over: false }
    }
}

/// A page that was asked for. Dropped in the middle of its answer it counts as broken: somebody has waited for it
/// for too long.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    size: &'a PageSize,
    keys: usize,
    attempt: &'a Attempt,
    is_over: bool,
}

impl Asked<'_> {
    /// The page is there.
    pub(super) fn arrived(mut self) {
        self.is_over = true;
    }

    /// The store did not answer in time.
    pub(super) fn timed_out(mut self) {
        self.is_over = true;
        self.size.broke(self.keys);
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.is_over && matches!(self.attempt.status(), Some(200..300)) {
            self.size.broke(self.keys);
        }
    }
}
