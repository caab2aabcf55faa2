//! How a bucket behaves.

use std::sync::Arc;

use super::retry::RetryPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::Namespace;
use crate::recorder::Recorder;
use crate::runtime::Runtime;
use crate::setters::setters;
use crate::store::StoreOptions;

/// How a [`Bucket`](crate::Bucket) behaves. Start from `BucketOptions::default()`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BucketOptions {
    /// Where I/O runs. `None` means the tokio runtime that the caller is in, or one of the bucket's own if there is none.
    pub runtime: Option<Runtime>,
    /// The namespace of partitions that are named without one.
    pub namespace: Namespace,
    /// How many bytes of appends all partitions together may buffer, including those in flight (default 32 MiB, at least
    /// [`LEAST_BUFFER_BYTES`](Self::LEAST_BUFFER_BYTES)). A single busy
    /// partition gets half of it, two busy ones get a third each, and so on. So a partition that can't flush still
    /// leaves room for the others. An append of more than half counts as half.
    ///
    /// With n busy partitions each gets 1/(n + 1) of it. For full throughput that should hold two segments, one on its way
    /// and the next one, each of [`flush_bytes`](crate::WriterOptions::flush_bytes). With less, segments are smaller
    /// and there are more requests.
    pub buffer_bytes: usize,
    /// How many bytes are cached for reading, over all partitions (default 64 MiB). Half of them are blocks of segments, and
    /// the rest are indexes and what is known about segments. Chunks that a fetch returned count until they are dropped.
    /// If callers hold more than the limit, nothing else stays cached. Mapped segments don't
    /// count, because the system's page cache holds them. With less than a few times
    /// [`ReaderOptions::block_bytes`](crate::ReaderOptions::block_bytes), every fetch asks the store. With 0
    /// nothing is cached.
    pub cache_bytes: usize,
    /// How long reads, listings and commits pause before they ask the store again for what failed.
    pub retry: RetryPolicy,
    /// Takes what the bucket does, for metrics. Default `None`.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// Options of the store.
    pub store: StoreOptions,
}

impl Default for BucketOptions {
    fn default() -> Self {
        BucketOptions {
            runtime: None,
            namespace: Namespace::default(),
            buffer_bytes: 32 << 20,
            cache_bytes: 64 << 20,
            retry: RetryPolicy::default(),
            recorder: None,
            store: StoreOptions::default(),
        }
    }
}

impl BucketOptions {
    /// The least [`buffer_bytes`](Self::buffer_bytes). One partition gets half, and half of less could be 0.
    pub const LEAST_BUFFER_BYTES: usize = 64;

    setters! {
        runtime: some Runtime,
        namespace: Namespace,
        buffer_bytes: usize,
        cache_bytes: usize,
        retry: RetryPolicy,
        recorder: some Arc<dyn Recorder>,
        store: StoreOptions,
    }

    pub(super) fn check(&self) -> Result<()> {
        self.store.check()?;
        self.retry.check()?;
        let (given, least) = (self.buffer_bytes, Self::LEAST_BUFFER_BYTES);
        if given < least {
            let message = format!("buffer_bytes is {given}, at least {least} is allowed");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(())
    }
}
