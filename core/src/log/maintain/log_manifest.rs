//! Writing `log.manifest`, by which a reader opens a long log in few requests (docs/design.md, "Reading").

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::listing::PartitionListing;
use super::requests::put;
use crate::error::Result;
use crate::format::{LogManifestBuilder, NamedVersion, PartitionId};
use crate::log::identity::not_found;
use crate::log::partition::Partition;
use crate::log::state::PartitionState;
use crate::store::Version;
use crate::text::counted;

/// The manifest that [`Partition::write_manifest`] will write. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogManifestPlan {
    /// The partition.
    pub partition: PartitionId,
    /// The manifest's key.
    pub key: String,
    /// Segments of the log.
    pub segments: u64,
    /// How many of these it names: the newest 131,072, and of the others each 256th.
    pub named: u64,
    /// Bytes of the manifest.
    pub bytes: u64,
    document: Bytes,
}

impl fmt::Display for LogManifestPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogManifestPlan { key, segments, named, bytes, .. } = self;
        write!(f, "{key}: {named} of {} in {bytes} bytes", counted(*segments, "segment"))
    }
}

/// What [`Partition::write_manifest`] wrote. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogManifestReport {
    /// The partition.
    pub partition: PartitionId,
    /// The manifest's key.
    pub key: String,
    /// Segments that it names.
    pub named: u64,
    /// Bytes of the manifest.
    pub bytes: u64,
}

impl fmt::Display for LogManifestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogManifestReport { key, named, bytes, .. } = self;
        write!(f, "{key} was written: it names {} in {bytes} bytes", counted(*named, "segment"))
    }
}

impl Partition {
    /// Makes the manifest of the log: what [`write_manifest`](Self::write_manifest) will write. Writes nothing.
    ///
    /// The requests are a LIST for each 1,000 keys. The manifest has about 60 bytes for each segment that it names, and while it is
    /// made some 100 bytes of memory are needed for each.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Not found for a partition that was never made; unsupported where a [`LogSource`](crate::LogSource) holds the log; what the
    /// store answers.
    pub async fn plan_manifest(&self) -> Result<LogManifestPlan> {
        let state = self.state().clone();
        self.state().runtime().ask(async move { plan(&state).await }).await
    }

    /// Writes `log.manifest` over the one that is there: one PUT. Readers of a log of more than 1,000 segments then list its start
    /// once, read the manifest, and begin at any offset without a search.
    ///
    /// It is a hint. Readers believe nothing of it that the store does not confirm, so it may be as old as it likes, and may be
    /// deleted at any time. The more was appended or merged since, the less it saves. Write it again from time to time, and after
    /// each merge.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// As [`plan_manifest`](Self::plan_manifest).
    pub async fn write_manifest(&self, plan: &LogManifestPlan) -> Result<LogManifestReport> {
        let (state, plan) = (self.state().clone(), plan.clone());
        self.state().runtime().run(async move { write(&state, plan).await }).await
    }
}

async fn plan(state: &Arc<PartitionState>) -> Result<LogManifestPlan> {
    state.check_has_segments()?;
    let mut listing = PartitionListing::of(state);
    let (mut builder, mut segments) = (LogManifestBuilder::new(state.now_ms()), 0_u64);
    while let Some(page) = listing.next(state).await? {
        for segment in page {
            builder.push(segment.base, named(&segment.object.version));
            segments = segments.saturating_add(1);
        }
    }
    if !listing.exists {
        return Err(not_found(&state.id));
    }
    let count = builder.len() as u64;
    let document = builder.finish(listing.log_json.as_ref().map(named));
    let (partition, key, bytes) = (state.id.clone(), state.id.log_manifest_key(), document.len() as u64);
    Ok(LogManifestPlan { partition, key, segments, named: count, bytes, document })
}

async fn write(state: &Arc<PartitionState>, plan: LogManifestPlan) -> Result<LogManifestReport> {
    state.bucket.fork.check()?;
    state.check_has_segments()?;
    state.allow_writing().await?;
    let (key, LogManifestPlan { named, bytes, document, .. }) = (state.id.log_manifest_key(), plan);
    put(state, "writing the log's manifest", &key, document).await?;
    Ok(LogManifestReport { partition: state.id.clone(), key, named, bytes })
}

/// A version as a manifest keeps it.
fn named(version: &Version) -> NamedVersion<'_> {
    NamedVersion {
        e_tag: version.raw_e_tag().unwrap_or_default(),
        size: version.size(),
        modified_ms: version.modified_ms().unwrap_or(0),
    }
}
