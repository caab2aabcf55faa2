//! Errors become exceptions of `kfs/_errors.py`.

use kfs_core::{Error, ErrorKind, Stored};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::credentials::Raised;

/// The exception of an error.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    make(py, error).unwrap_or_else(|failed| failed)
}

fn make(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let classes = py.import("kfs._errors")?.getattr("BY_CODE")?;
    let code = error.kind() as i32;
    let class = classes.get_item(code).or_else(|_| classes.get_item(ErrorKind::Internal as i32))?;
    let message = match error.hint() {
        Some(hint) => format!("{error:#}; {hint}"),
        None => format!("{error:#}"),
    };
    let exception = class.call1((message,))?;
    let stored = error.stored().map(|stored| if stored == Stored::Not { "not" } else { "perhaps" });
    exception.setattr("kind", error.kind().name())?;
    exception.setattr("code", code)?;
    exception.setattr("hint", error.hint())?;
    exception.setattr("key", error.key())?;
    exception.setattr("position", error.position())?;
    exception.setattr("offsets", error.offsets())?;
    exception.setattr("log_range", error.log_range())?;
    exception.setattr("next_readable_offset", error.next_readable_offset())?;
    exception.setattr("winner", error.winner())?;
    exception.setattr("request_id", error.request_id())?;
    exception.setattr("client_request_id", error.client_request_id())?;
    exception.setattr("retry_after", error.retry_after().map(|pause| pause.as_secs_f64()))?;
    exception.setattr("stored", stored)?;
    exception.setattr("retriable", error.is_retriable())?;
    if let Some(raised) = Raised::find(error) {
        // With the place where it was raised, which `value` leaves out.
        exception.setattr("__cause__", raised.clone_ref(py).into_value(py))?;
    }
    Ok(PyErr::from_value(exception))
}

/// The exception of a caller that passes what can't be right.
pub(crate) fn invalid(py: Python<'_>, message: String) -> PyErr {
    exception(py, &Error::new(ErrorKind::InvalidInput, message))
}

/// The exception of a child that uses what its parent made.
pub(crate) fn forked(py: Python<'_>, error: &Error) -> PyErr {
    let message = format!(
        "{}: the threads that do the work did not come along. Open the bucket after the fork, or start processes \
         with multiprocessing.get_context(\"spawn\")",
        error.message()
    );
    let class = py.import("kfs._errors").and_then(|errors| errors.getattr("ForkError"));
    match class.and_then(|class| class.call((message.clone(),), None::<&Bound<'_, PyDict>>)) {
        Ok(exception) => PyErr::from_value(exception),
        Err(_) => PyRuntimeError::new_err(message),
    }
}
