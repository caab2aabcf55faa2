//! Merging small segments into large ones.

mod gather;
mod leftovers;
mod policy;
mod replace;
mod report;
mod sidecars;
mod steps;
mod survey;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

pub use self::policy::MergePolicy;
pub use self::report::{MergePlan, MergeReport};

use self::gather::{Read, RunBuilder};
use self::leftovers::{clear, is_due};
use self::replace::{Placing, put_merged};
use self::report::MergeWatcher;
use self::sidecars::finish;
use self::steps::{Leftovers, SmallRun, Step, Steps};
use super::store_time::{BOUND, StoreTime};
use crate::error::Result;
use crate::log::partition::Partition;
use crate::log::reader::refresh_range;
use crate::log::state::PartitionState;
use crate::mutant::mutant;

impl Partition {
    /// Says what merging by this policy will do: which small segments become larger ones, and which of those that earlier
    /// merges left are removed. Writes nothing to the log.
    ///
    /// The requests are those of [`refresh`](Self::refresh), 3 to ask the store for its time, a LIST for each 1,000 keys of the
    /// log, and a GET of 16 bytes for each merged segment whose leftovers are still there.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// Invalid input for a policy that makes no sense; not found for a partition that was never made; unsupported where a
    /// [`LogSource`](crate::LogSource) holds the log, where the store does not say when an object was last modified, and
    /// where it can't replace an object by its version; what the store answers.
    pub async fn plan_merge(&self, policy: &MergePolicy) -> Result<MergePlan> {
        policy.check()?;
        let (state, policy) = (self.state().clone(), policy.clone());
        self.state().runtime().run(async move { plan(&state, policy).await }).await
    }

    /// Merges small segments, and removes what earlier merges left, by the policy of the plan. The log is looked at again: what
    /// changed since the plan was made counts.
    ///
    /// Offsets, batches and their bytes stay as they are. Each run of small neighbours is written once, in the place of its
    /// first segment. The others stay for the policy's grace, so that whoever reads them can go on, and a later call
    /// removes them. The newest segment and segments that are younger than 6 minutes stay as they are, and no merge crosses a
    /// hole. Safe at any time, whoever else appends, reads or maintains; after an interruption a new call goes on where it
    /// stopped. A segment that can't be read is reported, and the work goes on after it.
    ///
    /// The requests are those of the plan, a GET of each segment that is merged, and for each that comes of it a PUT, two for
    /// its indexes and a HEAD. For a merged segment whose grace is over: 3 GETs, a LIST and a HEAD for each 1,000 keys,
    /// and a DELETE for each segment that goes and for each index beside it.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// As [`plan_merge`](Self::plan_merge). What was done before an error stays done, and is right.
    pub async fn merge(&self, plan: &MergePlan) -> Result<MergeReport> {
        self.merge_with(plan, |_| ()).await
    }

    /// As [`merge`](Self::merge), and tells what was done so far: after each segment that was read, each that was put, and
    /// some that were removed. `told` must not block.
    ///
    /// # Errors
    /// As [`merge`](Self::merge).
    pub async fn merge_with(
        &self,
        plan: &MergePlan,
        told: impl Fn(&MergeReport) + Send + Sync + 'static,
    ) -> Result<MergeReport> {
        let (state, policy) = (self.state().clone(), plan.policy.clone());
        self.state().runtime().run(async move { carry_out(&state, &policy, &told).await }).await
    }
}

/// The store's time and where the log starts, once the store is known to be fit.
async fn begin(state: &Arc<PartitionState>) -> Result<(StoreTime, i64)> {
    state.bucket.fork.check()?;
    state.check_has_segments()?;
    state.allow_replacing().await?;
    let log_start = refresh_range(state).await?.log_start;
    Ok((StoreTime::ask(state).await?, log_start))
}

async fn plan(state: &Arc<PartitionState>, policy: MergePolicy) -> Result<MergePlan> {
    let (time, log_start) = begin(state).await?;
    let mut plan = MergePlan::of(state, policy.clone());
    let mut grace = Grace::default();
    let mut steps = Steps::of(state, &policy, &time, log_start);
    while let Some(step) = steps.next().await? {
        match step {
            Step::Merge(run) => {
                plan.merged = plan.merged.saturating_add(1);
                plan.segments = plan.segments.saturating_add(run.segments.len() as u64);
                plan.bytes =
                    run.segments.iter().fold(plan.bytes, |sum, segment| sum.saturating_add(segment.object.size));
            }
            Step::Wait(run) => plan.waiting = plan.waiting.saturating_add(run.segments.len() as u64),
            Step::Finish(_) => plan.unfinished = plan.unfinished.saturating_add(1),
            Step::Leftovers(left) if is_due(state, &policy, &time, left.cover.modified_ms) => {
                plan.leftovers = plan.leftovers.saturating_add(left.segments);
                plan.leftover_bytes = plan.leftover_bytes.saturating_add(left.bytes);
            }
            Step::Leftovers(left) => grace.add(state, &policy, &time, &left),
        }
    }
    (plan.in_grace, plan.next_due) = (grace.segments, grace.next_due);
    Ok(plan)
}

async fn carry_out(state: &Arc<PartitionState>, policy: &MergePolicy, told: MergeWatcher<'_>) -> Result<MergeReport> {
    let (time, log_start) = begin(state).await?;
    let report = MergeReport::of(state);
    let mut merging = Merging { state, policy, end: i64::MIN, report, grace: Grace::default(), told };
    let mut steps = Steps::of(state, policy, &time, log_start);
    while let Some(step) = steps.next().await? {
        let report = &mut merging.report;
        match step {
            Step::Merge(run) => merging.merge(&run).await?,
            Step::Wait(run) => report.waiting = report.waiting.saturating_add(run.segments.len() as u64),
            Step::Finish(_) if mutant!(ClearWithoutIndex) => {}
            Step::Finish(segment) => report.add_broken(finish(state, segment.base).await?),
            Step::Leftovers(left) if is_due(state, policy, &time, left.cover.modified_ms) => {
                clear(state, policy, &time, (&left, &mut *report, told)).await?;
            }
            Step::Leftovers(left) => merging.grace.add(state, policy, &time, &left),
        }
    }
    let Merging { mut report, grace, .. } = merging;
    (report.in_grace, report.next_due) = (grace.segments, grace.next_due);
    Ok(report)
}

/// Leftovers that stay for now.
#[derive(Default)]
struct Grace {
    segments: u64,
    next_due: Option<Duration>,
}

impl Grace {
    fn add(&mut self, state: &PartitionState, policy: &MergePolicy, time: &StoreTime, left: &Leftovers) {
        let age = time.since(left.cover.modified_ms, state.runtime().clock().elapsed());
        let due = policy.grace.saturating_add(BOUND).saturating_sub(age);
        self.wait(left.segments, due);
    }

    fn wait(&mut self, segments: u64, due: Duration) {
        if segments > 0 {
            self.segments = self.segments.saturating_add(segments);
            self.next_due = Some(self.next_due.map_or(due, |other| other.min(due)));
        }
    }
}

/// A call of [`Partition::merge`] on its way through the log.
struct Merging<'a> {
    state: &'a Arc<PartitionState>,
    policy: &'a MergePolicy,
    /// One past the greatest offset of the segments that were read.
    end: i64,
    report: MergeReport,
    grace: Grace,
    told: MergeWatcher<'a>,
}

impl Merging<'_> {
    /// Merges a run, as far as what is read agrees with the listing. What is broken, changed or missing cuts it in two.
    async fn merge(&mut self, run: &SmallRun) -> Result<()> {
        let mut reads = std::pin::pin!(gather::read(self.state, run));
        let (mut listed, mut gathering) = (run.segments.iter(), None::<RunBuilder>);
        while let Some(read) = reads.next().await {
            let Some(seen) = listed.next().map(|listed| listed.seen) else { break };
            self.report.read = self.report.read.saturating_add(1);
            (self.told)(&self.report);
            let (segment, version) = match read? {
                Read::Whole(segment, version) => (segment, version),
                Read::Changed => {
                    self.report.put_off = self.report.put_off.saturating_add(1);
                    self.put(gathering.take()).await?;
                    continue;
                }
                Read::Broken(error) => {
                    self.report.add_broken(Some(error));
                    self.put(gathering.take()).await?;
                    continue;
                }
            };
            // One that begins inside another and reaches beyond it may alone hold acked offsets. It stays as it is.
            let begins_inside = segment.base_offset() < self.end;
            self.end = self.end.max(segment.next_offset());
            if begins_inside {
                self.put(gathering.take()).await?;
                continue;
            }
            // A slow store must not keep a large run from ever being merged.
            let is_late = |gathering: &RunBuilder| gathering.seen.is_past(BOUND / 2, &**self.state.runtime().clock());
            let goes_on = match &mut gathering {
                Some(gathering) => !is_late(gathering) && gathering.take(&segment)?,
                None => false,
            };
            if !goes_on {
                self.put(gathering.take()).await?;
                gathering = RunBuilder::begin(self.policy, (&segment, version, seen))?;
            }
        }
        self.put(gathering).await
    }

    /// Puts what was gathered, if it is worth it.
    async fn put(&mut self, gathering: Option<RunBuilder>) -> Result<()> {
        let least = self.policy.least_size();
        let Some(gathering) = gathering.filter(|g| g.segments > 1 && g.builder.size() >= least) else { return Ok(()) };
        let segments = gathering.segments;
        let report = &mut self.report;
        match put_merged(self.state, gathering).await? {
            Placing::Done { bytes } => {
                report.merged = report.merged.saturating_add(1);
                report.segments = report.segments.saturating_add(segments);
                report.bytes = report.bytes.saturating_add(bytes);
                self.grace.wait(segments.saturating_sub(1), self.policy.grace.saturating_add(BOUND));
            }
            Placing::GivenUp => report.put_off = report.put_off.saturating_add(1),
        }
        (self.told)(&self.report);
        Ok(())
    }
}
