//! An append that waits for room in the buffer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::append::Append;
use super::core::{Content, WriterCore};
use crate::error::{Error, ErrorKind, Result, Stored};

/// An append that takes its place: at once, or when the buffer has room.
#[must_use = "an append that waits for room is taken back when this is dropped"]
pub struct Admission(Entrance);

enum Entrance {
    /// Settled: nothing is shared. `None` once the result was taken.
    Settled(Option<Result<Append>>),
    Waiting(Waiting),
}

/// An append in the budget's queue.
struct Waiting {
    place: Arc<Place>,
    core: Arc<WriterCore>,
    ticket: u64,
}

impl Waiting {
    /// Its result, or `None` when it was taken back in time. Then its payload is gone when this returns.
    fn take_back(&self) -> Option<Result<Append>> {
        let result = self.place.take();
        if result.is_none() {
            self.core.account.cancel(self.ticket);
        }
        result
    }
}

#[derive(Default)]
struct Place(Mutex<Standing>);

#[derive(Default)]
enum Standing {
    #[default]
    New,
    /// In the budget's queue, with who waits for it.
    Waiting(Waker),
    /// In the writer's queue, or refused.
    Settled(Result<Append>),
    /// Taken back before it was let in, or its result was taken.
    Over,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets it in, unless it was taken back. Both happen under the lock: who is told that it was
    /// taken back may believe that it was not stored.
    fn settle(&self, enter: impl FnOnce() -> Result<Append>) {
        let mut standing = self.lock();
        if matches!(*standing, Standing::Over | Standing::Settled(_)) {
            return;
        }
        let before = std::mem::replace(&mut *standing, Standing::Settled(enter()));
        drop(standing);
        if let Standing::Waiting(waker) = before {
            waker.wake();
        }
    }

    fn take(&self) -> Option<Result<Append>> {
        match std::mem::replace(&mut *self.lock(), Standing::Over) {
            Standing::Settled(result) => Some(result),
            _ => None,
        }
    }
}

/// The budget's side of an [`Admission`]. Dropping it unused fails the append.
struct Entry(Arc<Place>);

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.settle(|| Err(gone()));
    }
}

/// An append that never got into the queue was never sent.
pub(super) fn not_stored(error: Error) -> Error {
    if error.stored().is_some() { error } else { error.with_stored(Stored::Not) }
}

fn gone() -> Error {
    Error::new(ErrorKind::Closed, "the writer ended before there was room").with_stored(Stored::Not)
}

impl Admission {
    pub(super) fn ready(result: Result<Append>) -> Self {
        Admission(Entrance::Settled(Some(result.map_err(not_stored))))
    }

    /// An append that waits until its writer's account has room for it.
    pub(super) fn waiting(core: &Arc<WriterCore>, bytes: usize, content: Content<'static>) -> Self {
        let place = Arc::new(Place::default());
        let (entry, writer) = (Entry(place.clone()), core.clone());
        let admit = move |permit| entry.0.settle(|| writer.enqueue(content, permit));
        let ticket = core.account.acquire(bytes, Box::new(admit));
        // It may have ended just before that.
        if core.refusal().is_some() {
            core.account.turn_away();
        }
        Admission(Entrance::Waiting(Waiting { place, core: core.clone(), ticket }))
    }

    /// Takes the append back, as dropping does, and tells whether that was in time: `None` says that it never
    /// got in; else it is in (or was refused), and this is its result.
    pub fn take_back(mut self) -> Option<Result<Append>> {
        match std::mem::replace(&mut self.0, Entrance::Settled(None)) {
            Entrance::Settled(result) => result,
            Entrance::Waiting(waiting) => waiting.take_back(),
        }
    }
}

impl Future for Admission {
    type Output = Result<Append>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let place = match &mut self.0 {
            Entrance::Settled(result) => return Poll::Ready(result.take().unwrap_or_else(|| Err(gone()))),
            Entrance::Waiting(waiting) => waiting.place.clone(),
        };
        let mut standing = place.lock();
        let result = match std::mem::replace(&mut *standing, Standing::Over) {
            Standing::Settled(result) => result,
            Standing::New | Standing::Waiting(_) => {
                *standing = Standing::Waiting(context.waker().clone());
                return Poll::Pending;
            }
            Standing::Over => Err(gone()),
        };
        self.0 = Entrance::Settled(None);
        Poll::Ready(result)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Entrance::Waiting(waiting) = &self.0 {
            drop(waiting.take_back());
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.0 {
            Entrance::Settled(_) => return f.write_str("Admission(settled)"),
            Entrance::Waiting(waiting) => &waiting.place,
        };
        f.write_str(match *place.lock() {
            Standing::New | Standing::Waiting(_) => "Admission(waiting)",
            Standing::Settled(_) => "Admission(settled)",
            Standing::Over => "Admission(over)",
        })
    }
}
