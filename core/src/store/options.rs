//! How a store is opened.

use std::fmt;
use std::sync::Arc;

use super::local::DiskHook;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{Entropy, SystemEntropy};

/// Options of [`Store::open`](super::Store::open).
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreOptions {
    pub(crate) max_in_flight: usize,
    pub(crate) map: bool,
    pub(crate) file_mode: u32,
    pub(crate) dir_mode: u32,
    pub(crate) named_staging: bool,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) disk_hook: Option<Arc<dyn DiskHook>>,
    pub(crate) environment: bool,
    pub(crate) config: Vec<(String, String)>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            max_in_flight: 64,
            map: true,
            file_mode: 0o600,
            dir_mode: 0o700,
            named_staging: false,
            entropy: Arc::new(SystemEntropy),
            disk_hook: None,
            environment: true,
            config: Vec::new(),
        }
    }
}

impl StoreOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many requests may be under way at once; further ones wait. Default 64, at least 1. Commits
    /// (segments, indexes, looks at the tail) have a bound of their own of the same size, at least 2, so
    /// that no ack waits for reads.
    #[must_use]
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = requests;
        self
    }

    /// Whether a directory's files are mapped into memory to be read (default) or copied. A program
    /// that truncates a mapped file kills the process that reads it; libkfs never does.
    #[must_use]
    pub fn map(mut self, map: bool) -> Self {
        self.map = map;
        self
    }

    /// On a directory, the permissions of the files that are made, of which the process's umask takes away:
    /// 0600 by default, because they hold records. Bits beyond 0777 are ignored. At least 0400, for files that
    /// can't be read back are of no use.
    #[must_use]
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.file_mode = mode;
        self
    }

    /// Likewise of the directories that are made, the bucket's own among them: 0700 by default, and
    /// at least.
    #[must_use]
    pub fn dir_mode(mut self, mode: u32) -> Self {
        self.dir_mode = mode;
        self
    }

    /// Where the names of staging files come from.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// On a directory, stages under random names even where the system has nameless files
    /// (O_TMPFILE). That path is taken by itself where there are none; this is for tests.
    #[must_use]
    pub fn named_staging(mut self, named: bool) -> Self {
        self.named_staging = named;
        self
    }

    /// On a directory, asks `hook` before each call that changes the disk: for tests that make an
    /// fsync fail, or record what a power cut may undo.
    #[must_use]
    pub fn disk_hook(mut self, hook: Arc<dyn DiskHook>) -> Self {
        self.disk_hook = Some(hook);
        self
    }

    /// Whether the client of a cloud store reads its settings from the process's environment
    /// (default), such as `AWS_ACCESS_KEY_ID`.
    #[must_use]
    pub fn environment(mut self, read: bool) -> Self {
        self.environment = read;
        self
    }

    /// A setting for the client of a cloud store, named as in the environment, in any case; wins
    /// over the environment. An unknown name is an error when the store is opened.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.push((name.into(), value.into()));
        self
    }
}

impl StoreOptions {
    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
        if self.max_in_flight == 0 {
            return refuse("max_in_flight is 0, at least 1 is allowed".into());
        }
        // What is made must be of use to whoever made it.
        for (name, mode, least) in [("file_mode", self.file_mode, 0o400), ("dir_mode", self.dir_mode, 0o700)] {
            if mode & least != least {
                return refuse(format!("{name} is 0{mode:o}, at least 0{least:o} is needed to use what is made"));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets: names only.
        let names: Vec<&str> = self.config.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("StoreOptions")
            .field("max_in_flight", &self.max_in_flight)
            .field("map", &self.map)
            .field("file_mode", &format_args!("{:o}", self.file_mode))
            .field("dir_mode", &format_args!("{:o}", self.dir_mode))
            .field("named_staging", &self.named_staging)
            .field("environment", &self.environment)
            .field("config", &names)
            .finish_non_exhaustive()
    }
}
