//! Ends the reading of an input from outside.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Asks the thread that reads to end, and tells whether it holds anything yet.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    asked: AtomicBool,
    /// The thread asks the system for more: it has handed over all that it read before, but for the
    /// beginning of a line or a batch. That call can't be cancelled.
    waits: AtomicBool,
    /// The thread ended because it was asked to.
    cut: AtomicBool,
    changed: Notify,
}

impl Stop {
    /// Nothing more is to be read.
    pub(crate) fn stop(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }

    pub(super) fn is_asked_for(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn reader_waits(&self) -> bool {
        self.waits.load(Ordering::SeqCst)
    }

    pub(super) fn has_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Wakes when the reading is to stop, or the thread waits after that.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// An input that can be stopped. What the system gave is always given on.
pub(super) struct Watched<'a, R> {
    input: R,
    stop: &'a Stop,
}

impl<'a, R> Watched<'a, R> {
    pub(super) fn new(input: R, stop: &'a Stop) -> Self {
        Watched { input, stop }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // In this order: either the other side sees that this one waits, or this one sees that it must stop.
        self.stop.waits.store(true, Ordering::SeqCst);
        if self.stop.is_asked_for() {
            self.stop.cut.store(true, Ordering::SeqCst);
            self.stop.changed.notify_one();
            return Err(io::Error::other("the reading was stopped"));
        }
        let read = self.input.read(bytes);
        self.stop.waits.store(false, Ordering::SeqCst);
        read
    }
}
