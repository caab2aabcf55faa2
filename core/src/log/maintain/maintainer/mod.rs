//! Maintenance in rounds.

mod steps;

use std::time::Duration;

pub use self::steps::{MaintenancePolicy, MaintenanceStep, PlannedMaintenance};

use self::steps::moves;
use super::delete::DeleteReport;
use super::kafscale_manifest::KafscaleManifestOptions;
use super::log_manifest::LogManifestReport;
use super::log_start::LogStartPlan;
use super::merge::{MergePolicy, MergeReport};
use crate::error::{Error, ErrorKind, Result};
use crate::format::PartitionId;
use crate::log::bucket::Bucket;
use crate::log::deletion::Deletion;
use crate::log::partition::Partition;
use crate::setters::setters;
use crate::store::spread;

/// How a [`Maintainer`] works. Start from `MaintainerOptions::default()`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaintainerOptions {
    /// Begin no step for another partition in a round after so many requests. The next round begins where this one ended. The
    /// default, `None`, sets no limit.
    pub max_requests: Option<u64>,
    /// Write the manifest for KafScale's SQL processor: before segments are removed, so that it asks for none that is gone, and at
    /// the end of each round. The default is `false`.
    pub kafscale_manifest: bool,
}

impl MaintainerOptions {
    setters! { max_requests: some u64, kafscale_manifest: bool }
}

/// Runs maintenance for partitions of a bucket, round by round: it goes on with deletions that were begun, retains, merges,
/// and removes what earlier merges left.
///
/// One partition is worked on at a time, so a round takes the memory of one merge: up to twice its target size, and 32 MiB.
/// Several maintainers may work on one bucket at any time, in one process or several: none does harm, and the work may be
/// done twice.
///
/// ```no_run
/// # async fn maintain(bucket: kfs_core::Bucket) -> kfs_core::Result<()> {
/// use std::time::Duration;
/// use kfs_core::{MaintainerOptions, Maintainer, MaintenancePolicy, MergePolicy, RetentionPolicy};
///
/// let week = Duration::from_secs(7 * 24 * 3600);
/// let policy = MaintenancePolicy::default()
///     .retention(RetentionPolicy::default().max_age(week))
///     .merge(MergePolicy::default());
/// let mut maintainer = Maintainer::new(&bucket, MaintainerOptions::default());
/// loop {
///     let partitions = bucket.partitions("orders").await?;
///     let of: Vec<_> = partitions.into_iter().map(|partition| (partition, policy.clone())).collect();
///     maintainer.round(&of, |step| eprintln!("{step}")).await;
///     maintainer.pause(Duration::from_secs(300)).await;
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Maintainer {
    bucket: Bucket,
    options: MaintainerOptions,
    /// The partition with which the next round begins.
    next: Option<PartitionId>,
}

impl Maintainer {
    /// A maintainer of partitions of this bucket.
    pub fn new(bucket: &Bucket, options: MaintainerOptions) -> Self {
        Maintainer { bucket: bucket.clone(), options, next: None }
    }

    /// Says what a round would do for these partitions, without those that need nothing. Changes nothing; where a policy has an
    /// age, an object is put and deleted to ask the store for its time.
    pub async fn plan(&self, partitions: &[(Partition, MaintenancePolicy)]) -> Vec<PlannedMaintenance> {
        let mut planned = Vec::new();
        for (partition, policy) in partitions {
            match plan_one(partition, policy, &mut planned).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    planned.push(PlannedMaintenance::Unknown(partition.id().clone(), error));
                }
                _ => {}
            }
        }
        planned
    }

    /// One round. `told` gets each step that did something, and each that failed; a failure ends the step, and not the round.
    ///
    /// Dropping the future ends the round after the request that is under way, or after the step: a step goes on to its
    /// end.
    pub async fn round(
        &mut self,
        partitions: &[(Partition, MaintenancePolicy)],
        mut told: impl FnMut(&MaintenanceStep),
    ) {
        let mut order: Vec<&(Partition, MaintenancePolicy)> = partitions.iter().collect();
        let first = order.iter().position(|(partition, _)| Some(partition.id()) == self.next.as_ref());
        order.rotate_left(first.unwrap_or(0));
        self.next = None;
        let before = self.bucket.requests().total();
        let mut looked = Vec::new();
        for (at, (partition, policy)) in order.iter().enumerate() {
            let spent = self.bucket.requests().total().saturating_sub(before);
            if self.options.max_requests.is_some_and(|most| spent >= most) {
                self.next = Some(partition.id().clone());
                told(&MaintenanceStep::PutOff(order.len().saturating_sub(at)));
                break;
            }
            let Some(plan) = look(partition, policy, &mut told).await else { continue };
            match self.options.kafscale_manifest {
                true => looked.push((partition, policy, plan)),
                false => carry_out(partition, policy, plan.as_ref(), &mut told).await,
            }
        }
        if !self.options.kafscale_manifest {
            return;
        }
        let plans = looked
            .iter()
            .filter_map(|(partition, _, plan)| Some((partition.id().clone(), plan.as_ref()?.new_log_start)));
        let log_starts: Vec<_> = plans.collect();
        // What it names must not go before it is written.
        if log_starts.is_empty() || self.write_manifest(log_starts, &mut told).await {
            for (partition, policy, plan) in &looked {
                carry_out(partition, policy, plan.as_ref(), &mut told).await;
            }
            self.write_manifest(Vec::new(), &mut told).await;
        }
    }

    /// Whether it was written.
    async fn write_manifest(
        &self,
        log_starts: Vec<(PartitionId, i64)>,
        told: &mut impl FnMut(&MaintenanceStep),
    ) -> bool {
        let options = KafscaleManifestOptions::default().log_starts(log_starts);
        let written = async {
            let plan = self.bucket.plan_kafscale_manifest(&options).await?;
            self.bucket.write_kafscale_manifest(&plan).await
        };
        match written.await {
            Ok(report) => {
                told(&MaintenanceStep::ManifestWritten(report));
                true
            }
            Err(error) => {
                told(&MaintenanceStep::Failed { partition: None, doing: "writing the manifest for KafScale", error });
                false
            }
        }
    }

    /// Waits for the next round: between half of this time and all of it, by chance, so that several maintainers don't work at
    /// the same moments.
    pub async fn pause(&self, every: Duration) {
        let runtime = self.bucket.runtime();
        runtime.clock().sleep(spread(every, &**runtime.entropy())).await;
    }
}

/// What retention is to do for a partition, if anything. `None` where nothing else is to be done for it in this round: a deletion
/// that was begun goes on, or it can't be told.
async fn look(
    partition: &Partition,
    policy: &MaintenancePolicy,
    told: &mut impl FnMut(&MaintenanceStep),
) -> Option<Option<LogStartPlan>> {
    match go_on_deleting(partition).await {
        Ok(None) => {}
        Ok(Some(report)) => {
            told(&MaintenanceStep::Deleted(report));
            return None;
        }
        Err(error) => {
            fail(partition, "deleting", error, told);
            return None;
        }
    }
    let Some(retention) = &policy.retention else { return Some(None) };
    match partition.plan_retention(retention).await {
        Ok(plan) => Some(Some(plan).filter(moves)),
        Err(error) => {
            fail(partition, "retention", error, told);
            Some(None)
        }
    }
}

/// Removes what retention found, and then merges: what goes is not merged first. If that changed anything, it is told to readers.
async fn carry_out(
    partition: &Partition,
    policy: &MaintenancePolicy,
    plan: Option<&LogStartPlan>,
    told: &mut impl FnMut(&MaintenanceStep),
) {
    let mut changed = false;
    if let Some(plan) = plan {
        match partition.set_log_start(plan).await {
            Ok(report) => {
                changed |= report.segments > 0;
                told(&MaintenanceStep::Retained(report));
            }
            Err(error) => fail(partition, "removing segments below the log start", error, told),
        }
    }
    if let Some(merge) = &policy.merge {
        match merged(partition, merge).await {
            Ok(None) => {}
            Ok(Some(report)) => {
                changed |= report.segments > 0 || report.leftovers > 0;
                told(&MaintenanceStep::Merged(report));
            }
            Err(error) => fail(partition, "merging", error, told),
        }
    }
    if changed && policy.log_manifest {
        match log_manifest(partition).await {
            Ok(report) => told(&MaintenanceStep::LogManifestWritten(report)),
            Err(error) => fail(partition, "writing the log's manifest", error, told),
        }
    }
}

async fn log_manifest(partition: &Partition) -> Result<LogManifestReport> {
    let plan = partition.plan_manifest().await?;
    partition.write_manifest(&plan).await
}

async fn plan_one(
    partition: &Partition,
    policy: &MaintenancePolicy,
    planned: &mut Vec<PlannedMaintenance>,
) -> Result<()> {
    if is_being_deleted(partition).await? {
        planned.push(PlannedMaintenance::Delete(partition.id().clone()));
        return Ok(());
    }
    if let Some(retention) = &policy.retention {
        let plan = partition.plan_retention(retention).await?;
        planned.extend(Some(plan).filter(moves).map(PlannedMaintenance::Retain));
    }
    if let Some(merge) = &policy.merge {
        let plan = partition.plan_merge(merge).await?;
        planned.extend(Some(plan).filter(|plan| !plan.is_empty()).map(PlannedMaintenance::Merge));
    }
    Ok(())
}

/// Tells of a failure. A partition that is not there any more needs nothing.
fn fail(partition: &Partition, doing: &'static str, error: Error, told: &mut impl FnMut(&MaintenanceStep)) {
    if error.kind() != ErrorKind::NotFound {
        told(&MaintenanceStep::Failed { partition: Some(partition.id().clone()), doing, error });
    }
}

async fn merged(partition: &Partition, policy: &MergePolicy) -> Result<Option<MergeReport>> {
    let plan = partition.plan_merge(policy).await?;
    if plan.is_empty() { Ok(None) } else { partition.merge(&plan).await.map(Some) }
}

async fn is_being_deleted(partition: &Partition) -> Result<bool> {
    let state = partition.state().clone();
    partition.state().runtime().ask(async move { Ok(Deletion::under_way(&state).await?.is_some()) }).await
}

async fn go_on_deleting(partition: &Partition) -> Result<Option<DeleteReport>> {
    if !is_being_deleted(partition).await? {
        return Ok(None);
    }
    let plan = partition.plan_delete(false).await?;
    partition.delete(&plan).await.map(Some)
}
