//! Time limits and cancelling.

use std::ptr;
use std::time::Duration;

use kfs_core::ForkSafe;
use kfs_core::blocking::{Cancel, Wait};

use crate::call::{ask, free};

/// Ends calls that wait, from another thread. Every call that may wait takes one; NULL is fine there.
/// One handle may be given to any number of calls, on any threads. Free it with kfs_cancel_free.
pub struct kfs_cancel(ForkSafe<Cancel>);

/// A handle that is not cancelled yet. NULL only if libkfs fails inside.
#[unsafe(no_mangle)]
pub extern "C" fn kfs_cancel_new() -> *mut kfs_cancel {
    ask(ptr::null_mut(), || Box::into_raw(Box::new(kfs_cancel(ForkSafe::new(Cancel::new())))))
}

/// Ends, with KFS_TIMED_OUT, every call that waits with this handle, and every later one that would
/// wait. Only the waiting ends: work on its way goes on. May be called on any thread, more than
/// once, and with NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_cancel_cancel(cancel: *const kfs_cancel) {
    // SAFETY: the header's rules on handles.
    if let Some(cancel) = unsafe { cancel.as_ref() } {
        // In a forked child nobody waits with it.
        ask((), || drop(cancel.0.get().map(Cancel::cancel)));
    }
}

/// Frees the handle; no call may be using it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_cancel_free(cancel: *mut kfs_cancel) {
    // SAFETY: the header's rules on handles.
    unsafe { free(cancel) }
}

/// How long a call may wait, from now on. Negative: for as long as it takes.
///
/// # Safety
/// `cancel` is NULL or a handle of this library.
pub(crate) unsafe fn wait(timeout_ms: i64, cancel: *const kfs_cancel) -> Wait {
    let wait =
        u64::try_from(timeout_ms).map_or_else(|_| Wait::forever(), |ms| Wait::at_most(Duration::from_millis(ms)));
    // SAFETY: the caller's promise.
    match unsafe { cancel.as_ref() }.and_then(|cancel| cancel.0.get().ok()) {
        Some(cancel) => wait.or_until(cancel).begun(),
        None => wait.begun(),
    }
}
