//! The root object: a store, a runtime, and the budgets that all partitions share.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use object_store::ObjectStore;

use super::catalog::CatalogBudget;
use super::log_source::LogSource;
use super::options::BucketOptions;
use super::partition::Partition;
use super::purgatory::Purgatory;
use super::retry::{Retries, Trouble};
use super::shares::BucketShares;
use super::state::{BucketInner, LiveWriter, PartitionState};
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::fork::ForkGuard;
use crate::format::{PartitionId, Topic};
use crate::observer::Observer;
use crate::runtime::Runtime;
use crate::store::{RequestCounts, Store, StoreConfig};
use crate::text::counted;

/// How many partitions the error of a failed close names.
const MOST_NAMED: usize = 100;

/// A bucket (or a directory, or memory) that holds partition logs. It is cheap to clone. A process needs only
/// one, which owns the budgets of all its partitions.
#[derive(Clone)]
pub struct Bucket(pub(crate) Arc<BucketInner>);

impl Bucket {
    /// Opens `file:///directory`, `memory:` or, with the feature `aws`, `s3://bucket/prefix`
    /// (settings from the environment). It sends no request.
    ///
    /// # Errors
    /// Invalid input for a URL that can't be understood and for options that make no sense; unsupported for a scheme that
    /// is unknown or not built in; and whatever makes a directory unusable.
    pub fn open(url: &str) -> Result<Self> {
        Self::open_with(url, BucketOptions::default())
    }

    /// Like [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(url: &str, options: BucketOptions) -> Result<Self> {
        Self::from_store(Store::open(url, &options.store)?, options)
    }

    /// Opens the bucket that a [`StoreConfig`] describes, as it was made from a URL, a document or the environment.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_config(config: &StoreConfig, options: BucketOptions) -> Result<Self> {
        Self::from_store(Store::open_config(config, &options.store)?, options)
    }

    /// A bucket over any `object_store` implementation. The store must create objects atomically if they are absent
    /// (`PutMode::Create`), and must give user metadata back.
    ///
    /// # Errors
    /// Invalid input for options that make no sense; unavailable if a runtime is needed and can't be started.
    pub fn from_object_store(store: Arc<dyn ObjectStore>, options: BucketOptions) -> Result<Self> {
        Self::from_store(Store::from_object_store_with(store, &options.store), options)
    }

    /// A bucket over an opened [`Store`].
    ///
    /// # Errors
    /// Invalid input for options that make no sense; unavailable if a runtime is needed and can't be started.
    pub fn from_store(store: Store, options: BucketOptions) -> Result<Self> {
        options.check()?;
        let runtime = match &options.runtime {
            Some(runtime) => runtime.clone(),
            None => Runtime::current_or_own()?,
        };
        let shares = BucketShares::new(&options);
        Ok(Self::sharing(store, options, runtime, &shares))
    }

    /// A bucket that shares budgets with others. The options were checked.
    pub(super) fn sharing(store: Store, options: BucketOptions, runtime: Runtime, shares: &BucketShares) -> Self {
        let observer = observe(&store, &runtime, &options);
        let calls = store.observed(observer.clone()).waiting_on(&runtime);
        let reads = calls.clone().without_retries();
        let budget = shares.budget.clone();
        let (blocks, indexes) = shares.caches(&observer);
        let catalogs = CatalogBudget::new(options.cache_bytes / 4);
        Bucket(Arc::new(BucketInner {
            commits: reads.for_commits(),
            cold: reads.for_cold_reads(),
            reads,
            calls,
            runtime,
            budget,
            blocks,
            indexes,
            catalogs,
            retries: Retries::new(None, options.retry, observer.clone()),
            options,
            fork: ForkGuard::here(),
            partitions: Mutex::default(),
            observer,
            closed: AtomicBool::new(false),
            purgatory: Arc::new(Purgatory::default()),
        }))
    }

    /// Whether both are handles of one bucket.
    pub(super) fn is_same(&self, other: &Bucket) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A partition of the default namespace. This only names it, and asks nothing of the store.
    ///
    /// # Errors
    /// Invalid input if the topic's name or the number is not allowed (docs/format.md, "Names").
    pub fn partition(&self, topic: &str, partition: i32) -> Result<Partition> {
        let topic = Topic::new(topic)?;
        Ok(self.partition_of(PartitionId::new(self.0.options.namespace.clone(), topic, partition)?))
    }

    /// A partition by its full name. This asks nothing of the store.
    pub fn partition_of(&self, id: PartitionId) -> Partition {
        if self.0.fork.is_forked() {
            // Whatever is asked of it is refused. A thread of the parent may have held the lock.
            return Partition::new(Arc::new(PartitionState::new(id, self.0.clone(), None)));
        }
        let mut partitions = self.0.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let by_id = &mut partitions.by_id;
        if let Some(state) = by_id.get(&id).and_then(Weak::upgrade) {
            return Partition::new(state);
        }
        if by_id.len() == by_id.capacity() {
            by_id.retain(|_, state| state.strong_count() > 0);
        }
        let state = Arc::new(PartitionState::new(id.clone(), self.0.clone(), None));
        by_id.insert(id, Arc::downgrade(&state));
        Partition::new(state)
    }

    /// A partition whose log `source` holds instead of `.kfs` segments. This asks nothing of the source.
    ///
    /// Its readers, their streams, [`fetch_many`](Self::fetch_many), `refresh`, `earliest`, `latest`, `watermarks`, watches and
    /// `segments` are served from the source. All else fails as *unsupported*: writers, searches by timestamp, reading one
    /// segment, verify and repair. Each call makes a partition of its own, which knows nothing of the log that
    /// [`partition`](Self::partition) gives for the same name; its clones share what they know.
    ///
    /// # Errors
    /// Invalid input if the topic's name or the number is not allowed (docs/format.md, "Names"); closed in a forked child.
    pub fn partition_from(&self, topic: &str, partition: i32, source: Arc<dyn LogSource>) -> Result<Partition> {
        self.0.fork.check()?;
        let id = PartitionId::new(self.0.options.namespace.clone(), Topic::new(topic)?, partition)?;
        let state = Arc::new(PartitionState::new(id, self.0.clone(), Some(source)));
        let mut partitions = self.0.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let sourced = &mut partitions.sourced;
        if sourced.len() == sourced.capacity() {
            sourced.retain(|state| state.strong_count() > 0);
        }
        sourced.push(Arc::downgrade(&state));
        Ok(Partition::new(state))
    }

    /// The store, for calls of your own. These are tried again as the store's settings say; what a log asks of it is tried
    /// again as [`BucketOptions::retry`] says.
    pub fn store(&self) -> &Store {
        &self.0.calls
    }

    /// The runtime that the bucket's work runs on.
    pub fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    /// The options that the bucket was opened with.
    pub fn options(&self) -> &BucketOptions {
        &self.0.options
    }

    /// The requests that were sent to the store so far.
    pub fn requests(&self) -> RequestCounts {
        self.0.calls.requests()
    }

    /// The request to the store that is in trouble: of all requests now, the one that has failed for
    /// longest, or that has had no answer for a second or more. `None` while all is well. This looks at every
    /// partition that is in use, so call it now and then, not at every append. `None` in a forked child.
    pub fn trouble(&self) -> Option<Trouble> {
        if self.0.fork.is_forked() {
            return None;
        }
        let now = self.0.runtime.clock().elapsed();
        let of_partitions = self.0.states().into_iter().filter_map(|state| state.retries.worst(now));
        of_partitions.chain(self.0.retries.worst(now)).max_by_key(|trouble| (trouble.error.is_some(), trouble.lasting))
    }

    /// Adds the cause to the error of a wait for topics or partitions that timed out.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self.0.retries.worst(self.0.runtime.clock().elapsed()) {
            Some(trouble) if error.kind() == ErrorKind::TimedOut => trouble.explain(error),
            _ => error,
        }
    }

    /// How many bytes of appends are buffered or in flight now; 0 in a forked child.
    pub fn buffered_bytes(&self) -> usize {
        if self.0.fork.is_forked() { 0 } else { self.0.budget.used() }
    }

    /// Flushes and closes every writer, all at the same time. From the first poll on the bucket takes no more appends, and
    /// opening a writer fails as *closed*. Fetches that wait for a log to grow end as *closed*. Other reading goes on.
    /// Appends that are not durable within `deadline` are given up. Dropping the future ends the wait, not the closing.
    ///
    /// # Errors
    /// Timed out, with the names of the partitions whose appends are not all durable, and with a
    /// [`stored`](Error::stored) that covers all of them; else the first failure.
    pub async fn close(&self, deadline: Duration) -> Result<()> {
        self.0.fork.check()?;
        // This comes before the writers are collected, so that a writer that is just being opened is either found or refused.
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.purgatory.close();
        let writers: Vec<_> = self.0.states().iter().flat_map(|state| state.live_writers()).collect();
        for writer in &writers {
            writer.clone().close();
        }
        let runtime = self.0.runtime.clone();
        let ends = join_all(writers.iter().map(|writer| writer.clone().end())).now_or_never();
        let ends = match ends {
            Some(ends) => ends,
            // Some writer has appends to flush, which needs the runtime.
            None => {
                let closing = writers.clone();
                self.0.runtime.run(async move { Ok(end_all(&runtime, &closing, deadline).await) }).await?
            }
        };
        let failed = writers.iter().zip(ends).filter_map(|(writer, end)| Some((writer, end.err()?)));
        not_durable(&failed.collect::<Vec<_>>(), deadline).map_or(Ok(()), Err)
    }

    /// The topics of the default namespace, sorted by name. It takes one LIST per 1,000 topics.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Not found if the bucket or its directory does not exist; else what the store answers.
    pub async fn topics(&self) -> Result<Vec<Topic>> {
        let inner = self.0.clone();
        self.0
            .runtime
            .ask(async move {
                let names = inner.list_dirs(&format!("{}/", inner.options.namespace)).await?;
                // A bucket may hold foreign objects too, so names that can't be a topic's are left out.
                Ok(names.iter().filter_map(|name| Topic::new(name).ok()).collect())
            })
            .await
    }

    /// The partitions of a topic, sorted by number. It takes one LIST per 1,000 partitions. A folder with a partition's name
    /// counts as a partition whatever it holds, even if that is only a claim marker.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Invalid input if the topic's name is not allowed; else as [`topics`](Self::topics).
    pub async fn partitions(&self, topic: &str) -> Result<Vec<Partition>> {
        let (inner, topic) = (self.0.clone(), Topic::new(topic)?);
        let ids: Vec<PartitionId> = self
            .0
            .runtime
            .ask(async move {
                let namespace = &inner.options.namespace;
                let names = inner.list_dirs(&format!("{namespace}/{topic}/")).await?;
                let mut numbers: Vec<i32> = names
                    .iter()
                    .filter_map(|name| name.parse().ok().filter(|n: &i32| n.to_string() == *name))
                    .collect();
                numbers.sort_unstable();
                numbers.into_iter().map(|n| PartitionId::new(namespace.clone(), topic.clone(), n)).collect()
            })
            .await?;
        Ok(ids.into_iter().map(|id| self.partition_of(id)).collect())
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.0.calls).finish()
    }
}

/// What takes the events of a bucket, which is opened with this.
fn observe(store: &Store, runtime: &Runtime, options: &BucketOptions) -> Observer {
    let names = store.clone();
    let observer = Observer::new(runtime.clock().clone(), options.recorder.clone(), move |name| names.redact(name));
    observer.bucket_opened(store.url(), store.place(), store.credentials_from());
    observer
}

/// Waits until all writers have ended. Writers that have not ended by the deadline give up.
async fn end_all(runtime: &Runtime, writers: &[Arc<dyn LiveWriter>], deadline: Duration) -> Vec<Result<()>> {
    let all = || join_all(writers.iter().map(|writer| writer.clone().end()));
    if let Some(ends) = runtime.timeout(deadline, all()).await {
        return ends;
    }
    for writer in writers.iter().filter(|writer| writer.is_live()) {
        writer.give_up();
    }
    all().await
}

/// The error of a close after which some writers' appends are not all durable.
fn not_durable(failed: &[(&Arc<dyn LiveWriter>, Error)], deadline: Duration) -> Option<Error> {
    let (_, first) = failed.first()?;
    let late = failed.iter().any(|(writer, _)| writer.gave_up());
    let kind = if late { ErrorKind::TimedOut } else { first.kind() };
    let within = if late { format!(" within {deadline:?}") } else { String::new() };
    let named = failed.iter().take(MOST_NAMED).map(|(writer, error)| format!("{}: {error}", writer.partition_id()));
    let named = named.collect::<Vec<_>>().join("; ");
    let more = failed.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let partitions = counted(failed.len(), "partition");
    let are = if failed.len() == 1 { "is" } else { "are" };
    let message = format!("{partitions} {are} not all durable{within}: {named}{more}");
    let error = Error::new(kind, message).with_source(first.clone());
    let stored = failed.iter().filter_map(|(_, error)| error.stored());
    let perhaps = stored.clone().find(|stored| *stored == Stored::Perhaps);
    Some(match perhaps.or_else(|| stored.clone().next()) {
        Some(stored) => error.with_stored(stored),
        None => error,
    })
}
