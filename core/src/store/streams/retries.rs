//! Which parts of an upload are sent again.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::client::HttpErrorKind;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};

use super::super::Store;
use super::super::meter::Attempt;
use super::PART_BYTES;
use crate::error::ErrorKind;
use crate::recorder::{RequestKind, RequestOutcome};

/// How many times a part is sent.
const TRIES: usize = 3;

/// Sends a part again whose connection broke: servers close connections that a client takes for usable, and one of the many
/// parts of an object meets such a one. The same part may be sent twice. What a server answered is not asked again.
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
        use HttpErrorKind::{Connect, Interrupted, Request};
        let again = context.attempt < TRIES
            && matches!(context.failure, RetryFailure::Transport(Connect | Interrupted | Request));
        if again {
            // The upload counts the last try of each part.
            let attempt =
                Attempt::new(&self.store.inner.meter, &self.store.observer, RequestKind::Put, &self.key, None);
            attempt.count(1, u64::try_from(PART_BYTES).unwrap_or(u64::MAX));
            attempt.end(RequestOutcome::Failed(ErrorKind::Unavailable));
        }
        again
    }
}

impl fmt::Debug for PartRetries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartRetries({} of {})", self.key, self.store)
    }
}
