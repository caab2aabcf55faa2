//! How a store is opened.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::breaker::BreakerOptions;
use super::credentials::CredentialSource;
use super::hedge::HedgeOptions;
use super::local::DiskHook;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::setters::setters;

/// Options of [`Store::open`](super::Store::open). Start from `StoreOptions::default()`.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreOptions {
    /// How many requests may be under way at once; further ones wait (default 64, at least 1). Commits
    /// (segments, indexes, looks at the tail) have a bound of their own of the same size, at least 2, so
    /// that no ack waits for reads.
    pub max_in_flight: usize,
    /// How many reads of old data may be under way at once: of bytes of segments other than the newest eight of their log.
    /// They have these places beside those of [`max_in_flight`](Self::max_in_flight), so that readers of old data hold up
    /// neither readers of the newest nor any append. Default `None`: half of `max_in_flight`, at least 1.
    pub cold_reads: Option<usize>,
    /// Whether a directory's files are mapped into memory to be read (default) or copied. A program
    /// that truncates a mapped file kills the process that reads it; libkfs never does.
    pub map: bool,
    /// The permissions of the files that are made in a directory, before the process's umask takes away from them
    /// (default 0600, because files hold records). At least 0400, because a file that can't be read back is of no use,
    /// and at most 0777. Write it in octal: the decimal number 600 is refused, as it is 01130.
    pub file_mode: u32,
    /// The permissions of the directories that are made, the bucket's own among them (default 0700,
    /// at least that, and at most 0777).
    pub dir_mode: u32,
    /// Whether a directory stages files under random names even where the system has nameless files (O_TMPFILE). Systems
    /// without them always do so; this is for tests. Default no.
    pub named_staging: bool,
    /// Where the names of staging files come from. Default: the system's random numbers.
    pub entropy: Arc<dyn Entropy>,
    /// The clock of the breaker. Default: the system's.
    pub clock: Arc<dyn Clock>,
    /// When the store is left alone because it is away. Default `None`: what the settings `breaker_failures` and
    /// `breaker_pause` of a cloud store say, and never for other stores. See `docs/design.md`, "The breaker".
    pub breaker: Option<BreakerOptions>,
    /// When a create of a segment or an index that is slow is sent a second time, beside the first. Default `None`: never,
    /// unless the setting `hedge_creates` of a cloud store says so. It has no effect on a directory and on a
    /// store of the program's own, which may try again by itself, and none where [`single_writer`](Self::single_writer)
    /// makes up for a store without create-if-absent.
    pub hedge: Option<HedgeOptions>,
    /// Asked before each call that changes a directory's disk, for tests that make an fsync fail or record what a power
    /// cut may undo. Default `None`.
    pub disk_hook: Option<Arc<dyn DiskHook>>,
    /// Whether the client of a cloud store reads its settings from the process's environment, such as
    /// `AWS_ACCESS_KEY_ID`. Default yes.
    pub environment: bool,
    /// Whether a bucket that the library reaches over the network is checked before a writer opens in it, once for
    /// each bucket and process (default yes): see [`preflight`](super::preflight). Directories, memory and stores that a
    /// caller brings are not checked.
    pub preflight: bool,
    /// The caller promises that never more than one writer of a partition is open, in all processes together, and that none
    /// opens while a request of an earlier one may still arrive (default no). Then a bucket without create-if-absent is taken
    /// for writing: a create is a HEAD and a plain PUT there. docs/durability.md, "A single writer", says what is not promised
    /// any more. A bucket that has create-if-absent is used as without this option, unless
    /// [`preflight`](Self::preflight) is off.
    pub single_writer: bool,
    /// Gives the credentials of a cloud store, and counts more than all others. Default `None`: see `docs/backends.md`.
    pub credentials: Option<Arc<dyn CredentialSource>>,
    /// Settings for the client of a cloud store, by name and value: see [`config`](Self::config). Values may be secrets.
    pub config: Vec<(String, String)>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            max_in_flight: 64,
            cold_reads: None,
            map: true,
            file_mode: 0o600,
            dir_mode: 0o700,
            named_staging: false,
            entropy: Arc::new(SystemEntropy),
            clock: Arc::new(SystemClock),
            breaker: None,
            hedge: None,
            disk_hook: None,
            environment: true,
            preflight: true,
            single_writer: false,
            credentials: None,
            config: Vec::new(),
        }
    }
}

impl StoreOptions {
    setters! {
        max_in_flight: usize,
        cold_reads: some usize,
        map: bool,
        file_mode: u32,
        dir_mode: u32,
        named_staging: bool,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
        breaker: some BreakerOptions,
        hedge: some HedgeOptions,
        disk_hook: some Arc<dyn DiskHook>,
        environment: bool,
        preflight: bool,
        single_writer: bool,
        credentials: some Arc<dyn CredentialSource>,
    }

    /// Adds a setting for the client of a cloud store, named as in the environment, in upper or lower case. It wins
    /// over the environment. An unknown name is an error when the store is opened.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.push((name.into(), value.into()));
        self
    }
}

impl StoreOptions {
    /// How many places cold reads have where all reads together have `most`.
    pub(super) fn cold_places(&self, most: usize) -> usize {
        self.cold_reads.unwrap_or(most / 2).clamp(1, Semaphore::MAX_PERMITS)
    }

    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
        if self.max_in_flight == 0 {
            return refuse("max_in_flight is 0, at least 1 is allowed".into());
        }
        if self.cold_reads == Some(0) {
            return refuse("cold_reads is 0, at least 1 is allowed".into());
        }
        if let Some(fault) = self.breaker.and_then(|breaker| breaker.fault()) {
            return refuse(format!("the breaker's pause {fault}"));
        }
        // What is made must be of use to whoever made it.
        for (name, mode, least) in [("file_mode", self.file_mode, 0o400), ("dir_mode", self.dir_mode, 0o700)] {
            if mode > 0o777 {
                let error =
                    Error::new(ErrorKind::InvalidInput, format!("{name} is 0{mode:o}, at most 0777 is allowed"));
                return Err(error.with_hint("write permissions in octal, as 0o600, or as 0600 in C"));
            }
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
            .field("cold_reads", &self.cold_reads)
            .field("map", &self.map)
            .field("file_mode", &format_args!("{:o}", self.file_mode))
            .field("dir_mode", &format_args!("{:o}", self.dir_mode))
            .field("named_staging", &self.named_staging)
            .field("environment", &self.environment)
            .field("preflight", &self.preflight)
            .field("breaker", &self.breaker)
            .field("hedge", &self.hedge)
            .field("single_writer", &self.single_writer)
            .field("config", &names)
            .finish_non_exhaustive()
    }
}
