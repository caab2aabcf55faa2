//! The settings of a topic's own bucket, by the topic's keys (`s3.bucket` and the like).

use super::backend::StoreBackend;
use super::common;
use super::row::Row;
use super::s3;
use super::secret::Secret;
use super::settings::{Given, Origin};
use super::{StoreConfig, prefix_of};
use crate::error::Result;

/// A topic's keys, and the settings of S3 that they are.
static KEYS: [(&str, &Row); 11] = [
    ("s3.bucket", &s3::BUCKET),
    ("s3.region", &s3::REGION),
    ("s3.prefix", &common::PREFIX),
    ("s3.endpoint", &s3::ENDPOINT),
    ("s3.access.key.id", &s3::ACCESS_KEY),
    ("s3.secret.access.key", &s3::SECRET_KEY),
    ("s3.use.iam.role", &s3::USE_IAM_ROLE),
    ("s3.storage.class", &common::STORAGE_CLASS),
    ("s3.encryption", &s3::ENCRYPTION),
    ("s3.kms.key.id", &s3::KMS_KEY_ID),
    ("credentials_ref", &common::CREDENTIALS_REF),
];
/// What says whose credentials are used. A topic that has its own takes none of these from the default.
static CREDENTIALS: [&Row; 5] =
    [&s3::ACCESS_KEY, &s3::SECRET_KEY, &s3::SESSION_TOKEN, &s3::SKIP_SIGNATURE, &s3::USE_IAM_ROLE];
/// How the server encrypts. A topic that says so takes none of these from the default.
static ENCRYPTION: [&Row; 4] = [&s3::ENCRYPTION, &s3::KMS_KEY_ID, &s3::BUCKET_KEY, &s3::CUSTOMER_KEY];
/// Where the bucket of the default is.
static PLACE: [&Row; 3] = [&s3::BUCKET, &common::PREFIX, &common::CREDENTIALS_REF];

/// Whether a topic's key is a setting of its bucket.
pub(crate) fn is_topic_key(key: &str) -> bool {
    KEYS.iter().any(|(known, _)| *known == key)
}

impl StoreConfig {
    /// The store of a topic: what its keys say, then what this store's settings say of region, server, credentials and
    /// client, if it is S3 as well. The replica and the address are never taken over. Of credentials and of encryption all
    /// or nothing is. Without a prefix among the keys it is `prefix`.
    ///
    /// # Errors
    /// `InvalidInput` for values that can't be read, by the topic's keys.
    pub(crate) fn of_topic(&self, keys: &[(String, Secret)], prefix: &str) -> Result<StoreConfig> {
        let sets = |rows: &[&Row]| {
            let named = |key: &String| KEYS.iter().find(|(known, _)| known == key);
            keys.iter()
                .filter_map(|(key, _)| named(key))
                .any(|(_, row)| rows.iter().any(|other| other.name == row.name))
        };
        let mut left: Vec<&'static Row> = PLACE.iter().chain(&s3::REPLICA).copied().collect();
        for group in [&CREDENTIALS[..], &ENCRYPTION[..]].into_iter().filter(|group| sets(group)) {
            left.extend(group);
        }
        let mut topic = StoreConfig::new(StoreBackend::S3);
        if self.backend == StoreBackend::S3 {
            let is_left = |given: &&Given| left.iter().any(|row| row.name == given.row.name);
            topic.given = self.given.iter().filter(|given| !is_left(given)).cloned().collect();
        }
        topic.not_of_environment = left;
        let own = keys.iter().filter_map(|(key, text)| {
            let (_, row) = KEYS.iter().find(|(known, _)| known == key)?;
            Some(explicit(row, key, text.clone()))
        });
        topic.given.extend(own);
        if !sets(&[&common::PREFIX]) {
            topic.given.push(explicit(&common::PREFIX, "s3.prefix", Secret::new(prefix)));
        }
        prefix_of(&topic.settings(false)?)?;
        Ok(topic)
    }
}

fn explicit(row: &'static Row, name: &str, text: Secret) -> Given {
    Given { row, name: name.to_string(), text, origin: Origin::Explicit, rank: 0, is_opposite: false }
}
