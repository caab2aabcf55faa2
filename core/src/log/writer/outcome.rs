//! How things end: a flight to one slot, and a flush.

use super::chain::Committed;
use super::env::Failure;
use super::winner::Winner;
use crate::error::Error;

/// How a flight ended.
pub(super) enum SlotEnd {
    /// Ours, with its index, at the end of the chain.
    Won(Committed),
    /// Another writer's segment is in the slot, and ours can never be.
    Lost(Box<Winner>),
    /// The look before the first try says that the log went elsewhere; nothing was sent.
    Gone(Error),
    /// Over, with what is known of the bytes.
    Failed(Failure),
}
