//! Options of readers.

use std::time::Duration;

use crate::format::{CrcCheck, Limits};
use crate::setters::setters;

/// What a reader does when it finds corrupt bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnCorrupt {
    /// It stops with an error that names the place and the next offset that can be read.
    #[default]
    Stop,
    /// It continues at the next offset that can be read, and reports what it skipped.
    Skip,
}

/// Whether a reader returns records of transactions that have not committed. The names are Kafka's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isolation {
    /// All records are returned. Kafka: `read_uncommitted`.
    #[default]
    ReadUncommitted,
    /// Records of a transaction are returned after it has committed, and those of aborted transactions are left out.
    /// Nothing is returned from the first record on of a transaction that is open at the high watermark. Records without
    /// a transaction are returned in their place, all in the order of their offsets. Kafka: `read_committed`.
    ///
    /// The reader looks ahead for the markers that end transactions, also beyond the bytes or the range that it
    /// returns. It does not look back: a transaction whose records all stand below the offset where it starts does not
    /// hold it up. It fails with *corrupt* when a marker may have stood where bytes are missing or broken; with
    /// [`OnCorrupt::Skip`] it leaves out the transactions whose ends are lost, and reports them. It fails with
    /// *unsupported* when more than 65,536 transactions are open, or aborted and not yet passed, at once.
    ReadCommitted,
}

/// How a [`Reader`](crate::Reader) reads. Start from `ReaderOptions::default()`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReaderOptions {
    /// The bytes of a block, at least 4 KiB (default 1 MiB). A reader requests at least a block at a time from the store,
    /// and the bucket's cache holds blocks ([`BucketOptions::cache_bytes`](crate::BucketOptions::cache_bytes)). Segments of
    /// up to four blocks are read whole by one GET, without their index. In segments of one block the
    /// segment's own CRC is checked too. Readers with the same block size share their blocks. A segment that is mapped
    /// from a directory needs no blocks.
    pub block_bytes: usize,
    /// How many bytes a stream fetches at a time (default 1 MiB). Its first batches arrive after one GET. From its second
    /// fetch on, the next fetch runs while the caller works on the last one, so a stream holds up to twice as
    /// many bytes.
    pub fetch_bytes: usize,
    /// How many small segments that follow are read together with the one that is wanted, while a reader goes on into them
    /// (default [`MOST_SEGMENTS_AHEAD`](Self::MOST_SEGMENTS_AHEAD), and no more than that). Together they have at most 8 MiB.
    pub segments_ahead: usize,
    /// Whether the CRCs of the bytes that are read are checked. By default they are.
    pub crc_check: CrcCheck,
    /// What the reader does when it finds corrupt bytes. By default it stops.
    pub on_corrupt: OnCorrupt,
    /// Whether records of transactions that have not committed are returned. By default they are.
    pub isolation: Isolation,
    /// Whether a partition with neither `log.json` nor a segment counts as empty, for readers that wait until
    /// it is created. By default it is *not found*.
    pub wait_for_partition: bool,
    /// Whether record streams return control records too. By default they skip them.
    pub control_records: bool,
    /// How long a follower that finds nothing new waits before its next poll (default 50 ms). The wait doubles with each
    /// poll that finds nothing, up to `poll_max`.
    pub poll_min: Duration,
    /// The longest wait between two polls of a follower (default 1 s). If it is shorter than `poll_min`, each wait is
    /// `poll_min`.
    pub poll_max: Duration,
    /// The limits on decompression. By default readers of records take batches of up to
    /// [`MAX_DECOMPRESSED_BATCH`](crate::format::MAX_DECOMPRESSED_BATCH) bytes.
    pub limits: Limits,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        ReaderOptions {
            block_bytes: 1 << 20,
            fetch_bytes: 1 << 20,
            segments_ahead: ReaderOptions::MOST_SEGMENTS_AHEAD,
            crc_check: CrcCheck::Verify,
            on_corrupt: OnCorrupt::Stop,
            isolation: Isolation::ReadUncommitted,
            wait_for_partition: false,
            control_records: false,
            poll_min: Duration::from_millis(50),
            poll_max: Duration::from_secs(1),
            limits: Limits::default(),
        }
    }
}

impl ReaderOptions {
    /// The most [`segments_ahead`](Self::segments_ahead). More count as this many.
    pub const MOST_SEGMENTS_AHEAD: usize = 31;

    setters! {
        block_bytes: usize,
        fetch_bytes: usize,
        segments_ahead: usize,
        crc_check: CrcCheck,
        on_corrupt: OnCorrupt,
        isolation: Isolation,
        wait_for_partition: bool,
        control_records: bool,
        poll_min: Duration,
        poll_max: Duration,
        limits: Limits,
    }
}

/// How one fetch reads. Start from `FetchOptions::new(max_bytes)`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FetchOptions {
    /// The most bytes of batches to return. The first batch is returned whole, whatever its length.
    pub max_bytes: usize,
    /// Whether the fetch also returns batches that this process's exclusive writer has buffered and that are not durable
    /// yet, up to the first whose offsets are not final. By default it does not. With [`Isolation::ReadCommitted`] it never
    /// does.
    pub include_buffered: bool,
    /// The offset at which the caller means to stop. Nothing from this offset on is read ahead. This limits what is
    /// requested from the store, not what is returned. By default there is no such limit.
    pub read_ahead_to: i64,
    /// Whether the fetch returns what it has found before it asks the store for more.
    pub(crate) eager: bool,
    /// Whether the first batch is returned whatever its length.
    pub(crate) whole_first: bool,
}

impl FetchOptions {
    /// A fetch of at most this many bytes.
    pub fn new(max_bytes: usize) -> Self {
        FetchOptions { max_bytes, include_buffered: false, read_ahead_to: i64::MAX, eager: false, whole_first: true }
    }

    setters! { max_bytes: usize, include_buffered: bool, read_ahead_to: i64 }

    /// Has the fetch return what it has found before it asks the store for more. Streams use it, because they fetch again.
    pub(crate) fn eager(mut self) -> Self {
        self.eager = true;
        self
    }

    /// Has the fetch return nothing if the first batch does not fit. Only for one of several partitions that are
    /// fetched together, one of which comes further (invariant 6).
    pub(crate) fn only_what_fits(mut self) -> Self {
        self.whole_first = false;
        self
    }
}
