//! Credentials that the caller supplies, for as long as a store is open.

use std::fmt;

use super::config::Secret;
use super::secrets::REMOVED;
use crate::error::Result;

/// Gives the credentials of a cloud store, instead of the settings and of what the machine has
/// ([`StoreOptions::credentials`](super::StoreOptions::credentials)).
///
/// It is asked on a thread that may block, before the first request, and again five minutes before what it gave runs
/// out; credentials that do not say when they run out are asked for each minute. Requests wait meanwhile, so it must not use
/// the bucket that it serves. A bucket calls it once at a time; a source of several buckets may be called by each of them
/// at once. If it fails while the last credentials are still good, those are used, and it is asked again with the next request.
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// Credentials that are good now.
    ///
    /// # Errors
    /// Whatever failed. The error is that of each request that needs credentials: *unavailable* is tried again,
    /// *permission denied* is not. What was given before, and what looks like a secret, is removed from its text and from
    /// that of its causes.
    fn credentials(&self) -> Result<Credentials>;
}

/// Credentials, and when they run out. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub(super) kind: CredentialKind,
    /// Unix time in milliseconds.
    pub(super) expires_ms: Option<i64>,
}

/// What each kind of store takes.
#[derive(Clone, Debug)]
pub(super) enum CredentialKind {
    AccessKey { id: Secret, secret: Secret, session_token: Option<Secret> },
    Bearer(Secret),
    AccountKey(Secret),
}

/// Why a store can't use credentials.
#[cfg(feature = "_http")]
#[derive(Clone, Copy, Debug)]
pub(super) enum Unfit {
    /// They are for another kind of store.
    OtherKind,
    /// What is wrong with the value.
    Value(&'static str),
}

impl CredentialKind {
    /// What they are, for messages.
    #[cfg(feature = "_http")]
    pub(super) fn name(&self) -> &'static str {
        match self {
            CredentialKind::AccessKey { .. } => "an access key",
            CredentialKind::Bearer(_) => "a bearer token",
            CredentialKind::AccountKey(_) => "an account key",
        }
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let all = match self {
            CredentialKind::AccessKey { id, secret, session_token } => [Some(id), Some(secret), session_token.as_ref()],
            CredentialKind::Bearer(one) | CredentialKind::AccountKey(one) => [Some(one), None, None],
        };
        all.into_iter().flatten()
    }
}

impl Credentials {
    /// An access key of S3, with the session token of a temporary one.
    pub fn access_key(id: impl Into<String>, secret: impl Into<String>, session_token: Option<String>) -> Self {
        let (id, secret) = (Secret::new(id), Secret::new(secret));
        let session_token = session_token.map(Secret::new);
        Credentials { kind: CredentialKind::AccessKey { id, secret, session_token }, expires_ms: None }
    }

    /// A bearer token, for Azure and Google.
    pub fn bearer(token: impl Into<String>) -> Self {
        Credentials { kind: CredentialKind::Bearer(Secret::new(token)), expires_ms: None }
    }

    /// The key of an Azure account, in base64.
    pub fn account_key(key: impl Into<String>) -> Self {
        Credentials { kind: CredentialKind::AccountKey(Secret::new(key)), expires_ms: None }
    }

    /// The text without these secrets, for the message of a source that fails after all.
    #[must_use]
    pub fn strip(&self, text: &str) -> String {
        let secrets = self.kind.secrets().map(Secret::reveal).filter(|secret| !secret.is_empty());
        secrets.fold(text.to_string(), |text, secret| text.replace(secret, REMOVED))
    }

    /// Says when they run out, in Unix time in milliseconds.
    #[must_use]
    pub fn expires_at(mut self, unix_ms: i64) -> Self {
        self.expires_ms = Some(unix_ms);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_stripped_of_each_secret() {
        let given = Credentials::access_key("id1", "secret/2", Some("token3".into()));
        assert_eq!(given.strip("id1: no secret/2 for token3!"), "[removed]: no [removed] for [removed]!");
        assert_eq!(Credentials::bearer("").strip("as it is"), "as it is");
        assert_eq!(Credentials::account_key("a2V5").strip("a2V5a2V5"), "[removed][removed]");
    }
}
