//! What the handles of a bucket and of its partitions share: the store, the budgets and caches, and what this process
//! knows of each log.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use super::budget::Budget;
use super::cache::{BlockCache, IndexCache};
use super::catalog::{Catalog, CatalogBudget};
use super::log_source::LogSource;
use super::options::BucketOptions;
use super::purgatory::{PollPace, Purgatory};
use super::retry::{Retries, Retry, patiently};
use super::watermarks::WatermarkCell;
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::fork::ForkGuard;
use crate::format::PartitionId;
use crate::observer::Observer;
use crate::runtime::{BoxFuture, Runtime};
use crate::store::{Fetched, ListPage, ReadRange, Store, StoreReader, Version, may_pass};

/// A writer as its partition and its bucket see it.
pub(crate) trait LiveWriter: Send + Sync {
    fn partition_id(&self) -> &PartitionId;

    /// Whether it still takes or flushes appends.
    fn is_live(&self) -> bool;

    /// Whether it is live, and the partition is meant to have this one writer.
    fn is_exclusive(&self) -> bool;

    /// Whether what it knows of the tail may be believed without asking the store: it is the one
    /// exclusive writer, has committed, and that is not longer ago than a writer may sleep. A writer
    /// that was displaced learns of it only by its next flush.
    fn owns_tail(&self) -> bool;

    /// Whether it is exclusive and has committed: the tail was its own, then at least.
    fn has_committed(&self) -> bool;

    /// Batches that are buffered or in flight with final offsets, from the one that holds `offset`
    /// on: whole batches, at least one if there is one, `max_bytes` at most.
    fn buffered(&self, offset: i64, max_bytes: usize) -> Vec<Bytes>;

    /// Takes no more appends, flushes, and closes when all is settled: at once if nothing is buffered.
    fn close(self: Arc<Self>);

    /// Waits until nothing is buffered or in flight, all outcomes are told, and the writer has ended.
    ///
    /// # Errors
    /// Why what was buffered is not all durable.
    fn end(self: Arc<Self>) -> BoxFuture<Result<()>>;

    /// Ends the retries of a flush: what is not durable fails.
    fn give_up(&self);

    /// Whether it gave up because a close's deadline passed.
    fn gave_up(&self) -> bool;
}

/// The states of the partitions that are in use.
#[derive(Default)]
pub(super) struct PartitionsInUse {
    pub(super) by_id: HashMap<PartitionId, Weak<PartitionState>>,
    /// Those that are served from sources.
    pub(super) sourced: Vec<Weak<PartitionState>>,
}

/// What the handles of a bucket and of its partitions share.
pub(crate) struct BucketInner {
    /// For calls of the caller's, which are tried again as its settings say.
    pub(crate) calls: Store,
    /// The same store for what logs read. Each request is sent once, because a log asks again by itself.
    pub(crate) reads: Store,
    /// The same as `reads`, with the limit on concurrent requests that applies to commits.
    pub(crate) commits: Store,
    /// Its reads, with the limit for data far from the end of a log.
    pub(crate) cold: StoreReader,
    pub(crate) runtime: Runtime,
    pub(crate) budget: Arc<Budget>,
    pub(crate) blocks: BlockCache,
    pub(crate) indexes: IndexCache,
    pub(crate) catalogs: Arc<CatalogBudget>,
    pub(crate) options: BucketOptions,
    /// Takes what happens.
    pub(crate) observer: Observer,
    /// The process that opened it. No other process may write with it.
    pub(crate) fork: ForkGuard,
    pub(super) partitions: Mutex<PartitionsInUse>,
    /// The requests to the store now that belong to no partition.
    pub(crate) retries: Retries,
    pub(super) closed: AtomicBool,
    /// The fetches that wait for a log to grow.
    pub(crate) purgatory: Arc<Purgatory>,
}

impl Drop for BucketInner {
    fn drop(&mut self) {
        if self.fork.is_forked() {
            // To drop the clients would wake tasks of the parent's runtime, and wait for locks that its threads may have
            // held. So they live on.
            std::mem::forget((self.calls.clone(), self.reads.clone(), self.commits.clone(), self.runtime.clone()));
        }
    }
}

impl BucketInner {
    pub(super) async fn list_dirs(&self, prefix: &str) -> Result<Vec<String>> {
        patiently(&self.retries, &self.runtime, "listing", || self.reads.list_dirs(prefix)).await
    }

    /// Refuses to open a writer once the bucket is closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Closed, "the bucket was closed").with_stored(Stored::Not));
        }
        Ok(())
    }

    /// Allows whoever writes, after a check of the bucket where it needs one. Asks until the store answers.
    pub(crate) async fn allow_writing(&self, retries: &Retries) -> Result<()> {
        let mut retry = Retry::begin(retries, &self.runtime, "checking the bucket");
        loop {
            match self.reads.allow_writing(&self.runtime, &|cause| retry.note(cause)).await {
                Err(error) if may_pass(&error) => retry.after(error).await,
                answer => {
                    retry.done();
                    return answer;
                }
            }
        }
    }

    /// The partitions that are in use.
    pub(super) fn states(&self) -> Vec<Arc<PartitionState>> {
        let partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.by_id.values().chain(&partitions.sourced).filter_map(Weak::upgrade).collect()
    }

    /// Makes room when catalogs hold more than they should. Those that grew longest ago shrink first.
    pub(crate) fn shed_catalogs(&self) {
        let states = self.states();
        let mut spare: Vec<_> =
            states.iter().filter_map(|s| Some((s.with_catalog(|catalog| catalog.spare())?, s))).collect();
        spare.sort_unstable_by_key(|(used, _)| *used);
        // The last one is in use now.
        spare.pop();
        for (_, state) in spare {
            if !self.catalogs.is_tight() {
                return;
            }
            state.with_catalog(|catalog| catalog.shed());
        }
    }
}

/// What all handles of one partition share in a [`Bucket`](crate::Bucket).
pub(crate) struct PartitionState {
    pub(crate) id: PartitionId,
    pub(crate) bucket: Arc<BucketInner>,
    /// What holds the log instead of `.kfs` segments. Its catalog is then empty, and its store is not asked.
    pub(crate) source: Option<Arc<dyn LogSource>>,
    catalog: Mutex<Catalog>,
    pub(crate) watermarks: WatermarkCell,
    /// How often the store is asked what follows.
    pub(crate) pace: PollPace,
    /// Held by the fetch that locates in a log of which nothing is known. Others wait, and find what it learned.
    pub(crate) first_look: tokio::sync::Mutex<()>,
    /// How many logs this partition was seen to hold, one after the other.
    generation: AtomicU64,
    /// What is asked of the store for it now.
    pub(crate) retries: Retries,
    writers: Mutex<Writers>,
}

#[derive(Default)]
struct Writers {
    /// An exclusive writer is open, or being opened.
    exclusive: bool,
    live: Vec<Weak<dyn LiveWriter>>,
}

impl PartitionState {
    pub(crate) fn new(id: PartitionId, bucket: Arc<BucketInner>, source: Option<Arc<dyn LogSource>>) -> Self {
        let retries = Retries::new(Some(id.clone()), bucket.options.retry, bucket.observer.clone());
        let catalog = Mutex::new(Catalog::sharing(bucket.catalogs.clone()));
        PartitionState {
            id,
            bucket,
            source,
            catalog,
            watermarks: WatermarkCell::default(),
            pace: PollPace::default(),
            first_look: tokio::sync::Mutex::default(),
            generation: AtomicU64::new(0),
            retries,
            writers: Mutex::default(),
        }
    }

    pub(crate) fn with_catalog<T>(&self, work: impl FnOnce(&mut Catalog) -> T) -> T {
        work(&mut self.catalog.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store for reads: this handle can change nothing.
    pub(crate) fn store(&self) -> &StoreReader {
        &self.bucket.reads
    }

    /// The store for data of the segment with this base. What is far from the log's end has a bound of its own, so that a
    /// backfill, however many readers it has, takes no place from those who follow the log.
    pub(crate) fn store_of(&self, base: i64) -> &StoreReader {
        if self.with_catalog(|catalog| catalog.is_near_end(base)) { self.store() } else { &self.bucket.cold }
    }

    /// The store for repairs and for what no ack waits for.
    pub(crate) fn writes(&self) -> &Store {
        &self.bucket.reads
    }

    /// Moves on when the partition turns out to hold another log than before.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The partition holds another log: nothing that was known is of it.
    pub(crate) fn forget_log(&self) {
        self.with_catalog(|catalog| catalog.forget());
        self.watermarks.forget();
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.watermarks.tell_fetches();
        self.observer().log_made_again(&self.id);
    }

    /// What takes the events. Call it under no lock.
    pub(crate) fn observer(&self) -> &Observer {
        &self.bucket.observer
    }

    /// The store with the bound of the commits, for all that an ack waits for.
    pub(crate) fn commits(&self) -> &Store {
        &self.bucket.commits
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.bucket.runtime
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.bucket.runtime.clock().wall_ms()
    }

    pub(crate) fn live_writers(&self) -> Vec<Arc<dyn LiveWriter>> {
        self.lock_writers().live.iter().filter_map(Weak::upgrade).collect()
    }

    fn lock_writers(&self) -> MutexGuard<'_, Writers> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one exclusive writer of this process, if it is live: what it knows of the tail is exact
    /// until it is fenced.
    pub(crate) fn exclusive_writer(&self) -> Option<Arc<dyn LiveWriter>> {
        self.live_writers().into_iter().find(|w| w.is_exclusive())
    }

    /// Refuses what needs `.kfs` segments where a source holds the log.
    ///
    /// # Errors
    /// Unsupported.
    pub(crate) fn check_has_segments(&self) -> Result<()> {
        if self.source.is_none() {
            return Ok(());
        }
        let message = format!("partition {} is served from a LogSource, and this needs its .kfs segments", self.id);
        Err(Error::new(ErrorKind::Unsupported, message)
            .with_hint("Bucket::partition gives the partition of that name that .kfs segments hold"))
    }

    /// Takes the place of the exclusive writer until the reservation is dropped, or says that it is taken.
    pub(crate) fn reserve(self: &Arc<Self>, exclusive: bool) -> Result<Reservation> {
        self.check_has_segments()?;
        self.bucket.check_open()?;
        let mut writers = self.lock_writers();
        if exclusive {
            if writers.exclusive {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("an exclusive writer of partition {} is open in this process", self.id),
                )
                .with_hint("close it first, or share it: a Writer is cheap to clone"));
            }
            writers.exclusive = true;
        }
        Ok(Reservation { state: self.clone(), exclusive })
    }

    /// Makes a writer known, unless the bucket was closed while it was opened.
    pub(crate) fn attach(&self, writer: Weak<dyn LiveWriter>) -> Result<()> {
        self.lock_writers().live.push(writer);
        // After that: either the closing finds the writer, or this finds the bucket closed.
        self.bucket.check_open()
    }
}

/// The place of a writer in its partition.
pub(crate) struct Reservation {
    state: Arc<PartitionState>,
    exclusive: bool,
}

impl Reservation {
    pub(crate) fn state(&self) -> &Arc<PartitionState> {
        &self.state
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // Outlives the lock: the last handle of a writer must not be dropped under it.
        let live = self.state.live_writers();
        let mut writers = self.state.lock_writers();
        if self.exclusive {
            writers.exclusive = false;
        }
        let over = |writer: &Weak<dyn LiveWriter>| {
            live.iter().any(|w| std::ptr::addr_eq(Arc::as_ptr(w), writer.as_ptr()) && !w.is_live())
        };
        writers.live.retain(|writer| writer.strong_count() > 0 && !over(writer));
    }
}

/// What a log reads goes through these.
impl PartitionState {
    /// Allows a writer, after a check of the bucket where it needs one. Asks until the store answers.
    pub(crate) async fn allow_writing(&self) -> Result<()> {
        self.bucket.allow_writing(&self.retries).await
    }

    /// Allows a maintainer that replaces objects, as [`allow_writing`](Self::allow_writing).
    ///
    /// # Errors
    /// Unsupported where the store can't replace an object by its version.
    pub(crate) async fn allow_replacing(&self) -> Result<()> {
        self.allow_writing().await?;
        self.bucket.reads.check_replaces()
    }

    /// Reads an object, or a part of it, as [`StoreReader::get`], until it is answered.
    ///
    /// # Errors
    /// What asking again can't mend: not found, permission denied, conflict, invalid input.
    pub(crate) async fn get(&self, key: &str, range: ReadRange, if_match: Option<&Version>) -> Result<Fetched> {
        self.get_through(self.store(), key, range, if_match).await
    }

    /// The same for [`StoreReader::get_data`] and what belongs to the segment with this base: a copy of the store that
    /// lags may answer.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) async fn get_data(
        &self,
        base: i64,
        key: &str,
        range: ReadRange,
        if_match: Option<&Version>,
    ) -> Result<Fetched> {
        self.check_has_segments()?;
        let read = || self.store_of(base).get_data(key, range.clone(), if_match);
        patiently(&self.retries, self.runtime(), "reading", read).await
    }

    /// The same as [`get`](Self::get) within the bound that this handle of the store keeps: [`commits`](Self::commits) for what an
    /// ack waits for.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) async fn get_through(
        &self,
        store: &StoreReader,
        key: &str,
        range: ReadRange,
        if_match: Option<&Version>,
    ) -> Result<Fetched> {
        self.check_has_segments()?;
        let read = || store.get(key, range.clone(), if_match);
        patiently(&self.retries, self.runtime(), "reading", read).await
    }

    /// Lists a page of keys, as [`StoreReader::list_page`], until it is answered,
    /// within the bound that this handle of the store keeps.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) async fn list_page_through(
        &self,
        store: &StoreReader,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<ListPage> {
        self.check_has_segments()?;
        let list = || store.list_page(prefix, after, max);
        patiently(&self.retries, self.runtime(), "listing", list).await
    }

    /// Asks the source that holds the log, until it answers.
    ///
    /// # Errors
    /// As [`get`](Self::get); invalid input if the source panics.
    pub(crate) async fn ask_source<T, F: Future<Output = Result<T>>>(
        &self,
        doing: &'static str,
        ask: impl Fn() -> F,
    ) -> Result<T> {
        // The call is within the future, so its panics are caught, too.
        let ask = || AssertUnwindSafe(async { ask().await }).catch_unwind().map(|asked| self.unless_panicked(asked));
        patiently(&self.retries, self.runtime(), doing, ask).await
    }

    fn unless_panicked<T>(&self, asked: std::thread::Result<Result<T>>) -> Result<T> {
        asked.unwrap_or_else(|panic| {
            // The panic hook has reported it. Dropping what it carries could panic again.
            std::mem::forget(panic);
            Err(Error::new(ErrorKind::InvalidInput, format!("the log source of partition {} panicked", self.id)))
        })
    }

    /// Adds to the error of a wait that has ended in vain why it did.
    pub(crate) fn explain(&self, error: Error) -> Error {
        self.explain_since(Duration::MAX, error)
    }

    /// The same for a wait that began at `since`, by the clock.
    pub(crate) fn explain_since(&self, since: Duration, error: Error) -> Error {
        let ended = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Closed);
        if !ended || std::error::Error::source(&error).is_some() {
            return error;
        }
        match self.retries.reason(since, self.runtime().clock().elapsed()) {
            Some(trouble) => trouble.explain(error),
            None => error,
        }
    }
}
