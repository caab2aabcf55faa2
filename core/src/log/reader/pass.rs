//! Passes over a whole segment, in parts, where one GET of all of it would take too much memory.

use std::sync::Arc;

use bytes::Bytes;

use super::source::BlockSource;
use super::stamps;
use crate::error::Result;
use crate::format::{
    BATCH_HEADER_LEN, BatchHeader, DEFAULT_INDEX_INTERVAL, FOOTER_LEN, HEADER_LEN, IndexBuilder, Limits, Malformed,
    SegmentFooter, SparseIndex, crc32c_append,
};
use crate::log::state::PartitionState;
use crate::store::{ReadRange, Version};

/// Bytes of one GET of a pass over headers or CRCs.
const PASS_STEP: u64 = 8 << 20;
/// Bytes of one GET of a pass over records: few segments take two.
const RECORDS_STEP: u64 = 64 << 20;

/// The part of a segment that a pass holds.
#[derive(Default)]
struct Window {
    /// The position of the first byte.
    from: u64,
    bytes: Bytes,
}

impl Window {
    /// What is held from a position on; empty where nothing is.
    fn rest(&self, position: u64) -> Bytes {
        let from = position.checked_sub(self.from).and_then(|from| usize::try_from(from).ok());
        self.bytes.slice(from.unwrap_or(usize::MAX).min(self.bytes.len())..)
    }

    /// The header of the batch at a position; `None` where not all of its bytes are held.
    fn header(&self, position: u64) -> Option<std::result::Result<BatchHeader, Malformed>> {
        let rest = self.rest(position);
        (rest.len() >= BATCH_HEADER_LEN).then(|| BatchHeader::parse(&rest))
    }
}

impl BlockSource {
    /// Builds the index from the batch headers, reading the segment in parts, up to the first that
    /// is broken.
    pub(super) async fn rebuild(&self, base: i64, version: &Version) -> Result<Arc<SparseIndex>> {
        let mut builder = IndexBuilder::new(DEFAULT_INDEX_INTERVAL);
        let end = version.size().saturating_sub(FOOTER_LEN as u64);
        let (mut position, mut offset) = (HEADER_LEN as u64, base);
        let mut window = Window::default();
        while position < end {
            if window.header(position).is_none() {
                let to = position.saturating_add(PASS_STEP).min(end.max(position.saturating_add(1)));
                let fetched = self.get(base, ReadRange::Range(position..to), Some(version)).await?;
                window = Window { from: position, bytes: fetched.bytes };
            }
            // A header that is broken, or of which the segment has not all bytes, ends what can be indexed.
            let Some(Ok(header)) = window.header(position) else { break };
            if header.base_offset >= offset {
                builder.push(header.base_offset, position, header.record_count);
                offset = header.next_offset();
            }
            position = position.saturating_add(header.total_len() as u64);
        }
        let index = Arc::new(builder.finish());
        self.state.bucket.indexes.put(&self.state.id, base, version, index.clone());
        Ok(index)
    }

    /// Compares the body's CRC with the bytes, reading the segment in parts.
    ///
    /// # Errors
    /// Corrupt when they differ.
    pub(crate) async fn confirm(&self, base: i64, version: &Version) -> Result<()> {
        let key = self.state.id.segment_key(base);
        let body_end = version.size().saturating_sub(FOOTER_LEN as u64);
        let mut crc = 0;
        let mut position = HEADER_LEN as u64;
        while position < body_end {
            let to = position.saturating_add(PASS_STEP).min(body_end);
            let fetched = self.get(base, ReadRange::Range(position..to), Some(version)).await?;
            crc = crc32c_append(crc, &fetched.bytes);
            position = to;
        }
        let footer = self.footer(base, Some(version)).await?.0;
        if footer.crc != crc {
            let found = format!("body CRC {:08x}", footer.crc);
            return Err(Malformed::new(body_end, found, format!("{crc:08x}, which the body has")).into_error(&key));
        }
        Ok(())
    }

    /// Reads a segment's footer: one GET.
    ///
    /// # Errors
    /// Corrupt if those bytes are not a footer.
    pub(crate) async fn footer(&self, base: i64, version: Option<&Version>) -> Result<(SegmentFooter, Version)> {
        let fetched = self.get(base, ReadRange::Suffix(FOOTER_LEN as u64), version).await?;
        let footer = SegmentFooter::parse(&fetched.bytes)
            .map_err(|e| e.offset_position(fetched.range.start).into_error(&self.state.id.segment_key(base)))?;
        Ok((footer, fetched.info.version))
    }
}

/// The greatest timestamp of a segment's records: one GET, more beyond 64 MiB. The header is asked of a batch
/// that is larger than that.
pub(super) async fn greatest_of_records(state: &PartitionState, base: i64, limits: &Limits) -> Result<Option<i64>> {
    let key = state.id.segment_key(base);
    let mut greatest = None;
    let (mut position, mut size) = (HEADER_LEN as u64, u64::MAX);
    let mut window = Window::default();
    while position < size.saturating_sub(FOOTER_LEN as u64) {
        let rest = window.rest(position);
        let header = window.header(position).transpose().map_err(|e| e.offset_position(position).into_error(&key))?;
        // What was read from here on is all that there is of it, or all that is read for it.
        let read = window.from == position;
        match header {
            Some(header) if header.total_len() <= rest.len() => {
                greatest = greatest.max(stamps::greatest(&rest, &header, limits));
                position = position.saturating_add(header.total_len() as u64);
            }
            Some(header) if read || header.total_len() as u64 > RECORDS_STEP => {
                greatest = greatest.max(stamps::told(&header));
                position = position.saturating_add(header.total_len() as u64);
            }
            None if read => break,
            _ => {
                let range = ReadRange::Range(position..position.saturating_add(RECORDS_STEP));
                let fetched = state.get_through(state.store_of(base), &key, range, None).await?;
                size = fetched.info.size;
                window = Window { from: position, bytes: fetched.bytes };
            }
        }
    }
    Ok(greatest)
}
