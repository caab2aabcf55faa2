//! Asking the store what range the log has.

use std::sync::Arc;

use super::source::BlockSource;
use crate::error::{Error, ErrorKind, Result};
use crate::log::identity;
use crate::log::identity::not_found;
use crate::log::locate::look_at_log;
use crate::log::log_source::LogSource;
use crate::log::partition::Partition;
use crate::log::state::PartitionState;
use crate::log::watermarks::Watermarks;

impl Partition {
    /// Asks the store what range the log has: log start, high watermark. One LIST for a log of up to
    /// some 500 segments, else two or what locating takes; one GET of the newest segment's footer
    /// unless its end is known.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Not found for a partition that was never made; corrupt when the newest segment's footer is
    /// none; what the store answers.
    pub async fn refresh(&self) -> Result<Watermarks> {
        let state = self.state().clone();
        self.state().runtime().ask(async move { refresh(&state).await }).await
    }

    /// The first offset that is served, asked of the store: one LIST, and one GET for a log without
    /// segments. The log's end is not looked for, so a newest segment that can't be read is no obstacle.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Not found for a partition that was never made; what the store answers.
    pub async fn earliest(&self) -> Result<i64> {
        let state = self.state().clone();
        self.state().runtime().ask(async move { earliest(&state).await }).await
    }

    /// One past the last durable offset, asked of the store: as [`refresh`](Self::refresh).
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub async fn latest(&self) -> Result<i64> {
        Ok(self.refresh().await?.high_watermark)
    }
}

/// Asks where the log starts.
async fn earliest(state: &Arc<PartitionState>) -> Result<i64> {
    if state.source.is_some() {
        return Ok(refresh(state).await?.log_start);
    }
    look_at_log(state).await?;
    let start = state.with_catalog(|catalog| catalog.start().unwrap_or_default());
    if !start.exists() {
        return Err(not_found(&state.id));
    }
    if start.first.is_none() && start.has_log_json && start.log_json_start.is_none() {
        read_log_json(state).await?;
    }
    Ok(state.with_catalog(|catalog| catalog.start().and_then(|start| start.log_start())).unwrap_or(0))
}

/// Asks for the log's range, and updates the watermarks.
pub(crate) async fn refresh(state: &Arc<PartitionState>) -> Result<Watermarks> {
    if let Some(source) = &state.source {
        return refresh_from(state, source).await;
    }
    look_at_log(state).await?;
    let (start, newest, end) =
        state.with_catalog(|catalog| (catalog.start().unwrap_or_default(), catalog.newest(), catalog.newest_end()));
    let end = match (newest, end) {
        (Some(_), Some(end)) => end,
        (Some(newest), None) => {
            let source = BlockSource::new(state.clone(), 0);
            let end = source.footer(newest, None).await?.0.last_offset + 1;
            state.with_catalog(|catalog| catalog.set_end(newest, end));
            end
        }
        (None, _) if !start.exists() => return Err(not_found(&state.id)),
        (None, _) => {
            if start.has_log_json && start.log_json_start.is_none() {
                read_log_json(state).await?;
            }
            state.with_catalog(|catalog| catalog.start().and_then(|start| start.log_start())).unwrap_or(0)
        }
    };
    let log_start = state.with_catalog(|catalog| catalog.start().and_then(|start| start.log_start()));
    state.watermarks.learn(log_start, end, state.now_ms());
    learned(state)
}

/// The same of a log that a source holds.
async fn refresh_from(state: &PartitionState, source: &Arc<dyn LogSource>) -> Result<Watermarks> {
    let asked = state.runtime().clock().elapsed();
    let Watermarks { log_start, high_watermark, learned_ms, .. } =
        state.ask_source("asking a log source for its range", || source.refresh()).await?;
    state.with_catalog(|catalog| catalog.set_asked(asked));
    state.watermarks.learn(Some(log_start), high_watermark, learned_ms);
    learned(state)
}

fn learned(state: &PartitionState) -> Result<Watermarks> {
    state.watermarks.get().ok_or_else(|| Error::new(ErrorKind::Internal, "watermarks were learned and are not there"))
}

/// Reads where an empty log starts.
pub(crate) async fn read_log_json(state: &PartitionState) -> Result<()> {
    let (identity, _) = identity::read_log_json(state, state.store()).await?;
    state.with_catalog(|catalog| catalog.set_log_json_start(identity.start_offset));
    Ok(())
}

/// Whether there is such a partition: one LIST.
///
/// # Errors
/// Not found if there is no such partition; what the store answers.
pub(crate) async fn exists(state: &Arc<PartitionState>) -> Result<()> {
    look_at_log(state).await?;
    let start = state.with_catalog(|catalog| catalog.start().unwrap_or_default());
    if start.exists() { Ok(()) } else { Err(not_found(&state.id)) }
}
