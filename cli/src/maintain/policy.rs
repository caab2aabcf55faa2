//! The file that says what is done for which partitions.

use std::path::Path;

use kfs_core::{Error, ErrorKind, MaintenancePolicy, MergePolicy, RetentionPolicy};
use serde::{Deserialize, Deserializer, de};

use crate::failure::{self, Outcome};
use crate::units;

const HINT: &str = "`kfs maintain --help` shows such a file";

/// The file, in JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    /// The first one that names a partition counts.
    pub(super) rules: Vec<Rule>,
    #[serde(default)]
    pub(super) kafscale_manifest: bool,
    #[serde(default)]
    pub(super) max_requests: Option<u64>,
}

/// What is done for partitions of these names.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RuleFields")]
pub(super) struct Rule {
    pub(super) names: Vec<String>,
    pub(super) exclude: Vec<String>,
    pub(super) policy: MaintenancePolicy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFields {
    names: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    retain: Option<RetainFields>,
    merge: Option<MergeFields>,
    #[serde(default)]
    log_manifest: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetainFields {
    max_age: Option<Time>,
    max_bytes: Option<Size>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MergeFields {
    preset: Option<Preset>,
    target_size: Option<Size>,
    min_size: Option<Size>,
    grace: Option<Time>,
    index_interval: Option<i32>,
    time_index: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Preset {
    Kafscale,
}

/// Such as "7d".
struct Time(std::time::Duration);

/// Such as "64MiB".
struct Size(u64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        units::duration(&String::deserialize(from)?).map(Time).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = units::bytes(&String::deserialize(from)?).map_err(de::Error::custom)?;
        Ok(Size(u64::try_from(bytes).unwrap_or(u64::MAX)))
    }
}

impl TryFrom<RuleFields> for Rule {
    type Error = String;

    fn try_from(fields: RuleFields) -> Result<Self, String> {
        let RuleFields { names, exclude, retain, merge, log_manifest } = fields;
        if names.is_empty() {
            return Err("a rule names no partitions".to_owned());
        }
        let mut policy = MaintenancePolicy::default().log_manifest(log_manifest);
        if let Some(RetainFields { max_age, max_bytes }) = retain {
            if max_age.is_none() && max_bytes.is_none() {
                return Err("retain has neither max_age nor max_bytes".to_owned());
            }
            let mut retention = RetentionPolicy::default();
            (retention.max_age, retention.max_bytes) = (max_age.map(|time| time.0), max_bytes.map(|size| size.0));
            policy.retention = Some(retention);
        }
        policy.merge = merge.map(MergeFields::policy);
        Ok(Rule { names, exclude, policy })
    }
}

impl MergeFields {
    fn policy(self) -> MergePolicy {
        let mut policy = match self.preset {
            Some(Preset::Kafscale) => MergePolicy::for_kafscale(),
            None => MergePolicy::default(),
        };
        policy.target_size = self.target_size.map_or(policy.target_size, |size| size.0);
        policy.min_size = self.min_size.map(|size| size.0);
        policy.grace = self.grace.map_or(policy.grace, |time| time.0);
        policy.index_interval = self.index_interval.unwrap_or(policy.index_interval);
        policy.time_index = self.time_index.unwrap_or(policy.time_index);
        policy
    }
}

impl PolicyFile {
    pub(super) fn read(path: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| failure::file(path, error).with_hint(HINT))?;
        let broken = |error: serde_json::Error| {
            Error::new(ErrorKind::InvalidInput, format!("{}: {error}", path.display())).with_hint(HINT)
        };
        Ok(serde_json::from_str(&text).map_err(broken)?)
    }
}
