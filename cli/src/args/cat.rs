//! Options of `kfs cat`.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use kfs_core::Isolation;

use super::{check_order, check_range};
use crate::encoding::Encoding;
use crate::failure::Outcome;
use crate::{times, units};

const EXAMPLES: &str = r#"Formats:
  text   One value per line, in the --encoding; null is an empty line. Control records are left out.
  jsonl  One JSON object per record:
           {"offset": 0, "timestamp_ms": 1767225600000, "key": null, "value": "v", "headers": [["name", "value"]]}
         Keys, values and header values are in the --encoding, and header names are text. Bytes that should
         be UTF-8 but are not are printed as {"hex": "ff00"} in place of a string. Records of control batches
         also have "control": true, unless --no-control leaves them out.
  raw    Record batches as they are stored, back to back. Batches are never cut: each batch that holds an
         offset of the range is written whole, and --count stops after the batch that reaches it.

Corrupt data ends the reading with exit code 1. With --skip-corrupt the reading continues after it and stderr
says what was skipped. The exit code is still 1.

--follow waits for more without end, even while the store can't be reached or the partition does not exist yet.
--timeout does not apply to it.

On a terminal, control characters in text are escaped (as in \u{1b}), except newlines and tabs. Elsewhere
values are printed byte for byte. Raw batches are never printed on a terminal.

Examples:
  kfs cat orders/0 --from 100 --count 10
  kfs cat orders/0 --from -10 --follow --format jsonl
  kfs cat orders/0 --from-time 2026-01-01T00:00:00Z --to-time 2026-01-02T00:00:00Z
  kfs cat orders/0 --format raw | kfs append --raw copy/0
  kfs cat ./segment-00000000000000000000.kfs --format jsonl --encoding hex"#;

/// Print the records of a partition or of a segment's file.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CatArgs {
    /// The partition, as topic/partition, or the path of a .kfs file.
    #[arg(value_name = "PARTITION|FILE")]
    pub(crate) target: String,
    /// Where to start: an offset, earliest, latest, or -N for the last N offsets.
    #[arg(long, default_value = "earliest", allow_hyphen_values = true, value_name = "OFFSET")]
    pub(crate) from: From,
    /// Stop before this: an offset, earliest, latest, or -N for the last N offsets, all as of the start of the command.
    #[arg(long, allow_hyphen_values = true, value_name = "OFFSET")]
    pub(crate) to: Option<From>,
    /// Stop after this many records.
    #[arg(long, short = 'n', value_parser = units::count_from(0_u64), allow_negative_numbers = true, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Start at the first record of this time or later, given in RFC 3339 or Unix milliseconds.
    #[arg(long, conflicts_with = "from", value_parser = times::parse, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) from_time: Option<i64>,
    /// Stop before the first record of this time or later, given in RFC 3339 or Unix milliseconds.
    #[arg(long, conflicts_with = "to", value_parser = times::parse, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) to_time: Option<i64>,
    /// At the end of the log, wait for new records. If the partition does not exist yet, wait for that too.
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
    /// What to print of each record.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// How to print keys and values.
    #[arg(long, value_enum, default_value_t, value_name = "ENCODING")]
    pub(crate) encoding: Encoding,
    /// Which records to print of transactions: all, or only those that have committed. With read_committed the log
    /// ends at the first record of a transaction that is still open.
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub(crate) isolation: IsolationLevel,
    /// Leave out control records (they mark the ends of transactions).
    #[arg(long)]
    pub(crate) no_control: bool,
    /// Continue after corrupt data, and say what was skipped.
    #[arg(long)]
    pub(crate) skip_corrupt: bool,
    /// Accept batches that decompress to at most this size. By default, writers accept nothing larger.
    #[arg(long, default_value = "128MiB", value_parser = units::bytes_from(1), value_name = "SIZE")]
    pub(crate) max_decompressed: usize,
}

impl CatArgs {
    /// Refuses a range that ends before it starts, wherever the log starts and ends.
    pub(crate) fn check_range(&self) -> Outcome {
        match (self.from, self.to) {
            (From::Offset(from), Some(From::Offset(to))) => check_range(Some(from), Some(to))?,
            (From::Last(from), Some(From::Last(to))) => {
                check_range(Some(from.saturating_neg()), Some(to.saturating_neg()))?
            }
            _ => {}
        }
        check_order("--from-time", self.from_time, "--to-time", self.to_time)
    }
}

/// Which records of transactions are printed, spelled as Kafka's `isolation.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum IsolationLevel {
    #[default]
    #[value(name = "read_uncommitted")]
    ReadUncommitted,
    #[value(name = "read_committed")]
    ReadCommitted,
}

impl IsolationLevel {
    pub(crate) fn of_reader(self) -> Isolation {
        match self {
            IsolationLevel::ReadUncommitted => Isolation::ReadUncommitted,
            IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        }
    }
}

/// What is printed of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The value, on a line.
    #[default]
    Text,
    /// All of the record, as a line of JSON.
    Jsonl,
    /// Whole record batches as they are stored.
    Raw,
}

/// A place in a log: where to start, or before which to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Earliest,
    Latest,
    Offset(i64),
    /// This many offsets before the end.
    Last(i64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => return Ok(From::Earliest),
            "latest" => return Ok(From::Latest),
            _ => {}
        }
        let wrong = || "write an offset, earliest, latest, or -N for the last N offsets".to_string();
        let number: i64 = text.parse().map_err(|_| wrong())?;
        if number >= 0 { Ok(From::Offset(number)) } else { number.checked_neg().map(From::Last).ok_or_else(wrong) }
    }
}

impl From {
    pub(crate) fn counts_from_the_end(self) -> bool {
        matches!(self, From::Latest | From::Last(_))
    }

    /// The offset, for a log that starts and ends there.
    pub(crate) fn resolve(self, log_start: i64, log_end: i64) -> i64 {
        match self {
            From::Earliest => log_start,
            From::Latest => log_end,
            From::Offset(offset) => offset,
            From::Last(count) => log_end.saturating_sub(count).max(log_start),
        }
    }
}
