//! An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator with two counts, in bytes as asked for.
#[derive(Debug, Default)]
pub struct Counting {
    requested: AtomicUsize,
    freed: AtomicUsize,
}

impl Counting {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Counting { requested: AtomicUsize::new(0), freed: AtomicUsize::new(0) }
    }

    /// All bytes that were ever asked for. What grows counts with its whole new size.
    pub fn requested(&self) -> usize {
        self.requested.load(Relaxed)
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.requested().saturating_sub(self.freed.load(Relaxed))
    }
}

#[allow(unsafe_code, reason = "hands every call on to the system's allocator")]
// SAFETY: only counts, and hands every call on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.requested.fetch_add(layout.size(), Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.requested.fetch_add(layout.size(), Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        self.freed.fetch_add(layout.size(), Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.requested.fetch_add(size, Relaxed);
        self.freed.fetch_add(layout.size(), Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.realloc(at, layout, size) }
    }
}
