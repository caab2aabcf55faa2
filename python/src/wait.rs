//! Waiting with the interpreter released.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kfs_core::Result;
use kfs_core::blocking::Wait;
use pyo3::prelude::*;

use crate::errors::{exception, invalid};

/// How long Ctrl-C may go unseen.
const SIGNALS: Duration = Duration::from_millis(50);

/// How long the end of a `with` block that raised goes on trying, in seconds. It may have raised because
/// the store is away.
const AFTER_ERROR: f64 = 30.0;

/// Ends a `with` block whose exception has this type, or `None`: what it raised goes before what closing
/// raises.
pub(crate) fn leave(kind: &Bound<'_, PyAny>, close: impl FnOnce(Option<f64>) -> PyResult<()>) -> PyResult<()> {
    if kind.is_none() {
        return close(None);
    }
    let _ = close(Some(AFTER_ERROR));
    Ok(())
}

/// Seconds as Python has them.
pub(crate) fn seconds(py: Python<'_>, name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| invalid(py, format!("{name} is {seconds}, not a number of seconds")))
}

/// Does what may wait, while other Python threads run. A signal whose handler raises ends the wait
/// with what it raised.
pub(crate) fn wait<T: Send>(
    py: Python<'_>,
    timeout: Option<f64>,
    work: impl FnOnce(&Wait) -> Result<T> + Send,
) -> PyResult<T> {
    let limit = timeout.map(|timeout| seconds(py, "timeout", timeout)).transpose()?;
    let raised = Arc::new(Mutex::new(None));
    let slot = raised.clone();
    let wait = limit.map_or_else(Wait::forever, Wait::at_most).or_when(SIGNALS, move || {
        Python::attach(|py| match py.check_signals() {
            Ok(()) => false,
            Err(error) => {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                true
            }
        })
    });
    let result = py.detach(|| work(&wait));
    if let Some(raised) = raised.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(raised);
    }
    result.map_err(|error| exception(py, &error))
}
