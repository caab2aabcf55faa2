//! Which bucket and how.
//!
//! A [`Store`] is a flat map from keys to immutable-until-replaced objects, on a directory, in
//! memory, in a bucket, or on any [`object_store::ObjectStore`] that a caller brings. It adds what
//! the log needs and that trait does not say: a create-if-absent whose outcomes tell what is known,
//! an identity for what was created, versions to compare, pages of a listing, counted requests and
//! a bound on those under way.
//!
//! The futures of a store are awaited on the [`Runtime`](crate::runtime::Runtime)'s own tasks only:
//! the clients of cloud stores need tokio.

#[cfg(feature = "aws")]
mod aws;
mod failure;
mod hint;
mod list;
mod local;
mod location;
mod meter;
mod ops;
mod options;
mod page_size;
mod places;
mod secrets;
mod types;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::list::PaginatedListStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::sync::{Semaphore, SemaphorePermit};

use self::list::Lister;
use self::location::Location;
use self::meter::Meter;
use self::page_size::PageSize;
use crate::error::{Error, ErrorKind, Result};

/// The names of an object's user metadata (docs/format.md, "Metadata of segments").
const KFSID: &str = "kfsid";
const KFSNAME: &str = "kfsname";
const KFSMERGED: &str = "kfsmerged";

pub use self::failure::SyncFailure;
#[cfg(any(test, feature = "testing"))]
pub(crate) use self::failure::{Effect, Failure as StoreFailure};
pub use self::local::{DiskHook, DiskOp, DiskVerdict, LocalStore};
pub use self::options::StoreOptions;
pub(crate) use self::places::Sent;
pub use self::types::{Created, Fetched, Identity, ListPage, ObjectInfo, ReadRange, RequestCounts, Version};

/// An object store with what the log needs of it. Cheap to clone; clones share counters and bounds.
#[derive(Clone)]
pub struct Store(Arc<Inner>, Lane);

/// Which bound on the requests under way counts. Commits have their own, so that no ack waits for reads.
#[derive(Clone, Copy, Debug)]
enum Lane {
    Reads,
    Commits,
    /// A place is held already, see [`Held`].
    Held,
}

/// Places among the commits' requests, taken before anything is sent.
pub(crate) struct Held<'a> {
    store: Store,
    _places: SemaphorePermit<'a>,
}

impl Held<'_> {
    /// The store whose requests go out at once. No more of them at a time than places were taken.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

struct Inner {
    url: String,
    /// Put before every key: empty, or ends with `/`.
    prefix: String,
    /// For GETs, listings and deletes: may try again by itself.
    reads: Arc<dyn ObjectStore>,
    /// For creates and overwrites.
    commits: Arc<dyn ObjectStore>,
    lister: Lister,
    kind: Kind,
    meter: Arc<Meter>,
    read_places: Semaphore,
    commit_places: Semaphore,
    page_size: PageSize,
    redact: Option<Redact>,
}

/// Removes the secrets that a client knows from a text.
type Redact = Box<dyn Fn(&str) -> String + Send + Sync>;

/// What is known of a store beyond the trait.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    /// A create or overwrite is one request, never sent again by the client itself.
    single_attempt: bool,
    /// Our own HTTP connector counts the tries.
    counted_on_the_wire: bool,
    /// ETags go into HTTP headers.
    quoted_e_tags: bool,
}

impl Store {
    /// Opens the store that a URL names: `file:///dir`, `memory:` (empty at each open), or with the
    /// feature `aws` `s3://bucket/prefix` with its settings from the environment. Sends no request.
    ///
    /// # Errors
    /// `Unsupported` for another scheme or a feature that is not built in, `InvalidInput` for a URL, options
    /// or settings that can't be right, and what the directory answers: `NotFound` when its parent
    /// does not exist, `InvalidInput` when a file is in its place, `PermissionDenied`.
    pub fn open(url: &str, options: &StoreOptions) -> Result<Self> {
        options.check()?;
        match location::parse(url)? {
            Location::Directory(path) => {
                let local = LocalStore::open(path, options)?;
                let store: Arc<dyn ObjectStore> = Arc::new(local.clone());
                let kind = Kind { single_attempt: true, ..Kind::default() };
                Ok(Self::build(url, String::new(), store.clone(), store, Lister::Directory(local), kind, options))
            }
            Location::Memory { prefix } => {
                let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
                let kind = Kind { single_attempt: true, ..Kind::default() };
                Ok(Self::build(url, prefix, store.clone(), store, Lister::Stream, kind, options))
            }
            #[cfg(feature = "aws")]
            Location::S3 { bucket, prefix } => aws::open(url, &bucket, prefix, options),
            #[cfg(not(feature = "aws"))]
            Location::S3 { .. } => Err(Error::new(ErrorKind::Unsupported, "this build has no S3 client")
                .with_hint("build kfs-core with the feature aws")),
        }
    }

    /// A store over any implementation of the trait. It may try again by itself, so a failed create
    /// counts as [`Created::Unknown`] more often than on a store that [`Store::open`] made. It must
    /// keep user metadata, and list keys in ascending order.
    pub fn from_object_store(store: Arc<dyn ObjectStore>) -> Self {
        Self::from_object_store_with(store, &StoreOptions::default())
    }

    /// [`Store::from_object_store`] with options: only the bound on requests under way counts.
    pub fn from_object_store_with(store: Arc<dyn ObjectStore>, options: &StoreOptions) -> Self {
        let url = format!("custom:{store}");
        Self::build(&url, String::new(), store.clone(), store, Lister::Stream, Kind::default(), options)
    }

    /// A store over an implementation that sends each request once: it never tries a create again by itself.
    /// So an answer such as 403 says for certain that nothing was created.
    #[cfg(any(test, feature = "testing"))]
    pub fn from_object_store_sent_once(store: Arc<dyn ObjectStore>) -> Self {
        let url = format!("custom:{store}");
        let kind = Kind { single_attempt: true, ..Kind::default() };
        Self::build(&url, String::new(), store.clone(), store, Lister::Stream, kind, &StoreOptions::default())
    }

    /// A store over an implementation that lists in pages, as object_store's cloud clients do: its
    /// listings ask for no more keys than are wanted.
    pub fn paginated<S: ObjectStore + PaginatedListStore>(store: Arc<S>) -> Self {
        let url = format!("custom:{store}");
        let lister = Lister::Pages(store.clone());
        let kind = Kind { quoted_e_tags: true, ..Kind::default() };
        Self::build(&url, String::new(), store.clone(), store, lister, kind, &StoreOptions::default())
    }

    fn build(
        url: &str,
        prefix: String,
        reads: Arc<dyn ObjectStore>,
        commits: Arc<dyn ObjectStore>,
        lister: Lister,
        kind: Kind,
        options: &StoreOptions,
    ) -> Self {
        let most = options.max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let inner = Inner {
            url: url.to_string(),
            prefix,
            reads,
            commits,
            lister,
            kind,
            meter: Arc::new(Meter::default()),
            read_places: Semaphore::new(most),
            // A segment and its index go together.
            commit_places: Semaphore::new(most.max(2)),
            page_size: PageSize::default(),
            redact: None,
        };
        Store(Arc::new(inner), Lane::Reads)
    }

    /// The same store, which takes its client's secrets out of what a server says. For a store that has just been
    /// built.
    #[cfg(feature = "aws")]
    fn redacting(mut self, redact: Redact) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.redact = Some(redact);
        }
        self
    }

    /// The text without the secrets of the store's client of 16 characters and more. A server was sent them, and can
    /// return them in the name of an object or in its metadata: whoever prints a name that a listing gave removes them
    /// first.
    pub fn redact(&self, text: &str) -> String {
        self.0.redact.as_ref().map_or_else(|| text.to_string(), |redact| redact(text))
    }

    /// The error of a request for `key`. `status` is the HTTP status, where it is known.
    fn failed(&self, error: &object_store::Error, key: &str, status: Option<u16>) -> Error {
        if failure::is_bucket_missing(error) {
            let message = format!("the bucket of {} does not exist", self.0.url);
            return failure::map(error, key, status).with_kind(ErrorKind::NotFound).with_message(message);
        }
        let mapped = failure::map(error, key, status);
        match status {
            // What is said of another answer was cleaned where it came in.
            Some(200..300) => {
                let message = self.redact(mapped.message());
                mapped.with_message(message)
            }
            _ => mapped,
        }
    }

    /// The URL that the store was opened with. It holds no secret: URLs with a user, a password or
    /// a query are refused.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Whether what is read is mapped: bytes of a whole object cost no copy, and are cached by the
    /// system already.
    pub fn is_mapped(&self) -> bool {
        self.local().is_some_and(LocalStore::is_mapped)
    }

    /// Whether a read of so many bytes is mapped; a shorter one is copied.
    pub(crate) fn maps(&self, bytes: u64) -> bool {
        self.local().is_some_and(|local| local.maps(&(0..bytes)))
    }

    /// Whether a create is one request: its client never sends it again by itself.
    pub(crate) fn sends_once(&self) -> bool {
        self.0.kind.single_attempt
    }

    fn local(&self) -> Option<&LocalStore> {
        match &self.0.lister {
            Lister::Directory(local) => Some(local),
            _ => None,
        }
    }

    /// Forgets what is remembered of a writer whose id (the part of its `kfsid` before the dot) is
    /// given; for when it is closed. On a directory the newest four flushes of each writer are
    /// remembered until then.
    pub fn forget_writer(&self, writer: &str) {
        if let Some(local) = self.local() {
            local.forget_writer(writer);
        }
    }

    /// Requests and bytes so far.
    pub fn requests(&self) -> RequestCounts {
        self.0.meter.counts()
    }

    /// The same store with the bound for commits.
    pub(crate) fn for_commits(&self) -> Store {
        Store(self.0.clone(), Lane::Commits)
    }

    /// Waits for places among the commits' requests: two at most.
    pub(crate) async fn hold(&self, requests: u32) -> Result<Held<'_>> {
        let places = self.0.commit_places.acquire_many(requests).await.map_err(|_| closed())?;
        Ok(Held { store: Store(self.0.clone(), Lane::Held), _places: places })
    }

    /// A place among the requests under way; held until the request has ended.
    async fn permit(&self) -> Result<Option<SemaphorePermit<'_>>> {
        let places = match self.1 {
            Lane::Reads => &self.0.read_places,
            Lane::Commits => &self.0.commit_places,
            Lane::Held => return Ok(None),
        };
        places::waiting(places.acquire()).await.map(Some).map_err(|_| closed())
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
        Path::parse(format!("{}{key}", self.0.prefix))
            .map_err(|_| invalid("it has an empty segment, `.` or `..`, or a control character"))
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store is closed")
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the clients: some print their keys.
        write!(f, "Store({})", self.0.url)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.url)
    }
}
