//! A reader as KafScale has one, written from format.md alone: a listing, indexes, segments.
//!
//! It shares no code with kfs-core but what decompresses records, and it sees the store as it is at
//! one moment.

use bytes::Bytes;

use crate::shared::SharedStore;

/// A batch as it stands in a segment: its place, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Base offset.
    pub(crate) base: i64,
    /// One past its last offset.
    pub(crate) next: i64,
    /// All its bytes.
    pub(crate) bytes: Bytes,
}

type Read<T> = Result<T, String>;

fn number<const N: usize>(bytes: &[u8], at: usize) -> Read<[u8; N]> {
    let end = at.checked_add(N).ok_or("too far")?;
    let found = bytes.get(at..end).ok_or_else(|| format!("{N} bytes at {at} of {}", bytes.len()))?;
    found.try_into().map_err(|_| "a slice of another length".to_owned())
}

fn i64_at(bytes: &[u8], at: usize) -> Read<i64> {
    number(bytes, at).map(i64::from_be_bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> Read<i32> {
    number(bytes, at).map(i32::from_be_bytes)
}

/// The base offsets of all segments, by the listing. `prefix` ends with a slash.
pub(crate) fn segments(store: &SharedStore, prefix: &str) -> Vec<i64> {
    let base = |key: String| {
        let digits = key.strip_prefix(prefix)?.strip_prefix("segment-")?.strip_suffix(".kfs")?.to_owned();
        (digits.len() == 20).then(|| digits.parse().ok())?
    };
    store.keys().into_iter().filter_map(base).collect()
}

/// Opens the partition as a broker does: every segment has an index that can be parsed. Only the newest
/// may lack it, while its writer is at it.
pub(crate) fn opens(store: &SharedStore, prefix: &str) -> Read<()> {
    let bases = segments(store, prefix);
    for base in bases.iter().rev().skip(1) {
        index(store, prefix, *base)?;
    }
    Ok(())
}

/// Entries of a segment's index: offset and position.
fn index(store: &SharedStore, prefix: &str, base: i64) -> Read<Vec<(i64, i32)>> {
    let key = format!("{prefix}segment-{base:020}.index");
    let bytes = store.peek(&key).ok_or_else(|| format!("{key} is missing"))?.bytes;
    if number(&bytes, 0)? != *b"IDX\0" || number(&bytes, 4)? != [0, 1] {
        return Err(format!("{key} is no index"));
    }
    let count = usize::try_from(i32_at(&bytes, 6)?).map_err(|_| format!("{key} has a negative count"))?;
    (0..count).map(|n| Ok((i64_at(&bytes, 16 + n * 12)?, i32_at(&bytes, 24 + n * 12)?))).collect()
}

/// The batches from the one that holds `offset` on, of the segment that holds it; empty at the log's end.
pub(crate) fn fetch(store: &SharedStore, prefix: &str, offset: i64) -> Read<Vec<Found>> {
    let bases = segments(store, prefix);
    let Some(base) = bases.iter().rev().find(|base| **base <= offset) else {
        return Err(format!("offset {offset} lies before the first segment"));
    };
    let key = format!("{prefix}segment-{base:020}.kfs");
    let bytes = store.peek(&key).ok_or_else(|| format!("{key} vanished"))?.bytes;
    let end = bytes.len().checked_sub(16).ok_or_else(|| format!("{key} is too short"))?;
    if number(&bytes, 0)? != *b"KAFS" || number(&bytes, end + 12)? != *b"END!" {
        return Err(format!("{key} is no segment"));
    }
    // The newest has none for a moment: then from the start.
    let entries = index(store, prefix, *base).unwrap_or_default();
    let entry = entries.iter().rev().find(|(first, _)| *first <= offset);
    let mut at = entry.map_or(32, |(_, position)| *position as usize);
    if at >= end || i64_at(&bytes, at).ok() != entry.map(|(first, _)| *first) {
        // Stale, or of other bytes: the batch at its position must carry its offset.
        at = 32;
    }
    let mut found = Vec::new();
    while at < end {
        let length = usize::try_from(i32_at(&bytes, at + 8)?).map_err(|_| format!("{key}: a length at {at}"))?;
        let (first, delta) = (i64_at(&bytes, at)?, i32_at(&bytes, at + 23)?);
        let next = first + i64::from(delta) + 1;
        if at + 12 + length > end {
            return Err(format!("{key}: the batch at {at} runs over the footer"));
        }
        if next > offset {
            found.push(Found { base: first, next, bytes: bytes.slice(at..at + 12 + length) });
        }
        at += 12 + length;
    }
    Ok(found)
}
