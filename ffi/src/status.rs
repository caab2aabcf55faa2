//! `kfs_writer_state`: what a writer is doing.

use std::time::Duration;

use kfs_core::{Error, WriterPhase, WriterStatus};

use crate::call::{Out, call, shared};
use crate::error::kfs_error;
use crate::options::{Extensible, init_to};
use crate::writer::kfs_writer;

/// Where a writer stands in its life. New ones may come.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum kfs_writer_phase {
    /// It takes appends.
    KFS_WRITER_OPEN = 0,
    /// It was closed, and what is buffered is being flushed.
    KFS_WRITER_CLOSING = 1,
    /// It was closed, and all that was buffered is durable.
    KFS_WRITER_CLOSED = 2,
    /// It was fenced, or failed, or its close gave up.
    KFS_WRITER_FAILED = 3,
}

/// What a writer is doing, see kfs_writer_status.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kfs_writer_state {
    /// Bytes of this struct as the caller knows it. Set by kfs_writer_status.
    pub size: usize,
    /// One of enum kfs_writer_phase.
    pub phase: i32,
    /// How many tries of the flush's last request have failed; 0 while all is well.
    pub failures: u32,
    /// Bytes of batches that are not durable yet: those that wait, and those on their way.
    pub buffered_bytes: u64,
    /// Records that are not durable yet, those on their way included.
    pub buffered_records: u64,
    /// How long the flush has been on its way, in milliseconds; -1 when none is.
    pub flushing_ms: i64,
    /// How long the flush has been tried again in vain, in milliseconds; -1 when nothing failed.
    pub retrying_ms: i64,
}

// SAFETY: it begins with its size, and the others are integers.
unsafe impl Extensible for kfs_writer_state {}

impl Default for kfs_writer_state {
    fn default() -> Self {
        kfs_writer_state {
            size: size_of::<Self>(),
            phase: kfs_writer_phase::KFS_WRITER_OPEN as i32,
            failures: 0,
            buffered_bytes: 0,
            buffered_records: 0,
            flushing_ms: -1,
            retrying_ms: -1,
        }
    }
}

impl From<&WriterStatus> for kfs_writer_state {
    fn from(status: &WriterStatus) -> Self {
        let ms = |time: Option<Duration>| time.map_or(-1, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let phase = match status.phase {
            WriterPhase::Closing => kfs_writer_phase::KFS_WRITER_CLOSING,
            WriterPhase::Closed => kfs_writer_phase::KFS_WRITER_CLOSED,
            WriterPhase::Failed => kfs_writer_phase::KFS_WRITER_FAILED,
            _ => kfs_writer_phase::KFS_WRITER_OPEN,
        };
        kfs_writer_state {
            phase: phase as i32,
            failures: status.trouble.as_ref().map_or(0, |trouble| trouble.failures),
            buffered_bytes: status.buffered_bytes as u64,
            buffered_records: status.buffered_records,
            flushing_ms: ms(status.flushing_for),
            retrying_ms: ms(status.retrying_for()),
            ..Self::default()
        }
    }
}

/// What the writer is doing now, how much is not durable yet, and why its flush waits if it does. Asks
/// nothing of the store and does not wait.
///
/// state, size: give sizeof(kfs_writer_state) as `size`; as many bytes are written. NULL is passed over.
/// last_error: gets the last failure of the flush that is tried again, or what ended the writer; free it
/// with kfs_error_free. NULL when there is no error. May itself be NULL.
/// Errors: none beyond those that are always possible.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_writer_status(
    writer: *const kfs_writer,
    state: *mut kfs_writer_state,
    size: usize,
    last_error: *mut *mut kfs_error,
) -> *mut kfs_error {
    // SAFETY: the header's rules on handles and outputs.
    call(|| unsafe {
        let status = shared(writer, "writer")?.status()?;
        init_to(state, size, || kfs_writer_state::from(&status));
        if let Ok(out) = Out::new(last_error, "last_error") {
            out.write(status.last_error().map_or(std::ptr::null_mut(), |error: &Error| kfs_error::give(error.clone())));
        }
        Ok(())
    })
}
