//! `kfs_bucket`.

use std::ffi::c_char;

use kfs_core::blocking;
use kfs_core::{Bucket, ForkSafe};

use crate::call::{Out, call, free, shared, text};
use crate::config::kfs_config;
use crate::error::kfs_error;
use crate::options::{bucket_options, kfs_bucket_options};
use crate::wait::{kfs_cancel, wait};

/// A bucket (or a directory, or memory) that holds partition logs. One for a process is enough. All
/// buckets of a process run on the same threads (kfs_runtime_threads), which end after the last handle
/// was freed.
pub struct kfs_bucket(pub(crate) ForkSafe<Bucket>);

/// Sets how many worker threads all buckets of this process share: 2 unless this is called, 1024 at
/// most. Call it before the first bucket is opened. A forked child starts with 2.
///
/// Errors: KFS_INVALID_INPUT for a number that is not allowed; KFS_CONFLICT while the threads run and
/// are another number.
#[unsafe(no_mangle)]
pub extern "C" fn kfs_runtime_threads(threads: usize) -> *mut kfs_error {
    call(|| blocking::runtime_threads(threads))
}

/// Opens a bucket by its URL: "file:///directory", "memory:", "s3://bucket/prefix", "az://container/prefix" or
/// "gs://bucket/prefix", with settings after a question mark (kfs_config_from_url) and in the environment. Sends no
/// request, does not wait.
///
/// options: NULL for the defaults. bucket: gets the handle; free it with kfs_bucket_free.
/// Errors: KFS_INVALID_INPUT for a URL or a setting that can't be right; KFS_UNSUPPORTED for a scheme that
/// is unknown or not built in; KFS_NOT_FOUND for a directory whose parent does not exist; KFS_PERMISSION_DENIED
/// for one that can't be used, or where there are no credentials; KFS_UNAVAILABLE when threads can't be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_bucket_open(
    url: *const c_char,
    options: *const kfs_bucket_options,
    bucket: *mut *mut kfs_bucket,
) -> *mut kfs_error {
    // SAFETY: the header's rules on strings, structs and outputs.
    call(|| unsafe {
        let out = Out::new(bucket, "bucket")?;
        let opened = blocking::open(text(url, "url")?, bucket_options(options)?)?;
        out.give(kfs_bucket(ForkSafe::new(opened)));
        Ok(())
    })
}

/// Opens the bucket that a configuration describes. Sends no request, does not wait.
///
/// config: read during the call only. options, bucket: as for kfs_bucket_open.
/// Errors: those of kfs_bucket_open; the message names the setting.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_bucket_open_config(
    config: *const kfs_config,
    options: *const kfs_bucket_options,
    bucket: *mut *mut kfs_bucket,
) -> *mut kfs_error {
    // SAFETY: the header's rules on handles, structs and outputs.
    call(|| unsafe {
        let out = Out::new(bucket, "bucket")?;
        let options = blocking::on_shared_runtime(bucket_options(options)?)?;
        out.give(kfs_bucket(ForkSafe::new(Bucket::open_config(&shared(config, "config")?.0, options)?)));
        Ok(())
    })
}

/// Flushes and closes every writer of the bucket. When the time runs out, retries stop, and the
/// error names what is not durable. The handle remains to be freed.
///
/// Errors: KFS_TIMED_OUT; else why a flush failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_bucket_close(
    bucket: *const kfs_bucket,
    timeout_ms: i64,
    cancel: *const kfs_cancel,
) -> *mut kfs_error {
    // SAFETY: the header's rules on handles.
    call(|| unsafe { wait(timeout_ms, cancel).close_bucket(shared(bucket, "bucket")?.0.get()?) })
}

/// Frees the handle, at any time: writers and readers that came from it live on until they are freed
/// themselves. Does not flush and does not wait. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kfs_bucket_free(bucket: *mut kfs_bucket) {
    // SAFETY: the header's rules on handles.
    unsafe { free(bucket) }
}
