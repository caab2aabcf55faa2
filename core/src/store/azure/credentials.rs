//! Which credentials are used. They are chosen before anything is sent, so that no address is asked that nobody named.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::azure::{
    AzureAccessKey, AzureConfigKey as Key, AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder as Builder,
};
use object_store::client::CredentialProvider;

use crate::error::{Error, ErrorKind, Result};
use crate::store::config::{Origin, Row, Settings, azure};
use crate::store::credentials::{CredentialKind, Unfit};
use crate::store::failure::{Effect, StoreFailure};
use crate::store::http::{
    AcceptedCredentials, FromSettings, Secrets, bad_character, check_credentials_file, credentials_url, unsigned,
};

/// What the caller's source must give.
pub(super) const ACCEPTED: AcceptedCredentials = AcceptedCredentials {
    store: "Azure",
    takes: "a bearer token or an account key",
    how: "give a bearer token or the account's key in base64: Credentials::bearer or account_key in Rust, \
          kfs_credentials_bearer_token or kfs_credentials_account_key in C, kfs.Credentials(bearer_token=...) or \
          (account_key=...) in Python",
};

/// What to do instead of giving a connection string.
const PARTS: &str = "set AZURE_STORAGE_ACCOUNT to the AccountName in it, AZURE_STORAGE_KEY to the AccountKey, and \
                     AZURE_ENDPOINT to the BlobEndpoint if it has one";

/// The ways to credentials in the order in which they count: what object_store calls each, and the settings that it needs.
static WAYS: [(&str, &[&Row]); 6] = [
    ("bearer_token", &[&azure::BEARER_TOKEN]),
    ("access_key", &[&azure::ACCOUNT_KEY]),
    ("workload_identity", &[&azure::CLIENT_ID, &azure::TENANT_ID, &azure::FEDERATED_TOKEN_FILE]),
    ("client_secret", &[&azure::CLIENT_ID, &azure::TENANT_ID, &azure::CLIENT_SECRET]),
    ("sas_token", &[&azure::SAS_TOKEN]),
    ("managed_identity", &[&azure::MSI_ENDPOINT]),
];

/// The settings of credentials, and what object_store calls them.
static PASSED: [(&Row, Key); 11] = [
    (&azure::BEARER_TOKEN, Key::Token),
    (&azure::ACCOUNT_KEY, Key::AccessKey),
    (&azure::SAS_TOKEN, Key::SasKey),
    (&azure::CLIENT_ID, Key::ClientId),
    (&azure::TENANT_ID, Key::AuthorityId),
    (&azure::CLIENT_SECRET, Key::ClientSecret),
    (&azure::FEDERATED_TOKEN_FILE, Key::FederatedTokenFile),
    (&azure::AUTHORITY_HOST, Key::AuthorityHost),
    (&azure::MSI_ENDPOINT, Key::MsiEndpoint),
    (&azure::MSI_OBJECT_ID, Key::ObjectId),
    (&azure::MSI_RESOURCE_ID, Key::MsiResourceId),
];

/// The settings whose value is a secret.
static SECRETS: [&Row; 5] =
    [&azure::BEARER_TOKEN, &azure::ACCOUNT_KEY, &azure::CLIENT_SECRET, &azure::SAS_TOKEN, &azure::ENCRYPTION_KEY];

/// Where the chosen credentials come from.
pub(super) enum Chosen {
    /// They are not asked for: these settings have them, or say that there are none.
    Set(String),
    /// They are asked for as this way says.
    Asked(&'static str),
    /// From the machine's metadata, as the last resort.
    LastResort,
}

/// The builder with one way to credentials, which has all that it needs. The machine's metadata count only with
/// `surroundings`.
///
/// # Errors
/// `PermissionDenied` when there is none, `InvalidInput` for one that can't be right.
pub(super) fn chosen(mut builder: Builder, settings: &Settings, surroundings: bool) -> Result<(Builder, Chosen)> {
    if settings.flag(&azure::SKIP_SIGNATURE) {
        return Ok((builder, Chosen::Set(unsigned(settings, &azure::SKIP_SIGNATURE))));
    }
    let is_empty = |row: &&&Row| settings.is_set(row) && settings.text(row).is_some_and(str::is_empty);
    if let Some(empty) = SECRETS.iter().find(is_empty) {
        let message = format!("{} is set to nothing", settings.name(empty));
        return Err(Error::new(ErrorKind::PermissionDenied, message).with_hint("give it a value, or unset it"));
    }
    for (row, key) in &PASSED {
        if let Some(value) = settings.text(row).filter(|_| settings.is_set(row)) {
            builder = builder.with_config(*key, value);
        }
    }
    let Some(way) = way(settings)? else {
        if settings.flag(&azure::METADATA_DISABLED) || !surroundings {
            return Err(none(settings));
        }
        return Ok((builder.with_credential_type("managed_identity"), Chosen::LastResort));
    };
    let near = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.is_link_local());
    if let (Some(url), "managed_identity") = (settings.text(&azure::MSI_ENDPOINT), way) {
        credentials_url(&settings.name(&azure::MSI_ENDPOINT), url, near)?;
    }
    if let (true, Some(url), "workload_identity" | "client_secret") =
        (settings.is_set(&azure::AUTHORITY_HOST), settings.text(&azure::AUTHORITY_HOST), way)
    {
        credentials_url(&settings.name(&azure::AUTHORITY_HOST), url, |_| false)?;
        // AKS gives it with a slash at its end, which object_store adds too.
        builder = builder.with_authority_host(url.trim_end_matches('/'));
    }
    // A file that is not there yet may come before the first request.
    if let ("workload_identity", Some(file)) = (way, settings.text(&azure::FEDERATED_TOKEN_FILE))
        && Path::new(file).exists()
    {
        check_credentials_file(&settings.name_and_origin(&azure::FEDERATED_TOKEN_FILE), file)?;
    }
    let chosen = match way {
        "bearer_token" | "access_key" | "sas_token" => Chosen::Set(settings.names_and_origin(rows_of(way))),
        asked => Chosen::Asked(asked),
    };
    Ok((builder.with_credential_type(way), chosen))
}

/// The settings of a way.
fn rows_of(way: &str) -> &'static [&'static Row] {
    WAYS.iter().find(|(known, _)| *known == way).map_or(&[][..], |(_, rows)| *rows)
}

/// Asks for credentials in this way. Its errors name the settings, and so do the words for where they come from.
pub(super) fn asked(
    inner: AzureCredentialProvider,
    way: &str,
    settings: &Settings,
) -> (AzureCredentialProvider, String) {
    let named = |row| settings.name_and_origin(row);
    let (used, server, hint) = match way {
        "azure_cli" => {
            let row = match settings.text(&azure::CREDENTIAL_TYPE) {
                Some("azure_cli") => &azure::CREDENTIAL_TYPE,
                _ => &azure::USE_AZURE_CLI,
            };
            (named(row), named(row), "does `az account get-access-token` work for this user?".to_string())
        }
        "managed_identity" => {
            let server = named(&azure::MSI_ENDPOINT);
            (server.clone(), server.clone(), format!("check {server}"))
        }
        _ => {
            let used = rows_of(way).iter().map(|row| named(row)).collect::<Vec<_>>().join(", ");
            let server = named(&azure::AUTHORITY_HOST);
            let hint = format!("check {used}, and {server}");
            (used, server, hint)
        }
    };
    let file = settings.text(&azure::FEDERATED_TOKEN_FILE).filter(|_| way == "workload_identity");
    let file = file.map(|file| (named(&azure::FEDERATED_TOKEN_FILE), file.to_string()));
    (Arc::new(FromSettings { inner, settings: used.clone(), server, hint, file }), used)
}

/// The way to credentials that is named, or the first one that has all that it needs. `None`: nothing is set.
fn way(settings: &Settings) -> Result<Option<&'static str>> {
    let lacking = |rows: &'static [&'static Row]| rows.iter().find(|row| settings.text(row).is_none_or(str::is_empty));
    let (named, by) = match settings.text(&azure::CREDENTIAL_TYPE) {
        Some("azure_cli") => return Ok(Some("azure_cli")),
        Some(named) if named != "auto" => (named, &azure::CREDENTIAL_TYPE),
        _ if settings.flag(&azure::USE_WORKLOAD_IDENTITY) => ("workload_identity", &azure::USE_WORKLOAD_IDENTITY),
        _ => {
            let first = WAYS.iter().find(|(_, rows)| lacking(rows).is_none()).map(|(way, _)| *way);
            return Ok(first.or_else(|| settings.flag(&azure::USE_AZURE_CLI).then_some("azure_cli")));
        }
    };
    let (way, rows) = WAYS.iter().find(|(way, _)| *way == named).ok_or_else(|| none(settings))?;
    match lacking(rows) {
        None => Ok(Some(way)),
        Some(row) => {
            let (by, row) = (settings.name(by), settings.name_like(row, by));
            let message = format!("{by} asks for {way}, and {row} is not set");
            Err(Error::new(ErrorKind::PermissionDenied, message))
        }
    }
}

/// What was looked for, for messages.
pub(super) const TRIED: &str =
    "neither a token, a key, a workload identity, a service principal nor a shared access signature is set";
/// What to do where there are no credentials.
pub(super) const HINT: &str = "set AZURE_STORAGE_KEY, or AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID and AZURE_TENANT_ID with AZURE_CLIENT_SECRET or \
     AZURE_FEDERATED_TOKEN_FILE, or AZURE_USE_AZURE_CLI=true; on a cloud machine its metadata is asked unless \
     AZURE_METADATA_DISABLED is true; for a public container set AZURE_SKIP_SIGNATURE=true";

/// The error where nobody said where credentials come from.
fn none(settings: &Settings) -> Error {
    let hint = match settings.is_set(&azure::CONNECTION_STRING) {
        true => format!("{} is set, but it is not read: {PARTS}", settings.name(&azure::CONNECTION_STRING)),
        false => HINT.to_string(),
    };
    Error::new(ErrorKind::PermissionDenied, "no Azure credentials are set").with_hint(hint)
}

/// The caller's credentials as Azure takes them.
pub(super) fn of_caller(given: &CredentialKind) -> Result<AzureCredential, Unfit> {
    match given {
        CredentialKind::Bearer(token) => Ok(AzureCredential::BearerToken(token.reveal().to_string())),
        CredentialKind::AccountKey(key) => AzureAccessKey::try_new(key.reveal())
            .map(AzureCredential::AccessKey)
            .map_err(|_| Unfit::Value("is not text in base64")),
        CredentialKind::AccessKey { .. } => Err(Unfit::OtherKind),
    }
}

/// Refuses what libkfs does not read, and the caller gave. A variable may be there for other tools.
pub(super) fn refuse_connection_string(settings: &Settings) -> Result<()> {
    let row = &azure::CONNECTION_STRING;
    match settings.is_set(row) && settings.origin(row) != Origin::Environment {
        true => Err(settings.bad(row, "is not read").with_hint(PARTS)),
        false => Ok(()),
    }
}

/// Remembers the signature within the SAS token, so that no message repeats it: the server sees it apart from the rest.
pub(super) fn remember_signature(secrets: &Secrets, settings: &Settings) {
    let sas = settings.text(&azure::SAS_TOKEN).unwrap_or_default();
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
