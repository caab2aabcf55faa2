//! How far a fetch of many has come with one partition, and how much more is in sight.

use std::time::Duration;

use crate::log::reader::core::ReaderCore;

/// How far a fetch of many has come with one partition.
#[derive(Debug)]
pub(super) struct Progression {
    /// The next offset to read.
    pub(super) next: i64,
    /// Bytes that may still be returned of it.
    pub(super) room: usize,
    /// Bytes known to be there from `next` on, no more than there is room for.
    pub(super) in_sight: usize,
    /// It must be read to know more, however little is in sight.
    pub(super) must_read: bool,
    /// It was read, or refused for good.
    pub(super) read: bool,
    /// Which of the partition's logs is read.
    pub(super) generation: u64,
    /// The high watermark when a read gave nothing. The same one is no reason to read again.
    in_vain: i64,
    /// A source is not read again before this time, by the clock's elapsed time.
    not_before: Duration,
    /// How long that is put off by the next read that gives nothing.
    pause: Duration,
}

impl Progression {
    pub(super) fn new(reader: &ReaderCore, offset: i64, max_bytes: usize) -> Self {
        let generation = reader.state.generation();
        Progression {
            next: offset,
            room: max_bytes,
            in_sight: 0,
            must_read: false,
            read: false,
            generation,
            in_vain: i64::MIN,
            not_before: Duration::ZERO,
            pause: Duration::ZERO,
        }
    }

    /// A source was read. It may tell with every answer that its log has grown and give nothing, so reads in a row that give
    /// nothing pause as polls do. The first one does not: the log may have grown since.
    pub(super) fn pace(&mut self, reader: &ReaderCore, gave: bool, now: Duration) {
        if gave {
            (self.not_before, self.pause) = (Duration::ZERO, Duration::ZERO);
            return;
        }
        self.not_before = now.saturating_add(self.pause);
        let least = reader.options.poll_min.max(Duration::from_millis(1));
        self.pause = self.pause.saturating_mul(2).clamp(least, reader.options.poll_max.max(least));
    }

    /// When it must be read to know more, by the clock's elapsed time.
    pub(super) fn must_read_at(&self) -> Option<Duration> {
        self.must_read.then_some(self.not_before)
    }

    /// A read ended at `next` and gave this many bytes. `high_watermark` is what was known when it began.
    pub(super) fn read_to(&mut self, next: i64, bytes: usize, high_watermark: i64) {
        (self.next, self.in_sight, self.must_read, self.read) = (next, 0, false, true);
        self.room = self.room.saturating_sub(bytes);
        if bytes == 0 {
            self.in_vain = high_watermark;
        }
    }

    /// There was no room to read it.
    pub(super) fn passed_over(&mut self, high_watermark: i64) {
        (self.in_sight, self.must_read, self.in_vain) = (0, false, high_watermark);
    }

    /// Counts what is in sight by the sizes of segments, without reading a byte.
    pub(super) fn count(&mut self, reader: &ReaderCore) {
        let high_watermark = high_watermark(reader);
        if high_watermark <= self.next.max(self.in_vain) {
            self.in_sight = 0;
            return;
        }
        if reader.state.source.is_some() {
            // Only a read tells how many bytes there are.
            self.must_read |= self.room > 0;
            return;
        }
        let room = u64::try_from(self.room).unwrap_or(u64::MAX);
        let bytes = reader.state.with_catalog(|catalog| catalog.batch_bytes_beyond(self.next, high_watermark, room));
        // A segment that this process has not listed holds at least something.
        self.in_sight = usize::try_from(bytes.max(1)).unwrap_or(usize::MAX).min(self.room);
    }
}

/// The high watermark that this process knows.
pub(super) fn high_watermark(reader: &ReaderCore) -> i64 {
    reader.state.watermarks.get().map_or(i64::MIN, |watermarks| watermarks.high_watermark)
}
