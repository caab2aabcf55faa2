//! What the watermarks of a partition keep of the fetches that wait for them.

use std::sync::Arc;
use std::task::Waker;

use super::table::{DelayedFetch, Purgatory, WaitTag};

/// The fetches that wait for one partition.
///
/// A fetch that ends does not take its tags back, for it may have a thousand of them. Tags of fetches that have ended
/// wake no fetch. They are dropped when the partition moves, before the list grows, and by the poller.
#[derive(Default)]
pub(crate) struct WaitTags {
    tags: Vec<WaitTag>,
    purgatory: Option<Arc<Purgatory>>,
    /// The poller that polls this partition's tail, or did.
    poller: u64,
}

impl WaitTags {
    /// A fetch waits, in which this partition has this number. Whether the poller must be told of the partition.
    pub(crate) fn attach(&mut self, fetch: &DelayedFetch, index: u32) -> bool {
        if self.tags.len() == self.tags.capacity() {
            self.sweep();
            if self.tags.len() > self.tags.capacity() / 2 {
                self.tags.reserve(self.tags.len());
            }
        }
        self.tags.push(fetch.tag(index));
        if self.purgatory.is_none() {
            self.purgatory = Some(fetch.purgatory().clone());
        }
        std::mem::replace(&mut self.poller, fetch.poller()) != fetch.poller()
    }

    /// The partition moved. With `must_read` the fetches have to read it to learn how. The wakers are to be called
    /// with no lock held.
    pub(crate) fn fire(&mut self, must_read: bool) -> Vec<Waker> {
        match &self.purgatory {
            Some(purgatory) if !self.tags.is_empty() => purgatory.moved(&mut self.tags, must_read),
            _ => Vec::new(),
        }
    }

    /// Whether a fetch waits. If none does, nothing is kept, and the poller must be told of the partition again.
    pub(crate) fn is_awaited(&mut self) -> bool {
        self.sweep();
        if self.tags.is_empty() {
            *self = WaitTags::default();
        }
        !self.tags.is_empty()
    }

    fn sweep(&mut self) {
        if let Some(purgatory) = &self.purgatory {
            purgatory.sweep(&mut self.tags);
        }
    }

    /// Tags, also of fetches that have ended.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.tags.len()
    }
}
