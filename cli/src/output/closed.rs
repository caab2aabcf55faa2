//! Whether a standard stream was closed when the process started.
//!
//! Rust's runtime opens /dev/null in the place of a standard stream that is closed. Nothing is then read, and what is
//! written goes nowhere, and no error tells of it. The only time to look is before that: where the linker's list of
//! constructors runs.

use std::sync::atomic::{AtomicBool, Ordering};

static STDIN: AtomicBool = AtomicBool::new(false);
static STDOUT: AtomicBool = AtomicBool::new(false);

/// Whether standard input was closed.
pub(crate) fn stdin_is_closed() -> bool {
    STDIN.load(Ordering::Relaxed)
}

/// Whether standard output was closed.
pub(crate) fn is_closed() -> bool {
    STDOUT.load(Ordering::Relaxed)
}

#[cfg(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple"))]
mod before_main {
    use std::os::fd::BorrowedFd;
    use std::sync::atomic::Ordering;

    /// Asks the system alone: nothing of Rust's runtime is set up yet.
    extern "C" fn look() {
        for (number, closed) in [(0, &super::STDIN), (1, &super::STDOUT)] {
            // SAFETY: no file is used, and the number is that of a standard stream in any process.
            let stream = unsafe { BorrowedFd::borrow_raw(number) };
            if rustix::io::fcntl_getfd(stream) == Err(rustix::io::Errno::BADF) {
                closed.store(true, Ordering::Relaxed);
            }
        }
    }

    // SAFETY: the sections hold pointers to functions of this type.
    #[used]
    #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
    #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
    static LOOK: extern "C" fn() = look;
}
