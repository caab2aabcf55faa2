//! What was made before a fork is of no use after it: the runtime's threads stay in the parent.

use kfs_core::ForkSafe;
use pyo3::prelude::*;

use crate::errors;

/// A handle that knows in which process it was made.
pub(crate) struct Owned<T>(ForkSafe<T>);

impl<T> Owned<T> {
    pub(crate) fn new(handle: T) -> Self {
        Owned(ForkSafe::new(handle))
    }

    /// The handle, unless this is a forked child of the process that made it.
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<&T> {
        self.0.get().map_err(|error| errors::forked(py, &error))
    }
}
