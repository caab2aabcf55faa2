//! Topics in several buckets, with one default.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};

use super::bucket::Bucket;
use super::options::BucketOptions;
use super::partition::Partition;
use super::retry::Trouble;
use super::shares::BucketShares;
use super::topic_config::TopicConfig;
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::fork::ForkGuard;
use crate::format::Topic;
use crate::runtime::Runtime;
use crate::store::{CredentialSource, Fingerprint, RequestCounts, Store, StoreBackend, StoreConfig, StorePool};

#[cfg(test)]
mod tests;

/// Tells which bucket holds a topic, and opens it. Topics without a route are in the default bucket.
///
/// All buckets run on one runtime and share the buffer for appends ([`BucketOptions::buffer_bytes`]) and the caches for
/// reading. Those that reach the same place with the same credentials share their client, too, and so connections and limits:
/// see [`StorePool`]. Only what is known about segments, at most a quarter of [`BucketOptions::cache_bytes`], is held for
/// each bucket. It is cheap to clone.
///
/// A topic has one bucket for as long as the router lives: the one that it is routed to, or the default one from its first
/// use on. So a topic's log never goes on in another place unnoticed.
///
/// ```
/// use kfs_core::store::{Store, StoreConfig};
/// use kfs_core::{BucketOptions, TopicRouter};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let router = TopicRouter::open(&StoreConfig::from_url("memory:")?, BucketOptions::default())?;
/// router.route_to("audit", Store::open("memory:", &router.options().store)?)?;
///
/// let audit = router.partition("audit", 0)?; // in its own bucket
/// let orders = router.partition("orders", 0)?; // in the default bucket
/// # (audit.create(0).await?, orders.create(0).await?);
/// let topics: Vec<String> = router.topics().await?.iter().map(ToString::to_string).collect();
/// assert_eq!(topics, ["audit", "orders"]);
/// # Ok::<(), kfs_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct TopicRouter(Arc<RouterInner>);

struct RouterInner {
    fork: ForkGuard,
    default: Bucket,
    /// What topics take over of the default store's settings.
    base: StoreConfig,
    options: BucketOptions,
    runtime: Runtime,
    shares: BucketShares,
    pool: StorePool,
    routes: Mutex<Routes>,
}

struct Routes {
    by_topic: BTreeMap<Topic, Bucket>,
    /// Every bucket, the default one first.
    buckets: Vec<RoutedBucket>,
}

#[derive(Clone)]
struct RoutedBucket {
    bucket: Bucket,
    /// `None` where a caller brought the store.
    opened_with: Option<OpenedWith>,
}

/// What a bucket was opened with.
#[derive(Clone)]
struct OpenedWith {
    settings: Fingerprint,
    credentials: Option<Arc<dyn CredentialSource>>,
}

impl PartialEq for OpenedWith {
    fn eq(&self, other: &Self) -> bool {
        let same_source = match (&self.credentials, &other.credentials) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same_source && self.settings == other.settings
    }
}

impl TopicRouter {
    /// A router whose default bucket this configuration describes. It sends no request.
    ///
    /// # Errors
    /// As [`Bucket::open_config`].
    pub fn open(default: &StoreConfig, options: BucketOptions) -> Result<Self> {
        let base = default.with_options(&options.store)?;
        let pool = StorePool::new();
        let store = pool.open(default, &options.store)?;
        let settings = base.fingerprint(options.store.environment)?;
        let opened_with = OpenedWith { settings, credentials: options.store.credentials.clone() };
        Self::with(store, Some(opened_with), base, pool, options)
    }

    /// A router whose default bucket is on this store. Topics take no setting over from it.
    ///
    /// # Errors
    /// As [`Bucket::from_store`].
    pub fn from_store(default: Store, options: BucketOptions) -> Result<Self> {
        let base = StoreConfig::new(StoreBackend::S3).with_options(&options.store)?;
        Self::with(default, None, base, StorePool::new(), options)
    }

    fn with(
        store: Store,
        opened_with: Option<OpenedWith>,
        base: StoreConfig,
        pool: StorePool,
        options: BucketOptions,
    ) -> Result<Self> {
        options.check()?;
        let runtime = match &options.runtime {
            Some(runtime) => runtime.clone(),
            None => Runtime::current_or_own()?,
        };
        let shares = BucketShares::new(&options);
        let default = Bucket::sharing(store, options.clone(), runtime.clone(), &shares);
        let buckets = vec![RoutedBucket { bucket: default.clone(), opened_with }];
        let routes = Mutex::new(Routes { by_topic: BTreeMap::new(), buckets });
        let fork = ForkGuard::here();
        Ok(TopicRouter(Arc::new(RouterInner { fork, default, base, options, runtime, shares, pool, routes })))
    }

    /// The options that the buckets are opened with.
    pub fn options(&self) -> &BucketOptions {
        &self.0.options
    }

    /// The bucket of topics that have no route.
    pub fn default_bucket(&self) -> &Bucket {
        &self.0.default
    }

    /// The pool that the clients come from.
    pub fn pool(&self) -> &StorePool {
        &self.0.pool
    }

    /// Routes a topic to the bucket that its settings name, or to the default bucket if they name none. What they leave out
    /// is as for the default store ([`TopicConfig`] says what). Routing a topic to the same place again has no effect. It
    /// sends no request.
    ///
    /// # Errors
    /// Conflict if the topic has another bucket already; invalid input for a name or settings that can't be right, and for
    /// a `credentials_ref` whose credentials were not supplied; else as [`Bucket::open_config`].
    pub fn route(&self, topic: &str, config: &TopicConfig) -> Result<Bucket> {
        let topic = Topic::new(topic)?;
        self.0.fork.check()?;
        let Some(store) = config.store(&topic, &self.0.base)? else {
            return self.0.lock().fix(topic, self.0.default.clone());
        };
        let mut options = self.0.options.clone();
        // They are in the configuration already, below the topic's own.
        options.store.config.clear();
        if config.has_own_credentials() {
            options.store.credentials = config.credential_source().cloned();
        }
        let settings = store.fingerprint(options.store.environment)?;
        let opened_with = OpenedWith { settings, credentials: options.store.credentials.clone() };
        let fits = |routed: &RoutedBucket| routed.opened_with.as_ref() == Some(&opened_with);
        let open = || Ok(self.0.bucket_on(self.0.pool.open(&store, &options.store)?, options.clone()));
        self.0.route(topic, fits, open, Some(opened_with.clone()))
    }

    /// Routes a topic to a store that the caller brings. Topics on clones of one store share a bucket.
    ///
    /// # Errors
    /// Conflict if the topic has another bucket already; invalid input for a name that can't be a topic's.
    pub fn route_to(&self, topic: &str, store: Store) -> Result<Bucket> {
        let topic = Topic::new(topic)?;
        self.0.fork.check()?;
        let fits = |routed: &RoutedBucket| routed.bucket.store().is_same(&store);
        self.0.route(topic, fits, || Ok(self.0.bucket_on(store.clone(), self.0.options.clone())), None)
    }

    /// The bucket of a topic: the one that it is routed to, else the default one, which is the topic's from then on.
    ///
    /// # Errors
    /// Invalid input for a name that can't be a topic's; closed in a forked child.
    pub fn bucket(&self, topic: &str) -> Result<Bucket> {
        let topic = Topic::new(topic)?;
        self.0.fork.check()?;
        Ok(self.0.lock().by_topic.entry(topic).or_insert_with(|| self.0.default.clone()).clone())
    }

    /// A partition of the default namespace, in the topic's bucket. It asks nothing of the store.
    ///
    /// # Errors
    /// As [`bucket`](Self::bucket); invalid input if the number is not allowed.
    pub fn partition(&self, topic: &str, partition: i32) -> Result<Partition> {
        self.bucket(topic)?.partition(topic, partition)
    }

    /// The topics of the default namespace in all buckets, sorted by name. A topic counts where it is routed to: what another
    /// bucket holds under its name is not seen. It takes one LIST per 1,000 topics of each bucket, all at the same time.
    ///
    /// Dropping the future ends the wait.
    ///
    /// # Errors
    /// As [`Bucket::topics`], of the first bucket that fails. [`Bucket::topics`] lists each of the
    /// [`buckets`](Self::buckets) by itself.
    pub async fn topics(&self) -> Result<Vec<Topic>> {
        let buckets = self.buckets()?;
        let named = |bucket: &Bucket, error: Error| {
            let message = format!("{}: {}", bucket.store().url(), error.message());
            error.with_message(message)
        };
        let found = try_join_all(buckets.iter().map(|bucket| async move {
            let topics = bucket.topics().await.map_err(|error| named(bucket, error))?;
            Ok::<_, Error>(topics.into_iter().map(|topic| (topic, bucket)).collect::<Vec<_>>())
        }));
        let found = found.await?;
        let routes = self.0.lock();
        let is_here = |topic: &Topic, bucket: &Bucket| {
            let routed = routes.by_topic.get(topic).unwrap_or(&self.0.default);
            routed.is_same(bucket)
        };
        let here = found.into_iter().flatten().filter(|(topic, bucket)| is_here(topic, bucket));
        let mut topics: Vec<Topic> = here.map(|(topic, _)| topic).collect();
        topics.sort_unstable();
        Ok(topics)
    }

    /// The partitions of a topic in its bucket: see [`Bucket::partitions`].
    ///
    /// # Errors
    /// As [`Bucket::partitions`]; closed in a forked child.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<Partition>> {
        self.bucket(topic)?.partitions(topic).await
    }

    /// All buckets, the default one first.
    ///
    /// # Errors
    /// Closed in a forked child.
    pub fn buckets(&self) -> Result<Vec<Bucket>> {
        self.0.fork.check()?;
        Ok(self.0.lock().buckets.iter().map(|routed| routed.bucket.clone()).collect())
    }

    /// The requests that were sent to the stores so far, over all buckets. None in a forked child.
    pub fn requests(&self) -> RequestCounts {
        let buckets = self.buckets().unwrap_or_default();
        buckets.iter().fold(RequestCounts::default(), |sum, bucket| sum.plus(&bucket.requests()))
    }

    /// Of all buckets' requests the one that is in trouble, as [`Bucket::trouble`] tells it.
    pub fn trouble(&self) -> Option<Trouble> {
        let buckets = self.buckets().unwrap_or_default();
        let troubles = buckets.iter().filter_map(Bucket::trouble);
        troubles.max_by_key(|trouble| (trouble.error.is_some(), trouble.lasting))
    }

    /// Flushes and closes every writer of every bucket, all at the same time: see [`Bucket::close`]. Topics that are routed
    /// afterwards are closed, too.
    ///
    /// # Errors
    /// As [`Bucket::close`].
    pub async fn close(&self, deadline: Duration) -> Result<()> {
        let buckets = self.buckets()?;
        let ends = join_all(buckets.iter().map(|bucket| bucket.close(deadline))).await;
        first_with_all(ends)
    }
}

/// What all ends say: nothing, or one error for all of them.
fn first_with_all(ends: Vec<Result<()>>) -> Result<()> {
    let errors: Vec<Error> = ends.into_iter().filter_map(Result::err).collect();
    let late = errors.iter().find(|error| error.kind() == ErrorKind::TimedOut);
    let Some(first) = late.or(errors.first()) else { return Ok(()) };
    if errors.len() == 1 {
        return Err(first.clone());
    }
    let texts: Vec<&str> = errors.iter().map(Error::message).collect();
    let all = first.clone().with_message(texts.join("; "));
    Err(match errors.iter().any(|error| error.stored() == Some(Stored::Perhaps)) {
        true => all.with_stored(Stored::Perhaps),
        false => all,
    })
}

impl RouterInner {
    fn lock(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a topic the bucket that fits, or else the one that `open` gives.
    fn route(
        &self,
        topic: Topic,
        fits: impl Fn(&RoutedBucket) -> bool,
        open: impl FnOnce() -> Result<Bucket>,
        opened_with: Option<OpenedWith>,
    ) -> Result<Bucket> {
        let found =
            |routes: &Routes| routes.buckets.iter().find(|routed| fits(routed)).map(|routed| routed.bucket.clone());
        let known = found(&self.lock());
        // Subscribers are told of a bucket that is opened, so no lock is held then.
        let bucket = known.map_or_else(open, Ok)?;
        let mut routes = self.lock();
        // Another thread may have opened it meanwhile.
        let bucket = found(&routes).unwrap_or(bucket);
        routes.fix(topic, bucket.clone())?;
        routes.keep(bucket.clone(), opened_with);
        Ok(bucket)
    }

    fn bucket_on(&self, store: Store, options: BucketOptions) -> Bucket {
        Bucket::sharing(store, options, self.runtime.clone(), &self.shares)
    }
}

impl Routes {
    /// Gives a topic its bucket.
    fn fix(&mut self, topic: Topic, bucket: Bucket) -> Result<Bucket> {
        match self.by_topic.entry(topic) {
            Entry::Vacant(vacant) => Ok(vacant.insert(bucket).clone()),
            Entry::Occupied(routed) if routed.get().is_same(&bucket) => Ok(bucket),
            Entry::Occupied(routed) => {
                let (topic, there, asked) = (routed.key(), routed.get().store().url(), bucket.store().url());
                let message = format!("the topic {topic} is in {there}, and can't be routed to {asked}");
                Err(Error::new(ErrorKind::Conflict, message).with_hint(
                    "route a topic before its first use; to move it, open another router after its writers are closed",
                ))
            }
        }
    }

    fn keep(&mut self, bucket: Bucket, opened_with: Option<OpenedWith>) {
        if !self.buckets.iter().any(|routed| routed.bucket.is_same(&bucket)) {
            self.buckets.push(RoutedBucket { bucket, opened_with });
        }
    }
}

impl fmt::Debug for TopicRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicRouter").field("default", &self.0.default).finish_non_exhaustive()
    }
}
