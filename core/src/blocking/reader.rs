//! The reader, its streams, and watching.

use super::bucket::Partition;
use super::wait::Wait;
use crate::error::Result;
use crate::format::{Batch, PartitionId};
use crate::log::Watermarks;
use crate::log::reader::{Fetch, FetchOptions, Notice, ReaderOptions, StreamRecord};

/// A [`Reader`](crate::Reader) for threads that wait. Cheap to clone; it never writes.
#[derive(Clone, Debug)]
pub struct Reader(crate::Reader);

impl Reader {
    pub(super) fn new(reader: crate::Reader) -> Self {
        Reader(reader)
    }

    /// The async reader that it stands for.
    pub fn as_async(&self) -> &crate::Reader {
        &self.0
    }

    /// The batches from the one that holds `offset` on, whole, of `max_bytes` in all; the first comes
    /// whatever its length. At the log's end the answer is empty.
    ///
    /// # Errors
    /// As [`Reader::fetch`](crate::Reader::fetch); timed out.
    pub fn fetch(&self, offset: i64, max_bytes: usize, wait: &Wait) -> Result<Fetch> {
        wait.on_log(self.0.state(), self.0.fetch(offset, max_bytes))
    }

    /// Like [`fetch`](Self::fetch), with options.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_with(&self, offset: i64, options: FetchOptions, wait: &Wait) -> Result<Fetch> {
        wait.on_log(self.0.state(), self.0.fetch_with(offset, options))
    }

    /// The batches from the one that holds `from` on, to the log's end as it is when it is reached.
    pub fn batches(&self, from: i64) -> BatchStream {
        BatchStream(self.0.batches(from))
    }

    /// The records from offset `from` on, to the log's end as it is when it is reached.
    pub fn records(&self, from: i64) -> RecordStream {
        RecordStream(self.0.records(from))
    }

    /// Like [`batches`](Self::batches), but waits at the end for what is appended.
    pub fn follow(&self, from: i64) -> BatchStream {
        BatchStream(self.0.follow(from))
    }

    /// Like [`follow`](Self::follow), record by record.
    pub fn follow_records(&self, from: i64) -> RecordStream {
        RecordStream(self.0.follow_records(from))
    }

    /// The partition that it reads.
    pub fn partition(&self) -> Partition {
        Partition::new(self.0.partition())
    }

    /// The options it was made with.
    pub fn options(&self) -> &ReaderOptions {
        self.0.options()
    }
}

macro_rules! streams {
    ($($(#[$doc:meta])* $name:ident of $item:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name(crate::$name);

            impl $name {
                /// The next one; `None` at the log's end, never when following. When the wait ends
                /// first, nothing is lost: call it again.
                ///
                /// # Errors
                /// As the async stream's `next`; timed out.
                // Not an iterator: it takes a wait, and goes on after an error and after the end.
                #[allow(clippy::should_implement_trait)]
                pub fn next(&mut self, wait: &Wait) -> Result<Option<$item>> {
                    wait.on_log(&self.0.state().clone(), self.0.next())
                }

                /// The next offset that may come.
                pub fn position(&self) -> i64 {
                    self.0.position()
                }

                /// Goes on from this offset.
                pub fn seek(&mut self, offset: i64) {
                    self.0.seek(offset);
                }

                /// One past the last offset known to be durable when the store was asked last.
                pub fn high_watermark(&self) -> i64 {
                    self.0.high_watermark()
                }

                /// What was passed over since the last call: holes, and what was corrupt and skipped.
                pub fn take_notices(&mut self) -> Vec<Notice> {
                    self.0.take_notices()
                }
            }
        )*
    };
}

streams! {
    /// Batches in order: a [`BatchStream`](crate::BatchStream) for threads that wait.
    BatchStream of Batch;
    /// Records in order: a [`RecordStream`](crate::RecordStream) for threads that wait.
    RecordStream of StreamRecord;
}

/// Waits until the watermarks of one or several partitions move: a [`Watch`](crate::Watch) for threads
/// that wait. It costs no request.
#[derive(Debug, Default)]
pub struct Watch(crate::Watch);

impl Watch {
    /// A watch on nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches this partition too. What is known already is reported next.
    pub fn add(&mut self, partition: &Partition) {
        self.0.add(partition.as_async());
    }

    /// Watches this partition no longer.
    pub fn remove(&mut self, id: &PartitionId) {
        self.0.remove(id);
    }

    /// The next partition whose watermarks differ from those reported last.
    ///
    /// # Errors
    /// Timed out; nothing is lost then.
    pub fn changed(&mut self, wait: &Wait) -> Result<(PartitionId, Watermarks)> {
        wait.on(async { Ok(self.0.changed().await) })
    }
}
