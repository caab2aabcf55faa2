//! Which store, and how it is reached: from a URL, from a document, from the environment, or by name.
//!
//! A [`StoreConfig`] is made from one of the first three, and completed by name with [`set`](StoreConfig::set). The three
//! agree, because each of them takes the same settings by the same names. A setting that several of them give counts
//! in this order: by name, then the URL, the document, the environment, and last the default.
//!
//! ```
//! use kfs_core::store::StoreConfig;
//!
//! let of_url = StoreConfig::from_url("s3://logs/cluster/team?region=eu-west-1&endpoint=https://s3.example.com")?;
//! let of_document = StoreConfig::from_document(
//!     "storage:
//!        backend: s3
//!        bucket: logs
//!        prefix: cluster/team
//!        region: eu-west-1
//!        endpoint: https://s3.example.com
//! ")?;
//! assert_eq!(of_url.url()?, of_document.url()?);
//! # Ok::<(), kfs_core::Error>(())
//! ```

pub(super) mod azure;
mod backend;
pub(super) mod client;
pub(super) mod common;
mod document;
mod environment;
pub(super) mod gcs;
mod row;
pub(super) mod s3;
mod secret;
mod serde_impl;
#[cfg_attr(not(feature = "_http"), allow(dead_code, reason = "most settings are those of clients of clouds"))]
mod settings;
#[cfg(feature = "_http")]
pub(super) mod shown;
mod topic;
mod tree;
mod unknown;
mod url;
mod value;

use std::fmt;

use object_store::path::Path;

pub use self::backend::StoreBackend;
#[cfg(feature = "_http")]
pub(super) use self::row::Row;
pub use self::secret::Secret;
pub(crate) use self::settings::Fingerprint;
use self::settings::Given;
pub use self::settings::Origin;
pub(super) use self::settings::Settings;
pub(crate) use self::topic::is_topic_key;
use self::unknown::unknown_setting;
#[cfg(feature = "_http")]
pub(super) use self::value::{Value, boolean};
use super::StoreOptions;
use crate::error::{Error, ErrorKind, Result};

/// Which store, and how it is reached. See the [module](self) for how settings are given, and `docs/backends.md` for
/// what there is to set.
///
/// Values are read, and may turn out wrong, when the store is opened. `Debug` and serde show no secret.
#[derive(Clone)]
pub struct StoreConfig {
    backend: StoreBackend,
    given: Vec<Given>,
    /// The URL that it was made from, without settings.
    of_url: Option<String>,
    /// What is not read from the environment, because it speaks of another bucket.
    not_of_environment: Vec<&'static row::Row>,
}

/// A setting as it would be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShownSetting {
    /// Its name in documents and URLs.
    pub name: &'static str,
    /// Its value; `***` for a secret. `None` if it is not set and has no default.
    pub value: Option<String>,
    /// Who set it.
    pub origin: Origin,
    /// The name by which it was set, as it was written.
    pub set_as: Option<String>,
    /// What it is for, in a sentence.
    pub about: &'static str,
}

impl StoreConfig {
    /// A store of this kind, of which nothing is set.
    pub fn new(backend: StoreBackend) -> Self {
        StoreConfig { backend, given: Vec::new(), of_url: None, not_of_environment: Vec::new() }
    }

    /// The store that a URL names, with settings after a question mark:
    ///
    /// - `file:///path/to/directory` and `memory:`, which have no settings;
    /// - `s3://bucket/prefix?region=eu-west-1&endpoint=https://host:9000&path_style=true`;
    /// - `azure://account.blob.core.windows.net/container/prefix`, `az://container/prefix`,
    ///   `abfs://container@account.dfs.core.windows.net/prefix`;
    /// - `gs://bucket/prefix` and `gcs://bucket/prefix`.
    ///
    /// # Errors
    /// `Unsupported` for another scheme; `InvalidInput` for a URL that can't be right, for a setting that there is not,
    /// and for a secret, because URLs are shown.
    pub fn from_url(url: &str) -> Result<Self> {
        let url::NamedStore { backend, given, url } = self::url::parse(url)?;
        Ok(StoreConfig { given, of_url: Some(url), ..StoreConfig::new(backend) })
    }

    /// The store that a document in YAML or JSON describes: what stands below `storage`, or the document itself if it has
    /// `backend`, or `spec.s3` of a `KafscaleCluster`. Other sections are not read.
    ///
    /// # Errors
    /// `Unsupported` for a backend that there is not; `InvalidInput` for a document that can't be read, has no such
    /// section, or has a setting in it that there is not.
    pub fn from_document(text: &str) -> Result<Self> {
        let (backend, given) = document::parse(text)?;
        Ok(StoreConfig { given, ..StoreConfig::new(backend) })
    }

    /// The store whose bucket a variable of the environment names: `KAFSCALE_S3_BUCKET`, `AZURE_CONTAINER_NAME` or
    /// `GOOGLE_BUCKET`, or one of their other names.
    ///
    /// # Errors
    /// `InvalidInput` where none is set, or several are.
    pub fn from_environment() -> Result<Self> {
        Ok(StoreConfig::new(environment::backend(environment::variables())?))
    }

    /// Sets a setting, by its name in documents or in the environment, in upper or lower case. It counts more than what
    /// the URL, the document and the environment say.
    ///
    /// # Errors
    /// `InvalidInput` for a name that there is not.
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Result<Self> {
        let table = self.backend.table();
        let named = table.find(name).ok_or_else(|| unknown_setting(name, table))?;
        self.given.push(Given {
            row: named.row,
            name: name.to_string(),
            text: Secret::new(value),
            origin: Origin::Explicit,
            rank: named.rank,
            is_opposite: named.is_opposite,
        });
        Ok(self)
    }

    /// The configuration with the settings of these options, which count more.
    pub(crate) fn with_options(&self, options: &StoreOptions) -> Result<Self> {
        options.config.iter().try_fold(self.clone(), |config, (name, value)| config.set_of_any(name, value))
    }

    /// A hash of all settings that count, but for what the credentials are called.
    pub(crate) fn fingerprint(&self, environment: bool) -> Result<Fingerprint> {
        Ok(self.settings(environment)?.fingerprint_without(&[&common::CREDENTIALS_REF]))
    }

    /// Like [`set`](Self::set), but passes over what is a variable of another kind of store.
    fn set_of_any(self, name: &str, value: &str) -> Result<Self> {
        let is_other = |backend: StoreBackend| backend != self.backend && backend.table().find_variable(name).is_some();
        match self.backend.table().find(name).is_none() && StoreBackend::ALL.into_iter().any(is_other) {
            true => Ok(self),
            false => self.set(name, value),
        }
    }

    /// The kind of store.
    pub fn backend(&self) -> StoreBackend {
        self.backend
    }

    /// How the keys of all objects begin: nothing, or text that ends with `/`.
    ///
    /// # Errors
    /// `InvalidInput` for a prefix that can't be one.
    pub fn prefix(&self) -> Result<String> {
        prefix_of(&self.settings(false)?)
    }

    /// The store's URL, without settings and secrets: the one that it was made from, or the one that says the same.
    ///
    /// # Errors
    /// `InvalidInput` where the address is not set, or can't be right.
    pub fn url(&self) -> Result<String> {
        self.url_with(&self.settings(false)?)
    }

    /// All settings that there are for this kind of store, with what would be used: the environment's, too, if
    /// `environment`.
    ///
    /// # Errors
    /// `InvalidInput` for a value that can't be read.
    pub fn shown(&self, environment: bool) -> Result<Vec<ShownSetting>> {
        let settings = self.settings(environment)?;
        prefix_of(&settings)?;
        let shown = |row: &'static row::Row| {
            let value = settings.value(row);
            ShownSetting {
                name: row.name,
                origin: value.as_ref().map_or(Origin::Default, |(_, origin)| *origin),
                value: value.map(|(value, _)| value.to_string()),
                set_as: settings.is_set(row).then(|| settings.name(row)),
                about: row.about,
            }
        };
        Ok(settings.table().rows().map(shown).collect())
    }

    /// The settings as they count.
    pub(super) fn settings(&self, environment: bool) -> Result<Settings> {
        let table = self.backend.table();
        let mut given = match environment {
            true => environment::given(table, environment::variables()),
            false => Vec::new(),
        };
        given.retain(|given| !self.not_of_environment.iter().any(|row| row.name == given.row.name));
        given.extend(self.given.iter().cloned());
        Settings::of(table, &given)
    }

    pub(super) fn url_with(&self, settings: &Settings) -> Result<String> {
        if let Some(url) = &self.of_url {
            return Ok(url.clone());
        }
        let prefix = prefix_of(settings)?;
        let path = |row| settings.required(row).map(|first| format!("{first}/{prefix}"));
        let url = match self.backend {
            StoreBackend::S3 => format!("s3://{}", path(&s3::BUCKET)?),
            StoreBackend::Gcs => format!("gs://{}", path(&gcs::BUCKET)?),
            StoreBackend::Azure => format!("az://{}", path(&azure::CONTAINER_NAME)?),
            StoreBackend::Filesystem => {
                let path = settings.required(&common::PATH)?;
                let unusable = |()| settings.bad(&common::PATH, "is not the absolute path of a directory");
                return ::url::Url::from_file_path(path).map_err(unusable).map(String::from);
            }
            StoreBackend::Memory => format!("memory:///{prefix}"),
        };
        Ok(url.trim_end_matches('/').to_string())
    }
}

/// The prefix of all keys: empty, or with `/` at its end.
pub(super) fn prefix_of(settings: &Settings) -> Result<String> {
    let Some(text) = settings.text(&common::PREFIX) else { return Ok(String::new()) };
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.len() > MOST_PREFIX {
        let what = format!("gives a prefix of {} bytes, and the clouds take keys of at most {MOST_PREFIX}", text.len());
        return Err(settings.bad(&common::PREFIX, &what));
    }
    let path = Path::parse(text).ok().filter(|path| !path.is_root() && !text.starts_with('/'));
    let path = path.ok_or_else(|| {
        let error = settings.bad(&common::PREFIX, "is not a usable prefix");
        error.with_hint("write it as in cluster/team, with no empty segment, no . and no .. in it")
    })?;
    Ok(format!("{path}/"))
}

/// The longest key that S3, Azure and Google Cloud Storage take, in bytes:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>,
/// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>,
/// <https://cloud.google.com/storage/docs/objects#naming>.
const MOST_PREFIX: usize = 1024;

/// Refuses an address that both the URL and somebody else give, and differently.
pub(super) fn check_address(config: &StoreConfig, settings: &Settings) -> Result<()> {
    for of_url in config.given.iter().filter(|given| given.origin == Origin::Url && given.row.is_address) {
        let counts = settings.text(of_url.row).unwrap_or_default();
        if settings.origin(of_url.row) != Origin::Url && counts != of_url.text.reveal() {
            let (row, name) = (of_url.row.name, settings.name(of_url.row));
            let message = format!("the URL names one {row}, and {name} names another one");
            return Err(Error::new(ErrorKind::InvalidInput, message).with_hint("name it once"));
        }
    }
    Ok(())
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names only: a secret may stand under a wrong name.
        let names: Vec<&str> = self.given.iter().map(|given| given.name.as_str()).collect();
        f.debug_struct("StoreConfig").field("backend", &self.backend).field("set", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
