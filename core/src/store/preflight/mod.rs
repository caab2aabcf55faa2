//! A check of a bucket: whether it does what a log needs, and what is missing.
//!
//! A store that ignores a create's condition, drops metadata or hides what was just written loses acked records, and no
//! error tells. So a bucket that the library reaches over the network is checked before a writer opens in it: once for each
//! bucket (URL, settings and credentials) and process, whatever the number of writers.
//! [`StoreOptions::preflight`](super::StoreOptions::preflight) switches that off.
//! [`Store::preflight`](super::Store::preflight) checks any store, and `kfs check` prints what it finds.
//!
//! The check writes a few small objects directly under the bucket's prefix. Their names begin with
//! [`PREFLIGHT_PREFIX`], which belongs to no log (docs/format.md, "Names"), and no two checks use the same names. It
//! deletes them again, also after a failure, and [`Preflight::left`] names those that it could not delete.
//! It sends at most [`MOST_PREFLIGHT_REQUESTS`] requests to the bucket, and two to its replica, if it has one.
//!
//! ```
//! # use kfs_core::store::{Store, StoreOptions, preflight::PreflightOptions};
//! # use kfs_core::runtime::Runtime;
//! # async fn check() -> kfs_core::Result<()> {
//! let store = Store::open("memory:", &StoreOptions::default())?;
//! let report = store.preflight(&Runtime::current_or_own()?, &PreflightOptions::default()).await?;
//! for step in &report.steps {
//!     println!("{}: {}: {}", step.check.name(), step.verdict.name(), step.found);
//! }
//! assert!(report.failure().is_none());
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(check()).unwrap();
//! ```

mod gate;
mod probe;
mod race;
mod report;
mod steps;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use object_store::ObjectStore;

pub(super) use self::gate::WriteGate;
use self::probe::{Causes, Probe};
pub use self::report::{Preflight, PreflightCheck, PreflightStep, PreflightVerdict};
use super::client::StoreClient;
use super::list::Lister;
use super::meter::Meter;
use super::{Lane, Store, StoreInner, StoreOptions, StoreReader};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Runtime;
use crate::setters::setters;

/// How the names of the objects begin that a check writes.
pub const PREFLIGHT_PREFIX: &str = "kfs-preflight-";

/// The most requests that one check sends to the bucket.
pub const MOST_PREFLIGHT_REQUESTS: u64 = 60;

/// The time limits of a check. Start from `PreflightOptions::default()`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PreflightOptions {
    /// How long one request may take (default 30 s, more than 0).
    pub request_timeout: Duration,
    /// How long the check may take (default 5 minutes, more than 0). Deleting what it wrote may take one
    /// [`request_timeout`](Self::request_timeout) more, and 2 s at most.
    pub timeout: Duration,
}

impl Default for PreflightOptions {
    fn default() -> Self {
        PreflightOptions { request_timeout: Duration::from_secs(30), timeout: Duration::from_secs(300) }
    }
}

impl PreflightOptions {
    setters! { request_timeout: Duration, timeout: Duration }

    fn check(&self) -> Result<()> {
        for (name, limit) in [("request_timeout", self.request_timeout), ("timeout", self.timeout)] {
            if limit.is_zero() {
                let message = format!("the check's {name} is 0, more than that is needed");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
        }
        Ok(())
    }
}

impl Store {
    /// Checks whether this store does what a log needs. What it finds, good or bad, is in the report; a store that does
    /// not answer is a finding too. Where the client is one of the library's own, no request is sent a second time.
    ///
    /// One step sends 8 requests at the same time, whatever
    /// [`max_in_flight`](super::StoreOptions::max_in_flight) says.
    ///
    /// Dropping the future ends the check, and the objects that it wrote until then stay.
    ///
    /// # Errors
    /// `InvalidInput` for options that make no sense; `Closed` in a forked child; `Internal` if the system has no random
    /// numbers.
    pub async fn preflight(&self, runtime: &Runtime, options: &PreflightOptions) -> Result<Preflight> {
        options.check()?;
        self.inner.fork.check()?;
        let mut probe = Probe::begin(self.for_preflight(), runtime, options)?;
        // `None` says that the check ended early, and the report says why.
        let _ended = steps::all(&mut probe).await;
        if let Some(replica) = &self.inner.client.replica {
            let (reads, lister) = (replica.client.clone(), replica.lister.clone());
            let url = replica.place.clone();
            let replica = self.checked_by(url, reads.clone(), reads, lister, probe.store.inner.meter.clone());
            steps::replica(&mut probe, &replica).await;
        }
        probe.clean_up().await;
        Ok(probe.into_report(self.has_replica()))
    }

    /// The check before the first write. Where the store sends the check away because it has too much to do, the check goes
    /// on at the same step after a pause, and says why it waits. The replica is not looked at: no writer asks it.
    async fn preflight_for_writing(&self, runtime: &Runtime, causes: Causes) -> Result<Preflight> {
        let options = PreflightOptions::default();
        let mut probe = Probe::begin(self.for_preflight(), runtime, &options)?.patient(causes);
        let _ended = steps::all(&mut probe).await;
        probe.clean_up().await;
        Ok(probe.into_report(false))
    }

    /// The same store for a check: each request is sent once, where the client is one of the library's own, and is
    /// counted by a meter of the check's own too. It has its own places for requests.
    fn for_preflight(&self) -> Store {
        let (inner, client) = (&self.inner, &self.inner.client);
        let (reads, lister) = match &client.once {
            Some(once) => (once.reads.clone(), once.lister.clone()),
            None => (client.reads.clone(), client.lister.clone()),
        };
        let meter = Arc::new(Meter::of_a_part(&inner.meter));
        self.checked_by(inner.url.clone(), reads, client.commits.clone(), lister, meter)
    }

    /// This store, or its replica, whose requests these clients send. Messages call it `url`.
    fn checked_by(
        &self,
        url: String,
        reads: Arc<dyn ObjectStore>,
        commits: Arc<dyn ObjectStore>,
        lister: Lister,
        meter: Arc<Meter>,
    ) -> Store {
        let (inner, client) = (&self.inner, &self.inner.client);
        // Without a breaker: a check asks a store that is away, too.
        let options = StoreOptions::default();
        let mut once = StoreClient::new(reads, commits, lister, client.backend, &options);
        once.redact = client.redact.clone();
        once.setting_names = client.setting_names.clone();
        let checked = StoreInner {
            fork: inner.fork,
            url,
            prefix: inner.prefix.clone(),
            client: Arc::new(once),
            meter,
            storage_class: inner.storage_class.clone(),
            gate: None,
            creates_plainly: AtomicBool::new(false),
        };
        let observer = self.observer.clone();
        Store { reader: StoreReader { inner: Arc::new(checked), lane: Lane::Reads, observer, tries: None } }
    }
}
