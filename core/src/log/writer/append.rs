//! The handle of an append: its offsets, and when they are durable.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use super::delivery::{Callback, FlushOutcome};
use super::shared::WriterCore;
use crate::error::{Result, Stored};
use crate::log::state::PartitionState;
use crate::runtime::shielded;

/// The offsets that an append got: first and last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Offsets {
    /// The first.
    pub base: i64,
    /// The last; at least the first.
    pub last: i64,
}

/// What a callback of [`Append::on_settled`] means for the flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interest {
    /// It waits for durability, as [`Append::durable`] does: the writer flushes as soon as
    /// [`linger`](super::WriterOptions::linger) allows.
    Waits,
    /// It observes: the flush starts when something else starts it.
    Observes,
}

/// An append that is in the writer's buffer or beyond. Dropping it changes nothing for the append.
///
/// Awaiting it waits until it is durable, as [`durable`](Self::durable) does:
///
/// ```
/// # use kfs_core::{Bucket, Result, format::NewRecord};
/// # async fn pay(writer: kfs_core::Writer) -> Result<()> {
/// let append = writer.append(&[NewRecord::new(1_767_225_600_000).value(b"paid")]).await?; // it is buffered
/// let offsets = append.await?; // it is durable
/// # Ok(()) }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let bucket = Bucket::open("memory:")?;
/// # pay(bucket.partition("orders", 0)?.writer().await?).await
/// # })?;
/// # Ok::<(), kfs_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Append {
    pub(super) core: Arc<WriterCore>,
    pub(super) outcome: Arc<FlushOutcome>,
    /// Number of its group, to tell the writer that a caller waits for it.
    pub(super) group: u64,
    /// Relative to the writer's own count; what is added is fixed when the offsets are final.
    pub(super) first: i64,
    pub(super) count: i64,
}

impl Append {
    /// Its offsets, if they are final: it is durable, or nothing but the failure of this append can
    /// change them any more (see [`OnConflict`](super::OnConflict)). Not a promise of durability.
    pub fn final_offsets(&self) -> Option<Offsets> {
        match self.outcome.get() {
            Some(Ok(shift)) => Some(self.offsets(*shift)),
            Some(Err(_)) => None,
            // A forked child must not wait for the writer's lock.
            None if self.here().is_err() => None,
            None => self.core.final_shift().map(|shift| self.offsets(shift)),
        }
    }

    /// Whether it is settled: `None` while it is buffered or in flight.
    pub fn outcome(&self) -> Option<Result<Offsets>> {
        self.outcome.get().map(|result| result.clone().map(|shift| self.offsets(shift)))
    }

    /// Waits until it is durable. From the first poll on, the writer flushes as soon as
    /// [`linger`](super::WriterOptions::linger) allows. Dropping the future ends the wait only.
    ///
    /// # Errors
    /// Why the flush failed; [`Error::stored`](crate::Error::stored) says whether the bytes may be in the log.
    pub fn durable(&self) -> impl Future<Output = Result<Offsets>> + Send + 'static {
        let append = self.clone();
        async move {
            if append.outcome.get().is_none() {
                append.here()?;
                append.core.caller_waits(append.group);
            }
            append.outcome.wait().await.map(|shift| append.offsets(shift))
        }
    }

    /// Calls back once when it is settled, on the writer's runtime and never from within this call
    /// (but within it if that runtime was shut down, or in a forked child). `interest` says whether it makes the writer
    /// flush.
    ///
    /// Callbacks of one writer run one at a time, in the order in which its appends end. By then the
    /// append's room in the buffer is free, and so is the place of a writer that was fenced: another may
    /// be opened. A callback must be short, for the writer waits for it. If it panics, only the rest of
    /// that callback is lost.
    pub fn on_settled(&self, interest: Interest, callback: impl FnOnce(Result<Offsets>) + Send + 'static) {
        if let Err(error) = self.here() {
            return shielded(|| callback(self.outcome().unwrap_or(Err(error))));
        }
        if interest == Interest::Waits && self.outcome.get().is_none() {
            self.core.caller_waits(self.group);
        }
        let append = self.clone();
        let callback: Callback = Box::new(move |outcome| callback(outcome.clone().map(|shift| append.offsets(shift))));
        if let Some(late) = self.outcome.keep(self.first, callback) {
            self.core.deliveries.add(self.outcome.clone(), vec![late]);
            self.core.deliveries.tell_on(self.core.state().runtime());
        }
    }

    /// Refuses what needs the writer in a forked child. The parent may store the append. The child does not.
    fn here(&self) -> Result<()> {
        self.core.state().bucket.fork.check().map_err(|error| error.with_stored(Stored::Perhaps))
    }

    /// Where what the writer asks of the store can be seen.
    pub(crate) fn state(&self) -> &PartitionState {
        self.core.state()
    }

    fn offsets(&self, shift: i64) -> Offsets {
        let base = self.first.saturating_add(shift);
        Offsets { base, last: base.saturating_add(self.count.saturating_sub(1)) }
    }
}

impl IntoFuture for Append {
    type Output = Result<Offsets>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Offsets>> + Send + 'static>>;

    /// Waits until it is durable, as [`durable`](Append::durable) does. Dropping the future ends the wait only.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.durable())
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append")
            .field("offsets", &self.final_offsets())
            .field("settled", &self.outcome.get().is_some())
            .finish()
    }
}
