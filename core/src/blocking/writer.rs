//! The writer and its appends.

use bytes::Bytes;

use super::wait::Wait;
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::format::{NewRecord, PartitionId};
use crate::log::PartitionState;
use crate::log::writer::{Admission, Offsets, WriterOptions, WriterStatus};

/// A [`Writer`](crate::Writer) for threads that wait. Cheap to clone; all clones append to the same
/// buffer. Close it with [`close`](Self::close): dropping the last clone flushes too, but nobody
/// learns of a failure.
#[derive(Clone, Debug)]
pub struct Writer(crate::Writer);

impl Writer {
    pub(super) fn new(writer: crate::Writer) -> Self {
        Writer(writer)
    }

    /// The async writer that it stands for.
    pub fn as_async(&self) -> &crate::Writer {
        &self.0
    }

    /// The partition.
    pub fn partition_id(&self) -> &PartitionId {
        self.0.partition_id()
    }

    /// The options it was opened with.
    pub fn options(&self) -> &WriterOptions {
        self.0.options()
    }

    /// Why it takes no appends any more: fenced, poisoned or closed. `None` while it does.
    pub fn failure(&self) -> Option<Error> {
        self.0.failure()
    }

    /// What it is doing now, what is buffered, and why a flush waits if one does.
    pub fn status(&self) -> WriterStatus {
        self.0.status()
    }

    /// Appends record batches (magic 2), one or several back to back, as one. Waits for room in the
    /// buffer only; [`Append::durable`] waits for the rest.
    ///
    /// # Errors
    /// As [`Writer::append`](crate::Writer::append); timed out when there was no room in time, and
    /// nothing was appended.
    pub fn append(&self, record_batches: impl Into<Bytes>, wait: &Wait) -> Result<Append> {
        admitted(self.0.state(), self.0.append(record_batches), wait)
    }

    /// Like [`append`](Self::append), but never waits.
    ///
    /// # Errors
    /// Full when the buffer has no room; else as [`append`](Self::append).
    pub fn try_append(&self, record_batches: impl Into<Bytes>) -> Result<Append> {
        self.0.try_append(record_batches).map(Append)
    }

    /// Appends records. Otherwise as [`append`](Self::append).
    ///
    /// # Errors
    /// As [`Writer::append_records`](crate::Writer::append_records); timed out when there was no room
    /// in time, and nothing was appended.
    pub fn append_records(&self, records: &[NewRecord<'_>], wait: &Wait) -> Result<Append> {
        admitted(self.0.state(), self.0.append_records(records), wait)
    }

    /// Like [`append_records`](Self::append_records), but never waits.
    ///
    /// # Errors
    /// Full when the buffer has no room; else as [`append_records`](Self::append_records).
    pub fn try_append_records(&self, records: &[NewRecord<'_>]) -> Result<Append> {
        self.0.try_append_records(records).map(Append)
    }

    /// Commits a segment of one empty batch: every earlier owner is fenced when it returns.
    ///
    /// # Errors
    /// As [`Writer::claim`](crate::Writer::claim); timed out, perhaps stored.
    pub fn claim(&self, wait: &Wait) -> Result<Offsets> {
        wait.on_log(self.0.state(), self.0.claim()).map_err(perhaps_stored)
    }

    /// Flushes what is buffered now and waits until it is durable.
    ///
    /// # Errors
    /// Why the last of it is not durable; timed out, perhaps stored.
    pub fn flush(&self, wait: &Wait) -> Result<()> {
        wait.on_log(self.0.state(), self.0.flush()).map_err(perhaps_stored)
    }

    /// Takes no more appends, flushes what is buffered and ends the writer. At the limit of `wait`
    /// retries stop, and what is not durable fails.
    ///
    /// # Errors
    /// Why what was buffered is not all durable; timed out when cancelled, while the closing goes on.
    pub fn close(&self, wait: &Wait) -> Result<()> {
        // The deadline is the closing's own: what it gives up must be settled before this returns.
        wait.without_limit().on(self.0.close(wait.limit())).map_err(perhaps_stored)
    }
}

impl Writer {
    /// Gives up at once what is not durable: what is on its way fails as *perhaps stored*, what is buffered as
    /// *not stored*. Then waits until every callback of this writer has returned, and answers whether they have.
    ///
    /// Unlike the other calls it may wait within a callback of *another* writer: it needs no thread of the runtime,
    /// and calls this writer's callbacks itself where no other thread does. It answers `false` without waiting
    /// within a callback of the same writer, and where a callback of this writer waits in this way for the one that
    /// calls: the callbacks that are left come after that one has returned.
    ///
    /// # Errors
    /// Closed in a forked child.
    pub fn abandon(&self) -> Result<bool> {
        self.0.abandon()
    }
}

/// An [`Append`](crate::Append) for threads that wait. Dropping it changes nothing for the append.
#[derive(Clone, Debug)]
pub struct Append(crate::Append);

impl Append {
    /// The async append that it stands for.
    pub fn as_async(&self) -> &crate::Append {
        &self.0
    }

    /// Its offsets, if they are final. Not a promise of durability.
    pub fn final_offsets(&self) -> Option<Offsets> {
        self.0.final_offsets()
    }

    /// Whether it is settled: `None` while it is buffered or in flight.
    pub fn outcome(&self) -> Option<Result<Offsets>> {
        self.0.outcome()
    }

    /// Waits until it is durable, which makes the writer flush.
    ///
    /// # Errors
    /// As [`Append::durable`](crate::Append::durable); timed out, perhaps stored: it may still
    /// become durable, and may be waited for again.
    pub fn durable(&self, wait: &Wait) -> Result<Offsets> {
        wait.on_log(self.0.state(), self.0.durable()).map_err(perhaps_stored)
    }

    /// Calls back once when it is settled, as [`Append::on_settled`](crate::Append::on_settled). A wait of
    /// this module that would block in the callback is refused as invalid input.
    pub fn on_settled(&self, wait: bool, callback: impl FnOnce(Result<Offsets>) + Send + 'static) {
        self.0.on_settled(wait, callback);
    }
}

fn admitted(state: &PartitionState, mut admission: Admission, wait: &Wait) -> Result<Append> {
    let result = match wait.on_log(state, &mut admission) {
        // It may have got in just now.
        Err(ended) if ended.stored().is_none() => {
            admission.take_back().unwrap_or_else(|| Err(ended.with_stored(Stored::Not)))
        }
        result => result,
    };
    result.map(Append)
}

fn perhaps_stored(error: Error) -> Error {
    if error.kind() == ErrorKind::TimedOut && error.stored().is_none() {
        return error.with_stored(Stored::Perhaps);
    }
    error
}
