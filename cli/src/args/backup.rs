//! The options of `kfs backup`.

use std::time::Duration;

use clap::{Args, Subcommand};
use kfs_core::format::{BackupName, Namespace};

use super::ConfirmArgs;
use crate::{times, units};

/// Make, list, verify, restore and remove backups.
///
/// A backup is a copy with a name, at .kfs-backups/NAME/ in a bucket, and a document that says what it holds: the ranges of
/// offsets, counts and checksums. Its logs are logs as any other.
#[derive(Args, Debug)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    pub(crate) command: BackupCommand,
}

/// What to do with backups.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Back up partitions.
    ///
    /// It holds what was there when it was begun. One that was interrupted goes on when the same command runs again. All of
    /// it is read back before it is called complete.
    #[command(after_help = "Examples:
  kfs backup create monday orders 'audit-*' --into s3://backup/logs
  kfs backup create before-the-upgrade '*'           # all topics, into the same bucket")]
    Create(BackupCreateArgs),
    /// List the backups in the bucket.
    #[command(after_help = "Examples:
  kfs --bucket s3://backup/logs backup list")]
    List {
        /// Print JSON, a line for each backup.
        #[arg(long)]
        json: bool,
    },
    /// Compare a backup with its document: whether all segments and indexes are there, and their sizes.
    #[command(after_help = "Examples:
  kfs --bucket s3://backup/logs backup verify monday --deep && echo sound")]
    Verify {
        /// The backup's name.
        name: BackupName,
        /// Read all of it, and compare every CRC and count, too.
        #[arg(long)]
        deep: bool,
        /// Print JSON, a line for each fault and one for the result.
        #[arg(long)]
        json: bool,
    },
    /// Restore partitions from a backup, whole or up to a point, into partitions that have no log.
    ///
    /// Offsets stay as they are. With --to or --to-time the log ends there, and a batch that reaches beyond it is made anew
    /// without its later records. The order is that of the offsets: --to-time ends the log before the first record of that
    /// time or later, and a record of an earlier time that comes after it is not restored. One that was interrupted goes on when the
    /// same command runs again.
    #[command(after_help = "Examples:
  kfs --bucket s3://backup/logs backup restore monday --into s3://logs
  kfs backup restore monday orders --as orders-restored --to-time 2026-11-27T09:00:00Z
  kfs backup restore monday orders/3 --as orders-restored --to 5000")]
    Restore(Box<BackupRestoreArgs>),
    /// Remove backups that are no longer wanted. One that any limit keeps stays.
    ///
    /// Without --yes it only says what it would do.
    #[command(after_help = "Examples:
  kfs --bucket s3://backup/logs backup expire --keep 7 --younger-than 30d --yes")]
    Expire(BackupExpireArgs),
}

/// What to back up.
#[derive(Args, Debug)]
pub(crate) struct BackupCreateArgs {
    /// The backup's name.
    pub(crate) name: BackupName,
    /// What to back up: topic/partition, or a topic with all its partitions. * stands for any characters and ? for one.
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Leave these out, by the same rules.
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude: Vec<String>,
    /// The bucket that gets the backup. Without it, the bucket that is read. Settings that are not in the URL come from
    /// the environment, for both.
    #[arg(long, value_name = "URL")]
    pub(crate) into: Option<String>,
    /// Make segments of about this size. Without it, the segments stay as they are, byte by byte.
    #[arg(long, value_parser = units::bytes, value_name = "SIZE")]
    pub(crate) segment_size: Option<usize>,
    /// Partitions that are copied at the same time. Each takes up to 64 MiB of memory, or twice its largest segment.
    #[arg(long, default_value_t = 4, value_parser = units::count_from(1_usize), value_name = "N")]
    pub(crate) at_once: usize,
    /// Say what would be done, and succeed.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON, a line for the plan and one for what was done.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to restore.
#[derive(Args, Debug)]
pub(crate) struct BackupRestoreArgs {
    /// The backup's name.
    pub(crate) name: BackupName,
    /// What to restore: topic/partition, or a topic with all its partitions. * stands for any characters and ? for one.
    /// Without it, all of the backup.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The bucket that is written. Without it, the bucket of the backup. Settings that are not in the URL come from
    /// the environment, for both.
    #[arg(long, value_name = "URL")]
    pub(crate) into: Option<String>,
    /// The namespace that is written. Without it, the command's.
    #[arg(long, value_name = "NAME")]
    pub(crate) into_namespace: Option<Namespace>,
    /// The topic that is written, or topic/partition, where the topic or the partition gets another name.
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) rename: Option<String>,
    /// One past the last offset to restore.
    #[arg(long, value_parser = units::count_from(0_i64), value_name = "OFFSET")]
    pub(crate) to: Option<i64>,
    /// Stop before the first record of this time or later, given in RFC 3339 or Unix milliseconds.
    #[arg(long, value_parser = times::parse, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) to_time: Option<i64>,
    /// Make segments of about this size. Without it, the segments stay as they are, byte by byte.
    #[arg(long, value_parser = units::bytes, value_name = "SIZE")]
    pub(crate) segment_size: Option<usize>,
    /// Partitions that are copied at the same time. Each takes up to 64 MiB of memory, or twice its largest segment.
    #[arg(long, default_value_t = 4, value_parser = units::count_from(1_usize), value_name = "N")]
    pub(crate) at_once: usize,
    /// Say what would be done, and succeed.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON, a line for each partition.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which backups to keep.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("limits").required(true).multiple(true)))]
pub(crate) struct BackupExpireArgs {
    /// Keep so many complete backups, the youngest.
    #[arg(long, value_name = "N", group = "limits")]
    pub(crate) keep: Option<usize>,
    /// Keep backups that are younger than this, as in 12h or 30d, by the store's clock. An object is put and deleted to ask the
    /// store for its time. Without it, a backup that was only begun stays.
    #[arg(long, value_parser = units::duration, value_name = "TIME", group = "limits")]
    pub(crate) younger_than: Option<Duration>,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}
