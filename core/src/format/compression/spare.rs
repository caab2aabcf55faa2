//! Memory that a thread decompresses into again and again: fresh memory costs more than a batch takes
//! to decompress, for the kernel must find, clear and map each page of it.

use std::cell::Cell;

use bytes::Bytes;

/// The most bytes that a thread keeps for its next batch.
const KEPT: usize = 1 << 20;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Bytes that grow at their end, in memory that was used before if this thread has some.
pub(super) struct Spare {
    /// All of it is initialised; what counts are the first `len` bytes.
    memory: Vec<u8>,
    len: usize,
}

impl Spare {
    pub(super) fn take() -> Self {
        Spare { memory: SPARE.try_with(Cell::take).unwrap_or_default(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bytes so far, and room for `more` behind them.
    pub(super) fn with_room(&mut self, more: usize) -> (&mut [u8], &mut [u8]) {
        let end = self.len.saturating_add(more);
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        let (done, room) = self.memory.split_at_mut(self.len);
        (done, room.get_mut(..more).unwrap_or_default())
    }

    /// So many bytes of the room were written.
    pub(super) fn advance(&mut self, written: usize) {
        self.len = self.len.saturating_add(written).min(self.memory.len());
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.get(..self.len).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.memory.capacity()
    }

    /// The bytes, whose memory comes back when they are dropped. Much memory is not held for few bytes.
    pub(super) fn freeze(self) -> Bytes {
        if self.len < self.memory.capacity() / 2 {
            Bytes::copy_from_slice(self.bytes())
        } else {
            Bytes::from_owner(self)
        }
    }
}

impl AsRef<[u8]> for Spare {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if self.memory.capacity() <= KEPT {
            let memory = std::mem::take(&mut self.memory);
            // A thread that ends keeps nothing.
            let _ = SPARE.try_with(|spare| spare.set(memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(len: usize) -> Spare {
        let mut spare = Spare::take();
        let (_, room) = spare.with_room(len);
        room.fill(7);
        spare.advance(len);
        spare
    }

    #[test]
    fn memory_comes_back_when_the_last_who_holds_it_lets_go() {
        let first = filled(100_000).freeze();
        let at = first.as_ptr();
        let part = first.slice(10..20);
        drop(first);
        assert_eq!(Spare::take().memory(), 0, "it is still held");
        drop(part);
        let second = filled(90_000).freeze();
        assert_eq!((second.as_ptr(), &second[..]), (at, &[7; 90_000][..]));
    }

    #[test]
    fn few_bytes_hold_little_memory_and_a_thread_keeps_at_most_a_mebibyte() {
        drop(filled(100_000));
        let few = filled(1000).freeze();
        assert!(Spare::take().memory() >= 100_000, "they were copied out of it");
        assert_eq!(few, vec![7; 1000]);
        drop(filled(KEPT + 1));
        assert!(Spare::take().memory() <= KEPT);
    }
}
