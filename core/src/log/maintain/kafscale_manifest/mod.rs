//! Writing what KafScale's SQL processor reads in place of a listing (docs/kafscale.md, "The manifest for SQL").

mod facts;
mod previous;
mod report;
mod walk;

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use object_store::PutPayload;

pub use self::report::{KafscaleManifestOptions, KafscaleManifestPlan, KafscaleManifestReport};

use self::facts::FactReader;
use self::previous::{MAX_LEN, PreviousManifest};
use self::report::ManifestWatcher;
use self::walk::{count, entries_of};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{KafscaleManifest, PartitionId};
use crate::log::bucket::Bucket;
use crate::log::retry::patiently;
use crate::log::writer::bounded;

/// Partitions that are looked at at the same time.
const AT_ONCE: usize = 8;

impl Bucket {
    /// Says what writing `{namespace}/manifest.json` will do, which KafScale's SQL processor reads in place of listing the
    /// bucket. Writes nothing.
    ///
    /// The requests are a GET of the manifest that is there, a LIST for each 1,000 keys of each partition, and, unless the
    /// partitions are named, a LIST for each 1,000 topics and one for each 1,000 partitions of a topic.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// Not found for a named partition that was never made; what the store answers.
    pub async fn plan_kafscale_manifest(&self, options: &KafscaleManifestOptions) -> Result<KafscaleManifestPlan> {
        let (bucket, options) = (self.clone(), options.clone());
        self.runtime().run(async move { plan(&bucket, options).await }).await
    }

    /// Writes `{namespace}/manifest.json`, with the options of the plan. The bucket is looked at again: what changed since the
    /// plan was made counts.
    ///
    /// The manifest names each segment once that holds records: the newest too, and neither what merging left nor what lies
    /// below the log start. A segment without an index is left out, as the SQL processor leaves it out of a listing, and
    /// so is one that can't be read: both are reported. The manifest is replaced as a whole. Several processes may write it at
    /// the same time; each writes a right one, and the last one stays.
    ///
    /// The requests are those of the plan, one PUT, and one GET for each segment that is not in the manifest as it is: of its
    /// time index, or of all of it where it has none that fits. Of a segment that merging left it is a GET of 16 bytes, of
    /// the newest segment and of merged ones a GET of 16 bytes more. Segments are read in at most 64 MiB of memory together.
    /// The manifest itself, the one that is there and the new one, has about 350 bytes for each segment.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// As [`plan_kafscale_manifest`](Self::plan_kafscale_manifest); unsupported for a manifest of more than 1 GiB. The manifest
    /// that was there stays then.
    pub async fn write_kafscale_manifest(&self, plan: &KafscaleManifestPlan) -> Result<KafscaleManifestReport> {
        self.write_kafscale_manifest_with(plan, |_| ()).await
    }

    /// As [`write_kafscale_manifest`](Self::write_kafscale_manifest), and tells after each partition what was found so far.
    /// `told` must not block.
    ///
    /// # Errors
    /// As [`write_kafscale_manifest`](Self::write_kafscale_manifest).
    pub async fn write_kafscale_manifest_with(
        &self,
        plan: &KafscaleManifestPlan,
        told: impl Fn(&KafscaleManifestReport) + Send + Sync + 'static,
    ) -> Result<KafscaleManifestReport> {
        let (bucket, options) = (self.clone(), plan.options.clone());
        self.runtime().run(async move { carry_out(&bucket, &options, &told).await }).await
    }
}

/// The key of the manifest of the bucket's namespace.
fn key(bucket: &Bucket) -> String {
    format!("{}/manifest.json", bucket.options().namespace)
}

/// The partitions that the manifest is to name, in the order of their names.
async fn partitions(bucket: &Bucket, options: &KafscaleManifestOptions) -> Result<Vec<PartitionId>> {
    let mut ids = Vec::new();
    match &options.partitions {
        Some(named) => ids.clone_from(named),
        None => {
            for topic in bucket.topics().await? {
                let found = bucket.partitions(topic.as_str()).await?;
                ids.extend(found.iter().map(|partition| partition.id().clone()));
            }
        }
    }
    if let Some(other) = ids.iter().find(|id| id.namespace() != &bucket.options().namespace) {
        let (found, own) = (other.namespace(), &bucket.options().namespace);
        let message = format!("partition {other} is in the namespace {found}, and a manifest of {own} can't name it");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    ids.sort();
    ids.dedup();
    Ok(ids)
}

async fn plan(bucket: &Bucket, options: KafscaleManifestOptions) -> Result<KafscaleManifestPlan> {
    bucket.0.fork.check()?;
    let mut plan = KafscaleManifestPlan::of(key(bucket), options);
    let previous = Arc::new(PreviousManifest::read(bucket, &plan.key).await?);
    let ids = partitions(bucket, &plan.options).await?;
    let states = ids.iter().map(|id| bucket.partition_of(id.clone()).state().clone()).collect::<Vec<_>>();
    let counts = stream::iter(states).map(|state| count(state, previous.clone())).buffered(AT_ONCE);
    let mut counts = std::pin::pin!(counts);
    for id in &ids {
        match counts.next().await {
            Some(Ok(Some(found))) => plan.add(found),
            Some(Ok(None)) => plan.options.check_missing(id)?,
            Some(Err(error)) => return Err(error),
            None => break,
        }
    }
    Ok(plan)
}

async fn carry_out(
    bucket: &Bucket,
    options: &KafscaleManifestOptions,
    told: ManifestWatcher<'_>,
) -> Result<KafscaleManifestReport> {
    let inner = &bucket.0;
    inner.fork.check()?;
    inner.allow_writing(&inner.retries).await?;
    let mut report = KafscaleManifestReport::of(key(bucket));
    let previous = PreviousManifest::read(bucket, &report.key).await?;
    let ids = partitions(bucket, options).await?;
    let mut manifest = KafscaleManifest::new(inner.runtime.clock().wall_ms());
    if !inner.reads.has_prefix() {
        manifest = manifest.with_full_keys_in(&inner.options.namespace);
    }
    let facts = Arc::new(FactReader::new(previous));
    let of_each = ids.iter().map(|id| (bucket.partition_of(id.clone()).state().clone(), options.log_start_of(id)));
    let of_each = stream::iter(of_each.collect::<Vec<_>>());
    let found = of_each.map(|(state, log_start)| entries_of(state, log_start, facts.clone())).buffered(AT_ONCE);
    let mut found = std::pin::pin!(found);
    for id in &ids {
        match found.next().await {
            Some(Ok(Some(entries))) => {
                entries.entries.iter().for_each(|entry| manifest.push(entry));
                report.add(entries);
            }
            Some(Ok(None)) => options.check_missing(id)?,
            Some(Err(error)) => return Err(error),
            None => break,
        }
        if manifest.size() > MAX_LEN {
            let message = format!("the manifest would have more than {MAX_LEN} bytes");
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("merge small segments, or name fewer partitions")
                .with_key(report.key));
        }
        report.bytes = manifest.size();
        told(&report);
    }
    let payload: PutPayload = manifest.finish().into_iter().collect();
    report.bytes = payload.content_length() as u64;
    put(bucket, &report.key, payload).await?;
    Ok(report)
}

/// Puts the manifest over the one that is there. A reader gets the one or the other, whole.
async fn put(bucket: &Bucket, key: &str, payload: PutPayload) -> Result<()> {
    let inner = Arc::clone(&bucket.0);
    let (runtime, size) = (&inner.runtime, payload.content_length() as u64);
    let put = || async { bounded(runtime, size, inner.reads.put(key, payload.clone())).await?.map(drop) };
    patiently(&inner.retries, runtime, "writing the manifest for KafScale", put).await
}
