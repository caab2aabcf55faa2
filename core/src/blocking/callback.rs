//! Completion callbacks: they run on the task of a writer, which they must not hold up.

use std::cell::Cell;

use crate::error::{Error, ErrorKind};

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
    static REGISTERING: Cell<bool> = const { Cell::new(false) };
}

/// Sets a flag of this thread until it is dropped.
struct Set(&'static std::thread::LocalKey<Cell<bool>>, bool);

impl Set {
    fn new(flag: &'static std::thread::LocalKey<Cell<bool>>) -> Self {
        Set(flag, flag.replace(true))
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Whether this thread runs a completion callback now, where nothing may wait.
pub fn in_callback() -> bool {
    IN_CALLBACK.get()
}

pub(super) fn call_back(callback: impl FnOnce()) {
    let _inside = Set::new(&IN_CALLBACK);
    callback();
}

/// Whether this thread is within [`registering`].
pub(super) fn is_registering() -> bool {
    REGISTERING.get()
}

pub(super) fn registering(register: impl FnOnce()) {
    let _inside = Set::new(&REGISTERING);
    register();
}

pub(super) fn would_deadlock() -> Error {
    Error::new(ErrorKind::InvalidInput, "a completion callback must not wait: the writer waits for it to return")
        .with_hint("append without waiting there, or hand the result to another thread")
}
