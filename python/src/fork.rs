//! What was made before a fork is of no use after it: the runtime's threads stay in the parent.

use pyo3::prelude::*;

use crate::errors;

/// A handle that knows in which process it was made.
pub(crate) struct Owned<T> {
    handle: Option<T>,
    process: u32,
}

impl<T> Owned<T> {
    pub(crate) fn new(handle: T) -> Self {
        Owned { handle: Some(handle), process: std::process::id() }
    }

    /// The handle, unless this is a forked child of the process that made it.
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<&T> {
        let here = std::process::id();
        match &self.handle {
            Some(handle) if self.process == here => Ok(handle),
            _ => Err(errors::forked(py, self.process, here)),
        }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // Dropping would wait for locks that threads of the parent held when it forked.
            std::mem::forget(self.handle.take());
        }
    }
}
