//! Reads the small files that settings name.

use std::io::{Error, Read, Result};
use std::path::Path;

/// Reads a regular file of at most `limit` bytes. A device may never end, and a pipe may never begin.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(Error::other(format!("it is too large: at most {limit} bytes are read")));
    }
    Ok(bytes)
}
