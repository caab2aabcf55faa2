//! Passes over a whole segment, in parts, where one GET of all of it would take too much memory.

use std::sync::Arc;

use bytes::Bytes;

use super::source::BlockSource;
use super::stamps;
use crate::error::Result;
use crate::format::{
    BATCH_HEADER_LEN, Batch, BatchHeader, CrcCheck, DEFAULT_INDEX_INTERVAL, FOOTER_LEN, HEADER_LEN, IndexBuilder,
    Limits, Malformed, SegmentFooter, SparseIndex, TimeIndex, add_times, crc32c_append,
};
use crate::log::state::PartitionState;
use crate::store::{ObjectInfo, ReadRange, Version};

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
    let mut greatest = None;
    let pass = each_batch(state, base, None, |header, bytes| {
        greatest = greatest.max(match bytes {
            Some(bytes) => stamps::greatest(bytes, header, limits),
            None => stamps::told(header),
        });
        Ok(())
    });
    pass.await?;
    Ok(greatest)
}

/// What a pass over all batches of a segment told of its object.
struct Passed {
    /// The object; `None` where it has no batch.
    info: Option<ObjectInfo>,
    /// Where the batches end.
    position: u64,
}

/// Gives the batches of a segment one by one, as far as they go: their headers, and all their bytes, which begin with the
/// header, unless a batch is larger than 64 MiB. All of it is of one version if the caller names one.
async fn each_batch(
    state: &PartitionState,
    base: i64,
    version: Option<&Version>,
    mut each: impl FnMut(&BatchHeader, Option<&Bytes>) -> std::result::Result<(), Malformed>,
) -> Result<Passed> {
    let key = state.id.segment_key(base);
    let (mut position, mut size, mut info) = (HEADER_LEN as u64, u64::MAX, None);
    let mut window = Window::default();
    let broken = |malformed: Malformed, position: u64| malformed.offset_position(position).into_error(&key);
    while position < size.saturating_sub(FOOTER_LEN as u64) {
        let rest = window.rest(position);
        let header = window.header(position).transpose().map_err(|e| broken(e, position))?;
        // What was read from here on is all that there is of it, or all that is read for it.
        let read = window.from == position;
        match header {
            Some(header) if header.total_len() <= rest.len() => {
                each(&header, Some(&rest)).map_err(|e| broken(e, position))?;
                position = position.saturating_add(header.total_len() as u64);
            }
            Some(header) if read || header.total_len() as u64 > RECORDS_STEP => {
                each(&header, None).map_err(|e| broken(e, position))?;
                position = position.saturating_add(header.total_len() as u64);
            }
            None if read => break,
            _ => {
                let range = ReadRange::Range(position..position.saturating_add(RECORDS_STEP));
                let fetched = state.get_through(state.store_of(base), &key, range, version).await?;
                size = fetched.info.size;
                window = Window { from: position, bytes: fetched.bytes };
                info = Some(fetched.info);
            }
        }
    }
    Ok(Passed { info, position })
}

/// What a segment's batches say of its end and of its records' times.
#[derive(Clone, Debug)]
pub(crate) struct SegmentTimes {
    /// The object that was read.
    pub(crate) info: ObjectInfo,
    /// One past the last offset.
    pub(crate) end: i64,
    /// The least and the greatest timestamp of the records. `None` where there are none, and where they can't be told: of
    /// records that can't be decoded, and of batches of more than 64 MiB.
    pub(crate) times: Option<(i64, i64)>,
}

/// Reads where a segment ends, and the range of its records' timestamps as their producers gave them: one GET, more beyond
/// 64 MiB, of which no more are held at a time. CRCs are checked. Batches whose records have the time of their append are
/// among those whose times can't be told, for their producers' times are others.
///
/// # Errors
/// Not found; conflict where another version than this one is there; corrupt for a segment that is broken; what the store
/// answers.
pub(crate) async fn times_of_records(
    state: &PartitionState,
    base: i64,
    version: &Version,
    limits: &Limits,
) -> Result<SegmentTimes> {
    let (mut end, mut range, mut untold) = (base, None::<TimeIndex>, false);
    let mut first = true;
    let passed = each_batch(state, base, Some(version), |header, bytes| {
        if std::mem::take(&mut first) && header.base_offset != base {
            let found = format!("base offset {}", header.base_offset);
            return Err(Malformed::new(0, found, format!("{base}, the segment's")));
        }
        end = end.max(header.next_offset());
        match bytes.filter(|_| !header.attributes.is_log_append_time()) {
            Some(bytes) => {
                let batch = Batch::parse(bytes, 0, CrcCheck::Verify)?;
                untold |= add_times(&mut range, &batch, limits).is_err();
            }
            None => untold |= header.record_count > 0,
        }
        Ok(())
    });
    let Passed { info, position } = passed.await?;
    let body_end = version.size().saturating_sub(FOOTER_LEN as u64);
    let Some(info) = info.filter(|_| position == body_end) else {
        let malformed = Malformed::new(position, "the end of the batches", format!("it at byte {body_end}"));
        return Err(malformed.into_error(&state.id.segment_key(base)));
    };
    let times = range.filter(|_| !untold).map(|range| (range.min_ts, range.max_ts));
    Ok(SegmentTimes { info, end, times })
}
