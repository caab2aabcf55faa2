//! The threads that all buckets of a process share. One test alone: it counts the threads of its process.
#![cfg(target_os = "linux")]

use std::ffi::CStr;
use std::ptr;

use kfs::{
    kfs_bucket, kfs_bucket_free, kfs_bucket_open, kfs_code, kfs_error, kfs_error_code, kfs_error_free,
    kfs_error_message,
};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn open() -> *mut kfs_bucket {
    let mut bucket = ptr::null_mut();
    // SAFETY: the header's rules.
    let error = unsafe { kfs_bucket_open(c"memory:".as_ptr(), ptr::null(), &raw mut bucket) };
    assert!(error.is_null());
    bucket
}

/// The code and the message of an error.
fn told(error: *mut kfs_error) -> (i32, String) {
    // SAFETY: the header's rules.
    unsafe {
        let message = CStr::from_ptr(kfs_error_message(error)).to_str().unwrap().to_owned();
        let code = kfs_error_code(error);
        kfs_error_free(error);
        (code, message)
    }
}

#[test]
fn two_buckets_share_one_runtime_whose_threads_are_set_before_it_runs() {
    assert_eq!(told(kfs::kfs_runtime_threads(0)).0, kfs_code::KFS_INVALID_INPUT as i32);
    assert!(kfs::kfs_runtime_threads(3).is_null());
    let before = threads();
    let (one, two) = (open(), open());
    assert_eq!(threads() - before, 3);
    let (code, message) = told(kfs::kfs_runtime_threads(4));
    assert_eq!(code, kfs_code::KFS_CONFLICT as i32);
    assert!(message.contains("3 threads already"), "{message}");
    // SAFETY: the header's rules.
    unsafe {
        kfs_bucket_free(one);
        assert_eq!(threads() - before, 3, "the other bucket uses them");
        kfs_bucket_free(two);
    }
    assert!(kfs::kfs_runtime_threads(4).is_null(), "they ended with the last bucket");
}
