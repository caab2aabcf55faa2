//! Whether standard output was closed when the process started.
//!
//! Rust's runtime opens /dev/null in the place of a standard stream that is closed, so what is written goes nowhere
//! and no error tells of it. The only time to look is before that: where the linker's list of constructors runs.

use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether it was.
pub(crate) fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

#[cfg(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple"))]
mod before_main {
    use std::os::fd::BorrowedFd;
    use std::sync::atomic::Ordering;

    /// Asks the system alone: nothing of Rust's runtime is set up yet.
    extern "C" fn look() {
        // SAFETY: no file is used, and the number is that of standard output in any process.
        let stdout = unsafe { BorrowedFd::borrow_raw(1) };
        if rustix::io::fcntl_getfd(stdout) == Err(rustix::io::Errno::BADF) {
            super::CLOSED.store(true, Ordering::Relaxed);
        }
    }

    // SAFETY: the sections hold pointers to functions of this type.
    #[used]
    #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
    #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
    static LOOK: extern "C" fn() = look;
}
