//! The options of `kfs check`.

use clap::Args;

/// Check whether a bucket does what a log needs, and what is missing.
///
/// It puts, reads, lists and deletes a few small objects, whose names begin with kfs-preflight-, and lets 8 writers
/// create one object at the same time, three times. It sends at most 60 requests, each of them once, and takes less than
/// 10 seconds. What it could not delete is named.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kfs check --bucket s3://bucket/prefix
  kfs check --json

Each line has a verdict. fine: as it must be. warning: logs can be written, and something is missing. failed: no log
should be written there, and commands that write refuse to. The exit code is 0 without a failed line, warnings or not.")]
pub(crate) struct CheckArgs {
    /// Print one JSON object per line: a check each, then a summary with the member url.
    #[arg(long)]
    pub(crate) json: bool,
}
