//! Gives object_store the credentials that the caller supplies.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::client::CredentialProvider;
use tokio::sync::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{Clock, SystemClock};
use crate::store::credentials::{CredentialKind, CredentialSource};
use crate::store::failure::{Effect, StoreFailure};

/// Credentials are asked for again this long before they run out.
const EARLIER_MS: i64 = 300_000;
/// How long those are used that do not say when they run out.
const WITHOUT_END_MS: i64 = 60_000;

/// Asks the caller's source, and holds what it gave.
pub(in crate::store) struct Supplied<C> {
    source: Arc<dyn CredentialSource>,
    /// The form that the store's client takes; `None` for credentials of another kind of store.
    form: fn(&CredentialKind) -> Option<C>,
    /// What the store takes, for messages.
    expected: &'static str,
    held: Mutex<Option<Held<C>>>,
}

struct Held<C> {
    credential: Arc<C>,
    /// Unix times in milliseconds.
    asked_ms: i64,
    expires_ms: Option<i64>,
}

impl<C> Held<C> {
    /// Whether nothing needs to be asked yet.
    fn is_fresh(&self, now: i64) -> bool {
        match self.expires_ms {
            Some(ends) => now.saturating_add(EARLIER_MS) < ends,
            None => (0..WITHOUT_END_MS).contains(&now.saturating_sub(self.asked_ms)),
        }
    }

    fn is_good(&self, now: i64) -> bool {
        self.expires_ms.is_none_or(|ends| now < ends)
    }
}

impl<C> Supplied<C> {
    pub(in crate::store) fn new(
        source: Arc<dyn CredentialSource>,
        form: fn(&CredentialKind) -> Option<C>,
        expected: &'static str,
    ) -> Self {
        Supplied { source, form, expected, held: Mutex::new(None) }
    }

    async fn ask(&self, now: i64) -> Result<Held<C>> {
        let source = self.source.clone();
        let given = tokio::task::spawn_blocking(move || source.credentials()).await;
        // What it panicked with may be a secret.
        let given = given.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, "the caller's source of credentials panicked"))
        })?;
        let credential = (self.form)(&given.kind).ok_or_else(|| {
            let message =
                format!("the caller's source gives other credentials than this store takes: {}", self.expected);
            Error::new(ErrorKind::InvalidInput, message)
        })?;
        Ok(Held { credential: Arc::new(credential), asked_ms: now, expires_ms: given.expires_ms })
    }
}

impl<C> fmt::Debug for Supplied<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supplied").field("source", &self.source).finish_non_exhaustive()
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for Supplied<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let mut held = self.held.lock().await;
        let now = SystemClock.wall_ms();
        if let Some(held) = held.as_ref().filter(|held| held.is_fresh(now)) {
            return Ok(held.credential.clone());
        }
        match (self.ask(now).await, held.as_ref()) {
            (Ok(given), _) => Ok(held.insert(given).credential.clone()),
            (Err(_), Some(last)) if last.is_good(now) && last.expires_ms.is_some() => Ok(last.credential.clone()),
            (Err(error), _) => Err(StoreFailure::new(Effect::None, error).into_object_store("")),
        }
    }
}
