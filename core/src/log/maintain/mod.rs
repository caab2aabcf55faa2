//! Maintenance: what moves the log's start, removes segments, merges small ones, names them in manifests, copies logs, backs them up and deletes them (docs/design.md, "Maintenance").
//!
//! Each call says first what it will do, as a plan that prints. Several processes may maintain one partition at any time. The
//! rules that make this safe are checked by a model of their own, request by request (`kfs-model`, `maintainers`).

mod backup;
mod copy;
mod delete;
mod entries;
mod kafscale_manifest;
mod listing;
mod log_manifest;
mod log_start;
mod maintainer;
mod merge;
mod removal;
mod requests;
mod retention;
mod store_time;

pub use self::backup::{
    BackedUpPartition, Backup, BackupFault, BackupOptions, BackupPlan, BackupProgress, BackupRetention, BackupStage,
    ExpirePlan,
};
pub use self::copy::{CopyOptions, CopyPlan, CopyReport};
pub use self::delete::{DeletePlan, DeleteReport};
pub use self::kafscale_manifest::{KafscaleManifestOptions, KafscaleManifestPlan, KafscaleManifestReport};
pub use self::log_manifest::{LogManifestPlan, LogManifestReport};
pub use self::log_start::{LogStartPlan, LogStartReport, RetentionLimit};
pub use self::maintainer::{Maintainer, MaintainerOptions, MaintenancePolicy, MaintenanceStep, PlannedMaintenance};
pub use self::merge::{MergePlan, MergePolicy, MergeReport};
pub use self::retention::RetentionPolicy;

#[cfg(test)]
mod tests;
