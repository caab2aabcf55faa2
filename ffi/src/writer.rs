//! `kfs_writer`.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::time::Duration;

use bytes::Bytes;
use kfs_core::blocking::{Wait, in_callback};
use kfs_core::{ForkSafe, Interest, Offsets, Result, Writer, WriterStatus};

use crate::bucket::kfs_bucket;
use crate::call::{Out, bytes, call, free, shared, text};
use crate::error::kfs_error;
use crate::options::{kfs_writer_options, writer_options};
use crate::wait::{kfs_cancel, wait};

/// Appends to one partition. Any thread may use it, several at once; appends of one thread keep
/// their order.
pub struct kfs_writer(ForkSafe<Writer>);

impl kfs_writer {
    pub(crate) fn status(&self) -> Result<WriterStatus> {
        Ok(self.0.get()?.status())
    }
}

/// The offsets that an append got: first and last, both included.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kfs_offsets {
    /// The first.
    pub base: i64,
    /// The last; at least the first.
    pub last: i64,
}

impl From<Offsets> for kfs_offsets {
    fn from(offsets: Offsets) -> Self {
        kfs_offsets { base: offsets.base, last: offsets.last }
    }
}

/// Told once how an append ended, see kfs_writer_append_batches_callback. NULL is fine.
///
/// error: NULL when the append is durable, else why it failed; lent, so clone what must outlive the
/// callback. offsets: the append's offsets; NULL when it failed; lent.
///
/// It runs on a thread of libkfs's, never from within the call that appended: a lock that is held
/// there may be taken here. The callbacks of one writer come one at a time, in the order in which its
/// appends end; those of different writers may run at the same time. The writer waits for a callback:
/// be short, and call nothing that waits. (A call that would have to gives KFS_INVALID_INPUT here;
/// kfs_writer_append_batches_callback with a timeout_ms of 0 is fine.) It must return: no longjmp, no C++
/// exception.
pub type kfs_append_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, error: *const kfs_error, offsets: *const kfs_offsets)>;

/// Opens a writer of a partition: finds the end of the log and checks its newest segment. An empty
/// partition is left untouched until the first append.
///
/// options: NULL for the defaults. writer: gets the handle; end it with kfs_writer_close and
/// kfs_writer_free.
/// Errors: KFS_CONFLICT when another start offset was fixed, or an exclusive writer is open in this
/// process; KFS_CORRUPT when the newest segment is not whole; KFS_FENCED when it holds a higher
/// leader epoch; KFS_INVALID_INPUT for a topic or number that is not allowed; KFS_UNAVAILABLE,
/// KFS_PERMISSION_DENIED; KFS_TIMED_OUT, and the writer that is still being opened is closed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_writer_open(
    bucket: *const kfs_bucket,
    topic: *const c_char,
    partition: i32,
    options: *const kfs_writer_options,
    timeout_ms: i64,
    cancel: *const kfs_cancel,
    writer: *mut *mut kfs_writer,
) -> *mut kfs_error {
    // SAFETY: the header's rules on handles, strings, structs and outputs.
    call(|| unsafe {
        let out = Out::new(writer, "writer")?;
        let partition = shared(bucket, "bucket")?.0.get()?.partition(text(topic, "topic")?, partition)?;
        let opening = partition.writer_with(writer_options(options)?);
        let opened = wait(timeout_ms, cancel).on_log(&partition, opening)?;
        out.give(kfs_writer(ForkSafe::new(opened)));
        Ok(())
    })
}

/// Appends record batches (magic 2, one or several back to back) as one, and waits until they are
/// durable. They get the next offsets of the log and keep everything else. The bytes are copied.
///
/// The time limit is for all of it: for room in the buffer, and for durability. When it passes the
/// append goes on; kfs_error_stored says whether it may be in the log.
/// offsets: gets the offsets; NULL is fine.
/// Errors: KFS_INVALID_INPUT for batches that the option batch_check refuses; KFS_TIMED_OUT;
/// KFS_FENCED, KFS_CLOSED; KFS_UNAVAILABLE and whatever else ended the flush.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_writer_append_batches(
    writer: *const kfs_writer,
    batches: *const u8,
    length: usize,
    timeout_ms: i64,
    cancel: *const kfs_cancel,
    offsets: *mut kfs_offsets,
) -> *mut kfs_error {
    // SAFETY: the header's rules on handles, bytes and outputs.
    call(|| unsafe {
        let wait = wait(timeout_ms, cancel);
        let batches = Bytes::copy_from_slice(bytes(batches, length, "batches")?);
        let writer = shared(writer, "writer")?.0.get()?;
        let append = wait.on_admission(writer, writer.append_batches(batches))?;
        let durable = wait.on_commit(&append, append.durable())?;
        if let Ok(out) = Out::new(offsets, "offsets") {
            out.write(durable.into());
        }
        Ok(())
    })
}

/// Appends record batches as kfs_writer_append_batches does, but does not wait for durability: `callback` is
/// called once when the append is durable or has failed. The bytes are copied.
///
/// flush: true when the caller waits for the outcome: the writer flushes as soon as linger_ms allows.
/// False when it may take until flush_bytes, flush_records or flush_interval_ms say so.
/// timeout_ms, cancel: how long to wait for room in the buffer; with 0, KFS_FULL says that there is no room.
/// user_data: given to the callback, never touched.
/// When this gives an error, the callback is not and will not be called, and nothing was appended.
/// Errors: KFS_INVALID_INPUT for batches that the option batch_check refuses; KFS_FULL, KFS_TIMED_OUT;
/// KFS_FENCED, KFS_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_writer_append_batches_callback(
    writer: *const kfs_writer,
    batches: *const u8,
    length: usize,
    flush: bool,
    timeout_ms: i64,
    cancel: *const kfs_cancel,
    callback: kfs_append_callback,
    user_data: *mut c_void,
) -> *mut kfs_error {
    // SAFETY: the header's rules on handles and bytes.
    call(|| unsafe {
        let batches = Bytes::copy_from_slice(bytes(batches, length, "batches")?);
        let handle = shared(writer, "writer")?.0.get()?;
        let append = if timeout_ms == 0 {
            handle.try_append_batches(batches)?
        } else {
            wait(timeout_ms, cancel).on_admission(handle, handle.append_batches(batches))?
        };
        let target = Target { callback, user_data };
        let interest = if flush { Interest::Waits } else { Interest::Observes };
        append.on_settled(interest, move |outcome| target.tell(outcome));
        Ok(())
    })
}

/// Whom to call.
struct Target {
    callback: kfs_append_callback,
    user_data: *mut c_void,
}

// SAFETY: the header says that the callback runs on another thread, so what `user_data` points to
// is for the caller to keep fit for that.
unsafe impl Send for Target {}

impl Target {
    fn tell(&self, outcome: Result<Offsets>) {
        match outcome {
            Ok(offsets) => self.call(ptr::null(), &offsets.into()),
            Err(error) => self.call(&kfs_error::new(error), ptr::null()),
        }
    }

    fn call(&self, error: *const kfs_error, offsets: *const kfs_offsets) {
        if let Some(callback) = self.callback {
            // SAFETY: the header's rules on callbacks; what is lent outlives the call.
            unsafe { callback(self.user_data, error, offsets) }
        }
    }
}

/// Flushes what is buffered now and waits until it is durable.
///
/// Errors: KFS_TIMED_OUT, while the flush goes on; else why the last of it is not durable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_writer_flush(
    writer: *const kfs_writer,
    timeout_ms: i64,
    cancel: *const kfs_cancel,
) -> *mut kfs_error {
    // SAFETY: the header's rules on handles.
    call(|| unsafe {
        let writer = shared(writer, "writer")?.0.get()?;
        wait(timeout_ms, cancel).on_commit(writer, writer.flush())
    })
}

/// Takes no more appends, flushes what is buffered and ends the writer. When the time runs out,
/// retries stop, and what is not durable fails. Unless this was cancelled, all callbacks have
/// returned when it does. The handle remains to be freed. Within a callback, of this writer or of
/// another, it gives KFS_INVALID_INPUT where it would have to wait; the closing goes on then, and
/// callbacks may still come.
///
/// Errors: why what was buffered is not all durable; KFS_TIMED_OUT when cancelled, while the closing
/// goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_writer_close(
    writer: *const kfs_writer,
    timeout_ms: i64,
    cancel: *const kfs_cancel,
) -> *mut kfs_error {
    // SAFETY: the header's rules on handles.
    call(|| unsafe { wait(timeout_ms, cancel).close_writer(shared(writer, "writer")?.0.get()?) })
}

/// Frees the handle; no call may be using it. NULL is fine.
///
/// Close it first. A writer that was not closed is given up here: what is not durable fails, with
/// its callbacks told so. When this returns every callback of this writer has returned, and user_data
/// is the caller's again. That holds within a callback of another writer too: there this writer's
/// callbacks may run on the calling thread, so hold no lock that they take.
/// In two cases that would be a deadlock. It returns at once then, and callbacks that are left come
/// later, so keep user_data until the last one: within a callback of the same writer; and within a
/// callback of a writer for whose callbacks a callback of this writer waits, in kfs_writer_free, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_writer_free(writer: *mut kfs_writer) {
    // SAFETY: the header's rules on handles.
    unsafe {
        let ended = call(|| {
            let Some(handle) = writer.as_ref() else { return Ok(()) };
            let writer = handle.0.get()?;
            if in_callback() {
                // A close needs threads that callbacks may hold up.
                return writer.abandon().map(drop);
            }
            Wait::at_most(Duration::ZERO).close_writer(writer)
        });
        free(ended);
        free(writer);
    }
}
