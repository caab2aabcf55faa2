//! Which bucket and how.
