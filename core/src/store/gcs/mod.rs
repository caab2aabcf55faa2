//! Google Cloud Storage, by object_store's clients: one for reads, and one for commits, on which a long upload is no silence.

mod credentials;
mod protocol;

use std::sync::Arc;

use object_store::client::ClientConfigKey;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as Key};

use self::credentials::NotedBearer;
use self::protocol::GcsProtocol;
use super::StoreOptions;
use super::client::{CloudClients, StoreClient};
use super::config::{Settings, gcs};
use super::dialect::Dialect;
use super::http::{Connector, NEVER, check_endpoint, client_options, no_retries, retries_for_credentials, unusable};
use super::list::Lister;
use crate::error::Result;

/// Where Google's own server is.
const ENDPOINT: &str = "https://storage.googleapis.com";

/// The client of a bucket.
pub(super) fn client(settings: &Settings, options: &StoreOptions) -> Result<StoreClient> {
    check_endpoint(settings, &gcs::ENDPOINT)?;
    let connector = Connector::of(settings, GcsProtocol)?;
    let secrets = connector.secrets.clone();
    let failed = |error: object_store::Error| unusable(settings, &error);
    let builder = GoogleCloudStorageBuilder::new()
        .with_client_options(client_options(settings))
        .with_bucket_name(settings.required(&gcs::BUCKET)?)
        // The file of a service account could name another server.
        .with_base_url(settings.text(&gcs::ENDPOINT).unwrap_or(ENDPOINT).trim_end_matches('/'))
        .with_http_connector(connector)
        .with_retry(retries_for_credentials())
        .with_config(Key::Client(ClientConfigKey::Timeout), NEVER);
    let (inner, from) = credentials::of(builder.clone(), settings, options, &secrets)?;
    let builder =
        builder.with_credentials(Arc::new(NotedBearer { inner, secrets: secrets.clone() })).with_retry(no_retries());

    let reads = Arc::new(builder.clone().build().map_err(failed)?);
    // The client's silence counts from the beginning of an upload: none here.
    let silence = Key::Client(ClientConfigKey::ReadTimeout);
    let commits = builder.with_config(silence, NEVER);
    let commits = Arc::new(commits.build().map_err(failed)?);

    let clients = CloudClients {
        dialect: Dialect::Gcs,
        lacks_suffix_ranges: false,
        reads: reads.clone(),
        commits: commits.clone(),
        reads_once: commits.clone(),
        listers: [Lister::Pages(reads), Lister::Pages(commits)],
        replica: None,
        credentials: from,
    };
    Ok(StoreClient::of_cloud(clients, settings, secrets, options))
}

#[cfg(test)]
mod tests;
