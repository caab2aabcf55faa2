//! Waits that know what they wait for: why it is late, and what a wait that ends means for an append.

use std::time::Duration;

use super::shared_runtime::shared_runtime;
use super::wait::Wait;
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::{Admission, Append, Bucket, BucketOptions, Partition, Reader, Writer};

/// Opens a bucket that needs no async runtime of the caller's: it runs on the runtime that all buckets of the process share
/// which are opened in this way ([`runtime_threads`](super::runtime_threads)), whatever the calling thread is in. A
/// [`runtime`](BucketOptions::runtime) in the options is used instead; no thread that it runs on may wait for it. Sends
/// no request.
///
/// # Errors
/// As [`Bucket::open_with`]; unavailable if threads can't be started.
pub fn open(url: &str, options: BucketOptions) -> Result<Bucket> {
    Bucket::open_with(url, on_shared_runtime(options)?)
}

/// The options with the runtime that buckets of the process share, unless they have one; for [`Bucket::from_store`] and
/// [`Bucket::from_object_store`].
///
/// # Errors
/// Unavailable if threads can't be started.
pub fn on_shared_runtime(mut options: BucketOptions) -> Result<BucketOptions> {
    if options.runtime.is_none() {
        options.runtime = Some(shared_runtime()?);
    }
    Ok(options)
}

mod sealed {
    pub trait Sealed {}
}

/// A handle that knows what its requests to the store are waiting for: a bucket, a partition, a writer, an append or a
/// reader. It is implemented for those only.
pub trait Explain: sealed::Sealed {
    /// Adds the cause to the error of a wait that timed out, if a request to the store is in trouble.
    fn explain(&self, error: Error) -> Error;
}

macro_rules! explained_by_partition {
    ($($handle:ty),*) => {
        $(
            impl sealed::Sealed for $handle {}

            impl Explain for $handle {
                fn explain(&self, error: Error) -> Error {
                    self.state().explain(error)
                }
            }
        )*
    };
}

explained_by_partition!(Partition, Writer, Append, Reader);

impl sealed::Sealed for Bucket {}

impl Explain for Bucket {
    fn explain(&self, error: Error) -> Error {
        Bucket::explain(self, error)
    }
}

impl Wait {
    /// Like [`on`](Self::on), for a call that asks the store on behalf of a handle: a wait that ends in vain says why
    /// the store does not answer.
    ///
    /// # Errors
    /// What the call gives; timed out, with the last cause.
    pub fn on_log<T>(&self, of: &impl Explain, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.on(call).map_err(|error| of.explain(error))
    }

    /// Like [`on_log`](Self::on_log), for a call that waits until something is durable: [`Append::durable`],
    /// [`Writer::flush`], [`Writer::claim`].
    ///
    /// # Errors
    /// What the call gives; timed out, *perhaps stored*: the work goes on and may be waited for again.
    pub fn on_commit<T>(&self, of: &impl Explain, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.on_log(of, call).map_err(perhaps_stored)
    }

    /// Waits until an append has its place in the buffer; [`on_commit`](Self::on_commit) waits for the rest.
    ///
    /// # Errors
    /// What the append gives; timed out if there was no room in time, *not stored*: nothing was appended.
    pub fn on_admission(&self, writer: &Writer, mut admission: Admission) -> Result<Append> {
        match self.on_log(writer, &mut admission) {
            // The append may have got its place at the last moment.
            Err(ended) if ended.stored().is_none() => {
                admission.take_back().unwrap_or_else(|| Err(ended.with_stored(Stored::Not)))
            }
            result => result,
        }
    }

    /// Closes a writer: flushes what is buffered and ends it. At the time limit retries stop, and what is not durable
    /// fails.
    ///
    /// # Errors
    /// Why what was buffered is not all durable; timed out if cancelled, while the closing goes on.
    pub fn close_writer(&self, writer: &Writer) -> Result<()> {
        // The deadline is the closing's own: what it gives up must be settled before this returns.
        self.without_limit().on(writer.close(self.limit())).map_err(perhaps_stored)
    }

    /// Flushes and closes every writer of a bucket. At the time limit retries stop, and the error names what is not
    /// durable.
    ///
    /// # Errors
    /// As [`Bucket::close`]; timed out if cancelled, while the closing goes on.
    pub fn close_bucket(&self, bucket: &Bucket) -> Result<()> {
        // The deadline is the closing's own: it tells which partitions are at fault.
        self.without_limit().on(bucket.close(self.limit().unwrap_or(Duration::MAX)))
    }
}

fn perhaps_stored(error: Error) -> Error {
    if error.kind() == ErrorKind::TimedOut && error.stored().is_none() {
        return error.with_stored(Stored::Perhaps);
    }
    error
}
