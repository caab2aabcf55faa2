//! The C ABI of kfs-core: libkfs.so, libkfs.a and `include/kfs.h`.
//!
//! It is thin: every function checks its pointers, waits through [`kfs_core::blocking`], and turns the
//! result into C's. The comments on functions and types here are the manual: cbindgen prints them into
//! the header (`tests/header.rs`). Names are C's, so that the header needs no second set of them.
//!
//! What holds for all: a panic never crosses the border (it becomes `KFS_INTERNAL`), outputs are
//! written on success only, and every `_free` accepts NULL.
#![allow(non_camel_case_types, reason = "names are those of the header")]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]
// What a caller must keep is said once, in the header's introduction, and where more is asked, by the function.
#![allow(clippy::missing_safety_doc)]

mod call;

// In the order of the header.
mod version;

mod error;

mod error_functions;

mod wait;

mod credentials;

mod options;

mod config;

mod bucket;

mod writer;

mod status;

mod reader;

pub use bucket::*;
pub use config::*;
pub use credentials::*;
pub use error::*;
pub use error_functions::*;
pub use options::*;
pub use reader::*;
pub use status::*;
pub use version::*;
pub use wait::*;
pub use writer::*;
