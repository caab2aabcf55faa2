//! The writer's handle.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::admission::{Admission, not_stored};
use super::append::{Append, Offsets};
use super::core::{Content, WriterCore};
use super::open::open_chain;
use super::options::WriterOptions;
use super::too_large;
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::format::{Batch, BatchBuilder, BatchOptions, CrcCheck, NewRecord, PartitionId, batches};
use crate::log::budget::Permit;
use crate::log::partition::PartitionState;

/// Bytes of batches that a segment can hold: index positions are i32, header and footer take 48.
const MAX_APPEND: usize = (1 << 31) - 1 - 48;
/// How long a writer that was dropped goes on trying to flush.
const DROP_DEADLINE: Duration = Duration::from_secs(30);

/// Appends to one partition. Cheap to clone; all clones append to the same buffer.
///
/// Appends are buffered and go into one segment together, by bytes, records, batches, time, and
/// because somebody waits. Close it with [`close`](Self::close). When the last clone is dropped
/// without that, what is buffered is still flushed while the runtime lives (for 30 s at most),
/// but nobody learns of a failure.
#[derive(Clone)]
pub struct Writer(Arc<Handle>);

struct Handle(Arc<WriterCore>);

/// Opens a writer; runs on the bucket's runtime.
pub(crate) async fn open(state: Arc<PartitionState>, options: WriterOptions) -> Result<Writer> {
    options.check()?;
    let exclusive = options.on_conflict.is_exclusive();
    state.reserve(exclusive)?;
    match open_chain(&state, &options).await {
        Ok(chain) => {
            let core = WriterCore::new(state.clone(), options, chain);
            state.attach(&core);
            Ok(Writer(Arc::new(Handle(core))))
        }
        Err(error) => {
            state.release(exclusive);
            Err(error)
        }
    }
}

impl Writer {
    fn core(&self) -> &Arc<WriterCore> {
        &self.0.0
    }

    /// The partition.
    pub fn partition_id(&self) -> &PartitionId {
        self.core().partition_id()
    }

    /// The options it was opened with.
    pub fn options(&self) -> &WriterOptions {
        &self.core().options
    }

    /// Why it takes no appends any more: fenced, poisoned or closed. `None` while it does.
    pub fn failure(&self) -> Option<Error> {
        self.core().refusal()
    }

    /// Appends record batches (magic 2), one or several back to back, as one: all get into one
    /// segment or none. They get the next offsets and keep everything else. The append takes its place
    /// at this call; the future waits only for room in the buffer. Dropping it before that takes the
    /// append back.
    ///
    /// # Errors
    /// Invalid input for bytes that are not whole, valid batches; closed or fenced when the writer is.
    pub fn append(&self, record_batches: impl Into<Bytes>) -> Admission {
        match self.checked(record_batches.into()) {
            Ok((checked, bytes)) => self.admit(checked, bytes, false),
            Err(error) => Admission::ready(Err(error)),
        }
    }

    /// Like [`append`](Self::append), but never waits.
    ///
    /// # Errors
    /// Full when the buffer has no room; else as [`append`](Self::append).
    pub fn try_append(&self, record_batches: impl Into<Bytes>) -> Result<Append> {
        let (checked, bytes) = self.checked(record_batches.into()).map_err(not_stored)?;
        let permit = self.try_room(bytes)?;
        self.core().enqueue(Content::Batches(checked), permit).map_err(not_stored)
    }

    /// Appends records; they share batches with other appends up to
    /// [`batch_bytes`](WriterOptions::batch_bytes). Otherwise as [`append`](Self::append).
    ///
    /// # Errors
    /// Invalid input for no records, or one that is too large; closed or fenced when the writer is.
    pub fn append_records(&self, records: &[NewRecord<'_>]) -> Admission {
        let bytes = match check_records(records) {
            Ok(bytes) => bytes,
            Err(error) => return Admission::ready(Err(error)),
        };
        if let Some(permit) = self.core().state().bucket.budget.try_acquire(bytes) {
            return Admission::ready(self.core().enqueue(Content::Records(records), permit));
        }
        // While it waits for room it must own its bytes: as batches.
        match build_batches(records, self.options()) {
            Ok(built) => self.admit(built, bytes, false),
            Err(error) => Admission::ready(Err(error)),
        }
    }

    /// Like [`append_records`](Self::append_records), but never waits.
    ///
    /// # Errors
    /// Full when the buffer has no room; else as [`append_records`](Self::append_records).
    pub fn try_append_records(&self, records: &[NewRecord<'_>]) -> Result<Append> {
        let permit = self.try_room(check_records(records).map_err(not_stored)?)?;
        self.core().enqueue(Content::Records(records), permit).map_err(not_stored)
    }

    /// Commits a segment of one empty batch, which takes one offset and shows no record. When it
    /// returns, every earlier owner is fenced, its late requests included, the tail is exact, and
    /// (but under [`OnConflict::Rebase`](super::OnConflict)) offsets are final at once.
    ///
    /// # Errors
    /// As an append's.
    pub fn claim(&self) -> impl Future<Output = Result<Offsets>> + Send + 'static {
        let admission = match BatchBuilder::empty_batch(0, 0, &BatchOptions::default()) {
            Ok(batch) => {
                let bytes = batch.bytes().len();
                self.admit(vec![batch], bytes, true)
            }
            Err(error) => Admission::ready(Err(error)),
        };
        async move { admission.await?.durable().await }
    }

    /// Flushes what is buffered now, without waiting for a trigger, and waits until it is durable.
    ///
    /// # Errors
    /// Why the last of it is not durable.
    pub fn flush(&self) -> impl Future<Output = Result<()>> + Send + 'static {
        let last = self.core().flush_all();
        let refusal = self.core().refusal();
        async move {
            match (last, refusal) {
                (Some(last), _) => last.wait().await.map(drop),
                (None, Some(error)) if error.kind() != ErrorKind::Closed => Err(error),
                (None, _) => Ok(()),
            }
        }
    }

    /// Takes no more appends, flushes what is buffered and ends the writer. After `deadline` retries
    /// stop, and what is not durable fails; `None` waits for as long as the store is away.
    ///
    /// # Errors
    /// Why what was buffered is not all durable.
    pub fn close(&self, deadline: Option<Duration>) -> impl Future<Output = Result<()>> + Send + 'static {
        let core = self.core().clone();
        async move {
            match deadline {
                Some(deadline) => core.close_within(deadline).await,
                None => core.close_patiently().await,
            }
        }
    }

    fn checked(&self, bytes: Bytes) -> Result<(Vec<Batch>, usize)> {
        check_batches(&bytes, self.options().crc_check).map(|checked| (checked, bytes.len()))
    }

    fn try_room(&self, bytes: usize) -> Result<Permit> {
        let budget = &self.core().state().bucket.budget;
        budget.try_acquire(bytes).ok_or_else(|| {
            Error::new(ErrorKind::Full, format!("no room for {bytes} bytes: {} are buffered", budget.used()))
                .with_hint("wait for an earlier append to be durable, or raise buffer_bytes")
                .with_stored(Stored::Not)
        })
    }

    fn admit(&self, batches: Vec<Batch>, bytes: usize, claim: bool) -> Admission {
        let core = self.core().clone();
        let enter = move |core: &Arc<WriterCore>, mut batches: Vec<Batch>, permit| match batches.pop() {
            Some(batch) if claim => core.enqueue(Content::Claim(batch), permit),
            Some(batch) => {
                batches.push(batch);
                core.enqueue(Content::Batches(batches), permit)
            }
            None => Err(Error::new(ErrorKind::InvalidInput, "an append needs at least one batch")),
        };
        let budget = core.state().bucket.budget.clone();
        if let Some(permit) = budget.try_acquire(bytes) {
            return Admission::ready(enter(&core, batches, permit));
        }
        if let Some(error) = core.refusal() {
            return Admission::ready(Err(error));
        }
        let (admission, entry) = Admission::waiting();
        budget.acquire(bytes, Box::new(move |permit| entry.admit(|| enter(&core, batches, permit))));
        admission
    }
}

impl WriterCore {
    /// Closes within `deadline`, counted from the first poll.
    pub(crate) fn close_within(
        self: Arc<Self>,
        deadline: Duration,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let core = self;
        async move {
            core.begin_close();
            let (runtime, worker) = (core.state().runtime().clone(), core.clone());
            runtime
                .clone()
                .run(async move {
                    if let Some(ended) = runtime.timeout(deadline, worker.ended()).await {
                        return ended;
                    }
                    worker.control.abort();
                    worker.ended().await
                })
                .await
        }
    }

    async fn close_patiently(self: Arc<Self>) -> Result<()> {
        self.begin_close();
        self.ended().await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.is_live() {
            let core = self.0.clone();
            let runtime = core.state().runtime().clone();
            core.begin_close();
            runtime.clone().spawn(async move {
                if runtime.timeout(DROP_DEADLINE, core.ended()).await.is_none() {
                    core.control.abort();
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

fn check_batches(bytes: &Bytes, crc: CrcCheck) -> Result<Vec<Batch>> {
    if bytes.len() > MAX_APPEND {
        return Err(too_large(&format!("{} bytes in one append, {MAX_APPEND} fit a segment", bytes.len())));
    }
    // Most appends are one batch.
    let mut checked = Vec::with_capacity(1);
    let mut records = 0_i64;
    for batch in batches(bytes, crc) {
        let batch = batch.map_err(|malformed| {
            Error::new(ErrorKind::InvalidInput, format!("not a valid record batch: {malformed}"))
                .at(malformed.position())
        })?;
        records = records.saturating_add(i64::from(batch.header().record_count));
        checked.push(batch);
    }
    if checked.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "an append needs at least one batch"));
    }
    if i32::try_from(records).is_err() {
        return Err(too_large(&format!("{records} records in one append, 2^31-1 fit a segment")));
    }
    Ok(checked)
}

fn check_records(records: &[NewRecord<'_>]) -> Result<usize> {
    if records.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "an append needs at least one record"));
    }
    let bytes = records.iter().map(NewRecord::encoded_bound).fold(0_usize, usize::saturating_add);
    if bytes > MAX_APPEND {
        return Err(too_large(&format!("{bytes} bytes in one append, {MAX_APPEND} fit a segment")));
    }
    Ok(bytes)
}

fn build_batches(records: &[NewRecord<'_>], options: &WriterOptions) -> Result<Vec<Batch>> {
    let (mut closed, mut open) = super::accumulator::batch_up(records, options)?;
    closed.push(open.finish(0)?);
    Ok(closed)
}
