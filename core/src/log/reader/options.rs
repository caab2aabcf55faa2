//! Options of readers.

use std::time::Duration;

use crate::format::{CrcCheck, Limits};

/// What a reader does when it meets bytes that are not what they must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnCorrupt {
    /// It stops there with an error that names the place and the next offset that can be read.
    #[default]
    Stop,
    /// It goes on at the next offset that can be read, and reports what it skipped.
    Skip,
}

/// How a [`Reader`](crate::Reader) reads. Start from `ReaderOptions::default()`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReaderOptions {
    /// Bytes of a block, at least 4 KiB: what a reader asks the store for at least, and what is held in
    /// the bucket's cache ([`BucketOptions::cache_bytes`](crate::BucketOptions::cache_bytes)). Segments of
    /// up to four blocks are read whole by one GET, without their index; those of one block have their
    /// own CRC checked too. Readers share the blocks of readers with the same size. A map of a directory's
    /// segment needs no blocks. Default 1 MiB.
    pub block_bytes: usize,
    /// Bytes that a stream asks for at a time. Its first batches come after one GET. From its second fetch
    /// on the next one is under way while the caller is busy with the last, so a stream holds up to twice as
    /// many; and small segments that follow are read ahead, up to 32 at a time. Default 1 MiB.
    pub fetch_bytes: usize,
    /// Whether CRCs are checked where bytes enter. Default: they are.
    pub crc_check: CrcCheck,
    /// Default: stop.
    pub on_corrupt: OnCorrupt,
    /// A partition with neither `log.json` nor a segment is empty, not an error: for who waits until
    /// it is made. Default: it is *not found*.
    pub wait_for_partition: bool,
    /// Record streams give control records too. Default: they skip them.
    pub control_records: bool,
    /// The first wait of a follower that finds nothing new. Doubles up to `poll_max`. Default 50 ms.
    pub poll_min: Duration,
    /// The longest wait between two polls of a follower. Default 1 s.
    pub poll_max: Duration,
    /// Bounds on decompression. Readers of records take batches of up to
    /// [`MAX_DECOMPRESSED_BATCH`](crate::format::MAX_DECOMPRESSED_BATCH) by default.
    pub limits: Limits,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        ReaderOptions {
            block_bytes: 1 << 20,
            fetch_bytes: 1 << 20,
            crc_check: CrcCheck::Verify,
            on_corrupt: OnCorrupt::Stop,
            wait_for_partition: false,
            control_records: false,
            poll_min: Duration::from_millis(50),
            poll_max: Duration::from_secs(1),
            limits: Limits::default(),
        }
    }
}

impl ReaderOptions {
    /// Sets [`block_bytes`](Self::block_bytes), at least 4 KiB.
    #[must_use]
    pub fn block_bytes(mut self, bytes: usize) -> Self {
        self.block_bytes = bytes;
        self
    }

    /// Sets [`fetch_bytes`](Self::fetch_bytes).
    #[must_use]
    pub fn fetch_bytes(mut self, bytes: usize) -> Self {
        self.fetch_bytes = bytes;
        self
    }

    /// Sets [`crc_check`](Self::crc_check).
    #[must_use]
    pub fn crc_check(mut self, check: CrcCheck) -> Self {
        self.crc_check = check;
        self
    }

    /// Sets [`on_corrupt`](Self::on_corrupt).
    #[must_use]
    pub fn on_corrupt(mut self, on_corrupt: OnCorrupt) -> Self {
        self.on_corrupt = on_corrupt;
        self
    }

    /// Sets [`wait_for_partition`](Self::wait_for_partition).
    #[must_use]
    pub fn wait_for_partition(mut self, wait: bool) -> Self {
        self.wait_for_partition = wait;
        self
    }

    /// Sets [`control_records`](Self::control_records).
    #[must_use]
    pub fn control_records(mut self, give: bool) -> Self {
        self.control_records = give;
        self
    }

    /// Sets [`poll_min`](Self::poll_min) and [`poll_max`](Self::poll_max).
    #[must_use]
    pub fn poll(mut self, min: Duration, max: Duration) -> Self {
        self.poll_min = min;
        self.poll_max = max;
        self
    }

    /// Sets the most bytes that the records of one batch may take when decompressed.
    #[must_use]
    pub fn max_decompressed(mut self, bytes: usize) -> Self {
        self.limits = self.limits.with_max_decompressed_batch(bytes);
        self
    }

    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// What one fetch wants. Start from `FetchOptions::new(max_bytes)`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FetchOptions {
    /// Bytes of batches at most, but for the first, which comes whole whatever its length.
    pub max_bytes: usize,
    /// Batches of this process's exclusive writer that are buffered and not yet durable are given
    /// too, as far as their offsets are final. Default: they are not.
    pub include_buffered: bool,
    /// Where the caller means to stop: nothing from this offset on is read ahead. It bounds what is
    /// asked of the store, not what is given. Default: it reads on.
    pub read_ahead_to: i64,
    /// What was found is given before the store is asked for more.
    pub(crate) eager: bool,
}

impl FetchOptions {
    /// A fetch of at most so many bytes.
    pub fn new(max_bytes: usize) -> Self {
        FetchOptions { max_bytes, include_buffered: false, read_ahead_to: i64::MAX, eager: false }
    }

    /// Sets [`read_ahead_to`](Self::read_ahead_to).
    #[must_use]
    pub fn read_ahead_to(mut self, offset: i64) -> Self {
        self.read_ahead_to = offset;
        self
    }

    /// What was found is given before the store is asked for more: for streams, which ask again.
    pub(crate) fn eager(mut self) -> Self {
        self.eager = true;
        self
    }

    /// Sets [`include_buffered`](Self::include_buffered).
    #[must_use]
    pub fn include_buffered(mut self, include: bool) -> Self {
        self.include_buffered = include;
        self
    }
}
