//! What a caller may ask of a `kfs_error`.

use std::ffi::{CString, c_char};
use std::ptr;
use std::time::Duration;

use kfs_core::{ErrorKind, Stored};

use crate::call::{ask, free, put, shared};
use crate::error::{kfs_error, kfs_stored};

/// # Safety
/// As [`shared`]'s.
unsafe fn of<T>(error: *const kfs_error, otherwise: T, get: impl FnOnce(&kfs_error) -> T) -> T {
    // SAFETY: the caller's promise.
    match unsafe { shared(error, "error") } {
        Ok(error) => ask(otherwise, || get(error)),
        Err(_) => otherwise,
    }
}

/// Its code, one of enum kfs_code; KFS_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_code(error: *const kfs_error) -> i32 {
    // SAFETY: the header's rules on handles.
    unsafe { of(error, 0, |e| e.error.kind() as i32) }
}

/// The name of its code, such as "not found"; "ok" for NULL. Lives for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_name(error: *const kfs_error) -> *const c_char {
    let name = |kind| match kind {
        ErrorKind::NotFound => c"not found",
        ErrorKind::PermissionDenied => c"permission denied",
        ErrorKind::InvalidInput => c"invalid input",
        ErrorKind::OutOfRange => c"offset out of range",
        ErrorKind::Conflict => c"conflict",
        ErrorKind::Fenced => c"fenced",
        ErrorKind::Corrupt => c"corrupt",
        ErrorKind::Unavailable => c"unavailable",
        ErrorKind::TimedOut => c"timed out",
        ErrorKind::Full => c"full",
        ErrorKind::Unsupported => c"unsupported",
        ErrorKind::Closed => c"closed",
        _ => c"internal error",
    };
    // SAFETY: the header's rules on handles.
    unsafe { of(error, c"ok", |e| name(e.error.kind())) }.as_ptr()
}

/// One line for people: what was found and expected, the object and position, the offsets, and all
/// that caused it. "" for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_message(error: *const kfs_error) -> *const c_char {
    // SAFETY: the header's rules on handles.
    unsafe { of(error, c"".as_ptr(), |e| e.message.as_ptr()) }
}

/// What to do about it, when that is more than the code says; else NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_hint(error: *const kfs_error) -> *const c_char {
    // SAFETY: the header's rules on handles.
    unsafe { of(error, ptr::null(), |e| pointer(e.hint.as_ref())) }
}

/// Whether the same call may succeed later without a change by the caller. False for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_is_retriable(error: *const kfs_error) -> bool {
    // SAFETY: the header's rules on handles.
    unsafe { of(error, false, |e| e.error.is_retriable()) }
}

/// For a failed append whether its bytes may be in the log, one of enum kfs_stored;
/// KFS_STORED_NOT_APPLICABLE (0) for other errors and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_stored(error: *const kfs_error) -> i32 {
    let stored = |e: &kfs_error| match e.error.stored() {
        None => kfs_stored::KFS_STORED_NOT_APPLICABLE,
        Some(Stored::Not) => kfs_stored::KFS_STORED_NOT,
        Some(_) => kfs_stored::KFS_STORED_PERHAPS,
    };
    // SAFETY: the header's rules on handles.
    unsafe { of(error, kfs_stored::KFS_STORED_NOT_APPLICABLE, stored) as i32 }
}

/// The key of the object that it is about, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_key(error: *const kfs_error) -> *const c_char {
    // SAFETY: the header's rules on handles.
    unsafe { of(error, ptr::null(), |e| pointer(e.key.as_ref())) }
}

/// For KFS_FENCED the name of the writer that won, where the store told; else NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_winner(error: *const kfs_error) -> *const c_char {
    // SAFETY: the header's rules on handles.
    unsafe { of(error, ptr::null(), |e| pointer(e.winner.as_ref())) }
}

/// What the store calls the request that failed, for its operator, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_request_id(error: *const kfs_error) -> *const c_char {
    // SAFETY: the header's rules on handles.
    unsafe { of(error, ptr::null(), |e| pointer(e.request_id.as_ref())) }
}

/// What libkfs called the request that failed, a UUID that it sent with it: logs of a proxy or of the store hold it,
/// also where no answer came back. NULL where nothing was sent, and on Azure with an account key, whose signature
/// leaves no room for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_client_request_id(error: *const kfs_error) -> *const c_char {
    // SAFETY: the header's rules on handles.
    unsafe { of(error, ptr::null(), |e| pointer(e.client_request_id.as_ref())) }
}

/// How long the store asked to wait before the next try (Retry-After), in milliseconds. libkfs itself waits 5
/// minutes at most. False, and nothing is written, when it did not ask.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_retry_after_ms(error: *const kfs_error, pause_ms: *mut u64) -> bool {
    let ms = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    // SAFETY: the header's rules on handles and outputs.
    unsafe { put([pause_ms], of(error, None, |e| e.error.retry_after().map(|pause| [ms(pause)]))) }
}

/// The byte position in the object of kfs_error_key. False, and nothing is written, when there is
/// none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_position(error: *const kfs_error, position: *mut u64) -> bool {
    // SAFETY: the header's rules on handles and outputs.
    unsafe { put([position], of(error, None, |e| e.error.position().map(|p| [p]))) }
}

/// The first and the last offset that broken bytes cover. False, and nothing is written, when they
/// are not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_offsets(error: *const kfs_error, first: *mut i64, last: *mut i64) -> bool {
    // SAFETY: the header's rules on handles and outputs.
    unsafe { put([first, last], of(error, None, |e| e.error.offsets().map(|(a, b)| [a, b]))) }
}

/// For KFS_OUT_OF_RANGE the log start offset, and the log end offset (one past the last). False, and
/// nothing is written, when they are not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_log_range(error: *const kfs_error, start: *mut i64, end: *mut i64) -> bool {
    // SAFETY: the header's rules on handles and outputs.
    unsafe { put([start, end], of(error, None, |e| e.error.log_range().map(|(a, b)| [a, b]))) }
}

/// For KFS_CORRUPT the next offset that can be read. False, and nothing is written, when it is not
/// known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_next_readable_offset(error: *const kfs_error, offset: *mut i64) -> bool {
    // SAFETY: the header's rules on handles and outputs.
    unsafe { put([offset], of(error, None, |e| e.error.next_readable_offset().map(|o| [o]))) }
}

/// A copy that outlives the original: for an error that was lent. Free it. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_clone(error: *const kfs_error) -> *mut kfs_error {
    // SAFETY: the header's rules on handles.
    unsafe { of(error, ptr::null_mut(), |e| kfs_error::give(e.error.clone())) }
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_error_free(error: *mut kfs_error) {
    // SAFETY: the header's rules on handles.
    unsafe { free(error) }
}

fn pointer(text: Option<&CString>) -> *const c_char {
    text.map_or(ptr::null(), |text| text.as_ptr())
}
