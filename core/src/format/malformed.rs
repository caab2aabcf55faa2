//! What is wrong with bytes, and where.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Error, ErrorKind};

/// Bytes are not what the format says.
///
/// It holds a position, what was found there and what was expected. It knows no object: whoever
/// read the bytes adds the key by [`Malformed::into_error`].
#[derive(Clone, PartialEq, Eq)]
pub struct Malformed(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    position: u64,
    found: Cow<'static, str>,
    expected: Cow<'static, str>,
    unsupported: bool,
}

impl Malformed {
    #[cold]
    pub(crate) fn new(
        position: u64,
        found: impl Into<Cow<'static, str>>,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        Malformed(Box::new(Inner { position, found: found.into(), expected: expected.into(), unsupported: false }))
    }

    #[cold]
    pub(crate) fn unsupported(
        position: u64,
        found: impl Into<Cow<'static, str>>,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut error = Self::new(position, found, expected);
        error.0.unsupported = true;
        error
    }

    /// The position of the wrong bytes, from the start of what was read.
    pub fn position(&self) -> u64 {
        self.0.position
    }

    /// What was found.
    pub fn found(&self) -> &str {
        &self.0.found
    }

    /// What was expected instead.
    pub fn expected(&self) -> &str {
        &self.0.expected
    }

    /// Whether the bytes are of a format that this library does not know (a later version, a codec
    /// from 5 to 7), not damaged.
    pub fn is_unsupported(&self) -> bool {
        self.0.unsupported
    }

    /// The same for bytes that start `by` bytes into a larger object.
    #[must_use]
    pub fn offset_position(mut self, by: u64) -> Self {
        self.0.position = self.0.position.saturating_add(by);
        self
    }

    /// The crate's error: [`ErrorKind::Unsupported`] or [`ErrorKind::Corrupt`], with the object's
    /// key and the position.
    pub fn into_error(self, key: &str) -> Error {
        Error::from(self).with_key(key)
    }
}

/// For bytes that have no key: what a caller handed in, a file.
impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        let kind = if malformed.is_unsupported() { ErrorKind::Unsupported } else { ErrorKind::Corrupt };
        let Inner { position, found, expected, .. } = *malformed.0;
        Error::new(kind, format!("found {found}, expected {expected}")).at(position)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: found {}, expected {}", self.0.position, self.0.found, self.0.expected)
    }
}

impl fmt::Debug for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Malformed({self})")
    }
}

impl std::error::Error for Malformed {}
