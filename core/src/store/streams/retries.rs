//! Which parts of an upload are sent again.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::client::HttpErrorKind;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};

use super::super::Store;
use super::super::meter::Attempt;
use crate::error::{Error, ErrorKind};

/// Sends a part again as a call of the storage interface is tried again. The same part may be sent twice: the store keeps
/// one of the two, which are alike.
pub(super) struct PartRetries {
    store: Store,
    key: Arc<str>,
}

impl PartRetries {
    pub(super) fn new(store: &Store, key: &str) -> Self {
        PartRetries { store: store.clone(), key: key.into() }
    }
}

#[async_trait]
impl RetryPolicy for PartRetries {
    async fn retry(&self, context: RetryContext) -> bool {
        // The part is sent within the work of its attempt.
        let (Some(tries), Some(attempt)) = (&self.store.tries, Attempt::current()) else { return false };
        let Some(kind) = kind(context.failure) else { return false };
        let error = attempt.named(Error::new(kind, failure(context.failure)).with_key(&*self.key).of_the_store());
        let number = u32::try_from(context.attempt).unwrap_or(u32::MAX);
        let Some(pause) = tries.pause(number, &error, context.elapsed) else { return false };
        let bytes = attempt.fails(kind);
        let observer = &self.store.observer;
        let began = observer.now().saturating_sub(context.elapsed);
        // Each part is told of by itself, so that one that lasts is told of more than once.
        let _told = observer.retry(None, ("writing a part of an object", began), (number, pause), &error, false);
        tries.sleep(pause).await;
        attempt.sends(bytes);
        true
    }
}

/// The kind of a failure that may pass.
fn kind(failure: RetryFailure) -> Option<ErrorKind> {
    use HttpErrorKind::{Connect, Interrupted, Request, Timeout};
    match failure {
        RetryFailure::Transport(Connect | Interrupted | Request) => Some(ErrorKind::Unavailable),
        RetryFailure::Transport(Timeout) => Some(ErrorKind::TimedOut),
        RetryFailure::Status(status) => match status.as_u16() {
            408 | 504 => Some(ErrorKind::TimedOut),
            429 => Some(ErrorKind::Unavailable),
            // The store says that it can't do this.
            501 => None,
            500.. => Some(ErrorKind::Unavailable),
            _ => None,
        },
        _ => None,
    }
}

fn failure(failure: RetryFailure) -> String {
    match failure {
        RetryFailure::Status(status) => format!("the store answered {status} to a part of an object"),
        _ => "the connection broke while a part of an object was sent".to_string(),
    }
}

impl fmt::Debug for PartRetries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartRetries({} of {})", self.key, self.store)
    }
}
