//! Credentials that a callable supplies.

use std::error::Error as StdError;
use std::fmt;

use kfs_core::store::{CredentialSource, Credentials};
use kfs_core::{Error, ErrorKind, Result};
use pyo3::exceptions::{PyConnectionError, PyTimeoutError};
use pyo3::prelude::*;

/// A callable of the program, which gives credentials.
pub(crate) struct Callable(pub(crate) Py<PyAny>);

impl fmt::Debug for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callable")
    }
}

impl CredentialSource for Callable {
    /// It runs on a thread that may block, and takes the interpreter only here.
    fn credentials(&self) -> Result<Credentials> {
        let ended = || Error::new(ErrorKind::Unavailable, "Python ends, so the credentials callable can't be called");
        Python::try_attach(|py| self.ask(py)).unwrap_or_else(|| Err(ended()))
    }
}

/// What `kfs._types.supplied` makes of an answer: key id, secret, session token, bearer token, account key, and when
/// they run out, in Unix time in milliseconds.
type Supplied = (Option<String>, Option<String>, Option<String>, Option<String>, Option<String>, Option<i64>);

impl Callable {
    fn ask(&self, py: Python<'_>) -> Result<Credentials> {
        let given = self.0.call0(py).map_err(|error| raised(py, error))?;
        let read = || py.import("kfs._types")?.getattr("supplied")?.call1((given,))?.extract::<Option<Supplied>>();
        let read = read().map_err(|error| {
            let message = "the credentials callable gave what can't be read as credentials";
            Error::new(ErrorKind::InvalidInput, message).with_source(Raised::of(py, error))
        })?;
        let (credentials, expires_ms) = match read {
            Some((Some(id), Some(secret), token, _, _, ends)) => (Credentials::access_key(id, secret, token), ends),
            Some((_, _, _, Some(token), _, ends)) => (Credentials::bearer(token), ends),
            Some((_, _, _, _, Some(key), ends)) => (Credentials::account_key(key), ends),
            _ => {
                let message = "the credentials callable gave no credentials";
                return Err(Error::new(ErrorKind::PermissionDenied, message)
                    .with_hint("return a kfs.Credentials, or raise an exception that says why there are none"));
            }
        };
        Ok(match expires_ms {
            Some(unix_ms) => credentials.expires_at(unix_ms),
            None => credentials,
        })
    }
}

fn raised(py: Python<'_>, error: PyErr) -> Error {
    let may_pass = error.is_instance_of::<PyConnectionError>(py) || error.is_instance_of::<PyTimeoutError>(py);
    let kind = if may_pass { ErrorKind::Unavailable } else { ErrorKind::PermissionDenied };
    Error::new(kind, "the credentials callable failed").with_source(Raised::of(py, error))
}

/// What the callable raised. It is shown by its class alone, because its text may hold a secret.
pub(crate) struct Raised {
    error: PyErr,
    class: String,
}

impl Raised {
    fn of(py: Python<'_>, error: PyErr) -> Self {
        let class = error.get_type(py).name().map_or_else(|_| "an exception".to_string(), |name| name.to_string());
        Raised { error, class }
    }

    /// The exception among the causes of an error.
    pub(crate) fn find(error: &Error) -> Option<&PyErr> {
        let mut cause = StdError::source(error);
        while let Some(this) = cause {
            if let Some(raised) = this.downcast_ref::<Raised>() {
                return Some(&raised.error);
            }
            cause = this.source();
        }
        None
    }
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.class)
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.class)
    }
}

impl StdError for Raised {}
