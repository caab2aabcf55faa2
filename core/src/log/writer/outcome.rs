//! How a flight to one slot ends, and what ends a flush early.

use super::chain::Committed;
use super::winner::Winner;
use crate::error::{Error, ErrorKind, Stored};

/// How a flight ended.
pub(super) enum SlotEnd {
    /// Ours, with its index, at the end of the chain.
    Won(Committed),
    /// Another writer's segment is in the slot, and ours can never be.
    Lost(Box<Winner>),
    /// The look before the first try says that the log went elsewhere; nothing was sent.
    Gone(Error),
}

/// What ends a flush before it is durable: what asking again can't mend, or the writer's close. It ends the writer
/// (invariant 4; docs/design.md, "Acks, order and failed flushes").
#[derive(Debug)]
pub(super) struct Stop {
    error: Error,
    /// Whether the bytes are stored. `None` until the code that knows has set it.
    stored: Option<Stored>,
}

impl Stop {
    /// The writer was closed before the flush was settled.
    pub(super) fn gave_up() -> Self {
        Error::new(ErrorKind::Closed, "the writer's close deadline passed before the flush was durable").into()
    }

    /// Says what is known of the bytes, unless that was said before.
    pub(super) fn or_stored(mut self, stored: Stored) -> Self {
        self.stored.get_or_insert(stored);
        self
    }

    /// The error for those who appended. Where nothing was said of the bytes, they were never sent.
    pub(super) fn into_error(self) -> Error {
        self.error.with_stored(self.stored.unwrap_or(Stored::Not))
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop { error, stored: None }
    }
}

/// What was read, or `None` if it is not there.
pub(super) fn if_there<T>(read: Result<T, Stop>) -> Result<Option<T>, Stop> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(stop) if stop.error.kind() == ErrorKind::NotFound => Ok(None),
        Err(stop) => Err(stop),
    }
}
