//! The settings of S3, and of stores that speak its protocol.

use super::client;
use super::common;
use super::row::{Row, SettingsTable};
use super::value::Kind;

pub(crate) static BUCKET: Row = Row::new("bucket", Kind::HostPart, "The bucket. It is required.")
    .address()
    .aliases(&["bucket_name"])
    .environment(&["KAFSCALE_S3_BUCKET", "AWS_BUCKET", "AWS_BUCKET_NAME"]);
pub(crate) static REGION: Row = Row::new("region", Kind::HostPart, "The bucket's region.")
    .environment(&["KAFSCALE_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"])
    .default("us-east-1");
pub(crate) static ENDPOINT: Row = Row::new(
    "endpoint",
    Kind::Url,
    "The address of another server than AWS. Without one the region says where AWS is.",
)
.aliases(&["endpoint_url"])
.environment(&["KAFSCALE_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]);
pub(crate) static ACCESS_KEY: Row = Row::new("access_key", Kind::Secret, "The id of the access key.")
    .aliases(&["access_key_id"])
    .environment(&["KAFSCALE_S3_ACCESS_KEY", "AWS_ACCESS_KEY_ID"]);
pub(crate) static SECRET_KEY: Row = Row::new("secret_key", Kind::Secret, "The secret of the access key.")
    .aliases(&["secret_access_key"])
    .environment(&["KAFSCALE_S3_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"]);
pub(crate) static SESSION_TOKEN: Row = Row::new("session_token", Kind::Secret, "The token of a temporary access key.")
    .aliases(&["token"])
    .environment(&["KAFSCALE_S3_SESSION_TOKEN", "AWS_SESSION_TOKEN", "AWS_TOKEN"]);
pub(crate) static PATH_STYLE: Row = Row::new(
    "path_style",
    Kind::Flag,
    "Whether the bucket stands in the path of a request (true) or in the name of its host (false).",
)
.aliases(&["force_path_style"])
.environment(&["KAFSCALE_S3_PATH_STYLE", "AWS_S3_FORCE_PATH_STYLE"])
.opposites(&["virtual_hosted_style", "virtual_hosted_style_request", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"])
.default("true");
pub(crate) static ENCRYPTION: Row =
    Row::new("encryption", Kind::Choice(&ENCRYPTIONS), "How the server encrypts what it is given.")
        .aliases(&["server_side_encryption"])
        .environment(&["AWS_SERVER_SIDE_ENCRYPTION"])
        .default("none");
pub(crate) static KMS_KEY_ID: Row =
    Row::new("kms_key_id", Kind::Header, "The key of KMS to encrypt with. It makes encryption aws:kms.")
        .aliases(&["kms_key_arn", "sse_kms_key_id"])
        .environment(&["KAFSCALE_S3_KMS_ARN", "AWS_SSE_KMS_KEY_ID"]);
pub(crate) static BUCKET_KEY: Row =
    Row::new("bucket_key", Kind::Flag, "Whether S3 may keep a key of KMS for the bucket, which costs fewer requests.")
        .aliases(&["sse_bucket_key_enabled"])
        .environment(&["AWS_SSE_BUCKET_KEY_ENABLED"]);
pub(crate) static CUSTOMER_KEY: Row =
    Row::new("customer_key", Kind::Base64, "The key of encryption sse-c, in base64. The server does not keep it.")
        .aliases(&["sse_customer_key_base64"])
        .environment(&["AWS_SSE_CUSTOMER_KEY_BASE64"]);
pub(crate) static UNSIGNED_PAYLOAD: Row = Row::new(
    "unsigned_payload",
    Kind::Flag,
    "Whether bodies are sent without a hash in the signature. It saves much time; over https: set checksum, too.",
)
.environment(&["AWS_UNSIGNED_PAYLOAD"])
.default("false");
pub(crate) static CHECKSUM: Row =
    Row::new("checksum", Kind::Choice(&CHECKSUMS), "A checksum that the server verifies and keeps with each object.")
        .aliases(&["checksum_algorithm"])
        .environment(&["AWS_CHECKSUM_ALGORITHM"])
        .default("none");
pub(crate) static REQUEST_PAYER: Row =
    Row::new("request_payer", Kind::Flag, "Whether who asks pays for the request, as some buckets demand.")
        .environment(&["AWS_REQUEST_PAYER"])
        .default("false");
pub(crate) static SKIP_SIGNATURE: Row =
    Row::new("skip_signature", Kind::Flag, "Whether requests carry no credentials, for a public bucket.")
        .environment(&["AWS_SKIP_SIGNATURE"])
        .default("false");
pub(crate) static USE_IAM_ROLE: Row = Row::new(
    "use_iam_role",
    Kind::Flag,
    "Whether the credentials are those of an identity (web identity, container, machine), whatever keys are set.",
)
.default("false");
pub(crate) static PROFILE: Row =
    Row::new("profile", Kind::Text, "The profile in the shared files to take credentials from.")
        .environment(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
        .default("default");
pub(crate) static CREDENTIALS_FILE: Row =
    Row::new("credentials_file", Kind::Path, "The shared file of credentials. Without one ~/.aws/credentials is read.")
        .environment(&["AWS_SHARED_CREDENTIALS_FILE"]);
pub(crate) static CONFIG_FILE: Row =
    Row::new("config_file", Kind::Path, "The shared file of settings. Without one ~/.aws/config is read.")
        .environment(&["AWS_CONFIG_FILE"]);
pub(crate) static WEB_IDENTITY_TOKEN_FILE: Row =
    Row::new("web_identity_token_file", Kind::Path, "The file of a web identity's token, as EKS gives it.")
        .environment(&["AWS_WEB_IDENTITY_TOKEN_FILE"]);
pub(crate) static ROLE_ARN: Row =
    Row::new("role_arn", Kind::Text, "The role that the web identity takes.").environment(&["AWS_ROLE_ARN"]);
pub(crate) static ROLE_SESSION_NAME: Row =
    Row::new("role_session_name", Kind::Text, "What the session of that role is called.")
        .environment(&["AWS_ROLE_SESSION_NAME"])
        .default("WebIdentitySession");
pub(crate) static STS_ENDPOINT: Row =
    Row::new("sts_endpoint", Kind::Address, "The address of STS. Without one the region says where it is.")
        .aliases(&["endpoint_url_sts"])
        .environment(&["AWS_ENDPOINT_URL_STS"]);
pub(crate) static CONTAINER_RELATIVE_URI: Row = Row::new(
    "container_credentials_relative_uri",
    Kind::Address,
    "The path at 169.254.170.2 where a container's credentials are, as ECS gives it.",
)
.environment(&["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]);
pub(crate) static CONTAINER_FULL_URI: Row = Row::new(
    "container_credentials_full_uri",
    Kind::Address,
    "The address of a container's credentials, as EKS gives it.",
)
.environment(&["AWS_CONTAINER_CREDENTIALS_FULL_URI"]);
pub(crate) static CONTAINER_TOKEN_FILE: Row =
    Row::new("container_authorization_token_file", Kind::Path, "The file of the token for that address.")
        .environment(&["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]);
pub(crate) static METADATA_ENDPOINT: Row = Row::new(
    "metadata_endpoint",
    Kind::Address,
    "The address of a cloud machine's metadata. Without one 169.254.169.254 is asked as the last resort.",
)
.environment(&["AWS_METADATA_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT"]);
pub(crate) static METADATA_DISABLED: Row =
    Row::new("metadata_disabled", Kind::Flag, "Whether a cloud machine's metadata is never asked.")
        .aliases(&["ec2_metadata_disabled"])
        .environment(&["AWS_EC2_METADATA_DISABLED"])
        .default("false");
pub(crate) static READ_BUCKET: Row = Row::new(
    "read_bucket",
    Kind::HostPart,
    "A replica of the bucket, to read data from. What it lacks is read from the bucket itself.",
)
.environment(&["KAFSCALE_S3_READ_BUCKET"]);
pub(crate) static READ_REGION: Row =
    Row::new("read_region", Kind::HostPart, "The replica's region. Without one it is the bucket's.")
        .environment(&["KAFSCALE_S3_READ_REGION"]);
pub(crate) static READ_ENDPOINT: Row = Row::new(
    "read_endpoint",
    Kind::Url,
    "The address of the replica's server. Without one it is that of the bucket. Without read_bucket the replica has the \
     bucket's name.",
)
.environment(&["KAFSCALE_S3_READ_ENDPOINT"]);
const ENCRYPTIONS: [(&str, &str); 8] = [
    ("none", "none"),
    ("aes256", "AES256"),
    ("sse-s3", "AES256"),
    ("aws:kms", "aws:kms"),
    ("sse-kms", "aws:kms"),
    ("aws:kms:dsse", "aws:kms:dsse"),
    ("sse-kms-dsse", "aws:kms:dsse"),
    ("sse-c", "sse-c"),
];
const CHECKSUMS: [(&str, &str); 3] = [("none", "none"), ("sha256", "sha256"), ("crc64nvme", "crc64nvme")];

/// Credentials that belong together: those of one face are never mixed with those of another.
pub(super) static KEYS: [&Row; 3] = [&ACCESS_KEY, &SECRET_KEY, &SESSION_TOKEN];

/// What speaks of a bucket's replica.
pub(super) static REPLICA: [&Row; 3] = [&READ_BUCKET, &READ_REGION, &READ_ENDPOINT];

pub(crate) static S3: SettingsTable = SettingsTable {
    backend: "s3",
    aliases: &[],
    store: "S3",
    prefix: "AWS_",
    example: "AWS_REGION",
    rows: &[
        &BUCKET,
        &common::PREFIX,
        &REGION,
        &ENDPOINT,
        &PATH_STYLE,
        &READ_BUCKET,
        &READ_REGION,
        &READ_ENDPOINT,
        &common::REPLICA_WAIT,
        &ACCESS_KEY,
        &SECRET_KEY,
        &SESSION_TOKEN,
        &common::CREDENTIALS_REF,
        &USE_IAM_ROLE,
        &SKIP_SIGNATURE,
        &PROFILE,
        &CREDENTIALS_FILE,
        &CONFIG_FILE,
        &WEB_IDENTITY_TOKEN_FILE,
        &ROLE_ARN,
        &ROLE_SESSION_NAME,
        &STS_ENDPOINT,
        &CONTAINER_RELATIVE_URI,
        &CONTAINER_FULL_URI,
        &CONTAINER_TOKEN_FILE,
        &METADATA_ENDPOINT,
        &METADATA_DISABLED,
        &common::CONCURRENCY,
        &common::COLD_READS,
        &common::STORAGE_CLASS,
        &ENCRYPTION,
        &KMS_KEY_ID,
        &BUCKET_KEY,
        &CUSTOMER_KEY,
        &UNSIGNED_PAYLOAD,
        &CHECKSUM,
        &REQUEST_PAYER,
    ],
    client: &client::ROWS,
};
