//! Fetches of a partition whose log a [`LogSource`] holds.

use std::sync::Arc;

use super::answer::Fetch;
use super::core::ReaderCore;
use super::options::FetchOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::log::log_source::LogSource;

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
        if fetch.is_empty() {
            state.with_catalog(|catalog| catalog.set_asked(asked));
        }
        state.watermarks.learn(Some(fetch.log_start), fetch.high_watermark, state.now_ms());
        if !options.whole_first && fetch.bytes() > options.max_bytes {
            leave_out(&mut fetch, offset);
        }
        if let Some(hole) = fetch.hole {
            state.observer().hole_crossed(&state.id, hole.from, hole.to);
        }
        // What the source says of its places is true of its own partition only. A place for each chunk.
        if fetch.origin.as_ref().is_none_or(|origin| origin.partition != state.id) {
            fetch.places.clear();
        }
        fetch.places.resize(fetch.chunks.len(), None);
        fetch.origin = (!fetch.is_empty()).then(|| Box::new(self.origin(offset)));
        Ok(fetch)
    }
}

/// The first batch does not fit, and another partition of the same fetch came first (invariant 6).
fn leave_out(fetch: &mut Fetch, offset: i64) {
    fetch.chunks.clear();
    fetch.skipped.clear();
    (fetch.hole, fetch.next_offset, fetch.refused) = (None, offset, true);
}
