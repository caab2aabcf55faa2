//! Which part of a request's time it waited for its place among those under way. Nothing of it is sent then.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    /// Set by a request that was polled on this thread and has no place yet.
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// The wait for a place, seen by the [`Sent`] around it.
pub(super) async fn waiting<T>(place: impl Future<Output = T>) -> T {
    futures_util::pin_mut!(place);
    poll_fn(|context| {
        let polled = place.as_mut().poll(context);
        if polled.is_pending() {
            WAITS.set(true);
        }
        polled
    })
    .await
}

/// Requests of a store, of which it is known whether they wait for a place.
pub(crate) struct Sent<F>(pub(crate) F);

impl<F: Future + Unpin> Sent<F> {
    /// Polls them. The second value tells whether one of them, as far as it was polled now, waits for its place.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> (Poll<F::Output>, bool) {
        // What is polled may have another of these within it: each tells its own, and the outer one all.
        let outer = WAITS.replace(false);
        let polled = Pin::new(&mut self.0).poll(context);
        let waits = WAITS.get();
        WAITS.set(outer || waits);
        (polled, waits)
    }
}
