//! Azure Blob storage, by object_store's client: one for reads that tries again, one for commits that does not.

mod credentials;
mod deletes;
mod protocol;
mod settings;

use std::sync::Arc;

use object_store::azure::{AzureConfigKey as Key, MicrosoftAzureBuilder};
use object_store::client::{ClientConfigKey, HttpConnector};
use url::Url;

use self::credentials::NotedTokens;
use self::deletes::{Deletes, Reads};
use self::protocol::AzureProtocol;
use self::settings::{AzureKeys, AzureSettings};
use super::dialect::Dialect;
use super::http::{
    Connector, Keys, NEVER, READ_SILENCE, Secrets, ca_bundle, is_true, retries_of_commits, retries_of_reads,
};
use super::list::Lister;
use super::{Backend, Store, StoreOptions};
use crate::error::{Error, ErrorKind, Result};

/// How long a delete may take. It is sent once.
const DELETE_LIMIT: &str = "30s";

/// Opens a container. The settings name the account where the URL does not.
pub(super) fn open(
    url: &str,
    account: Option<&str>,
    container: &str,
    prefix: String,
    options: &StoreOptions,
) -> Result<Store> {
    credentials::refuse_connection_string(options)?;
    let settings = AzureSettings::of(options)?;
    settings.check_characters()?;
    settings.check_flags()?;
    let builder = settings.builder().with_container_name(container);
    refuse_emulator(&builder, &settings)?;
    settings.check_endpoint(&builder)?;
    let (builder, account) = with_account(builder, account, &settings)?;
    let (builder, endpoint) = with_endpoint(builder, &account)?;
    let builder = credentials::chosen(builder, &settings, options)?;

    let secrets = Arc::new(Secrets::default());
    credentials::remember(&secrets, &builder);
    let roots = ca_bundle(AzureKeys::CA_BUNDLE, options)?;
    let connector = Connector { protocol: Arc::new(AzureProtocol), secrets: secrets.clone(), roots, proxies: true };
    let failed = |error: object_store::Error| settings.unusable(&error, &connector);
    let builder = builder
        .with_http_connector(connector.clone())
        .with_retry(retries_of_reads())
        .with_config(Key::Client(ClientConfigKey::Timeout), NEVER);
    let inner = builder.clone().build().map_err(failed)?.credentials().clone();
    let credentials = Arc::new(NotedTokens { inner, secrets: secrets.clone() });
    let signs = !is_true(builder.get_config_value(&Key::SkipSignature).as_deref());
    let builder = builder.with_credentials(credentials.clone());

    let silence = Key::Client(ClientConfigKey::ReadTimeout);
    let mut reads = builder.clone();
    if reads.get_config_value(&silence).is_none() {
        reads = reads.with_config(silence, READ_SILENCE);
    }
    let client_options = settings.client_options().with_config(ClientConfigKey::Timeout, DELETE_LIMIT);
    let deletes = Deletes {
        client: connector.connect(&client_options).map_err(failed)?,
        container: container_url(endpoint, container)?,
        account,
        credentials: signs.then_some(credentials),
    };
    let pages = Arc::new(reads.build().map_err(failed)?);
    let reads = Arc::new(Reads { inner: pages.clone(), deletes });

    // The client's silence counts from the beginning of an upload: none here.
    let commits = builder.with_retry(retries_of_commits()).with_config(silence, NEVER);
    let commits = Arc::new(commits.build().map_err(failed)?);

    let backend = Backend {
        dialect: Dialect::Azure,
        single_attempt: true,
        counted_on_the_wire: true,
        quoted_e_tags: true,
        lacks_suffix_ranges: true,
    };
    let store = Store::build(url, prefix, reads, commits, Lister::Pages(pages), backend, options);
    Ok(store.redacting(Box::new(move |text| secrets.strip_from_name(text))))
}

/// object_store would take the emulator's address from a variable of its own, over plain HTTP, with a known key.
fn refuse_emulator(builder: &MicrosoftAzureBuilder, settings: &AzureSettings) -> Result<()> {
    if !is_true(builder.get_config_value(&Key::UseEmulator).as_deref()) {
        return Ok(());
    }
    let message = format!("{} is not supported", settings.name(Key::UseEmulator));
    Err(Error::new(ErrorKind::InvalidInput, message).with_hint(
        "for azurite set AZURE_ENDPOINT=http://127.0.0.1:10000/devstoreaccount1, AZURE_ALLOW_HTTP=true, \
         AZURE_STORAGE_ACCOUNT=devstoreaccount1 and AZURE_STORAGE_KEY",
    ))
}

/// The account is the URL's, or that of the settings.
fn with_account(
    builder: MicrosoftAzureBuilder,
    of_url: Option<&str>,
    settings: &AzureSettings,
) -> Result<(MicrosoftAzureBuilder, String)> {
    let set = builder.get_config_value(&Key::AccountName).filter(|name| !name.is_empty());
    let name = settings.name(Key::AccountName);
    let invalid = |message: String| Error::new(ErrorKind::InvalidInput, message);
    let account = match (of_url, set) {
        (Some(of_url), Some(set)) if of_url != set => {
            return Err(invalid(format!("the URL names the account {of_url}, and {name} names another one"))
                .with_hint("name the account once, or write az://container/prefix"));
        }
        (Some(account), _) => account.to_string(),
        (None, Some(account)) => account,
        (None, None) => {
            return Err(invalid("no Azure account is named".into()).with_hint(
                "set AZURE_STORAGE_ACCOUNT, or write azure://account.blob.core.windows.net/container/prefix",
            ));
        }
    };
    // The name stands in a host's name, and in the text that is signed.
    if !account.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(invalid(format!("{name} is not the name of an account: it has letters and digits only")));
    }
    Ok((builder.with_account(&account), account))
}

/// The server's address: what is set, or the account's own.
fn with_endpoint(builder: MicrosoftAzureBuilder, account: &str) -> Result<(MicrosoftAzureBuilder, String)> {
    let set = builder.get_config_value(&Key::Endpoint);
    let endpoint = set.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
    // A slash at the end would give each path an empty segment.
    let endpoint = endpoint.trim_end_matches('/').to_string();
    Ok((builder.with_endpoint(endpoint.clone()), endpoint))
}

fn container_url(endpoint: String, container: &str) -> Result<Url> {
    let unusable = || Error::new(ErrorKind::InvalidInput, "AZURE_ENDPOINT is not a URL");
    let mut url = Url::parse(&endpoint).map_err(|_| unusable())?;
    url.path_segments_mut().map_err(|()| unusable())?.push(container);
    Ok(url)
}

#[cfg(test)]
mod tests;
