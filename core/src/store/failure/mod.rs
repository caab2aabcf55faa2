//! From object_store's errors to ours, without what must not be shown.

mod class;
mod text;

#[cfg(test)]
mod tests;

use std::error::Error as StdError;

use crate::error::causes::chain;
use crate::error::{Error, ErrorKind};

pub(super) use self::class::{PutCondition, PutFailure, changed, is_bucket_missing, map, met};
#[cfg(feature = "aws")]
pub(super) use self::text::between;
#[cfg(feature = "_http")]
pub(super) use self::text::{entity, is_request_id, text};

/// A failure of our own that travels through `object_store::Error::Generic`.
#[derive(Debug, Clone)]
pub(crate) struct StoreFailure {
    pub(crate) error: Error,
    pub(crate) effect: Effect,
}

/// The cause of errors after which nothing may be acked any more: an fsync failed, and a later one that
/// succeeds proves nothing, for the kernel reports a lost write once; or the bucket's path leads elsewhere than to
/// where was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncFailure {
    /// Whether the object had its name, or lost it, by then.
    pub visible: bool,
    /// Whether the bucket's path leads elsewhere.
    pub misplaced: bool,
}

impl SyncFailure {
    /// The failed fsync among an error's causes.
    pub fn of(error: &Error) -> Option<&SyncFailure> {
        chain(Some(error)).find_map(|cause| cause.downcast_ref::<SyncFailure>())
    }
}

impl std::fmt::Display for SyncFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.misplaced {
            true => "what was written since the bucket's directory was moved or covered is not where others look",
            false => "a failed fsync: what was written since the last good one may be lost",
        })
    }
}

impl StdError for SyncFailure {}

/// What a failed request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, for certain.
    None,
    /// Perhaps something.
    Unknown,
    /// It was written, and an fsync failed.
    SyncFailed {
        /// Whether the object had its name by then.
        visible: bool,
    },
}

impl std::fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for StoreFailure {}

impl StoreFailure {
    pub(crate) fn new(effect: Effect, error: Error) -> Self {
        let error = match effect {
            Effect::SyncFailed { visible } => error.with_source(SyncFailure { visible, misplaced: false }),
            Effect::None | Effect::Unknown => error,
        };
        StoreFailure { error, effect }
    }

    /// The object was written, and its bucket's path leads elsewhere by now.
    pub(crate) fn misplaced(error: Error) -> Self {
        let error = error.with_source(SyncFailure { visible: true, misplaced: true });
        StoreFailure { error, effect: Effect::SyncFailed { visible: true } }
    }

    /// As an error of object_store's, so that it passes through `dyn ObjectStore`.
    pub(crate) fn into_object_store(self, path: &str) -> object_store::Error {
        let path = path.to_string();
        match self.error.kind() {
            ErrorKind::NotFound => object_store::Error::NotFound { path, source: Box::new(self) },
            ErrorKind::PermissionDenied => object_store::Error::PermissionDenied { path, source: Box::new(self) },
            ErrorKind::Unsupported => object_store::Error::NotSupported { source: Box::new(self) },
            _ => object_store::Error::Generic { store: "kfs directory", source: Box::new(self) },
        }
    }

    /// The failure of ours in an error's chain of causes.
    pub(crate) fn find(error: &object_store::Error) -> Option<&StoreFailure> {
        chain(Some(error)).find_map(|cause| cause.downcast_ref::<StoreFailure>())
    }
}
