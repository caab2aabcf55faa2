//! How a writer behaves.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::format::{BatchCheck, Compression, DEFAULT_INDEX_INTERVAL, FOOTER_LEN, HEADER_LEN, MAX_SEGMENT_LEN};
use crate::setters::setters;

/// Slots in a row that a writer loses before it fails as *contended*.
const MOST_LOSSES: u32 = 64;
/// The same under `Rebase`, where about one try in ten succeeds beside a writer that never pauses.
const MOST_LOSSES_SHARED: u32 = 256;

/// What losing a segment slot to another writer means (docs/design.md, "What losing a slot means").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnConflict {
    /// Displaces the former owner. Until its first commit, the writer moves on to the next slot when it loses one. After
    /// that, a lost slot fences it. Offsets are final from the first commit on.
    #[default]
    Takeover,
    /// The first lost slot fences the writer. Offsets are final once it has read the tail or `log.json`.
    Fence,
    /// Always moves on to the next slot, so that writers that know nothing of each other can share a partition. Offsets
    /// are final when the append is durable.
    Rebase,
}

impl OnConflict {
    /// Whether the partition is meant to have this one writer.
    pub fn is_exclusive(self) -> bool {
        self != OnConflict::Rebase
    }
}

/// Options of a [`Writer`](crate::Writer). Start from `WriterOptions::default()`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WriterOptions {
    /// What a lost slot means. Default [`OnConflict::Takeover`].
    pub on_conflict: OnConflict,
    /// The first offset of an empty partition, for migrations that keep offsets. Default: what `log.json` or the
    /// log start mark says, else 0.
    pub start_offset: Option<i64>,
    /// The leader epoch that is stamped into each batch's `partition_leader_epoch`, at least 0. A higher epoch in the log
    /// fences the writer. Default: batches keep the epoch that they were sent with.
    pub leader_epoch: Option<i32>,
    /// Flush when this many bytes are buffered, at least 1 (default 8 MiB). A flush takes no more than
    /// [`segment_bytes`](Self::segment_bytes) allow, so more than those has no effect.
    pub flush_bytes: usize,
    /// Flush when this many records are buffered, at least 1 (default: no limit). A flush takes no more records than this,
    /// unless a single append has more.
    pub flush_records: u64,
    /// Flush when this many batches are buffered, at least 1 (default: no limit). A flush takes no more batches than this,
    /// unless a single append has more.
    pub flush_batches: usize,
    /// Flush when the oldest buffered append is this old (default 250 ms). 0 flushes at once.
    pub flush_interval: Duration,
    /// Once a caller waits for durability, flush when the oldest awaited append is this old (default 0). It is flushed
    /// after [`flush_interval`](Self::flush_interval) in any case, so a longer time than that has no effect.
    pub linger: Duration,
    /// Records of successive appends share a batch of up to this many bytes, at least 1 (default 64 KiB). An append of more
    /// than 64 KiB of records begins a batch of its own, whatever this is set to.
    pub batch_bytes: usize,
    /// The compression of batches that are built from records (default none, because KafScale's SQL and Iceberg readers
    /// decode no other).
    pub compression: Compression,
    /// The most bytes that a segment may have, including its header and footer: 4 KiB to 2^31-1 (default 2^31-1). An
    /// append that would need more is invalid input. Most segments are smaller, because
    /// [`flush_bytes`](Self::flush_bytes) also limits those that hold several appends.
    pub segment_bytes: usize,
    /// The number of messages between entries of the sparse index, at least 1 (default 100, as in KafScale).
    pub index_interval: i32,
    /// Whether a `.kfst` time index is written with each segment (default no). It costs one more PUT, and the ack waits
    /// for it.
    pub time_index: bool,
    /// A name for people, which is kept with each segment. A writer that is fenced learns the name of the winner from it.
    /// Default none.
    pub name: Option<String>,
    /// How long the writer may go without seeing the log's tail before a flush has to look at it first (default 60 s,
    /// 1 s to 5 min).
    pub stale_after: Duration,
    /// How appended batches are checked (default [`BatchCheck::Produce`]). Batches that are built from
    /// records pass every check.
    pub batch_check: BatchCheck,
    /// Whether [`BatchCheck::Produce`] accepts batches that are marked LogAppendTime (default no). Their
    /// `max_timestamp` is the time of every record, and is then stored as it is.
    pub log_append_time: bool,
    /// What a simulation sets in place of the usual number of [`losses_borne`](Self::losses_borne).
    pub(crate) most_losses: Option<u32>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions {
            on_conflict: OnConflict::Takeover,
            start_offset: None,
            leader_epoch: None,
            flush_bytes: 8 << 20,
            flush_records: u64::MAX,
            flush_batches: usize::MAX,
            flush_interval: Duration::from_millis(250),
            linger: Duration::ZERO,
            batch_bytes: 64 << 10,
            compression: Compression::NONE,
            segment_bytes: MAX_SEGMENT_LEN as usize,
            index_interval: DEFAULT_INDEX_INTERVAL,
            time_index: false,
            name: None,
            stale_after: Duration::from_secs(60),
            batch_check: BatchCheck::Produce,
            log_append_time: false,
            most_losses: None,
        }
    }
}

impl WriterOptions {
    setters! {
        on_conflict: OnConflict,
        start_offset: some i64,
        leader_epoch: some i32,
        flush_bytes: usize,
        flush_records: u64,
        flush_batches: usize,
        flush_interval: Duration,
        linger: Duration,
        batch_bytes: usize,
        compression: into Compression,
        segment_bytes: usize,
        index_interval: i32,
        time_index: bool,
        name: some into String,
        stale_after: Duration,
        batch_check: BatchCheck,
        log_append_time: bool,
    }

    /// Options for partitions that a KafScale broker serves to Kafka's clients: segments of at most 1,000,000 bytes,
    /// batches without a codec, and KafScale's index interval of 100.
    ///
    /// A KafScale broker can fail to find a batch in a segment that is larger than a consumer's fetch size.
    /// Kafka's consumers fetch up to 1 MiB of a partition by default (`max.partition.fetch.bytes`), so they can reach every
    /// offset of a smaller segment. `docs/kafscale.md` says more.
    ///
    /// ```
    /// # use kfs_core::WriterOptions;
    /// let options = WriterOptions::for_kafscale().name("importer");
    /// assert!(options.segment_bytes < 1 << 20);
    /// ```
    #[must_use]
    pub fn for_kafscale() -> Self {
        WriterOptions {
            // There is room for one more append, so that a flush need not leave it for the next segment.
            flush_bytes: 900_000,
            segment_bytes: 1_000_000,
            compression: Compression::NONE,
            index_interval: DEFAULT_INDEX_INTERVAL,
            ..WriterOptions::default()
        }
    }

    /// How many bytes of batches one segment may hold.
    pub(super) fn max_append(&self) -> usize {
        self.segment_bytes.saturating_sub(HEADER_LEN + FOOTER_LEN)
    }

    /// How many bytes of batches a flush of several appends may take.
    pub(super) fn max_flush(&self) -> usize {
        self.flush_bytes.min(self.max_append())
    }

    /// Whether one flush of several appends may take this many records and batches.
    pub(super) fn one_flush_takes(&self, records: u64, batches: usize) -> bool {
        records <= self.flush_records && batches <= self.flush_batches && i32::try_from(records).is_ok()
    }

    /// How many bytes a batch that successive appends share may have.
    pub(super) fn max_batch(&self) -> usize {
        self.batch_bytes.min(self.max_append())
    }

    /// Sets how many slots in a row the writer loses before it fails as *contended*. A simulation sets it low, so that
    /// this happens often.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn most_losses(mut self, losses: u32) -> Self {
        self.most_losses = Some(losses);
        self
    }

    /// How many slots in a row the writer loses before it fails as *contended*.
    pub(super) fn losses_borne(&self) -> u32 {
        self.most_losses.unwrap_or(match self.on_conflict {
            OnConflict::Rebase => MOST_LOSSES_SHARED,
            _ => MOST_LOSSES,
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
        if let Some(start) = self.start_offset {
            check_start_offset(start)?;
        }
        let wide = |number: usize| i128::try_from(number).unwrap_or(i128::MAX);
        for (name, number, least) in [
            ("flush_bytes", wide(self.flush_bytes), 1),
            ("flush_records", i128::from(self.flush_records), 1),
            ("flush_batches", wide(self.flush_batches), 1),
            ("batch_bytes", wide(self.batch_bytes), 1),
            ("index_interval", i128::from(self.index_interval), 1),
            ("leader_epoch", i128::from(self.leader_epoch.unwrap_or(0)), 0),
        ] {
            if number < least {
                return refuse(format!("{name} is {number}, at least {least} is allowed"));
            }
        }
        if !(4096..=MAX_SEGMENT_LEN as usize).contains(&self.segment_bytes) {
            return refuse(format!("segment_bytes is {}, 4096 to {MAX_SEGMENT_LEN} are allowed", self.segment_bytes));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(300)).contains(&self.stale_after) {
            return refuse(format!("stale_after is {:?}, 1 s to 5 minutes are allowed", self.stale_after));
        }
        if self.name.as_ref().is_some_and(|name| name.len() > 256 || !name.bytes().all(|b| (0x20..0x7f).contains(&b))) {
            return refuse("the writer's name must be at most 256 printable ASCII characters".into());
        }
        Ok(())
    }
}

pub(crate) fn check_start_offset(start: i64) -> Result<()> {
    if (0..i64::MAX - 1).contains(&start) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, format!("start_offset is {start}, 0 to 2^63-3 are allowed")))
}
