//! Requests that go on though nobody polls the stream that they are for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

use crate::error::{Error, ErrorKind, Result};

/// A request of a stream. It is a task where there is tokio: it holds a place among the concurrent requests, and must give
/// it back though the caller, who may wait for such a place, does not poll the stream. Dropping it gives the request up.
pub(super) enum Going<T> {
    Task(JoinHandle<Result<T>>),
    /// A simulation brings its own executor: there it goes on while it is polled.
    Here(BoxFuture<'static, Result<T>>),
}

impl<T: Send + 'static> Going<T> {
    pub(super) fn start(work: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        match Handle::try_current() {
            Ok(tokio) => Going::Task(tokio.spawn(work)),
            Err(_) => Going::Here(Box::pin(work)),
        }
    }

    /// Gives the request up, and waits until nothing of it is sent any more.
    pub(super) async fn stop(mut self) {
        if let Going::Task(task) = &mut self {
            task.abort();
            // It says that it was given up.
            let _ = task.await;
        }
    }
}

/// Runs a request to its end, though nobody may wait for it any more. What it gives is dropped then.
pub(super) async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match Handle::try_current() {
        Ok(tokio) => tokio.spawn(work).await.unwrap_or_else(|error| Err(ended(&error))),
        Err(_) => work.await,
    }
}

/// The error of a task that gave no result.
fn ended(error: &JoinError) -> Error {
    match error.is_cancelled() {
        true => Error::new(ErrorKind::Closed, "the runtime of the store's requests was shut down"),
        false => Error::new(ErrorKind::Internal, "a task of the store ended in a panic"),
    }
}

impl<T> Future for Going<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        match &mut *self {
            Going::Task(task) => {
                Poll::Ready(ready!(Pin::new(task).poll(context)).unwrap_or_else(|error| Err(ended(&error))))
            }
            Going::Here(work) => work.as_mut().poll(context),
        }
    }
}

impl<T> Drop for Going<T> {
    fn drop(&mut self) {
        if let Going::Task(task) = self {
            task.abort();
        }
    }
}
