//! The operations that end on a queue.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::CompletionQueue;
use super::cancel::{CancelHandle, CancelledWork};
use super::completion::Ended;
use super::job::Job;
use super::promise::Promise;
use crate::error::{Error, Stored};
use crate::runtime::Runtime;
use crate::{Admission, Append, Bucket, FetchOptions, FetchRequest, Interest, Reader, Writer};

impl Admission {
    /// Has the append end on `queue`, with one [`Ended::Append`] under `tag`, whether it has its place already, waits for
    /// room, or was refused. Nothing is spawned for it. From when it has its place the writer counts it as awaited, as
    /// [`Append::durable`] does.
    ///
    /// The completions of a writer's appends come in the order of the appends, if this is called before they end. A
    /// refused append completes at once. Dropping the handle changes nothing; cancelling it takes the append back as
    /// long as that waits for room.
    pub fn complete_on(self, queue: &CompletionQueue, tag: u64) -> CancelHandle {
        let promise = Promise::new(queue, tag, 0, lost_append);
        let to_keep = promise.clone();
        let waiting = self.on_admitted(move |admitted| match admitted {
            Ok(append) => append.keep_when_settled(to_keep),
            Err(error) => {
                to_keep.keep(Ended::Append(Err(error)));
            }
        });
        CancelHandle::new(&promise, waiting.map_or(CancelledWork::Over, CancelledWork::Append))
    }
}

impl Append {
    /// Has the append end on `queue`, with one [`Ended::Append`] under `tag`. Counts as waiting, as
    /// [`durable`](Self::durable) does. The completions of a writer's appends come in the order of the appends, if this is
    /// called before they end.
    pub fn complete_on(&self, queue: &CompletionQueue, tag: u64) {
        self.keep_when_settled(Promise::new(queue, tag, 0, lost_append));
    }

    fn keep_when_settled(&self, promise: Arc<Promise>) {
        self.on_settled(Interest::Waits, move |settled| {
            promise.keep(Ended::Append(settled));
        });
    }
}

impl Reader {
    /// Like [`fetch_with`](Self::fetch_with), but ends on `queue`, with one [`Ended::Fetch`] under `tag`: within this call
    /// if it needs nothing of the store.
    ///
    /// Cancelling it ends the wait. Reads that it began go on for up to 30 s, and what they bring is cached.
    pub fn fetch_on(&self, offset: i64, options: FetchOptions, queue: &CompletionQueue, tag: u64) -> CancelHandle {
        let reader = self.clone();
        let work = async move { Ended::Fetch(reader.fetch_with(offset, options).await) };
        begin(queue, tag, self.state().runtime(), |error| Ended::Fetch(Err(error)), work)
    }
}

impl Bucket {
    /// Like [`fetch_many`](Self::fetch_many), but ends on `queue`, with one [`Ended::FetchMany`] under `tag`: within this
    /// call if it need not wait. While it waits no task exists for it.
    ///
    /// Give an `Arc` of a request that is to be used again, for it remembers which partition had no room. Cancelling it,
    /// or closing the queue, takes the fetch out of the wait and leaves nothing behind.
    pub fn fetch_many_on(
        &self,
        request: impl Into<Arc<FetchRequest>>,
        queue: &CompletionQueue,
        tag: u64,
    ) -> CancelHandle {
        let (bucket, request) = (self.clone(), request.into());
        let work = async move { Ended::FetchMany(bucket.fetch_many(&request).await) };
        begin(queue, tag, self.runtime(), |error| Ended::FetchMany(Err(error)), work)
    }
}

impl Writer {
    /// Like [`flush`](Self::flush), but ends on `queue`, with one [`Ended::Flush`] under `tag`. Cancelling it ends the wait
    /// only.
    pub fn flush_on(&self, queue: &CompletionQueue, tag: u64) -> CancelHandle {
        let flushed = self.flush();
        begin(queue, tag, self.state().runtime(), lost_flush, async move { Ended::Flush(flushed.await) })
    }

    /// Like [`close`](Self::close), but ends on `queue`, with one [`Ended::Close`] under `tag`. It comes after the
    /// completions of all appends of this writer. Cancelling it, or closing the queue, ends the wait only: the writer
    /// closes, and keeps to `deadline`.
    pub fn close_on(&self, deadline: Option<Duration>, queue: &CompletionQueue, tag: u64) -> CancelHandle {
        let closed = self.close(deadline);
        begin(queue, tag, self.state().runtime(), lost_close, async move { Ended::Close(closed.await) })
    }
}

/// Begins an operation on the calling thread. It completes there if it need not wait.
fn begin(
    queue: &CompletionQueue,
    tag: u64,
    runtime: &Runtime,
    lost: fn(Error) -> Ended,
    work: impl Future<Output = Ended> + Send + 'static,
) -> CancelHandle {
    let number = queue.0.next_job();
    let promise = Promise::new(queue, tag, number, lost);
    if queue.0.fork.is_forked() {
        promise.forget();
        return CancelHandle::new(&promise, CancelledWork::Over);
    }
    let job = Job::new(promise.clone(), runtime.clone(), Box::pin(work));
    let is_open = queue.0.keep(number, &job);
    // On a closed queue too: the first poll of a close is what begins it.
    job.poll_now();
    if !is_open {
        job.stop();
    }
    CancelHandle::new(&promise, CancelledWork::Job(Arc::downgrade(&job)))
}

fn lost_append(error: Error) -> Ended {
    Ended::Append(Err(error.with_stored(Stored::Perhaps)))
}

fn lost_flush(error: Error) -> Ended {
    Ended::Flush(Err(error.with_stored(Stored::Perhaps)))
}

fn lost_close(error: Error) -> Ended {
    Ended::Close(Err(error.with_stored(Stored::Perhaps)))
}
