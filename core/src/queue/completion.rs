//! What a queue gives.

use crate::error::Result;
use crate::{Fetch, FetchResponse, Offsets};

/// One operation has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Completion {
    /// What the caller gave with the operation.
    pub tag: u64,
    /// How it ended.
    pub ended: Ended,
}

/// What has ended, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ended {
    /// An append is durable, at these offsets, or has failed.
    /// [`Error::stored`](crate::Error::stored) says whether its bytes may be in the log.
    Append(Result<Offsets>),
    /// A fetch of one partition.
    Fetch(Result<Fetch>),
    /// A fetch of many partitions.
    FetchMany(Result<FetchResponse>),
    /// What a writer had buffered is durable, or is not all durable.
    Flush(Result<()>),
    /// A writer has ended, and what it had buffered is durable, or is not all durable.
    Close(Result<()>),
    /// The operation was cancelled in time ([`CancelHandle::cancel`](super::CancelHandle::cancel)).
    Cancelled,
}

impl Completion {
    /// Bytes of the batches that it holds.
    pub(super) fn bytes(&self) -> usize {
        match &self.ended {
            Ended::Fetch(Ok(fetch)) => fetch.bytes(),
            Ended::FetchMany(Ok(response)) => response.bytes(),
            _ => 0,
        }
    }
}
