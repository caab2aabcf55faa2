//! Credentials of the machine itself, asked for when nothing else is set.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use object_store::client::CredentialProvider;

use crate::error::{Error, ErrorKind};
use crate::runtime::{Clock, SystemClock};
use crate::store::failure::{self, Effect, StoreFailure};

/// How long a machine's metadata may take to answer. Where there is none, nothing answers at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Asks the machine's metadata, but not for long, and says what else was tried where it has nothing.
pub(in crate::store) struct LastResort<C> {
    pub(in crate::store) inner: Arc<dyn CredentialProvider<Credential = C>>,
    /// The store's name.
    pub(in crate::store) store: &'static str,
    /// What was looked for before, in order.
    pub(in crate::store) tried: &'static str,
    /// What to do.
    pub(in crate::store) hint: &'static str,
}

impl<C> fmt::Debug for LastResort<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LastResort({})", self.store)
    }
}

#[async_trait]
impl<C: Send + Sync + 'static> CredentialProvider for LastResort<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let limit = SystemClock.sleep(ANSWER_LIMIT);
        let why = match select(self.inner.get_credential(), limit).await {
            Either::Left((Ok(credential), _)) => return Ok(credential),
            Either::Left((Err(error), _)) => failure::text(&error),
            Either::Right(_) => format!("it did not answer within {} s", ANSWER_LIMIT.as_secs()),
        };
        let message = format!(
            "no {} credentials were found: {}, and this machine's metadata gave none: {why}",
            self.store, self.tried
        );
        let error = Error::new(ErrorKind::PermissionDenied, message).with_hint(self.hint);
        Err(StoreFailure::new(Effect::None, error).into_object_store(""))
    }
}
