//! The durable store on a directory.

mod hook;

pub use self::hook::{DiskHook, DiskOp, DiskVerdict};
