//! What a bucket does, in numbers: a [`Recorder`] turns it into a program's metrics.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::format::PartitionId;

#[cfg(feature = "prometheus")]
mod prometheus;

#[cfg(feature = "prometheus")]
pub use prometheus::PrometheusRecorder;

/// Takes what a bucket does, for counters, histograms and gauges. Set it with
/// [`BucketOptions::recorder`](crate::BucketOptions::recorder).
///
/// It is called on the threads that append, flush and read, within any call of this library and when a handle is dropped,
/// but never under a lock of this library. So it may call [`Writer::status`](crate::Writer::status) and the like. It must be quick, and must not wait for the bucket or a writer:
/// the work that it is told of goes on only after it has returned. A panic in it is caught and has no effect.
///
/// What it calls may be told to it too, on the same thread and within that call: an append is, and so is all that abandons a
/// writer. So it must not append, fetch, flush, close or abandon, or it may recurse without end, and it must hold no lock of
/// its own while it calls this library. Leave such work to another thread or task.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use kfs_core::recorder::{BucketEvent, Recorder};
/// use kfs_core::{Bucket, BucketOptions};
///
/// #[derive(Debug, Default)]
/// struct Flushed(AtomicU64);
///
/// impl Recorder for Flushed {
///     fn record(&self, event: &BucketEvent<'_>) {
///         if let BucketEvent::Flush { bytes, .. } = event {
///             self.0.fetch_add(*bytes, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let flushed = Arc::new(Flushed::default());
/// let bucket = Bucket::open_with("memory:", BucketOptions::default().recorder(flushed.clone()))?;
/// # drop(bucket);
/// # Ok::<(), kfs_core::Error>(())
/// ```
pub trait Recorder: fmt::Debug + Send + Sync + 'static {
    /// Takes one event.
    fn record(&self, event: &BucketEvent<'_>);
}

/// What happened in a bucket. Times are by the bucket's [`Clock`](crate::runtime::Clock). Events and their fields may be
/// added, so match with `_` and `..`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BucketEvent<'a> {
    /// A request to the store has ended. When all have ended, these events add up to
    /// [`Bucket::requests`](crate::Bucket::requests).
    #[non_exhaustive]
    Request {
        /// What was asked.
        kind: RequestKind,
        /// How it ended.
        outcome: RequestOutcome,
        /// How many requests it counts as: 1, or for a listing one for each 1,000 keys begun.
        requests: u64,
        /// Bytes of the object's body that were sent.
        bytes_out: u64,
        /// Bytes of the object's body that were received.
        bytes_in: u64,
        /// From when it was sent until it had ended, without the wait for a place among those under way.
        duration: Duration,
    },
    /// What was asked of the store failed, and is asked again after a pause.
    #[non_exhaustive]
    Retry {
        /// The partition; `None` for what is asked of the bucket, such as its topics.
        partition: Option<&'a PartitionId>,
        /// What is being done, such as "writing a segment".
        doing: &'static str,
        /// How many tries have failed.
        failures: u32,
        /// How long the pause is before the next try.
        pause: Duration,
        /// Why the last one did. [`Error::retry_after`] says how much of the pause the store asked for.
        error: &'a Error,
    },
    /// The breaker of the store changed its state. Requests that it refuses are not sent, and are no
    /// [`Request`](Self::Request). Where several buckets share a store, the one whose request made the change is told.
    #[non_exhaustive]
    Breaker {
        /// The new state.
        state: BreakerState,
        /// How many requests in a row have failed.
        failures: u32,
        /// The last failure. `None` when the breaker closes.
        error: Option<&'a Error>,
    },
    /// An append got its place in the buffer.
    #[non_exhaustive]
    Append {
        /// The partition.
        partition: &'a PartitionId,
        /// Bytes that it may take in the buffer, before compression.
        bytes: usize,
        /// How many offsets it takes: one for each record, unless its batches were compacted.
        records: u64,
        /// How long it waited for room in the buffer.
        waited: Duration,
    },
    /// A flush is durable.
    #[non_exhaustive]
    Flush {
        /// The partition.
        partition: &'a PartitionId,
        /// The first offset of the segment.
        base_offset: i64,
        /// Bytes of the segment.
        bytes: u64,
        /// Records in it.
        records: u64,
        /// How many PUTs of a segment were sent.
        tries: u32,
        /// From when the flush began until segment and index were in the store.
        duration: Duration,
    },
    /// A flush failed. That ends its writer.
    #[non_exhaustive]
    FlushFailed {
        /// The partition.
        partition: &'a PartitionId,
        /// Records of the flush.
        records: u64,
        /// How many PUTs of a segment were sent.
        tries: u32,
        /// From when the flush began until it failed.
        duration: Duration,
        /// Why. Its kind is `Fenced` if another writer owns the partition.
        error: &'a Error,
    },
    /// The create of a segment or an index had no answer for longer than usual, and was sent a second time.
    #[non_exhaustive]
    Hedge {
        /// The partition.
        partition: &'a PartitionId,
        /// How long the first one had no answer.
        waited: Duration,
    },
    /// A slot was lost: another writer's segment is in it, or the log went elsewhere.
    #[non_exhaustive]
    SlotLost {
        /// The partition.
        partition: &'a PartitionId,
        /// The slot's offset.
        offset: i64,
        /// What is there. [`Error::winner`] says whose, where the store tells.
        error: &'a Error,
    },
    /// A writer was opened.
    #[non_exhaustive]
    WriterOpened {
        /// The partition.
        partition: &'a PartitionId,
        /// How many writers of the bucket are open now.
        open_writers: usize,
    },
    /// A writer has ended.
    #[non_exhaustive]
    WriterEnded {
        /// The partition.
        partition: &'a PartitionId,
        /// How many writers of the bucket are open now.
        open_writers: usize,
        /// Why, unless it was closed and all was flushed. Its kind is `Fenced` if another writer owns the partition.
        error: Option<&'a Error>,
    },
    /// Blocks or an index were looked for in a cache of the bucket.
    #[non_exhaustive]
    Cache {
        /// Which cache.
        cache: CacheKind,
        /// How many of them the cache held.
        hits: u64,
        /// How many were read from the store, or came with a read under way.
        misses: u64,
    },
    /// Data was to be read, and the store has a replica (docs/backends.md, "Replica reads"). Unless it answered, the
    /// bucket itself was asked.
    #[non_exhaustive]
    ReplicaRead {
        /// What the replica answered.
        outcome: ReplicaOutcome,
    },
    /// The buffer grew by an append or shrank by a flush.
    #[non_exhaustive]
    Buffered {
        /// Bytes that all writers of the bucket have buffered or in flight now.
        bytes: usize,
    },
}

/// A kind of request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// A PUT of any kind.
    Put,
    /// A GET or HEAD.
    Get,
    /// A listing.
    List,
    /// A DELETE.
    Delete,
}

impl RequestKind {
    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            RequestKind::Put => "put",
            RequestKind::Get => "get",
            RequestKind::List => "list",
            RequestKind::Delete => "delete",
        }
    }
}

/// How a request to the store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestOutcome {
    /// It did what it should.
    Done,
    /// It failed, or the answer is no: `NotFound` if there is no such object, `Conflict` if the object exists already or is
    /// another version.
    Failed(ErrorKind),
    /// No caller waited for its answer any more. It may have been applied.
    GivenUp,
}

impl RequestOutcome {
    /// Its name in lower case: the kind's for a failure.
    pub fn name(self) -> &'static str {
        match self {
            RequestOutcome::Done => "done",
            RequestOutcome::Failed(kind) => kind.name(),
            RequestOutcome::GivenUp => "given up",
        }
    }
}

/// Whether requests are sent to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// All are sent.
    Closed,
    /// None is sent: they fail at once.
    Open,
    /// One is under way whose answer decides. All others fail at once.
    HalfOpen,
}

impl BreakerState {
    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half open",
        }
    }
}

/// What a replica answered to a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplicaOutcome {
    /// What was asked for.
    Answered,
    /// It does not have the object.
    Missing,
    /// It has another version of the object.
    OtherVersion,
    /// It failed.
    Failed,
    /// It did not answer in time.
    TimedOut,
    /// It was not asked: it failed several times in a row, or too many requests to it were under way.
    NotAsked,
}

impl ReplicaOutcome {
    #[cfg(feature = "prometheus")]
    pub(crate) const ALL: [ReplicaOutcome; 6] = [
        ReplicaOutcome::Answered,
        ReplicaOutcome::Missing,
        ReplicaOutcome::OtherVersion,
        ReplicaOutcome::Failed,
        ReplicaOutcome::TimedOut,
        ReplicaOutcome::NotAsked,
    ];

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            ReplicaOutcome::Answered => "answered",
            ReplicaOutcome::Missing => "missing",
            ReplicaOutcome::OtherVersion => "other version",
            ReplicaOutcome::Failed => "failed",
            ReplicaOutcome::TimedOut => "timed out",
            ReplicaOutcome::NotAsked => "not asked",
        }
    }
}

/// A cache of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheKind {
    /// Blocks of segments.
    Blocks,
    /// Indexes of segments.
    Indexes,
}
