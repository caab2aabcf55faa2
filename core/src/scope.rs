//! A span of the crate `tracing` around work that is polled. Without the feature `tracing` it is nothing.
//!
//! Subscribers are the caller's code: a span is entered under no lock, and what they do with a panic ends here.

use std::fmt;

#[cfg(feature = "tracing")]
use crate::runtime::shielded;

/// The span of one request, entered whenever its work is polled.
#[derive(Default)]
pub(crate) struct Scope {
    /// `None` where no subscriber wants it.
    #[cfg(feature = "tracing")]
    span: Option<tracing::Span>,
}

#[cfg(feature = "tracing")]
impl Scope {
    /// The span that `make` makes.
    pub(crate) fn new(make: impl FnOnce() -> tracing::Span) -> Self {
        let mut span = None;
        shielded(|| span = Some(make()).filter(|span| !span.is_disabled()));
        Scope { span }
    }

    /// Notes a field that was empty when the span was made.
    #[cfg(feature = "_http")]
    pub(crate) fn note(&self, field: &'static str, value: &str) {
        if let Some(span) = &self.span {
            shielded(|| {
                let _ = span.record(field, value);
            });
        }
    }

    /// Polls work within the span.
    pub(crate) async fn around<F: Future>(&self, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|context| {
            let _entered = self.enter();
            work.as_mut().poll(context)
        })
        .await
    }

    /// Enters the span until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.tell(|id, subscriber| subscriber.enter(id));
        Entered(self)
    }

    fn tell(&self, what: impl FnOnce(&tracing::span::Id, &tracing::Dispatch)) {
        if let Some(span) = &self.span {
            shielded(|| {
                span.with_subscriber(|(id, subscriber)| what(id, subscriber));
            });
        }
    }
}

#[cfg(not(feature = "tracing"))]
impl Scope {
    #[cfg(feature = "_http")]
    pub(crate) fn note(&self, _field: &'static str, _value: &str) {}

    pub(crate) async fn around<F: Future>(&self, work: F) -> F::Output {
        work.await
    }

    pub(crate) fn enter(&self) -> Entered<'_> {
        Entered(self)
    }
}

/// See [`Scope::enter`].
pub(crate) struct Entered<'a>(#[cfg_attr(not(feature = "tracing"), allow(dead_code))] &'a Scope);

#[cfg(feature = "tracing")]
impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.tell(|id, subscriber| subscriber.exit(id));
    }
}

#[cfg(feature = "tracing")]
impl Drop for Scope {
    fn drop(&mut self) {
        // To close a span calls the subscriber, too.
        shielded(|| drop(self.span.take()));
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope")
    }
}
