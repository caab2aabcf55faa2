//! Ends the reading of an input from outside.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Asks the thread that reads to end, and tells whether it holds anything yet.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    asked: AtomicBool,
    /// The thread waits until there is something to read, which can't be cancelled. It has handed over all
    /// that it read before, but for the beginning of a line or a batch.
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

    /// Does something, in the thread that reads, that may wait for ever and takes nothing from the input.
    ///
    /// # Errors
    /// When the reading was stopped before that or meanwhile.
    pub(super) fn while_waiting<T>(&self, wait: impl FnOnce() -> T) -> io::Result<T> {
        // In this order: either the other side sees that this one waits, or this one sees that it must stop.
        self.waits.store(true, Ordering::SeqCst);
        self.go_on()?;
        let waited = wait();
        self.waits.store(false, Ordering::SeqCst);
        self.go_on()?;
        Ok(waited)
    }

    fn go_on(&self) -> io::Result<()> {
        if !self.is_asked_for() {
            return Ok(());
        }
        self.cut.store(true, Ordering::SeqCst);
        self.changed.notify_one();
        Err(io::Error::other("the reading was stopped"))
    }
}

/// An input that can be stopped.
pub(super) struct Watched<'a, R> {
    input: R,
    stop: &'a Stop,
}

impl<'a, R: Source> Watched<'a, R> {
    pub(super) fn new(input: R, stop: &'a Stop) -> Self {
        Watched { input, stop }
    }
}

impl<R: Source> Read for Watched<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // Waiting takes nothing from the input. A read that waits may have taken something when the thread
        // still seems to wait.
        self.stop.while_waiting(|| wait_for_input(&self.input))?;
        self.input.read(bytes)
    }
}

/// What is read, and can be waited for.
#[cfg(unix)]
pub(super) trait Source: Read + std::os::fd::AsFd {}
#[cfg(unix)]
impl<R: Read + std::os::fd::AsFd> Source for R {}
#[cfg(not(unix))]
pub(super) trait Source: Read {}
#[cfg(not(unix))]
impl<R: Read> Source for R {}

/// Waits until a read would not.
#[cfg(unix)]
fn wait_for_input(input: &impl Source) {
    use rustix::event::{PollFd, PollFlags, poll};
    // Whatever else is wrong with the input, reading it tells.
    while poll(&mut [PollFd::new(input, PollFlags::IN)], None) == Err(rustix::io::Errno::INTR) {}
}

#[cfg(not(unix))]
fn wait_for_input(_: &impl Source) {}
