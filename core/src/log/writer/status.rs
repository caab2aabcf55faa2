//! What a writer is doing, and why it takes so long.

use std::time::Duration;

use crate::error::Error;
use crate::log::retry::Trouble;

/// Where a writer stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriterPhase {
    /// It takes appends.
    Open,
    /// It was closed, and what is buffered is being flushed.
    Closing,
    /// It was closed, and all that was buffered is durable.
    Closed,
    /// It was fenced, or failed, or its close gave up. [`WriterStatus::failure`] says why.
    Failed,
}

impl WriterPhase {
    /// The phase's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            WriterPhase::Open => "open",
            WriterPhase::Closing => "closing",
            WriterPhase::Closed => "closed",
            WriterPhase::Failed => "failed",
        }
    }
}

/// What [`Writer::status`](super::Writer::status) tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WriterStatus {
    /// Where it stands in its life.
    pub phase: WriterPhase,
    /// What its flush is doing now, such as "writing a segment"; "nothing" when none is on its way.
    pub doing: &'static str,
    /// Bytes of batches that are not durable yet: those that wait, and those on their way.
    pub buffered_bytes: usize,
    /// Records that are not durable yet, those on their way included.
    pub buffered_records: u64,
    /// How long the flush has been on its way; `None` when none is.
    pub flushing_for: Option<Duration>,
    /// Why the flush waits: what has failed and is tried again, or has had no answer for a second and
    /// more. `None` while all is well.
    pub trouble: Option<Trouble>,
    /// Why it takes no appends any more; `None` while it does, or was closed with all durable.
    pub failure: Option<Error>,
}

impl WriterStatus {
    /// Of a writer of which nothing else is known.
    pub(super) fn failed(failure: Error) -> Self {
        WriterStatus {
            phase: WriterPhase::Failed,
            doing: "nothing",
            buffered_bytes: 0,
            buffered_records: 0,
            flushing_for: None,
            trouble: None,
            failure: Some(failure),
        }
    }

    /// The last failure: of the flush that is tried again, or what ended the writer.
    pub fn last_error(&self) -> Option<&Error> {
        self.failure.as_ref().or_else(|| self.trouble.as_ref()?.error.as_ref())
    }

    /// How long the flush has been tried again in vain; `None` when its last request did not fail.
    pub fn retrying_for(&self) -> Option<Duration> {
        self.trouble.as_ref().filter(|trouble| trouble.error.is_some()).map(|trouble| trouble.lasting)
    }
}
