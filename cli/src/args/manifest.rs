//! The options of `kfs manifest`.

use clap::{Args, Subcommand};

/// Write manifests: objects that name segments, so that who reads them need not list the bucket.
#[derive(Args, Debug)]
pub(crate) struct ManifestArgs {
    #[command(subcommand)]
    pub(crate) command: ManifestCommand,
}

/// Which manifest.
#[derive(Debug, Subcommand)]
pub(crate) enum ManifestCommand {
    Kafscale(KafscaleManifestArgs),
    Log(LogManifestArgs),
}

/// Write log.manifest, by which readers open a long log in a few requests.
///
/// Each partition has its own. It names the log's segments, so that a reader need not search for an offset or for the end. It is a
/// hint: an old one makes readers ask once or twice more, and never changes what they read. Readers of a log of fewer than
/// 1,000 segments do not use it. Run this command again from time to time, and after each kfs merge.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kfs manifest log orders/0
  kfs manifest log 'orders*' audit --dry-run")]
pub(crate) struct LogManifestArgs {
    /// The logs: topic/partition, or a topic with all its partitions. * stands for any characters and ? for one.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    /// Leave these out, by the same rules.
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude: Vec<String>,
    /// Say what would be written, and succeed.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON, for each partition a line for the plan and one for what was done.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Write manifest.json, which KafScale's SQL processor reads in place of listing the bucket.
///
/// It names the segments of a namespace with their offsets and times, so that a query reads only those that may match. Segments
/// that merging left and those below the log start are not in it, so no record comes twice. Run it again after records
/// were appended, after each kfs merge, and before kfs retain removes segments. Only new segments are read.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kfs manifest kafscale                       # all topics
  kfs manifest kafscale 'orders*' --dry-run
  kfs manifest kafscale --log-start orders/0=5000 && sleep 120 && kfs delete-records orders/0 --before 5000 --yes")]
pub(crate) struct KafscaleManifestArgs {
    /// What it names: topic/partition, or a topic with all its partitions. * stands for any characters and ? for one. SQL finds
    /// no others. Without a name, all topics.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Leave these out, by the same rules.
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude: Vec<String>,
    /// Leave out the segments of a partition that lie wholly below this offset, because they are about to be removed.
    #[arg(long, value_name = "TOPIC/PARTITION=OFFSET")]
    pub(crate) log_start: Vec<String>,
    /// Say what would be done, and succeed.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON, a line for the plan and one for what was done.
    #[arg(long)]
    pub(crate) json: bool,
}
