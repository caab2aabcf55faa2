//! The settings of one topic, by Kafka-like keys.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::Error as _;
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::writer::WriterOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Codec, Compression, Topic};
use crate::store::{CredentialSource, Secret, StoreConfig, is_topic_key};

const ENABLED: &str = "s3.enabled";
const BUCKET: &str = "s3.bucket";
const ENDPOINT: &str = "s3.endpoint";
const KEY_ID: &str = "s3.access.key.id";
const SECRET_KEY: &str = "s3.secret.access.key";
const IAM_ROLE: &str = "s3.use.iam.role";
const ENCRYPTION: &str = "s3.encryption";
const KMS_KEY_ID: &str = "s3.kms.key.id";
const CREDENTIALS_REF: &str = "credentials_ref";
const MODE: &str = "storage.mode";
const FORMAT: &str = "diskless.format";
const INTERVAL: &str = "diskless.flush.interval.ms";
const RECORDS: &str = "diskless.flush.records";
const BYTES: &str = "diskless.flush.bytes";
const COMPRESSION: &str = "diskless.compression";

/// How the keys begin that belong to a topic's storage.
const FAMILIES: [&str; 4] = ["s3.", "storage.", "diskless.", "external."];
const OWN_KEYS: [&str; 7] = [ENABLED, MODE, FORMAT, INTERVAL, RECORDS, BYTES, COMPRESSION];

/// What `storage.mode=diskless` flushes by, unless the keys say otherwise: 10,000 records, 64 MiB or 60 s, whichever is first.
const DISKLESS_RECORDS: u64 = 10_000;
const DISKLESS_BYTES: usize = 64 << 20;
const DISKLESS_INTERVAL: Duration = Duration::from_secs(60);

/// The storage settings of one topic, by keys such as `s3.bucket` and `diskless.flush.records`: which bucket holds it, and how
/// its writers flush. `docs/backends.md`, "Per-topic stores", lists the keys.
///
/// [`TopicRouter::route`](crate::TopicRouter::route) takes it. serde writes the keys as they were given, without those that
/// are credentials: `credentials_ref` stands for them. `Debug` shows names only.
///
/// ```
/// use kfs_core::{TopicConfig, WriterOptions};
///
/// let config = TopicConfig::parse([
///     ("s3.bucket", "audit-archive"),
///     ("s3.region", "us-east-1"),
///     ("storage.mode", "diskless"),
///     ("diskless.flush.records", "500"),
/// ])?;
/// assert_eq!(config.writer_options(WriterOptions::default()).flush_records, 500);
///
/// let unknown = TopicConfig::parse([("s3.buckt", "audit-archive")]).unwrap_err();
/// assert_eq!(unknown.message(), "s3.buckt is no setting of a topic");
/// # Ok::<(), kfs_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct TopicConfig {
    /// As they were written.
    keys: BTreeMap<String, Secret>,
    credentials: Option<Arc<dyn CredentialSource>>,
}

impl TopicConfig {
    /// Reads keys and their values.
    ///
    /// # Errors
    /// `InvalidInput` for a key that there is not, a value that can't be read, and keys that contradict each other;
    /// `Unsupported` for a mode or a format that libkfs does not have. All name the key as it was written.
    pub fn parse<K: Into<String>, V: Into<String>>(keys: impl IntoIterator<Item = (K, V)>) -> Result<Self> {
        let mut config = TopicConfig::default();
        for (key, value) in keys {
            let key = key.into();
            if config.keys.insert(key.clone(), Secret::new(value)).is_some() {
                return Err(invalid(format!("{} is given twice", shown(&key))));
            }
        }
        config.check()?;
        Ok(config)
    }

    /// Whether a key belongs to a topic's storage, so that it is to be read here. Kafka's own keys do not.
    pub fn is_key(key: &str) -> bool {
        key == CREDENTIALS_REF || FAMILIES.iter().any(|family| key.starts_with(family))
    }

    /// The same settings with who supplies the topic's credentials, in place of keys. What `credentials_ref` stands for is
    /// supplied so.
    #[must_use]
    pub fn credentials(mut self, source: Arc<dyn CredentialSource>) -> Self {
        self.credentials = Some(source);
        self
    }

    /// How the topic's writers flush and compress: these options, changed as the keys say. With `storage.mode=diskless`
    /// writers flush at 10,000 records, 64 MiB or 60 s, unless other keys say otherwise.
    pub fn writer_options(&self, base: WriterOptions) -> WriterOptions {
        let mut options = base;
        if self.text(MODE).is_some() {
            options =
                options.flush_records(DISKLESS_RECORDS).flush_bytes(DISKLESS_BYTES).flush_interval(DISKLESS_INTERVAL);
        }
        // All of these have been read before.
        if let Ok(Some(records)) = self.number(RECORDS, 1) {
            options = options.flush_records(records);
        }
        if let Ok(Some(bytes)) = self.number(BYTES, 1) {
            options = options.flush_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        if let Ok(Some(ms)) = self.number(INTERVAL, 0) {
            options = options.flush_interval(Duration::from_millis(ms));
        }
        if let Ok(Some(compression)) = self.compression() {
            options = options.compression(compression);
        }
        options
    }

    /// The topic's own store, over the settings of the default one. `None` if the default one holds it.
    pub(super) fn store(&self, topic: &Topic, default: &StoreConfig) -> Result<Option<StoreConfig>> {
        if !self.names_a_bucket()? {
            return Ok(None);
        }
        if self.text(CREDENTIALS_REF).is_some() && !self.has_own_credentials() {
            let error = invalid(format!("{CREDENTIALS_REF} stands for credentials that were not supplied"));
            return Err(
                error.with_hint(format!("set {KEY_ID} and {SECRET_KEY}, or supply them with TopicConfig::credentials"))
            );
        }
        default.of_topic(&self.of_store(), topic.as_ref()).map(Some)
    }

    /// Whether the topic does not use the default store's credentials.
    pub(super) fn has_own_credentials(&self) -> bool {
        self.credentials.is_some() || self.text(KEY_ID).is_some() || self.text(IAM_ROLE).is_some()
    }

    pub(super) fn credential_source(&self) -> Option<&Arc<dyn CredentialSource>> {
        self.credentials.as_ref()
    }

    /// The settings of the topic's bucket.
    fn of_store(&self) -> Vec<(String, Secret)> {
        self.keys.iter().filter(|(key, _)| is_topic_key(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(Secret::reveal)
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(unusable(key, "true or false")),
        }
    }

    fn number(&self, key: &str, least: u64) -> Result<Option<u64>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number >= least);
        number.map(Some).ok_or_else(|| unusable(key, &format!("a whole number, at least {least}")))
    }

    fn compression(&self) -> Result<Option<Compression>> {
        let Some(text) = self.text(COMPRESSION) else { return Ok(None) };
        let codec = Codec::ALL.into_iter().find(|codec| text.eq_ignore_ascii_case(codec.name()));
        codec.map(|codec| Some(codec.into())).ok_or_else(|| {
            let names: Vec<&str> = Codec::ALL.iter().map(|codec| codec.name()).collect();
            unusable(COMPRESSION, &format!("one of {}", names.join(", ")))
        })
    }

    /// Whether the keys name a bucket of the topic's own.
    fn names_a_bucket(&self) -> Result<bool> {
        let enabled = self.flag(ENABLED)?;
        let of_store = self.keys.keys().find(|key| is_topic_key(key));
        match (enabled, of_store) {
            (Some(false), _) | (None, None) => Ok(false),
            _ if self.text(BUCKET).is_some_and(|bucket| !bucket.is_empty()) => Ok(true),
            (Some(true), _) => Err(invalid(format!("{BUCKET} is missing: {ENABLED} is true"))),
            (None, Some(key)) => Err(invalid(format!("{BUCKET} is missing: {key} needs it"))),
        }
    }

    fn check(&self) -> Result<()> {
        self.check_mode()?;
        for key in self.keys.keys() {
            if !is_topic_key(key) && !OWN_KEYS.contains(&key.as_str()) {
                return Err(invalid(format!("{} is no setting of a topic", shown(key))));
            }
        }
        self.check_format()?;
        for (key, least) in [(RECORDS, 1), (BYTES, 1), (INTERVAL, 0)] {
            self.number(key, least)?;
        }
        self.compression()?;
        self.check_credentials()?;
        self.check_encryption()?;
        self.names_a_bucket()?;
        // It is shown and written out.
        if self.text(ENDPOINT).is_some_and(|endpoint| endpoint.contains(['@', '?', '#'])) {
            return Err(invalid(format!("{ENDPOINT} holds a user, a password or a query")));
        }
        // The values are read here, too, whether the bucket is used or not.
        let base = StoreConfig::new(crate::store::StoreBackend::S3);
        base.of_topic(&self.of_store(), "topic").map(drop)
    }

    fn check_mode(&self) -> Result<()> {
        let external = self.keys.keys().find(|key| key.starts_with("external."));
        match (self.text(MODE), external) {
            (None | Some("diskless"), None) => Ok(()),
            (Some(mode @ ("standard" | "tiered" | "external" | "hybrid")), _) => {
                let error = Error::new(ErrorKind::Unsupported, format!("{MODE} {mode} is not supported"));
                Err(error.with_hint(format!("{MODE} diskless is: the log is written straight to the bucket")))
            }
            (None | Some("diskless"), Some(key)) => {
                let message = format!("{} is not supported: it belongs to {MODE} external", shown(key));
                Err(Error::new(ErrorKind::Unsupported, message))
            }
            (Some(_), _) => Err(unusable(MODE, "one of standard, tiered, diskless, external, hybrid")),
        }
    }

    fn check_format(&self) -> Result<()> {
        match self.text(FORMAT).map(str::to_ascii_lowercase).as_deref() {
            None | Some("segment") => Ok(()),
            Some(format @ ("parquet" | "json")) => {
                let error = Error::new(ErrorKind::Unsupported, format!("{FORMAT} {format} is not supported"));
                Err(error.with_hint(format!("{FORMAT} segment is: what Kafka's clients read as it is")))
            }
            Some(_) => Err(unusable(FORMAT, "one of segment, parquet, json")),
        }
    }

    fn check_credentials(&self) -> Result<()> {
        let both =
            |one: &str, other: &str| invalid(format!("{one} and {other} contradict each other: leave one of them out"));
        let by_role = self.flag(IAM_ROLE)? == Some(true);
        match (self.text(KEY_ID), self.text(SECRET_KEY)) {
            (Some(_), _) if by_role => Err(both(IAM_ROLE, KEY_ID)),
            (_, Some(_)) if by_role => Err(both(IAM_ROLE, SECRET_KEY)),
            (Some(_), None) => Err(invalid(format!("{SECRET_KEY} is missing: {KEY_ID} needs it"))),
            (None, Some(_)) => Err(invalid(format!("{KEY_ID} is missing: {SECRET_KEY} needs it"))),
            _ if by_role && self.text(CREDENTIALS_REF).is_some() => Err(both(IAM_ROLE, CREDENTIALS_REF)),
            _ => Ok(()),
        }
    }

    fn check_encryption(&self) -> Result<()> {
        let Some(encryption) = self.text(ENCRYPTION) else { return Ok(()) };
        let is = |name: &str| encryption.eq_ignore_ascii_case(name);
        if !["SSE-S3", "SSE-KMS", "none"].into_iter().any(is) {
            return Err(unusable(ENCRYPTION, "one of SSE-S3, SSE-KMS, none"));
        }
        match self.text(KMS_KEY_ID).is_some() && !is("SSE-KMS") {
            true => Err(invalid(format!("{KMS_KEY_ID} does not go with {ENCRYPTION} {encryption}: it needs SSE-KMS"))),
            false => Ok(()),
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

/// The error of a value. It is not repeated, because it may be a secret in the wrong place.
fn unusable(key: &str, expected: &str) -> Error {
    invalid(format!("{key} can't be used: expected {expected}"))
}

/// A key as it was written, unless it may be a secret: a key and a value are exchanged easily.
fn shown(key: &str) -> &str {
    let is_name = key.len() <= 64 && key.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'.' | b'_' | b'-'));
    if is_name || FAMILIES.iter().any(|family| key.starts_with(family)) && key.len() <= 64 {
        key
    } else {
        "the given key"
    }
}

impl fmt::Debug for TopicConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicConfig").field("keys", &self.keys.keys()).finish_non_exhaustive()
    }
}

impl Serialize for TopicConfig {
    /// A map of the keys and their values. Credentials are left out, and fail without a `credentials_ref` for them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_credential = |key: &str| matches!(key, KEY_ID | SECRET_KEY);
        let has_credentials = self.credentials.is_some() || self.keys.keys().any(|key| is_credential(key));
        if has_credentials && self.text(CREDENTIALS_REF).is_none() {
            return Err(S::Error::custom(format!(
                "a topic's credentials are not written: set {CREDENTIALS_REF} to what stands for them"
            )));
        }
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.keys.iter().filter(|(key, _)| !is_credential(key)) {
            map.serialize_entry(key, value.reveal())?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for TopicConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
        let text = |(key, value): (String, serde_json::Value)| match value {
            serde_json::Value::String(text) => Ok((key, text)),
            value @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => Ok((key, value.to_string())),
            _ => Err(D::Error::custom(format!("{} has no single value", shown(&key)))),
        };
        let keys = map.into_iter().map(text).collect::<Result<Vec<(String, String)>, D::Error>>()?;
        TopicConfig::parse(keys).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
