//! Object keys and the names in them.
//!
//! A partition's objects lie directly under `{namespace}/{topic}/{partition}/`. Numbers in names are
//! zero-padded to 20 digits, so that the order of keys is the order of offsets.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// The namespace when none is given, as KafScale has it.
pub const DEFAULT_NAMESPACE: &str = "default";

const MAX_NAME_LEN: usize = 249;
/// How the names of what is no namespace and no topic begin: jobs, backups, and what is left of deleted partitions.
const OWN_PREFIX: &str = ".kfs-";
/// Where backups stand.
pub(crate) const BACKUPS: &str = ".kfs-backups";

/// Kafka's rule for topic names: 1 to 249 characters of `[a-zA-Z0-9._-]`, not `.` or `..`.
fn check_name(what: &str, name: &str) -> Result<Arc<str>> {
    let fault = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > MAX_NAME_LEN {
        format!("has {} bytes", name.len())
    } else if name == "." || name == ".." {
        format!("is {name:?}")
    } else if name.starts_with(OWN_PREFIX) {
        format!("begins with {OWN_PREFIX:?}, which is kept for backups and jobs")
    } else if let Some(c) = name.chars().find(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-')) {
        format!("holds {c:?}")
    } else {
        return Ok(Arc::from(name));
    };
    Err(Error::new(ErrorKind::InvalidInput, format!("a {what} name {fault}"))
        .with_hint("use 1 to 249 characters of a-z, A-Z, 0-9, '.', '_' and '-', but not '.' or '..'"))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks a name.
            ///
            /// # Errors
            /// [`ErrorKind::InvalidInput`] unless it has 1 to 249 characters of `[a-zA-Z0-9._-]`,
            /// is not `.` or `..`, and does not begin with `.kfs-`.
            pub fn new(name: &str) -> Result<Self> {
                check_name($what, name).map($type)
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name! {
    /// A checked namespace: the first component of every key. Cheap to clone.
    Namespace, "namespace"
}

name! {
    /// A checked topic name. Cheap to clone.
    Topic, "topic"
}

name! {
    /// A checked name of a backup. Cheap to clone.
    BackupName, "backup"
}

impl BackupName {
    /// How the keys of all that belongs to the backup begin.
    pub(crate) fn prefix(&self) -> String {
        format!("{BACKUPS}/{self}/")
    }
}

impl Namespace {
    /// Where the partitions of this namespace stand in a backup.
    pub(crate) fn in_backup(&self, backup: &BackupName) -> Namespace {
        Namespace(Arc::from(format!("{}{self}", backup.prefix())))
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Namespace(Arc::from(DEFAULT_NAMESPACE))
    }
}

/// One partition of one topic in a namespace. Cheap to clone. Displayed as `topic/partition`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    namespace: Namespace,
    topic: Topic,
    partition: i32,
}

impl PartitionId {
    /// Names a partition.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the number is negative.
    pub fn new(namespace: Namespace, topic: Topic, partition: i32) -> Result<Self> {
        if partition < 0 {
            return Err(Error::new(ErrorKind::InvalidInput, format!("the partition is {partition}"))
                .with_hint("partitions are numbered from 0"));
        }
        Ok(PartitionId { namespace, topic, partition })
    }

    /// Reads `topic/partition`, as the command and messages write it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is not of that form.
    pub fn parse(text: &str, namespace: Namespace) -> Result<Self> {
        let parts = text.split_once('/').and_then(|(topic, number)| Some((topic, plain_i32(number)?)));
        let Some((topic, partition)) = parts else {
            return Err(Error::new(ErrorKind::InvalidInput, format!("{text:?} does not name a partition"))
                .with_hint("write topic/partition with a plain decimal number, as in orders/0"));
        };
        Self::new(namespace, Topic::new(topic)?, partition)
    }

    /// Takes a full key apart. `None` when it is not exactly a key of a partition's object.
    pub fn parse_key(key: &str) -> Option<(Self, ObjectName)> {
        let (namespace, rest) = key.split_once('/')?;
        let (topic, rest) = rest.split_once('/')?;
        let (partition, name) = rest.split_once('/')?;
        let name = ObjectName::parse(name)?;
        let partition =
            Self::new(Namespace::new(namespace).ok()?, Topic::new(topic).ok()?, plain_i32(partition)?).ok()?;
        Some((partition, name))
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The topic.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The number, from 0.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// What all keys of the partition start with: `namespace/topic/partition/`.
    pub fn prefix(&self) -> String {
        format!("{}/{}/{}/", self.namespace, self.topic, self.partition)
    }

    /// The full key of one of its objects.
    pub fn key(&self, name: ObjectName) -> String {
        format!("{}/{}/{}/{name}", self.namespace, self.topic, self.partition)
    }

    /// The key of the segment that starts at `base_offset`.
    pub fn segment_key(&self, base_offset: i64) -> String {
        self.key(ObjectName::Segment(base_offset))
    }

    /// The key of that segment's sparse index.
    pub fn index_key(&self, base_offset: i64) -> String {
        self.key(ObjectName::Index(base_offset))
    }

    /// The key of that segment's time index.
    pub fn time_index_key(&self, base_offset: i64) -> String {
        self.key(ObjectName::TimeIndex(base_offset))
    }

    /// The key of the log's identity.
    pub fn log_json_key(&self) -> String {
        self.key(ObjectName::LogJson)
    }

    /// The key of the manifest that names the log's segments.
    pub fn log_manifest_key(&self) -> String {
        self.key(ObjectName::LogManifest)
    }

    /// The key of the marker that a claimant writes.
    pub fn claim_json_key(&self) -> String {
        self.key(ObjectName::Claim)
    }

    /// The key of the mark that says that the log starts at `offset`.
    pub fn log_start_key(&self, offset: i64) -> String {
        self.key(ObjectName::LogStart(offset))
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// What an object of a partition is, by its name under the partition's prefix.
///
/// Names decide what belongs to a log, never bytes. Any other name is foreign and is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ObjectName {
    /// `segment-{base offset}.kfs`
    Segment(i64),
    /// `segment-{base offset}.index`
    Index(i64),
    /// `segment-{base offset}.kfst`
    TimeIndex(i64),
    /// `log.json`
    LogJson,
    /// `log.manifest`
    LogManifest,
    /// `claim.json`
    Claim,
    /// `log-start-{offset}`
    LogStart(i64),
}

impl ObjectName {
    /// Reads a name relative to the partition's prefix. `None` unless it has exactly the form that
    /// this library writes: 20 digits, at most `i64::MAX`, no further component.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "log.json" {
            return Some(ObjectName::LogJson);
        }
        if name == "log.manifest" {
            return Some(ObjectName::LogManifest);
        }
        if name == "claim.json" {
            return Some(ObjectName::Claim);
        }
        if let Some(offset) = name.strip_prefix("log-start-") {
            return padded(offset).map(ObjectName::LogStart);
        }
        let (base, extension) = name.strip_prefix("segment-")?.split_at_checked(20)?;
        let base = padded(base)?;
        match extension {
            ".kfs" => Some(ObjectName::Segment(base)),
            ".index" => Some(ObjectName::Index(base)),
            ".kfst" => Some(ObjectName::TimeIndex(base)),
            _ => None,
        }
    }

    /// The name without the partition's prefix.
    pub fn file_name(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectName::Segment(base) => write!(f, "segment-{base:020}.kfs"),
            ObjectName::Index(base) => write!(f, "segment-{base:020}.index"),
            ObjectName::TimeIndex(base) => write!(f, "segment-{base:020}.kfst"),
            ObjectName::LogJson => f.write_str("log.json"),
            ObjectName::LogManifest => f.write_str("log.manifest"),
            ObjectName::Claim => f.write_str("claim.json"),
            ObjectName::LogStart(offset) => write!(f, "log-start-{offset:020}"),
        }
    }
}

/// Exactly 20 digits, at most `i64::MAX`.
fn padded(digits: &str) -> Option<i64> {
    // `parse` alone would take a sign.
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Plain decimal: no sign, no leading zero, at most `i32::MAX`.
fn plain_i32(text: &str) -> Option<i32> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
