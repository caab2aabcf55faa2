//! Says which settings credentials come from where they can't be had.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::client::CredentialProvider;

use super::check_credentials_file;
use crate::error::{Error, ErrorKind};
use crate::store::dialect::Dialect;
use crate::store::failure::{self, Effect, StoreFailure};
use crate::store::hint;

/// Asks for credentials as the settings say.
pub(in crate::store) struct FromSettings<C> {
    pub(in crate::store) inner: Arc<dyn CredentialProvider<Credential = C>>,
    /// The settings that say what is asked for.
    pub(in crate::store) settings: String,
    /// The setting that says who is asked.
    pub(in crate::store) server: String,
    /// What to do where the cause says nothing of it.
    pub(in crate::store) hint: String,
    /// The setting and the path of a file that is read for each renewal.
    pub(in crate::store) file: Option<(String, String)>,
}

impl<C> fmt::Debug for FromSettings<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FromSettings({})", self.settings)
    }
}

#[async_trait]
impl<C: Send + Sync + 'static> CredentialProvider for FromSettings<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        match self.inner.get_credential().await {
            Ok(credential) => Ok(credential),
            Err(error) if StoreFailure::find(&error).is_some() => Err(error),
            Err(error) => {
                let error = self.of_file().await.unwrap_or_else(|| self.named(&error));
                Err(StoreFailure::new(Effect::None, error).into_object_store(""))
            }
        }
    }
}

impl<C> FromSettings<C> {
    /// What is wrong with the file. It may be there again soon, so the next request asks again.
    async fn of_file(&self) -> Option<Error> {
        let (name, file) = self.file.clone()?;
        let checked = tokio::task::spawn_blocking(move || check_credentials_file(&name, &file)).await.ok()?;
        checked.err().map(|error| Error::new(ErrorKind::Unavailable, error.message()))
    }

    fn named(&self, error: &object_store::Error) -> Error {
        let kind = failure::map(error, "", None, Dialect::Unknown).kind();
        let message = format!("credentials could not be had with {}: {}", self.settings, failure::text(error));
        let hint = hint::of_credentials(error, &self.server).unwrap_or_else(|| self.hint.clone());
        Error::new(kind, message).with_hint(hint)
    }
}
