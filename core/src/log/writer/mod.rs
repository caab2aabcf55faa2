//! Appending to a partition: accumulate, flush, commit.

mod accumulator;
mod admission;
mod append;
mod checked;
mod claiming;
mod commit;
mod control;
mod core;
mod delivery;
mod env;
mod handle;
mod look;
mod open;
mod options;
mod pace;
mod rival;
mod seen;
mod slot;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod yielding;

pub use admission::Admission;
pub use append::{Append, Offsets};
pub use delivery::in_callback;
pub use handle::Writer;
pub use options::{OnConflict, WriterOptions};
pub use status::{WriterPhase, WriterStatus};

pub(crate) use self::core::WriterCore;
pub(crate) use delivery::shielded;
pub(crate) use env::bounded;
pub(crate) use handle::open;
pub(crate) use open::covered_by;
pub(crate) use start::create_log as create;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Runtime;

/// 16 random bytes as 32 hex digits.
fn random_id(runtime: &Runtime) -> Result<String> {
    let mut bytes = [0_u8; 16];
    runtime.entropy().fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn too_large(what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, what).with_hint("split it into several appends")
}
