//! Object storage as the log needs it: conditional create, versions, paged listing.
//!
//! A [`Store`] is a flat map from keys to objects, which never change until they are replaced. It is a directory,
//! memory, a bucket, or any [`object_store::ObjectStore`] that a caller brings. It adds what
//! the log needs and that trait lacks: a create-if-absent that says exactly what is known of its outcome,
//! an identity for each created object, versions to compare, listings in pages, and a count of the requests and
//! a limit on how many run at once.
//!
//! ```
//! use futures_util::TryStreamExt;
//! use kfs_core::store::{ReadRange, Store, StoreOptions};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let store = Store::open("memory:", &StoreOptions::default())?;
//! store.put("reports/2025", "good".into()).await?;
//! store.copy("reports/2025", "reports/2026").await?;
//!
//! assert_eq!(store.get("reports/2026", ReadRange::Range(0..2), None).await?.bytes, "go");
//! assert_eq!(store.size("reports/2026").await?, 4);
//! let keys: Vec<String> = store.list("reports").map_ok(|object| object.key).try_collect().await?;
//! assert_eq!(keys, ["reports/2025", "reports/2026"]);
//!
//! store.delete("reports/2025").await?;
//! assert!(!store.exists("reports/2025").await?);
//! # Ok::<(), kfs_core::Error>(()) }).unwrap();
//! ```
//!
//! A call of a store on the network is tried again after a failure that may pass: docs/backends.md, "Retries and time
//! limits".
//!
//! A store's futures are awaited only on tasks of the [`Runtime`](crate::runtime::Runtime), because
//! the clients of cloud stores need tokio.

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
mod breaker;
mod client;
pub mod config;
#[cfg_attr(
    not(all(feature = "aws", feature = "azure", feature = "gcp")),
    allow(dead_code, reason = "each client of a cloud reads its own")
)]
mod credentials;
mod dialect;
mod failure;
#[cfg(feature = "gcp")]
mod gcs;
mod hedge;
mod hint;
#[cfg(feature = "_http")]
mod http;
mod list;
mod local;
mod meter;
mod options;
mod paging;
mod places;
mod pool;
pub mod preflight;
mod reads;
mod replica;
mod secrets;
mod setting_names;
mod streams;
mod tries;
mod types;
mod version;
mod writes;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::ObjectStore;
use object_store::list::PaginatedListStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::sync::{Semaphore, SemaphorePermit};

use self::breaker::Breaker;
use self::client::{Backend, StoreClient};
use self::list::Lister;
use self::meter::{Attempt, Meter};
use self::preflight::WriteGate;
#[cfg(any(test, feature = "testing"))]
use self::replica::Replica;
use self::tries::Tries;
use crate::error::{Error, ErrorKind, Result};
use crate::fork::ForkGuard;
use crate::observer::Observer;
use crate::recorder::{BreakerState, RequestKind};

/// The names of an object's user metadata (docs/format.md, "Metadata of segments").
const KFSID: &str = "kfsid";
const KFSNAME: &str = "kfsname";
const KFSMERGED: &str = "kfsmerged";
const KFSCOPIED: &str = "kfscopied";

pub use self::breaker::{BreakerOptions, BreakerStatus};
pub(crate) use self::config::{Fingerprint, is_topic_key};
pub use self::config::{Secret, StoreBackend, StoreConfig};
pub use self::credentials::{CredentialSource, Credentials};
pub use self::failure::SyncFailure;
#[cfg(any(test, feature = "testing"))]
pub(crate) use self::failure::{Effect, StoreFailure};
pub use self::hedge::HedgeOptions;
pub(crate) use self::hedge::Hedges;
pub use self::local::{DiskHook, DiskOp, DiskVerdict, LocalStore};
pub use self::options::StoreOptions;
pub(crate) use self::places::Sent;
pub use self::pool::StorePool;
pub use self::streams::{GetStream, MAX_STREAM_BYTES, PART_BYTES};
pub(crate) use self::tries::{may_pass, pause_after, spread};
pub use self::types::{Created, Fetched, Identity, ListPage, ObjectInfo, ReadRange, Replaced, RequestCounts};
pub use self::version::Version;

/// An object store with what the log needs of it. It is cheap to clone, and clones share their counters and limits.
///
/// What reads is in [`StoreReader`], which a store gives by itself. Only a store can create, replace and delete.
#[derive(Clone)]
pub struct Store {
    reader: StoreReader,
}

/// The reads of a store. Whoever has only this can change nothing.
///
/// There are two kinds of reads, and each call is one of them:
///
/// - **Reads of truth** ask the store itself, and see the newest state: [`get`](Self::get), [`get_stream`](Self::get_stream),
///   [`head`](Self::head), [`exists`](Self::exists), [`size`](Self::size), [`list`](Self::list),
///   [`list_page`](Self::list_page), [`list_dirs`](Self::list_dirs). What the log *is* is read so: its tail, slots,
///   `log.json`, `claim.json`, marks, and all that is not told apart by a version.
/// - **Reads of data**, [`get_data`](Self::get_data), may be answered by a copy that lags: bodies of segments by their
///   version, and sparse indexes, which are hints.
///
/// ```compile_fail,E0599
/// async fn delete(reader: &kfs_core::store::StoreReader) -> kfs_core::Result<()> {
///     reader.delete("topic/0/segment-00000000000000000000.kfs").await
/// }
/// ```
#[derive(Clone)]
pub struct StoreReader {
    inner: Arc<StoreInner>,
    lane: Lane,
    /// Takes what becomes of the requests of this handle.
    observer: Observer,
    /// How often the calls of this handle are tried. `None`: once, without a time limit.
    tries: Option<Arc<Tries>>,
}

impl std::ops::Deref for Store {
    type Target = StoreReader;

    fn deref(&self) -> &StoreReader {
        &self.reader
    }
}

/// Which limit on concurrent requests applies. Commits have their own, so that no ack waits for reads.
#[derive(Clone, Copy, Debug)]
enum Lane {
    Reads,
    Commits,
    /// The request's place was taken before, see [`HeldPlaces`].
    Held,
    /// Reads, of which large objects take no more than half: the rest is for everybody else.
    Bulk,
    /// Data of segments far from the end of a log. It has places of its own, so that a backfill holds up nobody else.
    Cold,
}

/// Places among the commits' concurrent requests, taken before anything is sent.
pub(crate) struct HeldPlaces<'a> {
    store: Store,
    _places: SemaphorePermit<'a>,
}

impl HeldPlaces<'_> {
    /// A store whose requests are sent at once. The caller sends no more at a time than it has taken places for.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

struct StoreInner {
    /// A forked child must use a store of its own: connections and locks are its parent's.
    fork: ForkGuard,
    url: String,
    /// The prefix of every key: it is empty or ends with `/`.
    prefix: String,
    client: Arc<StoreClient>,
    meter: Arc<Meter>,
    /// What a cloud store is told of each new object.
    storage_class: Option<String>,
    /// What is checked before the first write. `None` where the library does not reach the store over the network.
    gate: Option<WriteGate>,
    /// A create is a HEAD and a plain PUT: the store has no create-if-absent, and the caller promised a single writer.
    creates_plainly: AtomicBool,
}

/// The options with the limits on concurrent requests that the settings have, unless the caller chose them.
fn with_limits(options: &StoreOptions, settings: &config::Settings) -> Result<StoreOptions> {
    let limit = |row| match settings.count(row).and_then(|count| usize::try_from(count).ok()) {
        Some(count) if count > 0 => Ok(count),
        _ => Err(settings.bad(row, "is too small or too large: at least 1 is allowed")),
    };
    let mut options = options.clone();
    let (all, cold) = (&config::common::CONCURRENCY, &config::common::COLD_READS);
    if settings.is_set(all) && options.max_in_flight == StoreOptions::default().max_in_flight {
        options.max_in_flight = limit(all)?;
    }
    if settings.is_set(cold) && options.cold_reads.is_none() {
        options.cold_reads = Some(limit(cold)?);
    }
    Ok(options)
}

impl Store {
    /// Opens the store that a URL names, such as `file:///dir`, `memory:` (empty at each open), `s3://bucket/prefix`,
    /// `az://container/prefix` or `gs://bucket/prefix`: see [`StoreConfig::from_url`]. It sends no request.
    ///
    /// # Errors
    /// As [`open_config`](Self::open_config).
    pub fn open(url: &str, options: &StoreOptions) -> Result<Self> {
        Self::open_config(&StoreConfig::from_url(url)?, options)
    }

    /// Opens a store by its configuration. It sends no request.
    ///
    /// The options' own settings count more than those of the configuration. Of them, those that are variables of another
    /// kind of store are passed over, so that the same options do for every bucket.
    ///
    /// # Errors
    /// `Unsupported` for another scheme or a feature that is not built in; `InvalidInput` for a URL, options
    /// or settings that can't be right. For a directory also `NotFound` if its parent
    /// does not exist, `InvalidInput` if a file has its name, and `PermissionDenied`.
    pub fn open_config(config: &StoreConfig, options: &StoreOptions) -> Result<Self> {
        Self::open_in(config, options, None)
    }

    /// The same with a client of the pool, if one fits.
    fn open_in(config: &StoreConfig, options: &StoreOptions, pool: Option<&StorePool>) -> Result<Self> {
        options.check()?;
        let config = config.with_options(options)?;
        let settings = config.settings(options.environment)?;
        let mut options = with_limits(options, &settings)?;
        if options.breaker.is_none() {
            options.breaker = BreakerOptions::of(&settings)?;
        }
        if options.hedge.is_none() && settings.flag(&config::client::HEDGE_CREATES) {
            options.hedge = Some(HedgeOptions::default());
        }
        let options = &options;
        config::check_address(&config, &settings)?;
        let (url, prefix) = (config.url_with(&settings)?, config::prefix_of(&settings)?);
        let make = || Self::client_of(config.backend(), &settings, options);
        let client = match pool {
            Some(pool) => pool.client(config.backend(), &settings, options, make)?,
            None => Arc::new(make()?),
        };
        let mut inner = StoreInner::new(url, prefix, client);
        inner.storage_class = settings.text(&config::common::STORAGE_CLASS).map(str::to_string);
        #[cfg(feature = "_http")]
        inner.check_before_writes(&settings, options);
        let mut store = Self::of(inner);
        store.reader.tries = match config.backend() {
            StoreBackend::Filesystem | StoreBackend::Memory => None,
            _ => Some(Arc::new(Tries::of(&settings)?)),
        };
        Ok(store)
    }

    /// What reaches the place that the settings name.
    fn client_of(backend: StoreBackend, settings: &config::Settings, options: &StoreOptions) -> Result<StoreClient> {
        let here = Backend { single_attempt: true, ..Backend::default() };
        match backend {
            StoreBackend::Filesystem => {
                let local = LocalStore::open(settings.required(&config::common::PATH)?, options)?;
                let store: Arc<dyn ObjectStore> = Arc::new(local.clone());
                let lister = Lister::Directory(local);
                Ok(StoreClient::new(store.clone(), store, lister, here, options))
            }
            StoreBackend::Memory => {
                let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
                Ok(StoreClient::new(store.clone(), store, Lister::Stream, here, options))
            }
            #[cfg(feature = "aws")]
            StoreBackend::S3 => aws::client(settings, options),
            #[cfg(feature = "azure")]
            StoreBackend::Azure => azure::client(settings, options),
            #[cfg(feature = "gcp")]
            StoreBackend::Gcs => gcs::client(settings, options),
            #[allow(unreachable_patterns, reason = "with all features each kind has its client")]
            other => {
                let message = format!("this build has no client for {}", other.table().store);
                let feature = match other {
                    StoreBackend::S3 => "aws",
                    StoreBackend::Gcs => "gcp",
                    _ => other.table().backend,
                };
                Err(Error::new(ErrorKind::Unsupported, message)
                    .with_hint(format!("build kfs-core with the feature {feature}")))
            }
        }
    }

    /// A store over any implementation of the trait. Its requirements are in docs/backends.md, "Bring your own store", and
    /// the feature `testing` has the function `conformance`, which checks them. The implementation may retry by itself, so a failed create
    /// counts as [`Created::Unknown`] more often than on a store that [`Store::open`] made, and each call of the store is tried
    /// once: [`with_retries`](Self::with_retries) changes that. The implementation must
    /// keep user metadata, and must list keys in ascending order.
    pub fn from_object_store(store: Arc<dyn ObjectStore>) -> Self {
        Self::from_object_store_with(store, &StoreOptions::default())
    }

    /// [`Store::from_object_store`] with options. Only the limits on concurrent requests, the breaker and its clock
    /// have an effect.
    pub fn from_object_store_with(store: Arc<dyn ObjectStore>, options: &StoreOptions) -> Self {
        let url = format!("custom:{store}");
        Self::custom(url, store.clone(), Lister::Stream, Backend::default(), options)
    }

    /// A store over an implementation that sends each request once, and never retries a create by itself.
    /// So an answer such as 403 proves that nothing was created.
    #[cfg(any(test, feature = "testing"))]
    pub fn from_object_store_sent_once(store: Arc<dyn ObjectStore>) -> Self {
        Self::from_object_store_sent_once_with(store, &StoreOptions::default())
    }

    /// The same with options, as [`from_object_store_with`](Self::from_object_store_with).
    #[cfg(any(test, feature = "testing"))]
    pub fn from_object_store_sent_once_with(store: Arc<dyn ObjectStore>, options: &StoreOptions) -> Self {
        let url = format!("custom:{store}");
        let backend = Backend { single_attempt: true, ..Backend::default() };
        Self::custom(url, store, Lister::Stream, backend, options)
    }

    /// A store over an implementation that lists in pages, as object_store's cloud clients do. Its
    /// listings request no more keys than are wanted.
    pub fn paginated<S: ObjectStore + PaginatedListStore>(store: Arc<S>) -> Self {
        let url = format!("custom:{store}");
        let lister = Lister::Pages(store.clone());
        let backend = Backend { quoted_e_tags: true, ..Backend::default() };
        Self::custom(url, store, lister, backend, &StoreOptions::default())
    }

    fn custom(
        url: String,
        store: Arc<dyn ObjectStore>,
        lister: Lister,
        backend: Backend,
        options: &StoreOptions,
    ) -> Self {
        let client = StoreClient::new(store.clone(), store, lister, backend, options);
        Self::of(StoreInner::new(url, String::new(), Arc::new(client)))
    }

    fn of(inner: StoreInner) -> Self {
        Store {
            reader: StoreReader {
                inner: Arc::new(inner),
                lane: Lane::Reads,
                observer: Observer::default(),
                tries: None,
            },
        }
    }

    /// A copy of this store, which may lag, for reads of data.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with_replica(mut self, replica: Arc<dyn ObjectStore>) -> Self {
        if let Some(client) = Arc::get_mut(&mut self.reader.inner).and_then(|inner| Arc::get_mut(&mut inner.client)) {
            client.replica = Some(Replica::new(
                "the replica".into(),
                replica,
                Lister::Stream,
                replica::WAIT,
                StoreOptions::default().max_in_flight,
            ));
        }
        self
    }

    /// The reads of this store: a handle that can change nothing.
    pub fn reader(&self) -> &StoreReader {
        &self.reader
    }

    /// Whether both are handles of one store.
    pub(crate) fn is_same(&self, other: &Store) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Forgets a writer that was closed, by its id (the part of its `kfsid` before the dot). A directory remembers the
    /// newest four flushes of each writer until then.
    pub fn forget_writer(&self, writer: &str) {
        if let Some(local) = self.local() {
            local.forget_writer(writer);
        }
    }

    /// The same store with the limit for commits.
    pub(crate) fn for_commits(&self) -> Store {
        self.with_lane(Lane::Commits)
    }

    /// Waits for places among the commits' concurrent requests. `requests` is at most 2.
    pub(crate) async fn hold(&self, requests: u32) -> Result<HeldPlaces<'_>> {
        self.inner.fork.check()?;
        let places = self.inner.client.commit_places.acquire_many(requests).await.map_err(|_| closed())?;
        Ok(HeldPlaces { store: self.with_lane(Lane::Held), _places: places })
    }

    /// A place among the commits' concurrent requests, if one is free now. None while the breaker is not closed.
    pub(crate) fn try_hold(&self) -> Option<HeldPlaces<'_>> {
        if self.breaker().is_some_and(|breaker| breaker.state != BreakerState::Closed) {
            return None;
        }
        let place = self.inner.client.commit_places.try_acquire().ok()?;
        Some(HeldPlaces { store: self.with_lane(Lane::Held), _places: place })
    }

    /// What is known of how long creates take, where slow ones are sent a second time. `None` where an identical create
    /// could do harm, because the store does not create if absent.
    pub(crate) fn hedges(&self) -> Option<&Hedges> {
        let plainly = self.inner.creates_plainly.load(Ordering::Relaxed);
        self.inner.client.hedges.as_ref().filter(|_| !plainly)
    }

    fn with_lane(&self, lane: Lane) -> Store {
        Store { reader: self.reader.with_lane(lane) }
    }

    /// The same store, which tells what becomes of the requests that are made with this handle and its clones.
    pub(crate) fn observed(mut self, observer: Observer) -> Store {
        self.reader.observer = observer;
        self
    }
}

impl StoreInner {
    /// A store that writes without conditions of its own, and that nothing is checked of.
    fn new(url: String, prefix: String, client: Arc<StoreClient>) -> Self {
        StoreInner {
            fork: ForkGuard::here(),
            url,
            prefix,
            client,
            meter: Arc::new(Meter::default()),
            storage_class: None,
            gate: None,
            creates_plainly: AtomicBool::new(false),
        }
    }
}

impl StoreReader {
    /// The text without those secrets of the store's client that have 16 characters or more. The client sent them to the
    /// server, which can return them in the name of an object or in its metadata. So call this on every name from
    /// a listing before you print it.
    pub fn redact(&self, text: &str) -> String {
        self.inner.client.redact.as_ref().map_or_else(|| text.to_string(), |redact| redact(text))
    }

    /// The error of a request for `key`.
    fn failed(&self, error: &object_store::Error, key: &str, attempt: &Attempt) -> Error {
        let status = attempt.status();
        let mapped = attempt.named(failure::map(error, key, status, self.inner.client.backend.dialect));
        // That hint is about creates.
        let is_lacking = mapped.hint() == Some(hint::LACKING) && attempt.kind() != RequestKind::Put;
        let mapped = match hint::of_kind(ErrorKind::InvalidInput, self.inner.client.backend.dialect) {
            Some(hint) if is_lacking => mapped.with_hint(hint),
            _ => mapped,
        };
        let mapped = match &self.inner.client.setting_names {
            Some(names) if mapped.kind() == ErrorKind::PermissionDenied && matches!(status, Some(400 | 401 | 403)) => {
                names.refused(mapped)
            }
            Some(names) => names.named(mapped),
            None => mapped,
        };
        if failure::is_bucket_missing(error) {
            let message = format!("the bucket of {} does not exist", self.inner.url);
            return mapped.with_kind(ErrorKind::NotFound).with_message(message);
        }
        match status {
            // The texts of all other answers were cleaned when they arrived. Where the status is not known, it may be a
            // good one: S3 answers 200 to a copy, and to the end of an upload, and then says in the body that it failed.
            Some(200..300) | None => {
                let message = self.redact(mapped.message());
                mapped.with_message(message)
            }
            _ => mapped,
        }
    }

    /// The error of a request for `key` whose status is not known.
    fn mapped(&self, error: &object_store::Error, key: &str) -> Error {
        let mapped = failure::map(error, key, None, self.inner.client.backend.dialect);
        match &self.inner.client.setting_names {
            Some(names) => names.named(mapped),
            None => mapped,
        }
    }

    /// Where the bucket is, as its settings say. `None` for a store that is not reached over the network.
    pub(crate) fn place(&self) -> Option<&str> {
        self.inner.client.setting_names.as_ref().map(|names| names.place.as_str())
    }

    /// Where the credentials come from, in words: the settings, the profile or the server that gives them. `None` for a
    /// store that takes none. It says no secret, and nothing is asked for it.
    pub fn credentials_from(&self) -> Option<&str> {
        self.inner.client.setting_names.as_ref().map(|names| names.credentials.as_str())
    }

    /// The URL that the store was opened with. It holds no secret, because URLs with a user, a password or
    /// a query are refused.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// Whether reads are mapped into memory. Then the bytes of a whole object cost no copy, and the
    /// system caches them already.
    pub fn is_mapped(&self) -> bool {
        self.local().is_some_and(LocalStore::is_mapped)
    }

    /// Whether it is a local directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.local().is_some()
    }

    /// Whether a read of this many bytes is mapped. A shorter one is copied.
    pub(crate) fn maps(&self, bytes: u64) -> bool {
        self.local().is_some_and(|local| local.maps(&(0..bytes)))
    }

    /// Whether a create is one request, which the client never sends again by itself.
    pub(crate) fn sends_once(&self) -> bool {
        self.inner.client.backend.single_attempt
    }

    fn local(&self) -> Option<&LocalStore> {
        match &self.inner.client.lister {
            Lister::Directory(local) => Some(local),
            _ => None,
        }
    }

    /// The requests and bytes so far.
    pub fn requests(&self) -> RequestCounts {
        self.inner.meter.counts()
    }

    /// The same reads with the limit for data of segments far from the end of a log.
    pub(crate) fn for_cold_reads(&self) -> StoreReader {
        self.with_lane(Lane::Cold)
    }

    fn with_lane(&self, lane: Lane) -> StoreReader {
        StoreReader { inner: self.inner.clone(), lane, observer: self.observer.clone(), tries: self.tries.clone() }
    }

    /// What the store's breaker says now. `None` where every request is sent: for directories, memory and stores that a
    /// caller brings, unless [`StoreOptions::breaker`] is set, and where the breaker is turned off.
    pub fn breaker(&self) -> Option<BreakerStatus> {
        self.inner.client.breaker.as_ref().map(|breaker| breaker.status())
    }

    /// A place among the concurrent requests, to be held until the request has ended.
    ///
    /// # Errors
    /// The breaker's refusal, so that nothing waits for a place that would be refused then.
    async fn permit(&self) -> Result<Place<'_>> {
        self.permit_of(self.inner.client.breaker.as_ref()).await
    }

    async fn permit_of(&self, breaker: Option<&Arc<Breaker>>) -> Result<Place<'_>> {
        self.inner.fork.check()?;
        breaker.map_or(Ok(()), |breaker| breaker.check(&self.inner.url))?;
        let StoreClient { read_places, bulk_places, commit_places, cold_places, .. } = &*self.inner.client;
        let (first, second) = match self.lane {
            Lane::Reads => (None, Some(read_places)),
            Lane::Bulk => (Some(bulk_places), Some(read_places)),
            Lane::Commits => (None, Some(commit_places)),
            Lane::Cold => (None, Some(cold_places)),
            Lane::Held => (None, None),
        };
        Ok(Place { _first: take(first).await?, _second: take(second).await? })
    }

    /// Whether keys stand under a prefix in the bucket.
    pub(crate) fn has_prefix(&self) -> bool {
        !self.inner.prefix.is_empty()
    }

    /// The store's path of a key.
    fn path(&self, key: &str) -> Result<Path> {
        let invalid = |what: &str| {
            Error::new(ErrorKind::InvalidInput, format!("not a usable key: {what}"))
                .with_key(key.escape_default().to_string())
        };
        if key.is_empty() {
            return Err(invalid("it is empty"));
        }
        if key.starts_with('/') || key.ends_with('/') {
            return Err(invalid("it begins or ends with /"));
        }
        // Path::parse refuses empty segments, `.`, `..` and control characters.
        Path::parse(format!("{}{key}", self.inner.prefix))
            .map_err(|_| invalid("it has an empty segment, `.` or `..`, or a control character"))
    }
}

/// The right to send one request, until it is dropped.
struct Place<'a> {
    _first: Option<SemaphorePermit<'a>>,
    _second: Option<SemaphorePermit<'a>>,
}

async fn take(places: Option<&Semaphore>) -> Result<Option<SemaphorePermit<'_>>> {
    let Some(places) = places else { return Ok(None) };
    places::waiting(places.acquire()).await.map(Some).map_err(|_| closed())
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store is closed")
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The clients are left out, because some print their keys.
        write!(f, "Store({})", self.inner.url)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.url)
    }
}

impl fmt::Debug for StoreReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreReader({})", self.inner.url)
    }
}

impl fmt::Display for StoreReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.url)
    }
}
