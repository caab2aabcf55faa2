//! `kfs_reader` and `kfs_fetch`.

use std::ffi::c_char;
use std::ptr;

use kfs_core::format::{Batch, CrcCheck, Limits};
use kfs_core::{Error, ErrorKind, Fetch, FetchOptions, ForkSafe, Reader, Result};

use crate::bucket::kfs_bucket;
use crate::call::{Out, ask, call, free, put, shared, text};
use crate::error::kfs_error;
use crate::options::{kfs_reader_options, reader_options};
use crate::wait::{kfs_cancel, wait};

/// Reads one partition. It holds the bytes that it read last, so give each place that reads a reader
/// of its own. It never writes.
pub struct kfs_reader(ForkSafe<Reader>);

/// What a fetch gave: whole record batches, in order. The bytes that it gives out stay where they
/// are, unchanged, until kfs_fetch_free; the reader and the bucket may go before.
pub struct kfs_fetch {
    fetch: ForkSafe<Fetch>,
    batches: Vec<kfs_batch>,
    spots: Vec<Spot>,
    limits: Limits,
}

/// Where a batch of a fetch stands: in which chunk, and at which byte of it.
struct Spot {
    chunk: usize,
    at: usize,
}

/// A stretch of bytes that belongs to the object it was asked of.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kfs_bytes {
    /// The first byte.
    pub data: *const u8,
    /// How many there are.
    pub length: usize,
}

/// A record batch that belongs to a kfs_fetch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kfs_batch {
    /// Its first byte.
    pub data: *const u8,
    /// Its length in bytes.
    pub length: usize,
    /// Its first offset.
    pub base_offset: i64,
    /// Its last offset.
    pub last_offset: i64,
}

/// Opens a reader of a partition. Asks nothing of the store and does not wait; whether the partition
/// exists is found by the first fetch.
///
/// options: NULL for the defaults. reader: gets the handle; free it with kfs_reader_free.
/// Errors: KFS_INVALID_INPUT for a topic or number that is not allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_reader_open(
    bucket: *const kfs_bucket,
    topic: *const c_char,
    partition: i32,
    options: *const kfs_reader_options,
    reader: *mut *mut kfs_reader,
) -> *mut kfs_error {
    // SAFETY: the header's rules on handles, strings, structs and outputs.
    call(|| unsafe {
        let out = Out::new(reader, "reader")?;
        let partition = shared(bucket, "bucket")?.0.get()?.partition(text(topic, "topic")?, partition)?;
        out.give(kfs_reader(ForkSafe::new(partition.reader_with(reader_options(options)?))));
        Ok(())
    })
}

/// Fetches whole batches from the one that holds `offset` on, of `max_bytes` in all; the first comes
/// whatever its length, and may begin below the offset. At the log's end there are none. Where the
/// offset is in a hole, they begin after it, and kfs_fetch_hole says so.
///
/// include_buffered: give what this process's writer has buffered and not made durable yet, too, as
/// far as its offsets are final.
/// fetch: gets the answer; free it with kfs_fetch_free.
/// Errors: KFS_OUT_OF_RANGE, and kfs_error_log_range says what there is; KFS_NOT_FOUND for a partition
/// that was never made; KFS_CORRUPT with key, position, offsets and the next readable offset;
/// KFS_TIMED_OUT, KFS_UNAVAILABLE, KFS_PERMISSION_DENIED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_reader_fetch(
    reader: *const kfs_reader,
    offset: i64,
    max_bytes: usize,
    include_buffered: bool,
    timeout_ms: i64,
    cancel: *const kfs_cancel,
    fetch: *mut *mut kfs_fetch,
) -> *mut kfs_error {
    // SAFETY: the header's rules on handles and outputs.
    call(|| unsafe {
        let out = Out::new(fetch, "fetch")?;
        let options = FetchOptions::new(max_bytes).include_buffered(include_buffered);
        let reader = shared(reader, "reader")?.0.get()?;
        let fetched = wait(timeout_ms, cancel).on_log(reader, reader.fetch_with(offset, options))?;
        let (batches, spots) = views(&fetched)?;
        out.give(kfs_fetch { batches, spots, limits: reader.options().limits, fetch: ForkSafe::new(fetched) });
        Ok(())
    })
}

/// Frees the handle; no call may be using it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_reader_free(reader: *mut kfs_reader) {
    // SAFETY: the header's rules on handles.
    unsafe { free(reader) }
}

/// They point into the chunks, whose bytes do not move when the `Fetch` does.
fn views(fetch: &Fetch) -> Result<(Vec<kfs_batch>, Vec<Spot>)> {
    let mut spots = Vec::new();
    for (number, chunk) in fetch.chunks.iter().enumerate() {
        let mut batches = kfs_core::format::batches(chunk, CrcCheck::AlreadyChecked);
        let mut at = 0;
        while let Some(Ok(_)) = batches.next() {
            spots.push(Spot { chunk: number, at: std::mem::replace(&mut at, batches.position()) });
        }
    }
    let view = |batch: kfs_core::format::Batch| kfs_batch {
        data: batch.bytes().as_ptr(),
        length: batch.bytes().len(),
        base_offset: batch.base_offset(),
        last_offset: batch.last_offset(),
    };
    let batches: std::result::Result<Vec<_>, _> = fetch.batches().map(|batch| batch.map(view)).collect();
    let batches = batches.map_err(|e| Error::new(ErrorKind::Internal, format!("a fetch gave broken batches: {e}")))?;
    Ok((batches, spots))
}

/// # Safety
/// As [`shared`]'s.
unsafe fn of<T>(fetch: *const kfs_fetch, otherwise: T, get: impl FnOnce(&kfs_fetch, &Fetch) -> T) -> T {
    // SAFETY: the caller's promise.
    let handle = unsafe { shared(fetch, "fetch") };
    // It is memory alone, which a forked child has too.
    match handle.and_then(|handle| Ok((handle, handle.fetch.peek()?))) {
        Ok((handle, fetch)) => ask(otherwise, || get(handle, fetch)),
        Err(_) => otherwise,
    }
}

/// How many batches there are; 0 at the log's end, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_fetch_batch_count(fetch: *const kfs_fetch) -> usize {
    // SAFETY: the header's rules on handles.
    unsafe { of(fetch, 0, |f, _| f.batches.len()) }
}

/// The batch of this index, from 0. False, and nothing is written, beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_fetch_batch(fetch: *const kfs_fetch, index: usize, batch: *mut kfs_batch) -> bool {
    // SAFETY: the header's rules on handles and outputs.
    unsafe { put([batch], of(fetch, None, |f, _| f.batches.get(index).map(|b| [*b]))) }
}

/// Decodes the records of the batch of this index, from 0, and gives nothing of them: says whether they can
/// be decoded. A batch is stored as a writer sent it, and its CRC says nothing of what is in it.
///
/// Errors: KFS_CORRUPT for records that can't be decoded, with key, position, the batch's offsets and the
/// next readable offset; KFS_UNSUPPORTED for a batch that decompresses to more than the reader's
/// max_decompressed; KFS_INVALID_INPUT for NULL and beyond the last batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_fetch_check_batch(fetch: *const kfs_fetch, index: usize) -> *mut kfs_error {
    // SAFETY: the header's rules on handles.
    call(|| check(unsafe { shared(fetch, "fetch") }?, index))
}

fn check(handle: &kfs_fetch, index: usize) -> Result<()> {
    let fetch = handle.fetch.peek()?;
    let spot = handle.spots.get(index);
    let Some((spot, bytes)) = spot.and_then(|spot| Some((spot, fetch.chunks.get(spot.chunk)?))) else {
        let message = format!("there is no batch {index}, the fetch has {}", handle.spots.len());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    };
    let batch = Batch::parse(bytes, spot.at, CrcCheck::AlreadyChecked)?;
    let decoded =
        batch.records(&handle.limits).and_then(|records| records.iter().try_for_each(|record| record.map(drop)));
    decoded.map_err(|malformed| fetch.place(spot.chunk, spot.at).undecodable(batch.header(), malformed))
}

/// How many chunks there are. Chunks are the same bytes in fewer pieces, for who sends them on: each
/// holds whole batches, back to back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_fetch_chunk_count(fetch: *const kfs_fetch) -> usize {
    // SAFETY: the header's rules on handles.
    unsafe { of(fetch, 0, |_, f| f.chunks.len()) }
}

/// The chunk of this index, from 0; NULL with length 0 beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_fetch_chunk(fetch: *const kfs_fetch, index: usize) -> kfs_bytes {
    let none = kfs_bytes { data: ptr::null(), length: 0 };
    let get = |_: &kfs_fetch, f: &Fetch| {
        f.chunks.get(index).map_or(none, |chunk| kfs_bytes { data: chunk.as_ptr(), length: chunk.len() })
    };
    // SAFETY: the header's rules on handles.
    unsafe { of(fetch, none, get) }
}

/// Where to fetch next; -1 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_fetch_next_offset(fetch: *const kfs_fetch) -> i64 {
    // SAFETY: the header's rules on handles.
    unsafe { of(fetch, -1, |_, f| f.next_offset) }
}

/// One past the last offset that is known to be durable; -1 for NULL. More may be there, unless this
/// fetch reached the log's end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_fetch_high_watermark(fetch: *const kfs_fetch) -> i64 {
    // SAFETY: the header's rules on handles.
    unsafe { of(fetch, -1, |_, f| f.high_watermark) }
}

/// The first offset that is served; -1 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_fetch_log_start(fetch: *const kfs_fetch) -> i64 {
    // SAFETY: the header's rules on handles.
    unsafe { of(fetch, -1, |_, f| f.log_start) }
}

/// Offsets that were asked for and do not exist (retention or a foreign tool removed them): the first
/// that is missing, and the next that exists. False, and nothing is written, when there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_fetch_hole(fetch: *const kfs_fetch, from: *mut i64, to: *mut i64) -> bool {
    // SAFETY: the header's rules on handles and outputs.
    unsafe { put([from, to], of(fetch, None, |_, f| f.hole().map(|hole| [hole.from, hole.to]))) }
}

/// Frees the answer and the bytes that it gave out. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_fetch_free(fetch: *mut kfs_fetch) {
    // SAFETY: the header's rules on handles.
    unsafe { free(fetch) }
}
