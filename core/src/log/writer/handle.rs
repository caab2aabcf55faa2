//! The writer's handle.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use super::admission::{Admission, not_stored};
use super::append::{Append, Offsets};
use super::checked::{CheckedBatches, check_batches, check_records, take_batches};
use super::open::open_chain;
use super::options::WriterOptions;
use super::shared::WriterCore;
use super::shared::intake::Content;
use super::status::WriterStatus;
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::format::{Batch, BatchBuilder, BatchOptions, NewRecord, PartitionId};
use crate::log::budget::Permit;
use crate::log::state::{LiveWriter, PartitionState};
use crate::text::counted;

/// How long a writer that was dropped goes on trying to flush.
const DROP_DEADLINE: Duration = Duration::from_secs(30);

/// Appends to one partition. Cheap to clone; all clones append to the same buffer.
///
/// Appends are buffered and go into one segment together, by bytes, records, batches, time, and
/// because a caller waits. Close it with [`close`](Self::close). When the last clone is dropped
/// without that, what is buffered is still flushed while the runtime lives (for 30 s at most),
/// but nobody learns of a failure.
#[derive(Clone)]
pub struct Writer(Arc<Handle>);

struct Handle(Arc<WriterCore>);

/// Opens a writer; runs on the bucket's runtime.
pub(crate) async fn open(state: Arc<PartitionState>, options: WriterOptions) -> Result<Writer> {
    options.check()?;
    state.bucket.fork.check()?;
    let reservation = state.reserve(options.on_conflict.is_exclusive())?;
    state.allow_writing().await?;
    let chain = open_chain(&state, &options).await?;
    let next = chain.next_slot();
    let core = WriterCore::new(reservation, options, chain);
    state.observer().writer_opened(&state.id, &core.options.on_conflict, next);
    let writer = Writer(Arc::new(Handle(core)));
    let known = Arc::downgrade(writer.core());
    state.attach(known)?;
    Ok(writer)
}

impl Writer {
    pub(super) fn core(&self) -> &Arc<WriterCore> {
        &self.0.0
    }

    /// What the writer's handles share. In a forked child nothing of it may be used, for a thread of the parent may have
    /// held its locks.
    fn here(&self) -> Result<&Arc<WriterCore>> {
        self.state().bucket.fork.check()?;
        Ok(self.core())
    }

    /// The partition.
    pub fn partition_id(&self) -> &PartitionId {
        self.core().partition_id()
    }

    /// The options it was opened with.
    pub fn options(&self) -> &WriterOptions {
        &self.core().options
    }

    /// Why it takes no appends any more: fenced, poisoned or closed, or this is a forked child. `None` while it does.
    pub fn failure(&self) -> Option<Error> {
        match self.here() {
            Ok(core) => core.refusal(),
            Err(error) => Some(error),
        }
    }

    /// What it is doing now, what is buffered, and why a flush waits if one does. Asks nothing of the
    /// store. In a forked child the phase is *failed*, and all else is empty.
    pub fn status(&self) -> WriterStatus {
        match self.here() {
            Ok(core) => core.status(),
            Err(error) => WriterStatus::failed(error),
        }
    }

    /// Where what it asks of the store can be seen.
    pub(crate) fn state(&self) -> &Arc<PartitionState> {
        self.core().state()
    }

    /// Appends records. They get the next offsets, and share batches with other appends up to
    /// [`batch_bytes`](WriterOptions::batch_bytes). All get into one segment or none. The append takes its place
    /// at this call; the future waits only for room in the buffer. Dropping it before that takes the
    /// append back.
    ///
    /// # Errors
    /// Invalid input for no records, or one that is too large; closed or fenced when the writer is.
    pub fn append(&self, records: &[NewRecord<'_>]) -> Admission {
        let bytes = match check_records(records) {
            Ok(bytes) => bytes,
            Err(error) => return Admission::ready(Err(error)),
        };
        let core = match self.here() {
            Ok(core) => core,
            Err(error) => return Admission::ready(Err(error)),
        };
        if let Some(permit) = core.account.try_acquire(bytes) {
            return Admission::ready(core.enqueue_now(Content::Records(records), bytes, permit));
        }
        // While it waits for room it must own its bytes: as batches.
        match core.build_batches(records) {
            Ok(built) => self.admit(Content::Batches(built), bytes),
            Err(error) => Admission::ready(Err(error)),
        }
    }

    /// Like [`append`](Self::append), but never waits.
    ///
    /// # Errors
    /// Full when the buffer has no room; else as [`append`](Self::append).
    pub fn try_append(&self, records: &[NewRecord<'_>]) -> Result<Append> {
        let bytes = check_records(records).map_err(not_stored)?;
        let permit = self.try_room(bytes)?;
        self.core().enqueue_now(Content::Records(records), bytes, permit).map_err(not_stored)
    }

    /// Like [`append`](Self::append), of record batches (magic 2) as a Kafka client sent them: one or several, back to
    /// back. They get the next offsets and keep everything else, compressed or not.
    ///
    /// Each batch is checked on the calling thread, as [`batch_check`](WriterOptions::batch_check) says.
    ///
    /// # Errors
    /// Invalid input, with the position in the bytes, for a batch that is refused; closed or fenced when the
    /// writer is.
    pub fn append_batches(&self, record_batches: impl Into<Bytes>) -> Admission {
        match self.checked(record_batches.into()) {
            Ok((checked, bytes)) => self.admit(Content::Batches(checked), bytes),
            Err(error) => Admission::ready(Err(error)),
        }
    }

    /// Like [`append_batches`](Self::append_batches), but never waits.
    ///
    /// # Errors
    /// Full when the buffer has no room; else as [`append_batches`](Self::append_batches).
    pub fn try_append_batches(&self, record_batches: impl Into<Bytes>) -> Result<Append> {
        let (checked, bytes) = self.checked(record_batches.into()).map_err(not_stored)?;
        let permit = self.try_room(bytes)?;
        self.core().enqueue_now(Content::Batches(checked), bytes, permit).map_err(not_stored)
    }

    /// Like [`append_batches`](Self::append_batches), of batches that were checked before: by
    /// [`BatchCheck::check`](crate::format::BatchCheck::check), or by the reader that returned them. Nothing is
    /// checked again: a batch whose CRC or records are wrong gets into the log as it is, and a wrong CRC makes
    /// the segment's wrong too.
    ///
    /// # Errors
    /// Invalid input for no batches, or more than a segment holds; closed or fenced when the writer is.
    pub fn append_checked(&self, batches: Vec<Batch>) -> Admission {
        match take_batches(batches, self.options()) {
            Ok((batches, bytes)) => self.admit(Content::Batches(batches), bytes),
            Err(error) => Admission::ready(Err(error)),
        }
    }

    /// Commits a segment of one empty batch, which takes one offset and shows no record. When it
    /// returns, every earlier owner is fenced, its late requests included, the tail is exact, and
    /// (but under [`OnConflict::Rebase`](super::OnConflict)) offsets are final at once.
    ///
    /// Dropping the future takes the claim back while it waits for room in the buffer. After that it ends the wait
    /// only.
    ///
    /// # Errors
    /// As an append's.
    pub fn claim(&self) -> impl Future<Output = Result<Offsets>> + Send + 'static {
        let admission = match BatchBuilder::empty_batch(0, 0, &BatchOptions::default()) {
            Ok(batch) => {
                let bytes = batch.bytes().len();
                self.admit(Content::Claim(batch), bytes)
            }
            Err(error) => Admission::ready(Err(error)),
        };
        async move { admission.await?.durable().await }
    }

    /// Flushes what is buffered now, without waiting for a trigger, and waits until it is durable.
    ///
    /// The flush starts at this call. Dropping the future ends the wait only.
    ///
    /// # Errors
    /// Why the last of it is not durable.
    pub fn flush(&self) -> impl Future<Output = Result<()>> + Send + 'static {
        let ready = self.here().map(|core| (core.flush_all(), core.death()));
        async move {
            match ready? {
                (Some(last), _) => last.wait().await.map(drop),
                (None, Some(error)) => Err(error),
                (None, None) => Ok(()),
            }
        }
    }

    /// Takes no more appends, flushes what is buffered and ends the writer. After `deadline` retries
    /// stop, and what is not durable fails; `None` waits for as long as the store is away.
    ///
    /// The closing starts at the first poll. Dropping the future after that ends the wait; what is buffered is still
    /// flushed.
    ///
    /// # Errors
    /// Why what was buffered is not all durable.
    pub fn close(&self, deadline: Option<Duration>) -> impl Future<Output = Result<()>> + Send + 'static {
        let core = self.core().clone();
        async move {
            core.state().bucket.fork.check()?;
            match deadline {
                Some(deadline) => core.close_within(deadline).await,
                None => core.close_patiently().await,
            }
        }
    }

    /// Gives up at once what is not durable: what is on its way fails as *perhaps stored*, what is buffered as
    /// *not stored*. Then blocks the thread until every callback of this writer has returned, and answers whether they
    /// have. It is for a face whose callbacks' owner goes away; [`close`](Self::close) is the way to end a writer.
    ///
    /// Unlike a [`Wait`](crate::blocking::Wait) it may block within a callback of *another* writer: it needs no thread
    /// of the runtime, and calls this writer's callbacks itself where no other thread does. It answers `false` without
    /// blocking within a callback of the same writer, and where a callback of this writer waits in this way for the
    /// calling one. Callbacks that are left come after that one has returned.
    ///
    /// # Errors
    /// Closed in a forked child.
    pub fn abandon(&self) -> Result<bool> {
        Ok(self.here()?.abandon())
    }

    fn checked(&self, bytes: Bytes) -> Result<(CheckedBatches, usize)> {
        let len = bytes.len();
        check_batches(bytes, self.options()).map(|checked| (checked, len))
    }

    fn try_room(&self, bytes: usize) -> Result<Permit> {
        let account = &self.here().map_err(not_stored)?.account;
        account.try_acquire(bytes).ok_or_else(|| {
            let (own, all, limit) = account.usage();
            let full = format!(
                "no room for {}: this partition holds {own}, all hold {all} of {limit}",
                counted(bytes, "byte")
            );
            Error::new(ErrorKind::Full, full)
                .with_hint("wait for an earlier append to be durable, or raise buffer_bytes")
                .with_stored(Stored::Not)
        })
    }

    fn admit(&self, content: Content<'static>, bytes: usize) -> Admission {
        let core = match self.here() {
            Ok(core) => core,
            Err(error) => return Admission::ready(Err(error)),
        };
        if let Some(permit) = core.account.try_acquire(bytes) {
            return Admission::ready(core.enqueue_now(content, bytes, permit));
        }
        if let Some(error) = core.refusal() {
            return Admission::ready(Err(error));
        }
        Admission::waiting(core, bytes, content)
    }
}

impl WriterCore {
    /// Closes within `deadline`, counted from the first poll.
    pub(crate) async fn close_within(self: Arc<Self>, deadline: Duration) -> Result<()> {
        self.begin_close();
        // Nothing was buffered: that needs no runtime.
        if let Some(ended) = self.ended().now_or_never() {
            return ended;
        }
        let runtime = self.state().runtime().clone();
        let worker = self.clone();
        let end = runtime.clone().run(async move {
            if let Some(ended) = runtime.timeout(deadline, worker.ended()).await {
                return ended;
            }
            worker.give_up();
            worker.ended().await
        });
        end.await
    }

    async fn close_patiently(self: Arc<Self>) -> Result<()> {
        self.begin_close();
        self.ended().await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.state().bucket.fork.is_forked() {
            // A forked child must not wait for a lock, has no thread that would flush, and never frees what it holds.
            return std::mem::forget(self.0.clone());
        }
        if self.0.is_live() {
            let core = self.0.clone();
            let runtime = core.state().runtime().clone();
            core.begin_close();
            runtime.clone().spawn(async move {
                if runtime.timeout(DROP_DEADLINE, core.ended()).await.is_none() {
                    core.give_up();
                }
            });
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core().fmt(f)
    }
}
