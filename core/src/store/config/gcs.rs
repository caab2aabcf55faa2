//! The settings of Google Cloud Storage.

use super::client;
use super::common;
use super::row::{Row, SettingsTable};
use super::value::Kind;

pub(crate) static BUCKET: Row = Row::new("bucket", Kind::HostPart, "The bucket. It is required.")
    .address()
    .aliases(&["bucket_name"])
    .environment(&["GOOGLE_BUCKET", "GOOGLE_BUCKET_NAME"]);
pub(crate) static ENDPOINT: Row =
    Row::new("endpoint", Kind::Url, "The address of another server. Without one it is https://storage.googleapis.com.")
        .aliases(&["base_url"])
        .environment(&["GOOGLE_BASE_URL", "GOOGLE_ENDPOINT"]);
pub(crate) static SERVICE_ACCOUNT_PATH: Row =
    Row::new("service_account_path", Kind::Path, "The file of a service account's key, in JSON.")
        .aliases(&["service_account"])
        .environment(&["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH"]);
pub(crate) static SERVICE_ACCOUNT_KEY: Row =
    Row::new("service_account_key", Kind::SecretDocument, "A service account's key itself, in JSON.")
        .environment(&["GOOGLE_SERVICE_ACCOUNT_KEY"]);
pub(crate) static APPLICATION_CREDENTIALS: Row = Row::new(
    "application_credentials",
    Kind::Path,
    "The file of the application default credentials. Without one that of gcloud is read.",
)
.environment(&["GOOGLE_APPLICATION_CREDENTIALS"]);
pub(crate) static BEARER_TOKEN: Row =
    Row::new("bearer_token", Kind::Secret, "A bearer token, in place of a key. It is not renewed.")
        .aliases(&["token"])
        .environment(&["GOOGLE_BEARER_TOKEN"]);
pub(crate) static SKIP_SIGNATURE: Row =
    Row::new("skip_signature", Kind::Flag, "Whether requests carry no credentials, for a public bucket.")
        .environment(&["GOOGLE_SKIP_SIGNATURE"])
        .default("false");
pub(crate) static METADATA_DISABLED: Row =
    Row::new("metadata_disabled", Kind::Flag, "Whether a cloud machine's metadata is never asked.")
        .environment(&["GOOGLE_METADATA_DISABLED"])
        .default("false");

pub(crate) static GCS: SettingsTable = SettingsTable {
    backend: "gcs",
    aliases: &["gs", "google"],
    store: "Google Cloud Storage",
    prefix: "GOOGLE_",
    example: "GOOGLE_APPLICATION_CREDENTIALS",
    rows: &[
        &BUCKET,
        &common::PREFIX,
        &ENDPOINT,
        &common::CREDENTIALS_REF,
        &SERVICE_ACCOUNT_PATH,
        &SERVICE_ACCOUNT_KEY,
        &APPLICATION_CREDENTIALS,
        &BEARER_TOKEN,
        &SKIP_SIGNATURE,
        &METADATA_DISABLED,
        &common::CONCURRENCY,
        &common::COLD_READS,
        &common::STORAGE_CLASS,
    ],
    client: &client::ROWS,
};
