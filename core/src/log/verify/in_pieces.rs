//! Checking a segment of a store, which is read in pieces.

use std::sync::Arc;

use super::beside::Beside;
use super::check::{CheckedSegment, SegmentCheck, SegmentFrame};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{HEADER_LEN, Limits};
use crate::log::pieces::PieceReader;
use crate::log::state::PartitionState;

/// How often a segment is read again from its beginning because it was replaced meanwhile.
pub(in crate::log) const LOOKS: usize = 8;

/// Checks a segment of which the first piece was read, against what stands beside it. A segment of one piece costs no
/// further request, a larger one a GET of its footer and one for each further piece.
///
/// # Errors
/// Not found and conflict, if the segment is gone or replaced; what the store answers.
pub(in crate::log) async fn check_in_pieces(
    state: &Arc<PartitionState>,
    reader: &mut PieceReader,
    base: i64,
    beside: Beside,
    records: Option<&Limits>,
) -> Result<CheckedSegment> {
    let mut check = {
        let (first, last) = (reader.read(state, 0, HEADER_LEN).await?, reader.footer(state).await?);
        let (key, base, size) = (reader.key(), Some(base), reader.size());
        SegmentCheck::new(&SegmentFrame { key, base, size, first: &first, last: &last }, beside, records)
    };
    let push = |piece| {
        check.push(piece);
        check.wants_more()
    };
    reader.each(state, push).await?;
    Ok(check.finish())
}

/// A segment was replaced each time that it was read.
pub(in crate::log) fn always_replaced(key: &str, last: Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the segment was replaced while it was read, {LOOKS} times in a row"))
        .with_key(key)
        .with_hint("do several programs merge this partition?")
        .with_source(last)
}

#[cfg(test)]
mod tests;
