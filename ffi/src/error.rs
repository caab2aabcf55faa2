//! `kfs_error`: what it holds, and its codes.

use std::ffi::CString;

use kfs_core::Error;

/// What went wrong, as far as a caller must know to act on it. The numbers are fixed; new ones may
/// come, so treat one that you do not know as KFS_INTERNAL.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum kfs_code {
    /// No error: the code of NULL.
    KFS_OK = 0,
    /// The partition, segment or bucket does not exist. Create it, or check the name.
    KFS_NOT_FOUND = 1,
    /// The store refused the credentials or the action. Nothing was changed.
    KFS_PERMISSION_DENIED = 2,
    /// An argument can't be right: NULL, not UTF-8, not a record batch. Nothing was changed.
    KFS_INVALID_INPUT = 3,
    /// The offset is outside the log; kfs_error_log_range says what the log holds.
    KFS_OUT_OF_RANGE = 4,
    /// Another start offset was fixed before, or another exclusive writer is open in this process.
    KFS_CONFLICT = 5,
    /// Another writer owns the partition now. Open again only if this process should own it.
    KFS_FENCED = 6,
    /// Stored bytes are not what they must be; kfs_error_key and kfs_error_position say where.
    KFS_CORRUPT = 7,
    /// The store can't be reached or is overloaded. Try again.
    KFS_UNAVAILABLE = 8,
    /// The time limit passed, or the call was cancelled. The work may still complete.
    KFS_TIMED_OUT = 9,
    /// The buffer is full. Wait for durability of what is in it, then try again.
    KFS_FULL = 10,
    /// The store, the format's version or this build lacks something that is needed.
    KFS_UNSUPPORTED = 11,
    /// The writer was closed.
    KFS_CLOSED = 12,
    /// A fault of libkfs. Please report it.
    KFS_INTERNAL = 13,
}

/// What is known of a failed append.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum kfs_stored {
    /// The error is not an append's, or there is no error.
    KFS_STORED_NOT_APPLICABLE = 0,
    /// No request that carried the bytes was or can become visible: they may be appended again.
    KFS_STORED_NOT = 1,
    /// The bytes may be in the log, or may yet get there: look before you append them again.
    KFS_STORED_PERHAPS = 2,
}

/// An error. NULL means that all is well, and every function here accepts it.
///
/// Who gets a `kfs_error *` frees it with kfs_error_free. A `const kfs_error *` is lent. Strings
/// are UTF-8, end with NUL and live as long as the error. No message holds a credential.
pub struct kfs_error {
    pub(crate) error: Error,
    pub(crate) message: CString,
    pub(crate) hint: Option<CString>,
    pub(crate) key: Option<CString>,
    pub(crate) winner: Option<CString>,
    pub(crate) request_id: Option<CString>,
    pub(crate) client_request_id: Option<CString>,
}

impl kfs_error {
    pub(crate) fn new(error: Error) -> Self {
        kfs_error {
            message: c_string(&format!("{error:#}")),
            hint: error.hint().map(c_string),
            key: error.key().map(c_string),
            winner: error.winner().map(c_string),
            request_id: error.request_id().map(c_string),
            client_request_id: error.client_request_id().map(c_string),
            error,
        }
    }

    /// An error for the caller to free.
    pub(crate) fn give(error: Error) -> *mut Self {
        Box::into_raw(Box::new(Self::new(error)))
    }
}

/// A NUL within a text would cut it, so it goes.
fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}
