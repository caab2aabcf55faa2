//! Input in pieces that end where a line or a batch ends.

use std::io::{ErrorKind as Io, Read};

use kfs_core::{Error, ErrorKind};

/// Bytes asked for at once.
const READ: usize = 256 << 10;

/// Bytes that were read and not taken yet.
pub(super) struct Buffer<R> {
    input: R,
    bytes: Vec<u8>,
    ended: bool,
}

impl<R: Read> Buffer<R> {
    pub(super) fn new(input: R) -> Self {
        Buffer { input, bytes: Vec::new(), ended: false }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether nothing will follow.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Reads what is there, at least a byte unless the input ends: a slow input is not waited for.
    pub(super) fn more(&mut self) -> Result<(), Error> {
        let had = self.bytes.len();
        self.bytes.resize(had.saturating_add(READ), 0);
        let read = loop {
            match self.input.read(self.bytes.get_mut(had..).unwrap_or_default()) {
                Err(error) if error.kind() == Io::Interrupted => {}
                read => break read,
            }
        };
        self.bytes.truncate(had.saturating_add(*read.as_ref().unwrap_or(&0)));
        self.ended = self.bytes.len() == had;
        read.map(drop).map_err(|error| {
            let kind = if error.kind() == Io::IsADirectory { ErrorKind::InvalidInput } else { ErrorKind::Unavailable };
            Error::new(kind, format!("the input can't be read: {error}")).with_hint("name a file, or feed a pipe")
        })
    }

    /// Takes the first `len` bytes; a later reading starts after them.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        let rest = self.bytes.split_off(len.min(self.bytes.len()));
        std::mem::replace(&mut self.bytes, rest)
    }
}
