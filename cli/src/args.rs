//! The command line.

mod append;
mod backup;
mod cat;
mod check;
mod common;
mod config;
mod maintain;
mod manifest;

use clap::{Parser, Subcommand};

pub(crate) use append::{Acks, AppendArgs};
pub(crate) use backup::{BackupArgs, BackupCommand, BackupCreateArgs, BackupExpireArgs, BackupRestoreArgs};
pub(crate) use cat::{CatArgs, Format, From, IsolationLevel};
pub(crate) use check::CheckArgs;
pub(crate) use common::{Common, CreateArgs, InspectArgs, LsArgs, RepairArgs, VerifyArgs, check_order, check_range};

pub(crate) use config::{ConfigArgs, ConfigCommand};
pub(crate) use maintain::{
    ConfirmArgs, CopyArgs, DeleteArgs, DeleteRecordsArgs, MaintainArgs, MergeArgs, MergePreset, RetainArgs,
};
pub(crate) use manifest::{KafscaleManifestArgs, LogManifestArgs, ManifestArgs, ManifestCommand};

use crate::failure::EXIT_CODES;

const EXAMPLES: &str = "\
Examples:
  export KFS_BUCKET=file:///var/lib/logs        # or s3://bucket/prefix with AWS_* in the environment,
                                                # or az://container/prefix with AZURE_*
  kfs check                                     # does the bucket do what a log needs?
  kfs config show                               # which settings of the bucket count, and who set them
  kfs append --lines orders/0 < input.txt       # a record a line
  kfs cat orders/0 --from 100 --count 10
  kfs cat orders/0 --format jsonl --follow
  kfs ls orders/0                               # its segments
  kfs inspect segment-00000000000000000000.kfs  # a file, field by field
  kfs verify orders/0 && echo sound

A partition is written topic/partition. Commands that read a partition also take the path of a .kfs file.
";

/// Append to and read Kafka partition logs straight in a bucket: a directory or an object store.
#[derive(Debug, Parser)]
#[command(name = "kfs", version, after_help = format!("{EXAMPLES}\n{EXIT_CODES}"), max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Append(Box<AppendArgs>),
    Backup(BackupArgs),
    Cat(CatArgs),
    Check(CheckArgs),
    Config(ConfigArgs),
    Copy(Box<CopyArgs>),
    Create(CreateArgs),
    Delete(DeleteArgs),
    DeleteRecords(DeleteRecordsArgs),
    Inspect(InspectArgs),
    Ls(LsArgs),
    Maintain(MaintainArgs),
    Manifest(ManifestArgs),
    Merge(MergeArgs),
    Repair(RepairArgs),
    Retain(RetainArgs),
    Verify(VerifyArgs),
}
