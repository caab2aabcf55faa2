//! What reaches one place with one set of credentials.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use object_store::ObjectStore;
use tokio::sync::Semaphore;

use super::breaker::Breaker;
#[cfg(feature = "_http")]
use super::config::Settings;
use super::dialect::Dialect;
use super::hedge::Hedges;
#[cfg(feature = "_http")]
use super::http::Secrets;
use super::list::Lister;
use super::options::StoreOptions;
use super::paging::PageSize;
use super::replica::Replica;
use super::setting_names::SettingNames;

/// The clients of one place, and what limits their requests. Stores of the same place and credentials that differ only in
/// their prefixes may share it: then they share connections, limits and the breaker, too.
///
/// What belongs to a prefix, such as the count of requests, is in [`StoreInner`](super::StoreInner).
pub(super) struct StoreClient {
    /// For GETs, listings and deletes. One that a caller brings may retry by itself.
    pub(super) reads: Arc<dyn ObjectStore>,
    /// For whatever writes.
    pub(super) commits: Arc<dyn ObjectStore>,
    /// A copy of the place that lags behind it, for reads of data.
    pub(super) replica: Option<Replica>,
    pub(super) lister: Lister,
    /// Sends each request once, for checks of the bucket. `None` where the library does not reach the store over the network.
    pub(super) once: Option<Once>,
    pub(super) backend: Backend,
    pub(super) read_places: Semaphore,
    /// Who has one of these waits for one of `read_places` then, never the other way round.
    pub(super) bulk_places: Semaphore,
    pub(super) commit_places: Semaphore,
    /// For data of segments far from the end of a log.
    pub(super) cold_places: Semaphore,
    /// Leaves the place alone while it is away. `None` where every request is sent.
    pub(super) breaker: Option<Arc<Breaker>>,
    /// What is known of how long creates take, where slow ones are sent a second time.
    pub(super) hedges: Option<Hedges>,
    pub(super) page_size: PageSize,
    pub(super) redact: Option<Redact>,
    /// How the settings were set that hints name. `None` where there are none.
    pub(super) setting_names: Option<Arc<SettingNames>>,
    /// The store does not serve the last bytes of an object by their number alone.
    pub(super) lacks_suffix_ranges: AtomicBool,
}

/// What reaches a bucket in a cloud: object_store's clients, made twice with the same settings. One is for reads. The other
/// is for commits and for checks of the bucket, and does not take a long upload for silence.
#[cfg(feature = "_http")]
pub(super) struct CloudClients {
    pub(super) dialect: Dialect,
    pub(super) lacks_suffix_ranges: bool,
    pub(super) reads: Arc<dyn ObjectStore>,
    pub(super) commits: Arc<dyn ObjectStore>,
    /// Reads and deletes as part of a check.
    pub(super) reads_once: Arc<dyn ObjectStore>,
    /// For all listings, and for those of a check.
    pub(super) listers: [Lister; 2],
    pub(super) replica: Option<Replica>,
    /// Where the credentials come from, for messages.
    pub(super) credentials: String,
}

/// Clients that send each request once.
pub(super) struct Once {
    pub(super) reads: Arc<dyn ObjectStore>,
    pub(super) lister: Lister,
}

/// Removes from a text the secrets that a client knows.
pub(super) type Redact = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// What is known about a store that its trait does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backend {
    /// Whose answers these are.
    pub(super) dialect: Dialect,
    /// A write is one request: the client never sends it again by itself.
    pub(super) single_attempt: bool,
    /// Our own HTTP connector counts requests, retries included.
    pub(super) counted_on_the_wire: bool,
    /// ETags are sent in HTTP headers, and need quotes there.
    pub(super) quoted_e_tags: bool,
    /// The store does not serve the last bytes of an object by their number alone.
    pub(super) lacks_suffix_ranges: bool,
}

impl StoreClient {
    /// A client with the limits and the breaker that the options say.
    pub(super) fn new(
        reads: Arc<dyn ObjectStore>,
        commits: Arc<dyn ObjectStore>,
        lister: Lister,
        backend: Backend,
        options: &StoreOptions,
    ) -> Self {
        let most = options.max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let may_hedge = backend.single_attempt && !matches!(lister, Lister::Directory(_));
        StoreClient {
            reads,
            commits,
            replica: None,
            lister,
            once: None,
            backend,
            read_places: Semaphore::new(most),
            bulk_places: Semaphore::new((most / 2).max(1)),
            // A segment and its index are sent together.
            commit_places: Semaphore::new(most.max(2)),
            cold_places: Semaphore::new(options.cold_places(most)),
            // In a directory a second create would write the same file. A client that tries again by itself is hedged
            // already.
            hedges: options.hedge.filter(|_| may_hedge).map(Hedges::new),
            breaker: options.breaker.and_then(|breaker| Breaker::new(&options.clock, breaker)),
            page_size: PageSize::default(),
            redact: None,
            setting_names: None,
            lacks_suffix_ranges: AtomicBool::new(backend.lacks_suffix_ranges),
        }
    }

    /// The client of a bucket in a cloud, which removes its secrets from what a server says.
    #[cfg(feature = "_http")]
    pub(super) fn of_cloud(
        clients: CloudClients,
        settings: &Settings,
        secrets: Arc<Secrets>,
        options: &StoreOptions,
    ) -> Self {
        let CloudClients { dialect, lacks_suffix_ranges, reads, commits, reads_once, listers, replica, credentials } =
            clients;
        let backend = Backend {
            dialect,
            single_attempt: true,
            counted_on_the_wire: true,
            quoted_e_tags: true,
            lacks_suffix_ranges,
        };
        let [lister, lister_once] = listers;
        StoreClient {
            replica,
            once: Some(Once { reads: reads_once, lister: lister_once }),
            redact: Some(Arc::new(move |text| secrets.strip_from_name(text))),
            setting_names: Some(Arc::new(SettingNames::of(settings, credentials))),
            ..StoreClient::new(reads, commits, lister, backend, options)
        }
    }
}
