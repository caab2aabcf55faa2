//! What every subcommand needs: the runtime, the bucket, the time-out.

use std::future::Future;
use std::time::Duration;

use kfs_core::format::Namespace;
use kfs_core::runtime::Runtime;
use kfs_core::{Bucket, BucketOptions, Error, ErrorKind};

use crate::args::Common;
use crate::failure::{Outcome, usage};

/// The surroundings of a run.
#[derive(Debug)]
pub(crate) struct Context {
    common: Common,
    tokio: tokio::runtime::Runtime,
    runtime: Runtime,
}

impl Context {
    pub(crate) fn new(common: Common) -> Outcome<Self> {
        let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| {
            Error::new(ErrorKind::Unavailable, "the runtime's threads could not be started").with_source(e)
        })?;
        let runtime = Runtime::tokio(tokio.handle().clone());
        Ok(Context { common, tokio, runtime })
    }

    /// Runs a subcommand on this thread; what it prints may block.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.tokio.block_on(work)
    }

    /// Ends the runtime without waiting for what blocks.
    pub(crate) fn end(self) {
        self.tokio.shutdown_background();
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.runtime.clock().wall_ms()
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.common.namespace
    }

    pub(crate) fn has_bucket(&self) -> bool {
        self.common.bucket.is_some()
    }

    /// Opens the bucket.
    pub(crate) fn bucket(&self, options: BucketOptions) -> Outcome<Bucket> {
        let Some(url) = &self.common.bucket else {
            return Err(usage("no bucket is given", "use --bucket URL or set KFS_BUCKET, as in file:///var/lib/logs"));
        };
        let options = options.runtime(self.runtime.clone()).namespace(self.common.namespace.clone());
        Ok(Bucket::open_with(url, options)?)
    }

    /// How long no progress is borne; `None`: for ever.
    pub(crate) fn patience(&self) -> Option<Duration> {
        Some(self.common.timeout).filter(|limit| !limit.is_zero())
    }

    /// Waits for an answer of the store, but not for ever.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = T>) -> Outcome<T> {
        let Some(limit) = self.patience() else { return Ok(work.await) };
        match self.runtime.timeout(limit, work).await {
            Some(value) => Ok(value),
            None => Err(no_progress(limit).into()),
        }
    }

    /// The same for work of many requests: it may take its time as long as bytes come in.
    pub(crate) async fn within_moving<T>(&self, bucket: &Bucket, work: impl Future<Output = T>) -> Outcome<T> {
        let Some(limit) = self.patience() else { return Ok(work.await) };
        tokio::pin!(work);
        loop {
            let before = bucket.requests().bytes_in;
            if let Some(value) = self.runtime.timeout(limit, &mut work).await {
                return Ok(value);
            }
            if bucket.requests().bytes_in == before {
                return Err(no_progress(limit).into());
            }
        }
    }
}

/// The error of a store that does not answer.
pub(crate) fn no_progress(limit: Duration) -> Error {
    Error::new(ErrorKind::TimedOut, format!("the store made no progress for {limit:?}"))
        .with_hint("is it there, and are its address and credentials right? --timeout waits longer, 0 for ever")
}

/// Runs what blocks, on a thread that nobody waits for.
#[allow(clippy::disallowed_methods, reason = "reading standard input blocks, and can't be cancelled")]
pub(crate) fn thread(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}
