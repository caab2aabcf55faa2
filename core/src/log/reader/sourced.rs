//! Fetches of a partition whose log a [`LogSource`] holds.

use std::sync::Arc;

use bytes::Bytes;

use super::answer::Fetch;
use super::core::ReaderCore;
use super::options::FetchOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::log::log_source::LogSource;
use crate::text::offset_range;

impl ReaderCore {
    /// Fetches from the source. What it tells of the log's range is told to all who wait for it.
    ///
    /// # Errors
    /// Those of the source; invalid input if its answer leads no reader further.
    pub(super) async fn fetch_from(
        &self,
        source: &Arc<dyn LogSource>,
        offset: i64,
        options: FetchOptions,
    ) -> Result<Fetch> {
        let state = &self.state;
        let asked = state.runtime().clock().elapsed();
        let mut fetch = state.ask_source("reading from a log source", || source.fetch(offset, options)).await?;
        // A stream would fetch the same batches for ever.
        if fetch.next_offset < offset || (!fetch.is_empty() && fetch.next_offset == offset) {
            let message = format!(
                "the log source of partition {} answered a fetch at offset {offset} with next offset {}",
                state.id, fetch.next_offset
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        check_batches(&fetch, offset).map_err(|found| {
            let message =
                format!("the log source of partition {} answered a fetch at offset {offset} with {found}", state.id);
            Error::new(ErrorKind::InvalidInput, message)
        })?;
        if fetch.is_empty() {
            state.with_catalog(|catalog| catalog.set_asked(asked));
        }
        state.watermarks.learn(Some(fetch.log_start), fetch.high_watermark, state.now_ms());
        if !options.whole_first && fetch.bytes() > options.max_bytes {
            leave_out(&mut fetch, offset);
        }
        if let Some(hole) = fetch.hole() {
            state.observer().hole_crossed(&state.id, hole.from, hole.to);
        }
        // What the source says of its places is true of its own partition only. A place for each chunk.
        let is_own = fetch.origin().is_some_and(|origin| origin.partition == state.id);
        let mut details = fetch.details.take().map(|details| *details).unwrap_or_default();
        if !is_own {
            details.places.clear();
        }
        details.places.resize(fetch.chunks.len(), None);
        details.origin = (!fetch.is_empty()).then(|| self.origin(offset));
        fetch.details = details.boxed();
        Ok(fetch)
    }
}

/// Looks at the headers of the batches, so that no reader meets bytes that are none. The error says what was found.
fn check_batches(fetch: &Fetch, offset: i64) -> Result<(), String> {
    if fetch.chunks.iter().any(Bytes::is_empty) {
        return Err("a chunk without a batch".into());
    }
    let mut next = offset;
    for batch in fetch.batches() {
        let batch = batch.map_err(|malformed| format!("bytes that are no batch: {malformed}"))?;
        if batch.next_offset() <= next {
            let offsets = offset_range(batch.base_offset(), batch.last_offset());
            return Err(format!("a batch with {offsets}, where offset {next} comes next"));
        }
        next = batch.next_offset();
    }
    if next > fetch.next_offset {
        return Err(format!("batches up to offset {} and next offset {}", next - 1, fetch.next_offset));
    }
    Ok(())
}

/// The first batch does not fit, and another partition of the same fetch came first (invariant 6).
fn leave_out(fetch: &mut Fetch, offset: i64) {
    fetch.chunks.clear();
    (fetch.details, fetch.next_offset, fetch.refused) = (None, offset, true);
}
