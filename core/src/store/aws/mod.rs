//! S3, by object_store's clients: one for reads, and one for commits, on which a long upload is no silence.

mod credentials;
mod endpoint;
mod profile;
mod protocol;

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key, Checksum};
use object_store::client::ClientConfigKey;

use self::credentials::Noted;
use self::protocol::S3Protocol;
use super::StoreOptions;
use super::client::{CloudClients, StoreClient};
use super::config::{Settings, common, s3};
use super::dialect::Dialect;
use super::http::{Connector, NEVER, check_endpoint, client_options, no_retries, unusable};
use super::list::Lister;
use super::replica::{ITSELF, NO_REPLICA, Replica};
use crate::error::Result;

/// The client of a bucket.
pub(super) fn client(settings: &Settings, options: &StoreOptions) -> Result<StoreClient> {
    check_endpoint(settings, &s3::ENDPOINT)?;
    check_storage_class(settings)?;
    let connector = Connector::of(settings, S3Protocol)?;
    let secrets = connector.secrets.clone();
    let failed = |error: object_store::Error| unusable(settings, &error);
    let builder = builder(settings)?
        .with_http_connector(connector.clone())
        .with_config(Key::Client(ClientConfigKey::Timeout), NEVER);
    let chosen = credentials::of(&builder, settings, &connector, options)?;
    let inner = match chosen.provider {
        Some(own) => own,
        None => builder.clone().build().map_err(failed)?.credentials().clone(),
    };
    let noted = Arc::new(Noted { inner, source: credentials::of_machine(settings), secrets: secrets.clone() });
    let builder = builder.with_credentials(noted.clone()).with_retry(no_retries());

    let reads = Arc::new(builder.clone().build().map_err(failed)?);
    // The client's silence counts from the beginning of an upload: none here.
    let silence = Key::Client(ClientConfigKey::ReadTimeout);
    let commits = builder.with_config(silence, NEVER);
    let commits = Arc::new(commits.build().map_err(failed)?);

    let replica = match of_replica(settings)? {
        Some(elsewhere) => {
            check_endpoint(&elsewhere, &s3::ENDPOINT)?;
            let builder = self::builder(&elsewhere)?
                .with_http_connector(connector)
                .with_config(Key::Client(ClientConfigKey::Timeout), NEVER)
                .with_credentials(noted)
                // Instead of trying again, the bucket itself is asked.
                .with_retry(no_retries());
            let client = Arc::new(builder.build().map_err(|error| unusable(&elsewhere, &error))?);
            Some(Replica::of(client, &elsewhere, options))
        }
        None => None,
    };

    let clients = CloudClients {
        dialect: Dialect::S3,
        lacks_suffix_ranges: false,
        reads: reads.clone(),
        commits: commits.clone(),
        reads_once: commits.clone(),
        listers: [Lister::Pages(reads), Lister::Pages(commits)],
        replica,
        credentials: chosen.from,
    };
    Ok(StoreClient::of_cloud(clients, settings, secrets, options))
}

/// Refuses the classes whose objects can't be read before somebody restores them
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html>).
fn check_storage_class(settings: &Settings) -> Result<()> {
    match settings.text(&common::STORAGE_CLASS) {
        Some(class @ ("GLACIER" | "DEEP_ARCHIVE")) => {
            let what = format!("can't be {class}: its objects can't be read until somebody restores them");
            Err(settings.bad(&common::STORAGE_CLASS, &what).with_hint("GLACIER_IR is an archive that can be read"))
        }
        _ => Ok(()),
    }
}

/// The settings of the replica, if there is one: what is not set of it is as for the bucket.
fn of_replica(settings: &Settings) -> Result<Option<Settings>> {
    let names_one = settings.is_set(&s3::READ_BUCKET) || settings.is_set(&s3::READ_ENDPOINT);
    if !names_one && settings.is_set(&s3::READ_REGION) {
        let [bucket, endpoint] =
            [&s3::READ_BUCKET, &s3::READ_ENDPOINT].map(|row| settings.name_like(row, &s3::READ_REGION));
        let error = settings.bad(&s3::READ_REGION, "names no replica by itself");
        return Err(error.with_hint(format!("set {bucket} or {endpoint}, too")));
    }
    let pairs = [(&s3::READ_BUCKET, &s3::BUCKET), (&s3::READ_REGION, &s3::REGION), (&s3::READ_ENDPOINT, &s3::ENDPOINT)];
    if !names_one {
        return Ok(None);
    }
    let moved = settings.moved(&pairs);
    let place = |settings: &Settings| {
        [&s3::BUCKET, &s3::REGION, &s3::ENDPOINT]
            .map(|row| settings.text(row).map(|text| text.trim_end_matches('/').to_string()))
    };
    if place(&moved) == place(settings) {
        let row = if settings.is_set(&s3::READ_BUCKET) { &s3::READ_BUCKET } else { &s3::READ_ENDPOINT };
        return Err(settings.bad(row, ITSELF).with_hint(NO_REPLICA));
    }
    Ok(Some(moved))
}

/// object_store's builder with these settings, but for credentials.
fn builder(settings: &Settings) -> Result<AmazonS3Builder> {
    let bucket = settings.required(&s3::BUCKET)?;
    let in_path = settings.flag(&s3::PATH_STYLE);
    let mut builder = AmazonS3Builder::new()
        .with_client_options(client_options(settings))
        .with_bucket_name(bucket)
        .with_region(settings.text(&s3::REGION).unwrap_or_default())
        .with_virtual_hosted_style_request(!in_path)
        .with_unsigned_payload(settings.flag(&s3::UNSIGNED_PAYLOAD))
        .with_skip_signature(settings.flag(&s3::SKIP_SIGNATURE))
        .with_request_payer(settings.flag(&s3::REQUEST_PAYER))
        .with_disable_bulk_delete(true);
    if let Some(endpoint) = endpoint::of(settings, bucket, in_path)? {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(endpoint) = settings.text(&s3::METADATA_ENDPOINT) {
        builder = builder.with_metadata_endpoint(endpoint);
    }
    match settings.text(&s3::CHECKSUM) {
        Some("sha256") => builder = builder.with_checksum_algorithm(Checksum::SHA256),
        Some("crc64nvme") => builder = builder.with_checksum_algorithm(Checksum::CRC64NVME),
        _ => {}
    }
    encrypted(builder, settings)
}

/// The builder with the encryption that is set.
fn encrypted(mut builder: AmazonS3Builder, settings: &Settings) -> Result<AmazonS3Builder> {
    let key_of_kms = settings.text(&s3::KMS_KEY_ID);
    let encryption = match settings.text(&s3::ENCRYPTION) {
        Some("none") if settings.is_set(&s3::ENCRYPTION) || key_of_kms.is_none() => "none",
        Some("none") | None => "aws:kms",
        Some(set) => set,
    };
    let needs = |row, needed: bool| match (settings.is_set(row), needed) {
        (true, false) => {
            let what = format!("does not go with {} {encryption}", settings.name_like(&s3::ENCRYPTION, row));
            Err(settings.bad(row, &what))
        }
        _ => Ok(()),
    };
    needs(&s3::KMS_KEY_ID, encryption.starts_with("aws:kms"))?;
    needs(&s3::BUCKET_KEY, encryption.starts_with("aws:kms"))?;
    needs(&s3::CUSTOMER_KEY, encryption == "sse-c")?;
    let set = |builder: AmazonS3Builder, name: &str, value: &str| match name.parse::<Key>() {
        Ok(key) => builder.with_config(key, value),
        Err(_) => builder,
    };
    match encryption {
        "none" => return Ok(builder),
        "sse-c" => {
            let key = settings.required(&s3::CUSTOMER_KEY)?;
            return Ok(builder.with_ssec_encryption(key));
        }
        _ => builder = set(builder, "aws_server_side_encryption", encryption),
    }
    if let Some(key) = key_of_kms {
        builder = set(builder, "aws_sse_kms_key_id", key);
    }
    if settings.is_set(&s3::BUCKET_KEY) {
        builder = builder.with_bucket_key(settings.flag(&s3::BUCKET_KEY));
    }
    Ok(builder)
}

#[cfg(test)]
mod tests;
