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
use crate::runtime::wake_all;

/// An append that takes its place: at once, or when the buffer has room.
#[must_use = "an append that waits for room is taken back when this is dropped"]
pub struct Admission(Entrance);

enum Entrance {
    /// Settled: nothing is shared. `None` once the result was taken.
    Settled(Option<Result<Append>>),
    Waiting(WaitingAppend),
}

/// What is told that an append was let in or refused.
enum Waiter {
    Task(Waker),
    Call(Box<dyn FnOnce(Result<Append>) + Send>),
}

/// An append in the budget's queue.
pub(crate) struct WaitingAppend {
    ticket: Arc<AdmissionTicket>,
    core: Arc<WriterCore>,
    /// The number that takes it out of the budget's queue.
    number: u64,
}

impl WaitingAppend {
    /// An error in a forked child, where it is neither let in nor taken back. The parent may let it in.
    fn here(&self) -> Result<()> {
        self.core.state().bucket.fork.check().map_err(|error| error.with_stored(Stored::Perhaps))
    }

    /// Its result, or `None` when it was taken back in time. Then its payload is gone when this returns.
    fn take_back(&self) -> Option<Result<Append>> {
        if let Err(error) = self.here() {
            return Some(Err(error));
        }
        let result = self.ticket.take();
        if result.is_none() {
            self.core.account.cancel(self.number);
        }
        result
    }

    /// Takes it back if its result was not told yet, and says whether that was in time. Then its payload is gone when
    /// this returns.
    pub(crate) fn withdraw(&self) -> bool {
        if self.here().is_err() {
            return false;
        }
        let in_time = self.ticket.withdraw();
        if in_time {
            self.core.account.cancel(self.number);
        }
        in_time
    }
}

/// What an append that waits, and the budget that lets it in, share.
#[derive(Default)]
struct AdmissionTicket(Mutex<AdmissionState>);

#[derive(Default)]
enum AdmissionState {
    #[default]
    New,
    /// In the budget's queue.
    Waiting(Waiter),
    /// In the writer's queue, or refused.
    Settled(Result<Append>),
    /// Taken back before it was let in, or its result was taken or told.
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
        let result = enter();
        match std::mem::take(&mut *state) {
            AdmissionState::Waiting(Waiter::Call(call)) => {
                *state = AdmissionState::Over;
                drop(state);
                // Within the budget's turn of this append: no later one of its writer gets in before it returns.
                call(result);
            }
            AdmissionState::Waiting(Waiter::Task(waker)) => {
                *state = AdmissionState::Settled(result);
                drop(state);
                wake_all([waker]);
            }
            _ => *state = AdmissionState::Settled(result),
        }
    }

    /// Has `call` told of the result instead of a task. Gives it back with the result if that is there.
    fn tell<C>(&self, call: C) -> Option<(C, Result<Append>)>
    where
        C: FnOnce(Result<Append>) + Send + 'static,
    {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, AdmissionState::Over) {
            AdmissionState::Settled(result) => Some((call, result)),
            before => {
                *state = AdmissionState::Waiting(Waiter::Call(Box::new(call)));
                drop(state);
                // The waker of a task that waited before: not under the lock.
                drop(before);
                None
            }
        }
    }

    /// Takes it back unless it was let in or refused. Whether that was in time.
    fn withdraw(&self) -> bool {
        let mut state = self.lock();
        if !matches!(*state, AdmissionState::New | AdmissionState::Waiting(_)) {
            return false;
        }
        let before = std::mem::replace(&mut *state, AdmissionState::Over);
        drop(state);
        drop(before);
        true
    }

    fn take(&self) -> Option<Result<Append>> {
        // A waker that it held is dropped after the lock: that may run code of the caller's.
        let before = std::mem::replace(&mut *self.lock(), AdmissionState::Over);
        if let AdmissionState::Settled(result) = before { Some(result) } else { None }
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

    /// Calls `call` once with the result: now on this thread, or when the append is let in or refused, on the thread that
    /// makes room, under no lock. Until then the returned handle can take the append back; dropping it does not.
    pub(crate) fn on_admitted(mut self, call: impl FnOnce(Result<Append>) + Send + 'static) -> Option<WaitingAppend> {
        match std::mem::replace(&mut self.0, Entrance::Settled(None)) {
            Entrance::Settled(result) => call(result.unwrap_or_else(|| Err(gone()))),
            Entrance::Waiting(waiting) => match waiting.here() {
                Err(error) => call(Err(error)),
                Ok(()) => match waiting.ticket.tell(call) {
                    None => return Some(waiting),
                    Some((call, result)) => call(result),
                },
            },
        }
        None
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
            Entrance::Waiting(waiting) => match waiting.here() {
                Ok(()) => waiting.ticket.clone(),
                Err(error) => return Poll::Ready(Err(error)),
            },
        };
        // Both cloning a waker and dropping the one before it may run code of the caller's: not under the lock.
        let waits = AdmissionState::Waiting(Waiter::Task(context.waker().clone()));
        let mut state = ticket.lock();
        let next = match *state {
            AdmissionState::New | AdmissionState::Waiting(_) => waits,
            AdmissionState::Settled(_) | AdmissionState::Over => AdmissionState::Over,
        };
        let before = std::mem::replace(&mut *state, next);
        drop(state);
        let result = match before {
            AdmissionState::Settled(result) => result,
            AdmissionState::New | AdmissionState::Waiting(_) => return Poll::Pending,
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
            Entrance::Waiting(waiting) if waiting.here().is_err() => {
                return f.write_str("Admission(of another process)");
            }
            Entrance::Waiting(waiting) => &waiting.ticket,
        };
        f.write_str(match *ticket.lock() {
            AdmissionState::New | AdmissionState::Waiting(_) => "Admission(waiting)",
            AdmissionState::Settled(_) => "Admission(settled)",
            AdmissionState::Over => "Admission(over)",
        })
    }
}
