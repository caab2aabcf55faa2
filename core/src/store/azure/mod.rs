//! Azure Blob storage, by object_store's clients: one for reads, and one for commits, on which a long upload is no silence.

mod credentials;
mod deletes;
mod protocol;

use std::sync::Arc;

use object_store::azure::{AzureConfigKey as Key, AzureCredentialProvider, MicrosoftAzureBuilder};
use object_store::client::{ClientConfigKey, HttpConnector};
use url::Url;

use self::credentials::{Chosen, NotedTokens};
use self::deletes::{Deletes, Reads};
use self::protocol::AzureProtocol;
use super::StoreOptions;
use super::client::{CloudClients, StoreClient};
use super::config::{Settings, azure};
use super::dialect::Dialect;
use super::http::{
    Connector, LastResort, NEVER, OF_CALLER, OF_MACHINE, Supplied, check_endpoint, client_options, no_retries,
    retries_for_credentials, unusable,
};
use super::list::Lister;
use super::replica::{ITSELF, NO_REPLICA, Replica};
use crate::error::{Error, ErrorKind, Result};

/// How long a delete may take. It is sent once.
const DELETE_LIMIT: &str = "30s";

/// The client of a container.
pub(super) fn client(settings: &Settings, options: &StoreOptions) -> Result<StoreClient> {
    credentials::refuse_connection_string(settings)?;
    refuse_emulator(settings)?;
    check_endpoint(settings, &azure::ENDPOINT)?;
    let (account, container) = (account(settings)?, container(settings)?);
    // A slash at the end would give each path an empty segment.
    let endpoint = match settings.text(&azure::ENDPOINT) {
        Some(endpoint) => endpoint.trim_end_matches('/').to_string(),
        None => format!("https://{account}.blob.core.windows.net"),
    };
    let mut builder = MicrosoftAzureBuilder::new()
        .with_client_options(client_options(settings))
        .with_account(account)
        .with_container_name(container)
        .with_endpoint(endpoint.clone());
    if let Some(key) = settings.text(&azure::ENCRYPTION_KEY) {
        builder = builder.with_encryption_key(key);
    }
    let connector = Connector::of(settings, AzureProtocol)?;
    let secrets = connector.secrets.clone();
    credentials::remember_signature(&secrets, settings);
    let failed = |error: object_store::Error| unusable(settings, &error);
    let builder = builder
        .with_http_connector(connector.clone())
        .with_retry(retries_for_credentials())
        .with_skip_signature(settings.flag(&azure::SKIP_SIGNATURE))
        .with_config(Key::Client(ClientConfigKey::Timeout), NEVER);
    let (inner, from): (AzureCredentialProvider, String) = match &options.credentials {
        Some(source) => {
            let (form, takes) = (credentials::of_caller, credentials::ACCEPTED);
            (Arc::new(Supplied::new(source.clone(), form, takes, secrets.clone())), OF_CALLER.into())
        }
        None => {
            let (builder, chosen) = credentials::chosen(builder.clone(), settings, options.environment)?;
            let inner = builder.build().map_err(failed)?.credentials().clone();
            let (tried, hint) = (credentials::TRIED, credentials::HINT);
            match chosen {
                Chosen::Set(from) => (inner, from),
                Chosen::Asked(way) => credentials::asked(inner, way, settings),
                Chosen::LastResort => (Arc::new(LastResort { inner, store: "Azure", tried, hint }), OF_MACHINE.into()),
            }
        }
    };
    let credentials = Arc::new(NotedTokens { inner, secrets: secrets.clone() });
    let builder = builder.with_credentials(credentials.clone()).with_retry(no_retries());

    let delete_options = client_options(settings).with_config(ClientConfigKey::Timeout, DELETE_LIMIT);
    let deletes = Deletes {
        client: connector.connect(&delete_options).map_err(failed)?,
        container: container_url(&endpoint, container)?,
        account: account.to_string(),
        credentials: (!settings.flag(&azure::SKIP_SIGNATURE)).then_some(credentials),
    };
    let pages = Arc::new(builder.clone().build().map_err(failed)?);
    let reads = Arc::new(Reads { inner: pages.clone(), deletes: deletes.clone() });

    let read_builder = builder.clone();
    // The client's silence counts from the beginning of an upload: none here.
    let silence = Key::Client(ClientConfigKey::ReadTimeout);
    let commits = builder.with_config(silence, NEVER);
    let commits = Arc::new(commits.build().map_err(failed)?);

    let replica = match settings.is_set(&azure::READ_ENDPOINT) {
        true => {
            let elsewhere = settings.moved(&[(&azure::READ_ENDPOINT, &azure::ENDPOINT)]);
            check_endpoint(&elsewhere, &azure::ENDPOINT)?;
            let own = endpoint.as_str();
            let endpoint = elsewhere.required(&azure::ENDPOINT)?.trim_end_matches('/');
            if endpoint == own {
                return Err(settings.bad(&azure::READ_ENDPOINT, ITSELF).with_hint(NO_REPLICA));
            }
            // Instead of trying again, the container itself is asked.
            let builder = read_builder.with_endpoint(endpoint.to_string()).with_retry(no_retries());
            let client = Arc::new(builder.build().map_err(|error| unusable(&elsewhere, &error))?);
            Some(Replica::of(client, &elsewhere, options))
        }
        false => None,
    };

    let clients = CloudClients {
        dialect: Dialect::Azure,
        lacks_suffix_ranges: true,
        reads,
        commits: commits.clone(),
        reads_once: Arc::new(Reads { inner: commits.clone(), deletes }),
        listers: [Lister::Pages(pages), Lister::Pages(commits)],
        replica,
        credentials: from,
    };
    Ok(StoreClient::of_cloud(clients, settings, secrets, options))
}

/// object_store would take the emulator's address from a variable of its own, over plain HTTP, with a known key.
fn refuse_emulator(settings: &Settings) -> Result<()> {
    if !settings.flag(&azure::USE_EMULATOR) {
        return Ok(());
    }
    Err(settings.bad(&azure::USE_EMULATOR, "is not supported").with_hint(
        "for azurite set AZURE_ENDPOINT=http://127.0.0.1:10000/devstoreaccount1, AZURE_ALLOW_HTTP=true, \
         AZURE_STORAGE_ACCOUNT=devstoreaccount1 and AZURE_STORAGE_KEY",
    ))
}

fn account(settings: &Settings) -> Result<&str> {
    let account = settings.text(&azure::ACCOUNT_NAME).ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "no Azure account is named")
            .with_hint("set AZURE_STORAGE_ACCOUNT, or write azure://account.blob.core.windows.net/container/prefix")
    })?;
    // The name stands in a host's name, and in the text that is signed.
    match account.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        true => Ok(account),
        false => {
            Err(settings.bad(&azure::ACCOUNT_NAME, "is not the name of an account: it has letters and digits only"))
        }
    }
}

/// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>
fn container(settings: &Settings) -> Result<&str> {
    let name = settings.required(&azure::CONTAINER_NAME)?;
    let is_container = (3..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    match is_container {
        true => Ok(name),
        false => Err(settings.bad(
            &azure::CONTAINER_NAME,
            "has no usable name of a container: a name has 3 to 63 lower-case letters, digits and hyphens",
        )),
    }
}

fn container_url(endpoint: &str, container: &str) -> Result<Url> {
    let unusable = || Error::new(ErrorKind::InvalidInput, "AZURE_ENDPOINT is not a URL");
    let mut url = Url::parse(endpoint).map_err(|_| unusable())?;
    url.path_segments_mut().map_err(|()| unusable())?.push(container);
    Ok(url)
}

#[cfg(test)]
mod tests;
