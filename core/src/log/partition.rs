//! A partition: a name, and what this process knows of it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::bucket::BucketInner;
use super::catalog::Catalog;
use super::marks::{Marks, MarksCell};
use super::retry::Retries;
use super::writer::{Writer, WriterCore, WriterOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::format::PartitionId;
use crate::runtime::Runtime;
use crate::store::Store;

/// A partition's log by name. Making one asks nothing of the store; cheap to clone.
#[derive(Clone)]
pub struct Partition(Arc<PartitionState>);

/// What all handles of one partition share in a [`Bucket`](crate::Bucket).
pub(crate) struct PartitionState {
    pub(crate) id: PartitionId,
    pub(crate) bucket: Arc<BucketInner>,
    pub(crate) catalog: Mutex<Catalog>,
    pub(crate) marks: MarksCell,
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
    live: Vec<Weak<WriterCore>>,
}

impl PartitionState {
    pub(crate) fn new(id: PartitionId, bucket: Arc<BucketInner>) -> Self {
        let catalog = Mutex::new(Catalog::sharing(bucket.catalogs.clone()));
        PartitionState {
            id,
            bucket,
            catalog,
            marks: MarksCell::default(),
            generation: AtomicU64::new(0),
            retries: Retries::default(),
            writers: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.bucket.store
    }

    /// Moves on when the partition turns out to hold another log than before.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The partition holds another log: nothing that was known is of it.
    pub(crate) fn forget_log(&self) {
        self.with_catalog(|catalog| catalog.forget());
        self.marks.forget();
        self.generation.fetch_add(1, Ordering::AcqRel);
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

    pub(crate) fn live_writers(&self) -> Vec<Arc<WriterCore>> {
        self.lock_writers().live.iter().filter_map(Weak::upgrade).collect()
    }

    fn lock_writers(&self) -> MutexGuard<'_, Writers> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one exclusive writer of this process, if it is live: what it knows of the tail is exact
    /// until it is fenced.
    pub(crate) fn exclusive_writer(&self) -> Option<Arc<WriterCore>> {
        self.live_writers().into_iter().find(|w| w.is_exclusive())
    }

    /// Takes the place of the exclusive writer until the reservation is dropped, or says that it is taken.
    pub(crate) fn reserve(self: &Arc<Self>, exclusive: bool) -> Result<Reservation> {
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
    pub(crate) fn attach(&self, writer: &Arc<WriterCore>) -> Result<()> {
        self.lock_writers().live.push(Arc::downgrade(writer));
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
        let over = |writer: &Weak<WriterCore>| live.iter().any(|w| Arc::as_ptr(w) == writer.as_ptr() && !w.is_live());
        writers.live.retain(|writer| writer.strong_count() > 0 && !over(writer));
    }
}

impl Partition {
    pub(crate) fn new(state: Arc<PartitionState>) -> Self {
        Partition(state)
    }

    pub(crate) fn state(&self) -> &Arc<PartitionState> {
        &self.0
    }

    /// Its name.
    pub fn id(&self) -> &PartitionId {
        &self.0.id
    }

    /// The base offset of the segment that holds an offset, as far as this process knows: what a
    /// fetch looks up first. For the benchmark of that.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn known_segment(&self, offset: i64) -> Option<i64> {
        self.0.with_catalog(|catalog| match catalog.lookup(offset) {
            super::catalog::Lookup::In { base, .. } => Some(base),
            _ => None,
        })
    }

    /// The range of the log as far as this process knows it, without asking the store; `None` before
    /// anything was learned. A writer in this process keeps it exact while it is not fenced;
    /// else [`refresh`](Self::refresh) asks the store.
    pub fn marks(&self) -> Option<Marks> {
        self.0.marks.get()
    }

    /// Opens a writer: finds the tail, checks the newest segment and makes its index right. An empty
    /// partition is left untouched until the first append.
    ///
    /// # Errors
    /// Conflict when another start offset was fixed, or an exclusive writer is open in this process;
    /// corrupt when the newest segment is not whole; fenced when it holds a higher leader epoch; closed
    /// when the bucket is.
    pub async fn writer(&self, options: WriterOptions) -> Result<Writer> {
        let state = self.0.clone();
        self.0.runtime().ask(super::writer::open(state, options)).await
    }

    /// Creates the log without an append: `log.json` with its start offset. When it exists already,
    /// its start offset is accepted if it is the same.
    ///
    /// # Errors
    /// Conflict when the log exists with another start offset; invalid input for an offset out of
    /// range; what the store answers.
    pub async fn create(&self, start_offset: i64) -> Result<()> {
        let state = self.0.clone();
        self.0.runtime().ask(async move { super::writer::create(&state, start_offset).await }).await
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Partition").field(&self.0.id.to_string()).finish()
    }
}
