//! Arguments of the commands that maintain a log.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kfs_core::format::Namespace;

use crate::{times, units};

/// Delete the records below an offset: move the start of the log, then remove the segments that lie wholly below it.
///
/// Nothing below the new start is read any more, in the middle of a segment too. The newest segment stays, and segments that are
/// younger than 6 minutes stay until a later call. Without --yes it only says what it would do.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kfs delete-records orders/0 --before 5000        # says what it would do
  kfs delete-records orders/0 --before 5000 --yes
  kfs delete-records orders/0 --before end --yes   # all records that are there now")]
pub(crate) struct DeleteRecordsArgs {
    /// The partition, as topic/partition.
    pub(crate) partition: String,
    /// The first offset to keep; end for the high watermark.
    #[arg(long, value_parser = before, allow_negative_numbers = true, value_name = "OFFSET|end")]
    pub(crate) before: i64,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

/// Delete partitions, or topics with all their partitions.
///
/// It takes three calls, 6 minutes apart; each says when the next one can go on, and --wait makes all of them. The first call
/// displaces writers and moves the start of the log to its end, so that nothing is read any more, and removes the segments that
/// are older than 6 minutes. The second removes the others, and the third what is left. After an interruption, run the same
/// command again. A topic can be made again after the last call; for a day nothing is copied into its partitions. Without
/// --yes it only says what it would do.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kfs delete orders                 # says what it would do, for each partition of the topic
  kfs delete orders --yes --wait    # deletes it to the end, which takes 12 minutes
  kfs delete orders/3 --now --yes   # at once, where no writer and no maintenance is at work")]
pub(crate) struct DeleteArgs {
    /// What to delete: topic/partition, or a topic with all its partitions. * stands for any characters and ? for one.
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Wait for nobody, and delete logs that can't be read, too. While it runs, no writer may append to the partitions and no
    /// other maintenance may be at work on them, in any process: a writer may lose what it appends meanwhile, and a maintainer
    /// that slept may delete a segment of a log that is made again.
    #[arg(long)]
    pub(crate) now: bool,
    /// Wait until the rest may go, and go on to the end.
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

/// Remove what is too old or too much: move the start of the log, then remove the segments that lie wholly below it.
///
/// Each limit says where the log may start at the earliest, and the greatest of these offsets counts, as in Kafka. The newest
/// segment stays, and segments that are younger than 6 minutes stay until a later call. Without --yes it only says what it would
/// do.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("limits").required(true).multiple(true)),
    after_help = "Examples:
  kfs retain orders/0 --max-age 7d                          # says what it would do
  kfs retain orders/0 --max-age 7d --max-bytes 10GiB --yes")]
pub(crate) struct RetainArgs {
    /// The partition, as topic/partition.
    pub(crate) partition: String,
    /// Remove segments all of whose records are older than this, by their timestamps and the store's clock, as in 12h or 7d
    /// (Kafka's retention.ms). An object is put and deleted to ask the store for its time.
    #[arg(long, value_parser = units::duration, value_name = "TIME", group = "limits")]
    pub(crate) max_age: Option<Duration>,
    /// Remove the oldest segments while the others have at least so many bytes, as in 10GiB (Kafka's retention.bytes).
    #[arg(long, value_parser = units::bytes, value_name = "SIZE", group = "limits")]
    pub(crate) max_bytes: Option<usize>,
    /// Remove what lies below this offset.
    #[arg(long, value_parser = units::count_from(0_i64), allow_negative_numbers = true, value_name = "OFFSET", group = "limits")]
    pub(crate) start_offset: Option<i64>,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

/// Merge small segments into large ones, and remove what earlier merges left.
///
/// Records, offsets and batches stay as they are. Small neighbours become one segment in the place of the first of them; the
/// others stay for the grace, so that whoever reads them can go on, and a later call removes them. So run it again after
/// the grace. The newest segment and segments that are younger than 6 minutes stay as they are. Without --yes it only says what
/// it would do.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kfs merge orders/0                            # says what it would do
  kfs merge orders/0 --yes
  kfs merge orders/0 --target-size 256MiB --yes
  kfs merge orders/0 --preset kafscale --yes    # KafScale's broker serves the log, too")]
pub(crate) struct MergeArgs {
    /// The partition, as topic/partition.
    pub(crate) partition: String,
    /// The most bytes of a merged segment, 4KiB to 1GiB [default: 64MiB]. Segments of less than a quarter are small. Merging
    /// takes up to twice as much memory, and 32 MiB.
    #[arg(long, value_parser = units::bytes, value_name = "SIZE")]
    pub(crate) target_size: Option<usize>,
    /// Let small neighbours wait until they have so many bytes together [default: a quarter of the target size]. With less,
    /// bytes may be merged again.
    #[arg(long, value_parser = units::bytes, value_name = "SIZE")]
    pub(crate) min_size: Option<usize>,
    /// How long merged segments stay in place for readers, at least 15m [default: 24h]. 6 minutes are added.
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    pub(crate) grace: Option<Duration>,
    /// Messages between two entries of a merged segment's index [default: 100].
    #[arg(long, value_parser = units::count_from(1_i32), value_name = "N")]
    pub(crate) index_interval: Option<i32>,
    /// Write no time index (.kfst) for merged segments.
    #[arg(long)]
    pub(crate) no_time_index: bool,
    /// Settings for logs that another program serves, too. kafscale: a target size of 1,000,000 bytes, because a fetch from
    /// KafScale's broker gets no more than 1 MiB of a segment by default.
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) preset: Option<MergePreset>,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

/// Copy partitions into another bucket, namespace or topic.
///
/// Offsets, batches and their bytes stay as they are, and the CRCs of all that is read are checked. A copy that was interrupted
/// goes on where it stopped when the same command runs again, and a later run copies what was appended since. It is refused
/// with other options, into a log that is no such copy, and where somebody appended to the copy.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kfs copy orders/0 --as orders-copy/0                      # within the bucket
  kfs copy orders 'audit-*' --into s3://backup/logs           # topics, into another bucket
  kfs copy orders --into file:///mnt/copy --follow            # goes on until it is stopped
  kfs copy orders/0 --as small/0 --from 5000 --to 6000 --segment-size 64MiB")]
pub(crate) struct CopyArgs {
    /// What to copy: topic/partition, or a topic with all its partitions. * stands for any characters and ? for one.
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Leave these out, by the same rules.
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude: Vec<String>,
    /// The bucket that is written. Without it, the bucket that is read. Settings that are not in the URL come from the
    /// environment, for both.
    #[arg(long, value_name = "URL")]
    pub(crate) into: Option<String>,
    /// In place of --into, a file in YAML or JSON that describes it, as for --config.
    #[arg(long, conflicts_with = "into", value_name = "FILE")]
    pub(crate) into_config: Option<PathBuf>,
    /// The namespace that is written. Without it, the one that is read.
    #[arg(long, value_name = "NAME")]
    pub(crate) into_namespace: Option<Namespace>,
    /// The topic that is written, or topic/partition, where the topic or the partition gets another name.
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) rename: Option<String>,
    /// The first offset to copy. Without it, the log start.
    #[arg(long, value_parser = units::count_from(0_i64), value_name = "OFFSET")]
    pub(crate) from: Option<i64>,
    /// One past the last offset to copy. A batch that reaches beyond it is made anew without its later records. Without it, the
    /// high watermark.
    #[arg(long, value_parser = units::count_from(0_i64), value_name = "OFFSET")]
    pub(crate) to: Option<i64>,
    /// Start at the first record of this time or later, given in RFC 3339 or Unix milliseconds.
    #[arg(long, conflicts_with = "from", value_parser = times::parse, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) from_time: Option<i64>,
    /// Stop before the first record of this time or later, in the order of offsets, given in RFC 3339 or Unix milliseconds.
    #[arg(long, value_parser = times::parse, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) to_time: Option<i64>,
    /// Make segments of about this size. Without it, the segments stay as they are, byte by byte.
    #[arg(long, value_parser = units::bytes, value_name = "SIZE")]
    pub(crate) segment_size: Option<usize>,
    /// Partitions that are copied at the same time. Each takes up to 64 MiB of memory, or twice its largest segment.
    #[arg(long, default_value_t = 4, value_parser = units::count_from(1_usize), value_name = "N")]
    pub(crate) at_once: usize,
    /// Go on and copy what is appended, until the command is stopped.
    #[arg(long, conflicts_with_all = ["to", "to_time", "dry_run"])]
    pub(crate) follow: bool,
    /// With --follow: how long to wait before looking again.
    #[arg(long, default_value = "5s", value_parser = units::duration, value_name = "TIME")]
    pub(crate) every: Duration,
    /// Say what would be done, and succeed.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON, a line for each partition.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Run maintenance in rounds, by a policy in a file: retain, merge, remove what merging left, and finish deletions that were begun.
///
/// Several of these may run on one bucket, on one machine or several. Without --every it is one round. Without --yes it only says
/// what a round would do.
#[derive(Args, Debug)]
#[command(
    after_help = r#"Example of a policy. The first rule that names a partition counts; all but names can be left out:
  {
    "rules": [
      {"names": ["orders", "audit-*"], "exclude": ["audit-eu"],
       "retain": {"max_age": "7d", "max_bytes": "10GiB"},
       "merge": {"target_size": "64MiB", "grace": "24h"}, "log_manifest": true},
      {"names": ["*"], "merge": {"preset": "kafscale"}}
    ],
    "kafscale_manifest": true,
    "max_requests": 100000
  }
retain takes max_age and max_bytes, as kfs retain does. merge takes target_size, min_size, grace, index_interval, time_index and
preset, as kfs merge does. With log_manifest the log's manifest is written after segments were merged or removed, as kfs manifest log
does. With kafscale_manifest the manifest of KafScale's SQL processor is kept. A round begins nothing new
after max_requests, and the next one goes on there.

Examples:
  kfs maintain --policy policy.json                    # says what a round would do
  kfs maintain --policy policy.json --yes              # one round, as from cron
  kfs maintain --policy policy.json --every 5m --yes   # until it is stopped"#
)]
pub(crate) struct MaintainArgs {
    /// The file with the policy, in JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// Go on until the command is stopped, with a round about so often: from half of this time to all of it lies between two
    /// rounds.
    #[arg(long, value_parser = units::duration, value_name = "TIME", requires = "yes")]
    pub(crate) every: Option<Duration>,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

/// Settings for merging that go together.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum MergePreset {
    Kafscale,
}

/// Whether to do what was said.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ConfirmArgs {
    /// Do it.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Say what would be done, and succeed.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON, a line for the plan and one for what was done.
    #[arg(long)]
    pub(crate) json: bool,
}

/// An offset from which on records are kept; -1 for the high watermark.
fn before(text: &str) -> Result<i64, String> {
    match text.parse() {
        _ if text == "end" => Ok(-1),
        Ok(offset) if offset >= 0 => Ok(offset),
        _ => Err("an offset from 0 on, or end".to_owned()),
    }
}
