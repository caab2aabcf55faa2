//! The options of every subcommand, and the subcommands that have few options of their own.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use clap::{ArgAction, Args};
use kfs_core::format::Namespace;

use crate::encoding::Encoding;
use crate::failure::{Outcome, usage};
use crate::units;

/// Options that stand before or after the subcommand.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Common {
    /// The bucket: file:///directory with the directory's absolute path, or s3://bucket/prefix or az://container/prefix.
    /// Settings follow a question mark, as in ?region=eu-west-1, or come from the environment: AWS_ENDPOINT_URL (as in
    /// http://127.0.0.1:9000), AWS_REGION, AWS_ACCESS_KEY_ID and others. `kfs config show` lists them.
    #[arg(long, global = true, env = "KFS_BUCKET", hide_env_values = true, value_name = "URL")]
    pub(crate) bucket: Option<String>,
    /// In place of --bucket, a file in YAML or JSON that describes it: storage: with backend: s3 and the settings below.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The namespace of topics. Without it that of KAFSCALE_S3_NAMESPACE, or default.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<Namespace>,
    /// Give up when the store makes no progress for this long; 0 waits without end.
    #[arg(long, global = true, default_value = "60s", value_parser = units::duration, allow_negative_numbers = true, value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// Read a directory's files by copying instead of mapping them. Use this where another program may truncate them.
    #[arg(long, global = true)]
    pub(crate) no_map: bool,
    /// Do not check a bucket on the network before the first write to it. Else each run that writes sends up to 60 requests
    /// more: use this where many short ones follow each other, and run `kfs check` once.
    #[arg(long, global = true)]
    pub(crate) no_preflight: bool,
    /// Write to a bucket without create-if-absent too. Only where never more than one writer of a partition runs:
    /// else records are lost.
    #[arg(long, global = true)]
    pub(crate) single_writer: bool,
    /// Say on stderr what happens: -v when writers open and end, repairs and holes; -vv each flush, listing and failed
    /// try too; -vvv each request to the store.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// The permissions of new files in a directory, in octal. The umask removes bits from them.
    #[arg(long, global = true, default_value = "600", value_parser = units::mode_with(0o400), value_name = "MODE")]
    pub(crate) file_mode: u32,
    /// The permissions of new directories, in the same form.
    #[arg(long, global = true, default_value = "700", value_parser = units::mode_with(0o700), value_name = "MODE")]
    pub(crate) dir_mode: u32,
}

/// The offsets at which a log may start.
pub(super) fn offsets() -> RangedI64ValueParser {
    RangedI64ValueParser::new().range(0..=i64::MAX - 2)
}

/// Refuses a range of segments that ends before it starts.
pub(crate) fn check_range(from: Option<i64>, to: Option<i64>) -> Outcome {
    check_order("--from", from, "--to", to)
}

/// Refuses a value of the second option that is below that of the first one.
pub(crate) fn check_order(from: &str, least: Option<i64>, to: &str, most: Option<i64>) -> Outcome {
    match least.zip(most) {
        Some((least, most)) if least > most => {
            Err(usage(format!("{from} {least} must be at most {to} {most}"), "exchange the two, or leave one out"))
        }
        _ => Ok(()),
    }
}

/// Create a partition's log without an append, so that it can be read and keeps its start offset.
///
/// If the log exists already with the same start offset, nothing changes.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kfs create orders/0\n  kfs create orders/0 --start-offset 5000")]
pub(crate) struct CreateArgs {
    /// The partition, as topic/partition.
    pub(crate) partition: String,
    /// The first offset of the log.
    #[arg(long, default_value_t = 0, value_parser = offsets(), allow_negative_numbers = true, value_name = "OFFSET")]
    pub(crate) start_offset: i64,
}

/// Show a segment, an index, a time index, log.json or record batches field by field.
///
/// It shows whatever can be read, however broken the rest is. The exit code is 1 if something is wrong.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kfs inspect segment-00000000000000000000.kfs
  kfs inspect default/orders/0/segment-00000000000000000000.index    # a key of the bucket
  kfs inspect segment-00000000000000000000.kfs --offset 17           # one batch and its records
  kfs inspect orders/0 --offset 17 --json
  kfs cat orders/0 --format raw > batches.bin && kfs inspect batches.bin")]
pub(crate) struct InspectArgs {
    /// A file, a key of the bucket, or, with --offset, a partition.
    pub(crate) object: String,
    /// Show the batch that holds this offset, field by field, and its records.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..), allow_negative_numbers = true, value_name = "OFFSET")]
    pub(crate) offset: Option<i64>,
    /// Show all fields of every batch, and every entry of an index.
    #[arg(long)]
    pub(crate) all: bool,
    /// How to print keys and values of records.
    #[arg(long, value_enum, default_value_t, value_name = "ENCODING")]
    pub(crate) encoding: Encoding,
    /// Print one JSON object, with all fields of all batches.
    #[arg(long)]
    pub(crate) json: bool,
    /// Accept batches that decompress to at most this size. By default, writers accept nothing larger.
    #[arg(long, default_value = "128MiB", value_parser = units::bytes_from(1), value_name = "SIZE")]
    pub(crate) max_decompressed: usize,
}

/// List topics, the partitions of a topic, or the segments of a partition.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kfs ls                       # topics of the namespace
  kfs ls orders                # its partitions: log start and high watermark
  kfs ls orders/0              # its segments
  kfs ls orders/0 --from 5000  # those that hold offset 5000 and later ones
  kfs ls orders/0 --json       # one JSON object per line

A segment ends just before the next one begins. The last offset of the newest segment is read from its footer.

A topic, partition or newest segment that can't be read is named on stderr, and the list has a dash (null in
JSON) for what is not known. The list continues, and the exit code stands for the first such error.")]
pub(crate) struct LsArgs {
    /// A topic, a partition as topic/partition, or the path of a .kfs file. If it is left out, all topics.
    #[arg(value_name = "TOPIC|PARTITION|FILE")]
    pub(crate) target: Option<String>,
    /// Only segments that hold this offset or later ones.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..), allow_negative_numbers = true, value_name = "OFFSET")]
    pub(crate) from: Option<i64>,
    /// Only segments that hold an offset before this.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..), allow_negative_numbers = true, value_name = "OFFSET")]
    pub(crate) to: Option<i64>,
    /// Print one JSON object per line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check every CRC, batch and record, the indexes against the segments, and that offsets follow each other.
///
/// Each finding is printed on a line, with a summary at the end. With any error or warning the exit code is 1.
#[derive(Args, Debug)]
#[command(
    after_help = "An error is data that can't be read or is wrong. A warning does not stop readers: a wrong or missing
index, a hole, a batch below its predecessor's end. An info is worth knowing, but nothing is wrong.

Examples:
  kfs verify orders/0
  kfs verify orders/0 orders/1 --json
  kfs verify orders/0 --from 5000            # only segments that hold offset 5000 and later ones
  kfs verify segment-00000000000000000000.kfs  # with the indexes beside it, if there are any"
)]
pub(crate) struct VerifyArgs {
    /// Partitions, as topic/partition, or paths of .kfs files.
    #[arg(value_name = "PARTITION|FILE", required = true)]
    pub(crate) targets: Vec<String>,
    /// Only segments that hold this offset or later ones.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..), allow_negative_numbers = true, value_name = "OFFSET")]
    pub(crate) from: Option<i64>,
    /// Only segments that hold an offset before this.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..), allow_negative_numbers = true, value_name = "OFFSET")]
    pub(crate) to: Option<i64>,
    /// Check CRCs, batches and indexes only, and do not decode records.
    #[arg(long)]
    pub(crate) no_records: bool,
    /// Accept batches that decompress to at most this size. By default, writers accept nothing larger.
    #[arg(long, default_value = "128MiB", value_parser = units::bytes_from(1), value_name = "SIZE")]
    pub(crate) max_decompressed: usize,
    /// Print one JSON object per line: findings, then a summary with the member verified.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Rebuild missing or wrong indexes, or set a broken segment aside.
///
/// It says what it will do, and does it only with --yes. The exit code is 1 if something is left to do.
#[derive(Args, Debug)]
#[command(
    after_help = "Setting a segment aside copies it to KEY.bad, reads the copy back and compares it, and only then removes
the segment and its indexes. The command prints which offsets go with it, and what the next offset will be.

Examples:
  kfs repair orders/0          # says which indexes it would rebuild
  kfs repair orders/0 --yes
  kfs repair --set-aside default/orders/0/segment-00000000000000005000.kfs
  kfs cat orders/0 --skip-corrupt   # reads what can be read, and changes nothing"
)]
pub(crate) struct RepairArgs {
    /// The partition, as topic/partition.
    #[arg(required_unless_present = "set_aside")]
    pub(crate) partition: Option<String>,
    /// Set this segment aside: its key, or its name in the partition.
    #[arg(long, value_name = "KEY")]
    pub(crate) set_aside: Option<String>,
    /// Do it.
    #[arg(long)]
    pub(crate) yes: bool,
}
