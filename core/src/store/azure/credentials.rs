//! Which credentials are used. They are chosen before anything is sent, so that no address is asked that nobody named.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::azure::{
    AzureConfigKey as Key, AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder as Builder,
};
use object_store::client::CredentialProvider;

use super::settings::AzureSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::store::StoreOptions;
use crate::store::failure::{Effect, StoreFailure};
use crate::store::http::{Secrets, bad_character, credentials_url, is_true};

/// The setting that other tools read, and libkfs does not.
pub(super) const CONNECTION_STRING: &str = "AZURE_STORAGE_CONNECTION_STRING";
/// What to do instead of giving a connection string.
const PARTS: &str = "set AZURE_STORAGE_ACCOUNT to the AccountName in it, AZURE_STORAGE_KEY to the AccountKey, and \
                     AZURE_ENDPOINT to the BlobEndpoint if it has one";

/// The ways to credentials in the order in which they count: what object_store calls each, and the settings that it needs.
const WAYS: [(&str, &[Key]); 6] = [
    ("bearer_token", &[Key::Token]),
    ("access_key", &[Key::AccessKey]),
    ("workload_identity", &[Key::ClientId, Key::AuthorityId, Key::FederatedTokenFile]),
    ("client_secret", &[Key::ClientId, Key::AuthorityId, Key::ClientSecret]),
    ("sas_token", &[Key::SasKey]),
    ("managed_identity", &[Key::MsiEndpoint]),
];

/// The settings whose value is a secret.
const SECRETS: [Key; 5] = [Key::Token, Key::AccessKey, Key::ClientSecret, Key::SasKey, Key::EncryptionKey];

/// The builder with one way to credentials, which has all that it needs.
///
/// # Errors
/// `PermissionDenied` when there is none, `InvalidInput` for one that can't be right.
pub(super) fn chosen(mut builder: Builder, settings: &AzureSettings, options: &StoreOptions) -> Result<Builder> {
    let value = |key: Key| builder.get_config_value(&key);
    if is_true(value(Key::SkipSignature).as_deref()) {
        return Ok(builder);
    }
    if let Some(empty) = SECRETS.into_iter().find(|key| value(*key).is_some_and(|value| value.is_empty())) {
        let message = format!("{} is set to nothing", settings.name(empty));
        return Err(Error::new(ErrorKind::PermissionDenied, message).with_hint("give it a value, or unset it"));
    }
    let lacking = |way: &(&str, &[Key])| way.1.iter().copied().find(|key| value(*key).is_none_or(|v| v.is_empty()));
    let way = match value(Key::CredentialType).filter(|way| way != "auto") {
        None => WAYS.iter().find(|way| lacking(way).is_none()).ok_or_else(|| none(&builder, options))?,
        Some(named) => {
            let setting = settings.name(Key::CredentialType);
            let known = WAYS.iter().find(|(name, _)| *name == named);
            let way = known.ok_or_else(|| {
                let names: Vec<&str> = WAYS.iter().map(|(name, _)| *name).collect();
                let message = format!("{setting} is not one of those that are built: auto, {}", names.join(", "));
                Error::new(ErrorKind::InvalidInput, message)
            })?;
            if let Some(key) = lacking(way) {
                let message = format!("{setting} is {}, and {} is not set", way.0, settings.name(key));
                return Err(Error::new(ErrorKind::PermissionDenied, message));
            }
            way
        }
    };
    let near = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.is_link_local());
    if let (Some(url), "managed_identity") = (value(Key::MsiEndpoint), way.0) {
        credentials_url(&settings.name(Key::MsiEndpoint), &url, near)?;
    }
    if let (Some(url), "workload_identity" | "client_secret") = (builder.get_config_value(&Key::AuthorityHost), way.0) {
        credentials_url(&settings.name(Key::AuthorityHost), &url, |_| false)?;
        // AKS gives it with a slash at its end, which object_store adds too.
        builder = builder.with_authority_host(url.trim_end_matches('/'));
    }
    Ok(builder.with_credential_type(way.0))
}

/// The error where nobody said where credentials come from.
fn none(builder: &Builder, options: &StoreOptions) -> Error {
    let ways = "set AZURE_STORAGE_KEY, or AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID and AZURE_TENANT_ID with \
                AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE; for a managed identity set AZURE_MSI_ENDPOINT \
                (http://169.254.169.254/metadata/identity/oauth2/token); for a public container \
                AZURE_SKIP_SIGNATURE=true";
    let hint = if options.environment && std::env::var_os(CONNECTION_STRING).is_some() {
        format!("{CONNECTION_STRING} is set, but it is not read: {PARTS}")
    } else if is_true(builder.get_config_value(&Key::UseAzureCli).as_deref()) {
        format!("AZURE_USE_AZURE_CLI is set, but the command az is not asked: {ways}")
    } else {
        ways.to_string()
    };
    Error::new(ErrorKind::PermissionDenied, "no Azure credentials are set").with_hint(hint)
}

/// Refuses what libkfs does not read, and the caller gave.
pub(super) fn refuse_connection_string(options: &StoreOptions) -> Result<()> {
    match options.config.iter().any(|(name, _)| name.eq_ignore_ascii_case(CONNECTION_STRING)) {
        true => Err(Error::new(ErrorKind::InvalidInput, format!("{CONNECTION_STRING} is not read")).with_hint(PARTS)),
        false => Ok(()),
    }
}

/// Remembers the secrets that are set, so that no message repeats them.
pub(super) fn remember(secrets: &Secrets, builder: &Builder) {
    for value in SECRETS.into_iter().filter_map(|key| builder.get_config_value(&key)) {
        secrets.add(&value);
    }
    // What is signed with it is in all that the server sees.
    let sas = builder.get_config_value(&Key::SasKey).unwrap_or_default();
    for signature in sas.trim_start_matches('?').split('&').filter_map(|pair| pair.trim().strip_prefix("sig=")) {
        secrets.add(&percent_decoded(signature));
    }
}

/// The text that `%xx` stand for.
pub(super) fn percent_decoded(text: &str) -> String {
    // A form has a plus sign for a blank, which a base64 text has none of.
    let form = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(form.as_bytes()).map(|(_, value)| value.into_owned()).next().unwrap_or_default()
}

/// Checks and remembers what it gives out, so that no message repeats it.
#[derive(Debug)]
pub(super) struct NotedTokens {
    pub(super) inner: AzureCredentialProvider,
    pub(super) secrets: Arc<Secrets>,
}

#[async_trait]
impl CredentialProvider for NotedTokens {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        let credential = self.inner.get_credential().await?;
        if let AzureCredential::BearerToken(token) = credential.as_ref() {
            // object_store panics when it puts such a token into a header.
            if let Some(what) = bad_character(token) {
                let message = format!("the token for Azure can't be used: it {what}");
                let error = Error::new(ErrorKind::PermissionDenied, message).with_hint("renew the credentials");
                return Err(StoreFailure::new(Effect::None, error).into_object_store(""));
            }
            self.secrets.add(token);
        }
        Ok(credential)
    }
}
