//! Completion callbacks: they run on the task of a writer, which they must not hold up.

use crate::error::{Error, ErrorKind};

pub use crate::log::writer::in_callback;

pub(super) fn would_deadlock() -> Error {
    Error::new(ErrorKind::InvalidInput, "a completion callback must not wait: the writer waits for it to return")
        .with_hint("append without waiting there, or hand the result to another thread")
}
