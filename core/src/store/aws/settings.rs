//! The settings of S3's client, as object_store names them.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::ClientConfigKey;

use crate::store::http::{Connector, Keys, Settings};

pub(super) type S3Settings = Settings<S3Keys>;

pub(super) enum S3Keys {}

impl Keys for S3Keys {
    type Key = AmazonS3ConfigKey;
    type Builder = AmazonS3Builder;

    const STORE: &'static str = "S3";
    const PREFIX: &'static str = "AWS_";
    const EXAMPLE: &'static str = "AWS_REGION";
    const CA_BUNDLE: &'static str = "AWS_CA_BUNDLE";
    // In the order in which object_store takes them.
    const ENDPOINTS: &'static [AmazonS3ConfigKey] = &[AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];

    const FLAGS: &'static [AmazonS3ConfigKey] = &[AmazonS3ConfigKey::SkipSignature];

    fn key(lower: &str) -> Option<AmazonS3ConfigKey> {
        lower.parse().ok()
    }

    fn of_client(key: ClientConfigKey) -> AmazonS3ConfigKey {
        AmazonS3ConfigKey::Client(key)
    }

    #[cfg(feature = "azure")]
    fn as_client(key: AmazonS3ConfigKey) -> Option<ClientConfigKey> {
        match key {
            AmazonS3ConfigKey::Client(key) => Some(key),
            _ => None,
        }
    }

    fn is_in_headers(key: AmazonS3ConfigKey) -> bool {
        use AmazonS3ConfigKey as Key;
        let credentials = matches!(key, Key::AccessKeyId | Key::SecretAccessKey | Key::Token);
        credentials || matches!(key, Key::Region | Key::DefaultRegion | Key::Encryption(_))
    }

    fn empty() -> AmazonS3Builder {
        AmazonS3Builder::new()
    }

    fn with(builder: AmazonS3Builder, key: AmazonS3ConfigKey, value: &str) -> AmazonS3Builder {
        builder.with_config(key, value)
    }

    fn value(builder: &AmazonS3Builder, key: AmazonS3ConfigKey) -> Option<String> {
        builder.get_config_value(&key)
    }

    fn try_build(builder: AmazonS3Builder, connector: &Connector) -> object_store::Result<()> {
        builder.with_bucket_name("bucket").with_http_connector(connector.clone()).build().map(drop)
    }
}
