//! Appending to a partition: accumulate, flush, commit.

mod accumulator;
mod admission;
mod append;
mod chain;
mod checked;
mod claiming;
mod claims;
mod commit;
mod delivery;
mod env;
mod handle;
mod hedge;
mod look;
mod open;
mod options;
mod outcome;
mod pace;
mod shared;
mod slot;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod winner;
mod yielding;

pub use admission::Admission;
pub use append::{Append, Interest, Offsets};
pub use delivery::in_callback;
pub use handle::Writer;
pub use options::{OnConflict, WriterOptions};
pub use status::{WriterPhase, WriterStatus};

pub(crate) use admission::WaitingAppend;
pub(crate) use env::bounded;
pub(crate) use handle::open;
pub(crate) use open::covered_by;
pub(crate) use start::create_log as create;
