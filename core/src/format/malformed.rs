//! What is wrong with bytes, and where.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Error, ErrorKind};

/// How a reader gets at a batch that is larger than its limit.
const RAISE_LIMIT: &str =
    "the batch is not damaged: raise the reader's limit max_decompressed (`kfs`: --max-decompressed SIZE)";

/// Bytes are not what the format says.
///
/// It holds a position, what was found there and what was expected. It knows no object: whoever
/// read the bytes adds the key by [`Malformed::into_error`].
#[derive(Clone, PartialEq, Eq)]
pub struct Malformed(Box<MalformedDetails>);

#[derive(Clone, PartialEq, Eq)]
struct MalformedDetails {
    position: u64,
    found: Cow<'static, str>,
    expected: Cow<'static, str>,
    why: Why,
}

/// What kind of wrong it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The bytes are damaged, or never were right.
    Damaged,
    /// The format is one that this library does not know.
    Unknown,
    /// The bytes are right, and larger than the reader's limit.
    BeyondLimit,
}

impl Malformed {
    #[cold]
    pub(crate) fn new(
        position: u64,
        found: impl Into<Cow<'static, str>>,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        Malformed(Box::new(MalformedDetails {
            position,
            found: found.into(),
            expected: expected.into(),
            why: Why::Damaged,
        }))
    }

    #[cold]
    pub(crate) fn unsupported(
        position: u64,
        found: impl Into<Cow<'static, str>>,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut error = Self::new(position, found, expected);
        error.0.why = Why::Unknown;
        error
    }

    /// The bytes are right, and larger than the reader lets them be.
    #[cold]
    pub(crate) fn beyond_limit(
        position: u64,
        found: impl Into<Cow<'static, str>>,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut error = Self::new(position, found, expected);
        error.0.why = Why::BeyondLimit;
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
        self.0.why == Why::Unknown
    }

    /// Whether the bytes are not damaged, and decompress to more than
    /// [`Limits::max_decompressed_batch`](super::Limits::max_decompressed_batch).
    pub fn is_beyond_limit(&self) -> bool {
        self.0.why == Why::BeyondLimit
    }

    /// The same for bytes that start `by` bytes into a larger object.
    #[must_use]
    pub fn offset_position(mut self, by: u64) -> Self {
        self.0.position = self.0.position.saturating_add(by);
        self
    }

    /// The crate's error with the object's key and the position: [`ErrorKind::Corrupt`] for damaged
    /// bytes, [`ErrorKind::Unsupported`] for unknown formats and for what is beyond a limit.
    pub fn into_error(self, key: &str) -> Error {
        Error::from(self).with_key(key)
    }
}

/// For bytes that have no key: what a caller handed in, a file.
impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        let MalformedDetails { position, found, expected, why } = *malformed.0;
        let kind = if why == Why::Damaged { ErrorKind::Corrupt } else { ErrorKind::Unsupported };
        let error = Error::new(kind, format!("found {found}, expected {expected}")).at(position);
        match why {
            Why::BeyondLimit => error.with_hint(RAISE_LIMIT),
            _ => error,
        }
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
