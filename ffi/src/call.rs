//! The border: panics stop here, pointers are checked here.

use std::any::Any;
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use kfs_core::{Error, ErrorKind, Result};

use crate::error::kfs_error;

/// Runs a call of the API: its error, or NULL.
pub(crate) fn call(work: impl FnOnce() -> Result<()>) -> *mut kfs_error {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)));
    match result {
        Ok(()) => ptr::null_mut(),
        Err(error) => kfs_error::give(error),
    }
}

/// Runs a call that can't fail and gives `otherwise` if it panics all the same.
pub(crate) fn ask<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(otherwise)
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::new(ErrorKind::Internal, format!("libkfs panicked: {what}")).with_hint("please report it")
}

fn is_null(name: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{name} is NULL"))
}

/// A handle or struct that the caller passes.
///
/// # Safety
/// `pointer` is NULL or points to a `T` that lives and is not written to for `'a`.
pub(crate) unsafe fn shared<'a, T>(pointer: *const T, name: &str) -> Result<&'a T> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_ref() }.ok_or_else(|| is_null(name))
}

/// A string that the caller passes.
///
/// # Safety
/// `pointer` is NULL or points to a string that ends with NUL and is not written to for `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(is_null(name));
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|e| Error::new(ErrorKind::InvalidInput, format!("{name} is not UTF-8")).with_source(e))
}

/// Like [`text`], for what may be left out.
///
/// # Safety
/// As [`text`]'s.
pub(crate) unsafe fn optional_text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { text(pointer, name) }.map(Some)
}

/// Bytes that the caller passes.
///
/// # Safety
/// `length` is 0, or `pointer` is NULL or points to `length` bytes that are not written to for `'a`.
pub(crate) unsafe fn bytes<'a>(pointer: *const u8, length: usize, name: &str) -> Result<&'a [u8]> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(is_null(name));
    }
    if isize::try_from(length).is_err() {
        return Err(Error::new(ErrorKind::InvalidInput, format!("{name} can't be {length} bytes long")));
    }
    // SAFETY: not NULL, no longer than an allocation can be, and the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// Where a result goes: checked before the work, written after it.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// `pointer` is NULL or may be written to until this is used or dropped.
    pub(crate) unsafe fn new(pointer: *mut T, name: &str) -> Result<Self> {
        if pointer.is_null() { Err(is_null(name)) } else { Ok(Out(pointer)) }
    }

    pub(crate) fn write(self, value: T) {
        // SAFETY: not NULL, and the rest was promised to `new`. What was there is C's and not dropped.
        unsafe { self.0.write(value) }
    }
}

impl<T> Out<*mut T> {
    /// Gives a handle to the caller, who frees it.
    pub(crate) fn give(self, handle: T) {
        self.write(Box::into_raw(Box::new(handle)));
    }
}

/// Takes a handle back that was given by [`Out::give`] or is NULL, and drops it.
///
/// # Safety
/// `handle` is NULL, or was given by this library, is not in use and is not used again.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: all handles are given as boxes, and the rest is the caller's promise.
        let handle = unsafe { Box::from_raw(handle) };
        ask((), move || drop(handle));
    }
}

/// Writes all values or, when there are none, nothing. Outputs that are NULL are passed over.
///
/// # Safety
/// Each output is NULL or may be written to.
pub(crate) unsafe fn put<T, const N: usize>(outputs: [*mut T; N], values: Option<[T; N]>) -> bool {
    let Some(values) = values else { return false };
    for (output, value) in outputs.into_iter().zip(values) {
        // SAFETY: the caller's promise.
        if let Ok(output) = unsafe { Out::new(output, "") } {
            output.write(value);
        }
    }
    true
}
