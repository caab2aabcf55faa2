//! `kfs._kfs`: the part of the Python package `kfs` that is Rust.
//!
//! It is thin: every method waits through [`kfs_core::blocking`] with the interpreter released, and turns
//! errors into those of `kfs/_errors.py`. `kfs/_kfs.pyi` is its manual.
#![deny(unsafe_code)]
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

mod bucket;
mod buffer;
mod credentials;
mod errors;
mod fork;
mod reader;
mod wait;
mod writer;

use pyo3::prelude::*;

/// The module. Its items are the classes of `kfs/_kfs.pyi`.
#[pymodule]
fn _kfs(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(bucket::open, module)?)?;
    module.add_function(wrap_pyfunction!(bucket::runtime_threads, module)?)?;
    module.add_class::<bucket::Bucket>()?;
    module.add_class::<bucket::Partition>()?;
    module.add_class::<writer::Writer>()?;
    module.add_class::<writer::Append>()?;
    module.add_class::<reader::Reader>()?;
    module.add_class::<reader::Fetch>()?;
    module.add_class::<reader::Records>()?;
    Ok(())
}
