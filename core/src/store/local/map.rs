//! Maps files into memory: the one unsafe place of the store.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::MmapOptions;

/// Maps `length` bytes of a file from `start`. The map goes when the last clone of the bytes does;
/// the file may be closed, deleted or replaced meanwhile.
///
/// # Errors
/// When the system has no room for another map (vm.max_map_count), or the file can't be mapped.
pub(super) fn map(file: &File, start: u64, length: usize) -> io::Result<Bytes> {
    if length == 0 {
        // mmap refuses an empty map.
        return Ok(Bytes::new());
    }
    // SAFETY: the bytes under a shared map must not change while a slice borrows them. This store
    // never writes to a file that has a name: a file is written aside, and given its name when it
    // is whole; replacing one gives the name to another file. `start + length` is within the size
    // that fstat just told. A foreign program that writes to or truncates a named file breaks this:
    // docs/durability.md says so, and StoreOptions::map(false) is for directories where one might.
    let map = unsafe { MmapOptions::new().offset(start).len(length).map(file)? };
    Ok(Bytes::from_owner(map))
}
