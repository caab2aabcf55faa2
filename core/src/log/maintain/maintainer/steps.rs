//! What a round of maintenance does, step by step.

use std::fmt;

use super::super::delete::DeleteReport;
use super::super::kafscale_manifest::KafscaleManifestReport;
use super::super::log_manifest::LogManifestReport;
use super::super::log_start::{LogStartPlan, LogStartReport};
use super::super::merge::{MergePlan, MergePolicy, MergeReport};
use super::super::retention::RetentionPolicy;
use crate::error::Error;
use crate::format::PartitionId;
use crate::setters::setters;
use crate::text::counted;

/// What is done for a partition in each round. Start from `MaintenancePolicy::default()`, which does nothing but go on with a
/// deletion that was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaintenancePolicy {
    /// What to keep of the log. `None` for all.
    pub retention: Option<RetentionPolicy>,
    /// How small segments are merged. `None` for not at all.
    pub merge: Option<MergePolicy>,
    /// Write [the log's manifest](crate::Partition::write_manifest) after segments were merged or removed. The default is `false`.
    pub log_manifest: bool,
}

impl MaintenancePolicy {
    setters! { retention: some RetentionPolicy, merge: some MergePolicy, log_manifest: bool }
}

/// What a round would do, of a partition that needs something. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PlannedMaintenance {
    /// Go on with a deletion that was begun.
    Delete(PartitionId),
    /// Move the log start, and remove what lies below.
    Retain(LogStartPlan),
    /// Merge small segments, and remove what earlier merges left.
    Merge(MergePlan),
    /// It can't be told.
    Unknown(PartitionId, Error),
}

impl fmt::Display for PlannedMaintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlannedMaintenance::Delete(partition) => write!(f, "{partition}: the deletion that was begun goes on"),
            PlannedMaintenance::Retain(plan) => plan.fmt(f),
            PlannedMaintenance::Merge(plan) => plan.fmt(f),
            PlannedMaintenance::Unknown(partition, error) => write!(f, "{partition}: {error:#}"),
        }
    }
}

/// A step of a round that was done, or that failed. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MaintenanceStep {
    /// A deletion that was begun went on.
    Deleted(DeleteReport),
    /// The log start was moved, and what lies below was removed.
    Retained(LogStartReport),
    /// Segments were merged, or what earlier merges left was removed.
    Merged(MergeReport),
    /// The log's manifest was written.
    LogManifestWritten(LogManifestReport),
    /// The manifest for KafScale's SQL processor was written.
    ManifestWritten(KafscaleManifestReport),
    /// A step failed. The others of the round go on.
    Failed {
        /// The partition; `None` for the manifest.
        partition: Option<PartitionId>,
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        error: Error,
    },
    /// The round ended by [`max_requests`](super::MaintainerOptions::max_requests). So many partitions wait for the next one.
    PutOff(usize),
}

impl fmt::Display for MaintenanceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaintenanceStep::Deleted(report) => report.fmt(f),
            MaintenanceStep::Retained(report) => report.fmt(f),
            MaintenanceStep::Merged(report) => report.fmt(f),
            MaintenanceStep::LogManifestWritten(report) => report.fmt(f),
            MaintenanceStep::ManifestWritten(report) => report.fmt(f),
            MaintenanceStep::Failed { partition: Some(partition), doing, error } => {
                write!(f, "{partition}: {doing} failed: {error:#}")
            }
            MaintenanceStep::Failed { partition: None, doing, error } => write!(f, "{doing} failed: {error:#}"),
            MaintenanceStep::PutOff(partitions) => {
                let wait = if *partitions == 1 { "waits" } else { "wait" };
                write!(f, "{} {wait} for the next round", counted(*partitions, "partition"))
            }
        }
    }
}

/// Whether moving the log start by this plan changes anything.
pub(super) fn moves(plan: &LogStartPlan) -> bool {
    plan.new_log_start > plan.log_start || plan.segments > 0
}
