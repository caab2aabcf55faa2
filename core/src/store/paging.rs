//! Pages of a listing: how many keys one request asks for, and whether the listing goes on.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::meter::Attempt;
use crate::error::{Error, ErrorKind, Result};

/// The most keys that one listing request answers, on S3 and by our way of counting.
pub(super) const KEYS_A_REQUEST: usize = 1000;
/// How many pages in a row may have nothing new. A store gives some where many objects were deleted.
const EMPTY_PAGES: usize = 1000;
/// How much memory the names of one listing may take, in bytes.
const NAMES_LIMIT: usize = 128 << 20;

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

    /// Pages of this many keys arrive.
    pub(super) fn arrived(&self, keys: usize) {
        // Slower than they shrink: where large pages always fail, few are tried.
        let larger = (keys + keys.div_ceil(4)).min(KEYS_A_REQUEST);
        self.0.fetch_max(larger, Ordering::Relaxed);
    }

    /// A page of this many keys did not arrive.
    pub(super) fn broke(&self, keys: usize) {
        self.0.fetch_min((keys / 2).max(1), Ordering::Relaxed);
    }

    /// A page of this many keys is asked for.
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

/// The pages of one listing so far.
#[derive(Default)]
pub(super) struct ListingProgress {
    token: Option<String>,
    empty: usize,
    bytes: usize,
}

impl ListingProgress {
    /// After a page, with the token for the next one. `is_new` tells whether the page had something new.
    ///
    /// # Errors
    /// `Unavailable` when the listing would never end.
    pub(super) fn check(&mut self, token: &str, is_new: bool) -> Result<()> {
        if self.token.as_deref() == Some(token) {
            return Err(stuck("the server gave the same continuation token twice"));
        }
        self.token = Some(token.to_string());
        self.empty = if is_new { 0 } else { self.empty + 1 };
        if self.empty >= EMPTY_PAGES {
            return Err(stuck(&format!("the server gave {EMPTY_PAGES} pages in a row with nothing new")));
        }
        Ok(())
    }

    /// The listing is asked for once more from a key on, so a token may come twice.
    pub(super) fn restarts(&mut self) {
        self.token = None;
    }

    /// A name is kept in memory.
    ///
    /// # Errors
    /// `Unsupported` when there are too many.
    pub(super) fn keep(&mut self, name: &str) -> Result<()> {
        self.bytes += name.len() + size_of::<String>();
        if self.bytes <= NAMES_LIMIT {
            return Ok(());
        }
        let message =
            format!("there are too many names directly under this prefix: they take over {NAMES_LIMIT} bytes");
        Err(Error::new(ErrorKind::Unsupported, message).of_the_store())
    }
}

fn stuck(why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the listing does not go on: {why}")).of_the_store()
}
