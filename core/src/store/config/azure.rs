//! The settings of Azure Blob storage.

use super::client;
use super::common;
use super::row::{Row, SettingsTable};
use super::value::Kind;

pub(crate) static ACCOUNT_NAME: Row = Row::new("account_name", Kind::Header, "The storage account. It is required.")
    .address()
    .aliases(&["account", "azure_account_name"])
    .environment(&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"]);
pub(crate) static CONTAINER_NAME: Row = Row::new("container_name", Kind::Text, "The container. It is required.")
    .address()
    .aliases(&["container", "azure_container"])
    .environment(&["AZURE_CONTAINER_NAME", "AZURE_STORAGE_CONTAINER"]);
pub(crate) static ENDPOINT: Row = Row::new(
    "endpoint",
    Kind::Url,
    "The address of another cloud or server, with the account in the path where the server has it there. \
     Without one it is https://ACCOUNT.blob.core.windows.net.",
)
.environment(&["AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"]);
pub(crate) static READ_ENDPOINT: Row = Row::new(
    "read_endpoint",
    Kind::Url,
    "The address of a replica to read data from, such as https://ACCOUNT-secondary.blob.core.windows.net. What it lacks is \
     read from endpoint.",
)
.environment(&["AZURE_READ_ENDPOINT"]);
pub(crate) static ACCOUNT_KEY: Row = Row::new("account_key", Kind::Base64, "The account's key, in base64.")
    .aliases(&["azure_account_key", "access_key"])
    .environment(&[
        "AZURE_STORAGE_KEY",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_MASTER_KEY",
    ]);
pub(crate) static SAS_TOKEN: Row = Row::new("sas_token", Kind::Secret, "A shared access signature, in place of a key.")
    .aliases(&["sas_key"])
    .environment(&["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"]);
pub(crate) static BEARER_TOKEN: Row =
    Row::new("bearer_token", Kind::Secret, "A bearer token, in place of a key. It is not renewed.")
        .aliases(&["token"])
        .environment(&["AZURE_STORAGE_TOKEN"]);
pub(crate) static CLIENT_ID: Row =
    Row::new("client_id", Kind::Text, "The client of a service principal, or of a workload or managed identity.")
        .environment(&["AZURE_CLIENT_ID", "AZURE_STORAGE_CLIENT_ID"]);
pub(crate) static TENANT_ID: Row =
    Row::new("tenant_id", Kind::Text, "The tenant of a service principal or a workload identity.")
        .aliases(&["authority_id"])
        .environment(&[
            "AZURE_TENANT_ID",
            "AZURE_STORAGE_TENANT_ID",
            "AZURE_AUTHORITY_ID",
            "AZURE_STORAGE_AUTHORITY_ID",
        ]);
pub(crate) static CLIENT_SECRET: Row = Row::new("client_secret", Kind::Secret, "The secret of a service principal.")
    .environment(&["AZURE_CLIENT_SECRET", "AZURE_STORAGE_CLIENT_SECRET"]);
pub(crate) static FEDERATED_TOKEN_FILE: Row =
    Row::new("federated_token_file", Kind::Path, "The file of a workload identity's token, as AKS gives it.")
        .environment(&["AZURE_FEDERATED_TOKEN_FILE"]);
pub(crate) static USE_WORKLOAD_IDENTITY: Row =
    Row::new("use_workload_identity", Kind::Flag, "Whether the credentials are those of a workload identity.")
        .aliases(&["azure_use_workload_identity"])
        .default("false");
pub(crate) static AUTHORITY_HOST: Row = Row::new(
    "authority_host",
    Kind::Address,
    "Who gives tokens for a service principal or a workload identity (https:).",
)
.environment(&["AZURE_AUTHORITY_HOST", "AZURE_STORAGE_AUTHORITY_HOST"])
.default("https://login.microsoftonline.com");
pub(crate) static MSI_ENDPOINT: Row =
    Row::new("msi_endpoint", Kind::Address, "The address that gives tokens for a managed identity. Without one a machine's metadata is asked as the last resort.")
        .aliases(&["identity_endpoint"])
        .environment(&["AZURE_MSI_ENDPOINT", "AZURE_IDENTITY_ENDPOINT"]);
pub(crate) static MSI_OBJECT_ID: Row =
    Row::new("object_id", Kind::Text, "The object of the managed identity, where a machine has several.")
        .environment(&["AZURE_OBJECT_ID"]);
pub(crate) static MSI_RESOURCE_ID: Row =
    Row::new("msi_resource_id", Kind::Text, "The resource of the managed identity, where a machine has several.")
        .environment(&["AZURE_MSI_RESOURCE_ID"]);
pub(crate) static CREDENTIAL_TYPE: Row = Row::new(
    "credential_type",
    Kind::Choice(&CREDENTIAL_TYPES),
    "Which credentials are used where several are set. auto takes the first in this order.",
)
.environment(&["AZURE_CREDENTIAL_TYPE"])
.default("auto");
pub(crate) static USE_AZURE_CLI: Row =
    Row::new("use_azure_cli", Kind::Flag, "Whether the command az is asked where nothing else is set.")
        .environment(&["AZURE_USE_AZURE_CLI"])
        .default("false");
pub(crate) static SKIP_SIGNATURE: Row =
    Row::new("skip_signature", Kind::Flag, "Whether requests carry no credentials, for a public container.")
        .environment(&["AZURE_SKIP_SIGNATURE"])
        .default("false");
pub(crate) static ENCRYPTION_KEY: Row =
    Row::new("encryption_key", Kind::Base64, "A key that the server encrypts with and does not keep, in base64.")
        .environment(&["AZURE_STORAGE_ENCRYPTION_KEY", "AZURE_ENCRYPTION_KEY"]);
pub(crate) static METADATA_DISABLED: Row =
    Row::new("metadata_disabled", Kind::Flag, "Whether a cloud machine's metadata is never asked.")
        .environment(&["AZURE_METADATA_DISABLED"])
        .default("false");
/// Refused: it would choose a server that nobody named.
pub(crate) static USE_EMULATOR: Row = Row::new("use_emulator", Kind::Flag, "Not supported: set endpoint instead.")
    .environment(&["AZURE_STORAGE_USE_EMULATOR", "AZURE_USE_EMULATOR"])
    .default("false");
pub(crate) static CONNECTION_STRING: Row =
    Row::new("connection_string", Kind::Secret, "Not read: give its parts instead.")
        .environment(&["AZURE_STORAGE_CONNECTION_STRING"]);

const CREDENTIAL_TYPES: [(&str, &str); 8] = [
    ("auto", "auto"),
    ("bearer_token", "bearer_token"),
    ("access_key", "access_key"),
    ("workload_identity", "workload_identity"),
    ("client_secret", "client_secret"),
    ("sas_token", "sas_token"),
    ("managed_identity", "managed_identity"),
    ("azure_cli", "azure_cli"),
];

pub(crate) static AZURE: SettingsTable = SettingsTable {
    backend: "azure",
    aliases: &["azure_blob", "azureblob"],
    store: "Azure",
    prefix: "AZURE_",
    example: "AZURE_STORAGE_ACCOUNT",
    rows: &[
        &ACCOUNT_NAME,
        &CONTAINER_NAME,
        &common::PREFIX,
        &ENDPOINT,
        &READ_ENDPOINT,
        &common::REPLICA_WAIT,
        &common::CREDENTIALS_REF,
        &ACCOUNT_KEY,
        &SAS_TOKEN,
        &BEARER_TOKEN,
        &CLIENT_ID,
        &TENANT_ID,
        &CLIENT_SECRET,
        &FEDERATED_TOKEN_FILE,
        &USE_WORKLOAD_IDENTITY,
        &AUTHORITY_HOST,
        &MSI_ENDPOINT,
        &MSI_OBJECT_ID,
        &MSI_RESOURCE_ID,
        &CREDENTIAL_TYPE,
        &USE_AZURE_CLI,
        &METADATA_DISABLED,
        &SKIP_SIGNATURE,
        &common::CONCURRENCY,
        &common::COLD_READS,
        &common::STORAGE_CLASS,
        &ENCRYPTION_KEY,
        &USE_EMULATOR,
        &CONNECTION_STRING,
    ],
    client: &client::ROWS,
};
