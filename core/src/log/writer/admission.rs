//! An append that waits for room in the buffer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::append::Append;
use super::shared::WriterCore;
use super::shared::intake::Content;
use crate::error::{Error, ErrorKind, Result, Stored};

/// An append that takes its place: at once, or when the buffer has room.
#[must_use = "an append that waits for room is taken back when this is dropped"]
pub struct Admission(Entrance);

enum Entrance {
    /// Settled: nothing is shared. `None` once the result was taken.
    Settled(Option<Result<Append>>),
    Waiting(WaitingAppend),
}

/// An append in the budget's queue.
struct WaitingAppend {
    ticket: Arc<AdmissionTicket>,
    core: Arc<WriterCore>,
    /// The number that takes it out of the budget's queue.
    number: u64,
}

impl WaitingAppend {
    /// Its result, or `None` when it was taken back in time. Then its payload is gone when this returns.
    fn take_back(&self) -> Option<Result<Append>> {
        let result = self.ticket.take();
        if result.is_none() {
            self.core.account.cancel(self.number);
        }
        result
    }
}

/// What an append that waits, and the budget that lets it in, share.
#[derive(Default)]
struct AdmissionTicket(Mutex<AdmissionState>);

#[derive(Default)]
enum AdmissionState {
    #[default]
    New,
    /// In the budget's queue, with the waker of the task that waits for it.
    Waiting(Waker),
    /// In the writer's queue, or refused.
    Settled(Result<Append>),
    /// Taken back before it was let in, or its result was taken.
    Over,
}

impl AdmissionTicket {
    fn lock(&self) -> MutexGuard<'_, AdmissionState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets it in, unless it was taken back. Both happen under the lock, so a caller that is told
    /// that it was taken back can be sure that it was not stored.
    fn settle(&self, enter: impl FnOnce() -> Result<Append>) {
        let mut state = self.lock();
        if matches!(*state, AdmissionState::Over | AdmissionState::Settled(_)) {
            return;
        }
        let before = std::mem::replace(&mut *state, AdmissionState::Settled(enter()));
        drop(state);
        if let AdmissionState::Waiting(waker) = before {
            waker.wake();
        }
    }

    fn take(&self) -> Option<Result<Append>> {
        match std::mem::replace(&mut *self.lock(), AdmissionState::Over) {
            AdmissionState::Settled(result) => Some(result),
            _ => None,
        }
    }
}

/// The budget's side of an [`Admission`]. Dropping it unused fails the append.
struct Admitter(Arc<AdmissionTicket>);

impl Drop for Admitter {
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
        let ticket = Arc::new(AdmissionTicket::default());
        let (admitter, writer) = (Admitter(ticket.clone()), core.clone());
        let waited_since = core.state().observer().now();
        let admit = move |permit| {
            let mut count = None;
            admitter.0.settle(|| {
                let entered = writer.enqueue(content, permit);
                count = entered.as_ref().ok().map(|append| append.count);
                entered
            });
            // Not under the ticket's lock.
            writer.tell_append(count, bytes, Some(waited_since));
        };
        let number = core.account.acquire(bytes, Box::new(admit));
        // It may have ended just before that.
        if core.refusal().is_some() {
            core.account.turn_away();
        }
        Admission(Entrance::Waiting(WaitingAppend { ticket, core: core.clone(), number }))
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
        let ticket = match &mut self.0 {
            Entrance::Settled(result) => return Poll::Ready(result.take().unwrap_or_else(|| Err(gone()))),
            Entrance::Waiting(waiting) => waiting.ticket.clone(),
        };
        let mut state = ticket.lock();
        let result = match std::mem::replace(&mut *state, AdmissionState::Over) {
            AdmissionState::Settled(result) => result,
            AdmissionState::New | AdmissionState::Waiting(_) => {
                *state = AdmissionState::Waiting(context.waker().clone());
                return Poll::Pending;
            }
            AdmissionState::Over => Err(gone()),
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
        let ticket = match &self.0 {
            Entrance::Settled(_) => return f.write_str("Admission(settled)"),
            Entrance::Waiting(waiting) => &waiting.ticket,
        };
        f.write_str(match *ticket.lock() {
            AdmissionState::New | AdmissionState::Waiting(_) => "Admission(waiting)",
            AdmissionState::Settled(_) => "Admission(settled)",
            AdmissionState::Over => "Admission(over)",
        })
    }
}
