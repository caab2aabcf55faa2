//! A fork takes no handle along: the runtime's threads stay in the parent, locks may be held by threads
//! that the child does not have, and two processes would write under one writer id.

use crate::error::{Error, ErrorKind, Result};

/// Remembers the process in which a handle was made. A check is a load from memory and costs about a nanosecond.
///
/// A forked child has a copy of every handle and none of the threads that serve it. Check the guard
/// before any lock of the handle is taken; in the child, forget the handle instead of dropping it.
///
/// The system tells of a fork by a handler that the C library runs in the child. A child that a raw `clone` system call
/// makes runs no such handler. [`check_process`](Self::check_process) notices that one too; a writer calls it before it
/// sends a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkGuard {
    process: u32,
    forks: u32,
}

impl ForkGuard {
    /// A guard for a handle that is made in this process.
    pub fn here() -> Self {
        ForkGuard { process: this_process(), forks: forks() }
    }

    /// Whether this is another process than the one that made the handle.
    pub fn is_forked(&self) -> bool {
        self.forks != forks()
    }

    /// Refuses to go on in a forked child.
    ///
    /// # Errors
    /// Closed, in any process but the one that made the handle.
    pub fn check(&self) -> Result<()> {
        if self.is_forked() { Err(self.refusal()) } else { Ok(()) }
    }

    /// The same, and asks the system for the number of the process, which takes up to a microsecond.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_process(&self) -> Result<()> {
        if self.process != this_process() { Err(self.refusal()) } else { self.check() }
    }

    fn refusal(&self) -> Error {
        let (made, here) = (self.process, this_process());
        let message = format!("the handle was made in process {made}, and this is process {here}, forked from it");
        Error::new(ErrorKind::Closed, message).with_hint("open a new bucket in the child process")
    }
}

/// A handle for the process that made it alone: for faces in other languages, whose users fork without asking.
///
/// Dropped in a forked child it is forgotten: to drop it would wait for locks that threads of the parent held when
/// it forked, and for threads that did not come along.
#[derive(Debug)]
pub struct ForkSafe<T> {
    handle: Option<T>,
    guard: ForkGuard,
}

impl<T> ForkSafe<T> {
    /// Guards a handle that is made now.
    pub fn new(handle: T) -> Self {
        ForkSafe { handle: Some(handle), guard: ForkGuard::here() }
    }

    /// The handle.
    ///
    /// # Errors
    /// Closed, in a forked child.
    pub fn get(&self) -> Result<&T> {
        self.guard.check()?;
        self.peek()
    }

    /// The handle in a forked child too: for what is memory alone, and takes no lock.
    ///
    /// # Errors
    /// None; the type is that of [`get`](Self::get).
    pub fn peek(&self) -> Result<&T> {
        self.handle.as_ref().ok_or_else(|| Error::new(ErrorKind::Internal, "a handle is missing"))
    }
}

impl<T> Drop for ForkSafe<T> {
    fn drop(&mut self) {
        if self.guard.is_forked() {
            std::mem::forget(self.handle.take());
        }
    }
}

impl Default for ForkGuard {
    fn default() -> Self {
        Self::here()
    }
}

fn this_process() -> u32 {
    std::process::id().wrapping_add(pretended())
}

/// How many forks lie between the first process that asked and this one.
fn forks() -> u32 {
    counted_forks().wrapping_add(pretended())
}

#[cfg(not(test))]
fn pretended() -> u32 {
    0
}

#[cfg(test)]
fn pretended() -> u32 {
    tests::FORKED.get()
}

#[cfg(unix)]
#[allow(unsafe_code, reason = "the C library alone tells of a fork without a system call for each check")]
fn counted_forks() -> u32 {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static FORKS: AtomicU32 = AtomicU32::new(0);
    static IS_COUNTED: LazyLock<bool> = LazyLock::new(|| {
        // SAFETY: the handler only adds to an atomic, which is sound after a fork and in a signal handler. It lives as
        // long as the code does: the C library takes it off the list when a library that was loaded with it is unloaded.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) == 0 }
    });

    extern "C" fn forked() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    // Without room for the handler, each process counts as a fork of its own.
    if *IS_COUNTED { FORKS.load(Ordering::Relaxed) } else { this_process() }
}

/// Nothing forks.
#[cfg(not(unix))]
fn counted_forks() -> u32 {
    0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    thread_local! {
        pub(super) static FORKED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }

    /// From now on this thread passes for a forked child, or for the parent again.
    pub(crate) fn pretend_forked(forked: bool) {
        FORKED.set(u32::from(forked));
    }

    #[test]
    fn a_forked_child_neither_uses_nor_drops_a_handle() {
        struct Drops(std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl Drop for Drops {
            fn drop(&mut self) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let dropped = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let [here, there] = [(); 2].map(|()| ForkSafe::new(Drops(dropped.clone())));
        assert!(here.get().is_ok());
        drop(here);
        pretend_forked(true);
        let refused = there.get().map(drop).unwrap_err();
        drop(there);
        pretend_forked(false);
        assert_eq!(refused.kind(), ErrorKind::Closed);
        assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[test]
    fn a_handle_of_another_process_is_refused() {
        let guard = ForkGuard::here();
        guard.check().unwrap();
        pretend_forked(true);
        let error = guard.check().unwrap_err();
        pretend_forked(false);
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.message().contains(&std::process::id().to_string()), "{error}");
    }
}
