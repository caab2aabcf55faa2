//! Whether a listing in pages goes on.

use crate::error::{Error, ErrorKind, Result};

/// How many pages in a row may have nothing new. A store gives some where many objects were deleted.
const EMPTY_PAGES: usize = 1000;
/// How much memory the names of one listing may take, in bytes.
const NAMES_LIMIT: usize = 128 << 20;

/// The pages of one listing so far.
#[derive(Default)]
pub(super) struct Progress {
    token: Option<String>,
    empty: usize,
    bytes: usize,
}

impl Progress {
    /// After a page, with the token for the next one. `is_new` tells whether the page had something new.
    ///
    /// # Errors
    /// `Unavailable` when the listing would never end.
    pub(super) fn check(&mut self, token: &str, is_new: bool) -> Result<()> {
        if self.token.as_deref() == Some(token) {
            return Err(stuck("the server gave the same continuation token twice"));
        }
        self.token = Some(token.to_string());
        self.empty = if is_new { 0 } else { self.empty.saturating_add(1) };
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
        self.bytes = self.bytes.saturating_add(name.len()).saturating_add(size_of::<String>());
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
