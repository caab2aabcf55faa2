//! Options of `kfs append`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use kfs_core::format::{BatchCheck, Compression};
use kfs_core::{BucketOptions, OnConflict, WriterOptions};

use super::common::offsets;
use crate::append::Portion;
use crate::encoding::Encoding;
use crate::input::{Form, Origin};
use crate::units;

const EXAMPLES: &str = r#"Input:
  Default: a JSON object a line, as `kfs cat --format jsonl` writes it, every member optional:
    {"key": "k", "value": "v", "headers": [["name", "value"], ["name", null]], "timestamp_ms": 1767225600000}
  Keys, values and header values are in the --encoding; a header's name is text. In place of a string
  {"hex": "ff00"} gives bytes. Null, or left out, is Kafka's null. Without timestamp_ms it is now.
  "offset" is read and not used: the log gives the offset. Lines with "control": true are passed over
  and counted on stderr (--raw keeps control batches). Any other member is an error.

  --lines: a line ends in a newline, or in a carriage return and a newline; neither is part of the value.
  A UTF-8 byte order mark at the beginning is passed over, as it is before JSON lines. --verbatim keeps the
  mark and the carriage returns, so that `kfs cat` gives back every byte.

  --raw: zeros from the end of a batch to the end of the input are taken for the end, and named on stderr:
  a broker may preallocate its files. Holes between the batches' offsets are closed, and counted on stderr.

  What was read before bad input is appended; the exit code is 2.

Report (--report), a line on stdout for each range of offsets, once it is durable:
    {"base_offset": 0, "last_offset": 99}
  A claim's line has "claim": true as well.

Ctrl-C (SIGINT), SIGTERM and SIGHUP end the reading; what was read, up to its last whole line or batch, is
flushed. A second signal ends at once, and stderr says what is durable and what is not. The exit code is 128
and the signal's number, unless something fails.

Examples:
  kfs append orders/0 < orders.jsonl
  kfs append --lines --report logs/0 app.log
  kfs cat old/0 --format raw | kfs append --raw new/0 --start-offset 5000
  kfs append --codec zstd --flush-bytes 32MiB --time-index orders/0 orders.jsonl"#;

/// Append records to a partition.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AppendArgs {
    /// The partition, as topic/partition.
    pub(crate) partition: String,
    /// Read this file; standard input when left out, or -.
    pub(crate) file: Option<PathBuf>,

    /// A line is a record's value, without its line end (LF or CRLF).
    #[arg(long, conflicts_with_all = ["raw", "encoding"])]
    lines: bool,
    /// With --lines, keep what Windows adds to text: a carriage return before a newline, a byte order mark.
    #[arg(long, requires = "lines")]
    verbatim: bool,
    /// Record batches (Kafka's magic 2), back to back. They keep all but offsets (and leader epoch, if given).
    #[arg(long, conflicts_with_all = ["encoding", "codec", "batch_bytes"])]
    raw: bool,
    /// What is asked of batches before they are appended.
    ///
    /// In each case the header and the CRC must be right.
    #[arg(long, value_enum, default_value_t, value_name = "CHECK", requires = "raw")]
    check: Check,
    /// How keys and values of JSON lines are written.
    #[arg(long, value_enum, default_value_t, value_name = "ENCODING")]
    encoding: Encoding,

    /// When an append is pressed for: as soon as input pauses, or by the flush settings alone.
    ///
    /// With either the exit code is 0 only if everything is durable.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) acks: Acks,
    /// Print a JSON line on stdout for each range of offsets, once it is durable.
    #[arg(long)]
    pub(crate) report: bool,
    /// Commit a claim first: when it is durable, every earlier owner is fenced. It takes one offset.
    #[arg(long)]
    pub(crate) claim: bool,
    /// What losing a segment's slot to another writer means.
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    on_conflict: Policy,
    /// The first offset, if the partition is empty; another one than the log has is a conflict.
    #[arg(long, value_parser = offsets(), allow_negative_numbers = true, value_name = "OFFSET")]
    start_offset: Option<i64>,
    /// Stamp batches with this leader epoch; a higher one in the log fences.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..), allow_negative_numbers = true, value_name = "EPOCH")]
    leader_epoch: Option<i32>,
    /// A name for people, kept with each segment.
    #[arg(long)]
    name: Option<String>,

    /// Settings for partitions that something else reads.
    #[arg(long, value_enum, value_name = "PRESET", conflicts_with_all = ["codec", "batch_bytes", "flush_bytes", "index_interval"], help_heading = "Batches and segments")]
    preset: Option<Preset>,
    /// The codec of batches made of records. KafScale's own SQL reader takes none only.
    ///
    /// One of none, gzip, snappy, lz4, zstd; gzip and zstd may have a level, as in zstd:9.
    #[arg(long, value_parser = str::parse::<Compression>, default_value = "none", value_name = "CODEC", help_heading = "Batches and segments")]
    codec: Compression,
    /// Bytes up to which records share a batch.
    #[arg(long, value_parser = units::bytes_from(1), default_value = "64KiB", value_name = "SIZE", help_heading = "Batches and segments")]
    batch_bytes: usize,
    /// Buffered bytes that start a flush: about the size of a segment.
    #[arg(long, value_parser = units::bytes_from(1), default_value = "8MiB", value_name = "SIZE", help_heading = "Batches and segments")]
    flush_bytes: usize,
    /// Buffered records that start a flush. It takes along all that came in during the flush before.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), allow_negative_numbers = true, value_name = "N", help_heading = "Batches and segments")]
    flush_records: Option<u64>,
    /// Buffered batches that start a flush; as --flush-records.
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(1..), allow_negative_numbers = true, value_name = "N", help_heading = "Batches and segments")]
    flush_batches: Option<usize>,
    /// Time since the oldest buffered record that starts a flush; 0 flushes at once.
    #[arg(long, value_parser = units::duration, allow_negative_numbers = true, default_value = "250ms", value_name = "TIME", help_heading = "Batches and segments")]
    flush_interval: Duration,
    /// With --acks durable, wait so long for more before a flush; the end of the input ends the wait.
    #[arg(long, value_parser = units::duration, allow_negative_numbers = true, default_value = "0", value_name = "TIME", help_heading = "Batches and segments")]
    linger: Duration,
    /// Bytes buffered at most, in flight included [default: four times --flush-bytes, at least 32MiB]
    #[arg(long, value_parser = units::bytes_from(BucketOptions::LEAST_BUFFER_BYTES), value_name = "SIZE", help_heading = "Batches and segments")]
    buffer_bytes: Option<usize>,
    /// Messages between entries of the sparse index.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..), allow_negative_numbers = true, value_name = "N", help_heading = "Batches and segments")]
    index_interval: i32,
    /// Write a time index (.kfst) with each segment.
    #[arg(long, help_heading = "Batches and segments")]
    time_index: bool,
}

impl AppendArgs {
    pub(crate) fn origin(&self) -> Origin {
        match &self.file {
            Some(path) if path.as_os_str() != "-" => Origin::File(path.clone()),
            _ => Origin::Stdin,
        }
    }

    pub(crate) fn form(&self) -> Form {
        match (self.lines, self.raw) {
            (true, _) => Form::Lines { verbatim: self.verbatim },
            (_, true) => Form::Raw(self.check.into()),
            _ => Form::Json(self.encoding),
        }
    }

    /// One partition gets half of it: one segment in flight, and one that gathers.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes.unwrap_or_else(|| self.flush_bytes.saturating_mul(4).max(32 << 20))
    }

    /// What one append holds at most, so that segments and the buffer keep to what is asked for, however much
    /// one read of the input gives.
    pub(crate) fn portion(&self) -> Portion {
        // While one flush is under way the next gathers.
        let share = self.buffer_bytes() / 2;
        // Records up to this are one batch.
        let batch = if self.flush_batches.is_some() && !self.raw { self.batch_bytes } else { usize::MAX };
        Portion {
            bytes: self.preset().flush_bytes.min(share).min(batch),
            records: self.flush_records.unwrap_or(u64::MAX),
            batches: self.flush_batches.unwrap_or(usize::MAX),
        }
    }

    /// What the preset sets, or else the options that it replaces.
    fn preset(&self) -> WriterOptions {
        match self.preset {
            Some(Preset::Kafscale) => WriterOptions::for_kafscale(),
            None => WriterOptions::default()
                .flush_bytes(self.flush_bytes)
                .batch_bytes(self.batch_bytes)
                .compression(self.codec)
                .index_interval(self.index_interval),
        }
    }

    pub(crate) fn writer_options(&self) -> WriterOptions {
        let mut options = self
            .preset()
            .on_conflict(self.on_conflict.into())
            .flush_records(self.flush_records.unwrap_or(u64::MAX))
            .flush_batches(self.flush_batches.unwrap_or(usize::MAX))
            .flush_interval(self.flush_interval)
            .linger(self.linger)
            .time_index(self.time_index);
        options.start_offset = self.start_offset;
        options.leader_epoch = self.leader_epoch;
        options.name = self.name.clone();
        options
    }
}

/// Who waits for an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Acks {
    /// Flush as soon as no more input is at hand and the store is free.
    #[default]
    Durable,
    /// Flush by bytes, records, batches and interval only: fewer, larger segments of a slow input.
    Buffered,
}

/// Settings by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// A KafScale broker serves them to Kafka's consumers: segments below 1 MiB, no codec, index interval 100.
    Kafscale,
}

/// [`BatchCheck`] on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Check {
    /// What a Kafka broker asks of a producer: records decode, offsets count up, no control batch; a wrong max_timestamp is set right.
    Produce,
    /// Records decode; compacted and control batches are taken too, and all are stored as they are.
    #[default]
    Decode,
    /// Records are not looked at: for batches that a broker checked.
    Crc,
}

impl From<Check> for BatchCheck {
    fn from(check: Check) -> Self {
        match check {
            Check::Produce => BatchCheck::Produce,
            Check::Decode => BatchCheck::Decode,
            Check::Crc => BatchCheck::Crc,
        }
    }
}

/// [`OnConflict`] on the command line.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Policy {
    /// Displace the former owner; fenced by the next.
    #[default]
    Takeover,
    /// Fenced at the first lost slot.
    Fence,
    /// Move on, always: several writers share the partition.
    Rebase,
}

impl From<Policy> for OnConflict {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Takeover => OnConflict::Takeover,
            Policy::Fence => OnConflict::Fence,
            Policy::Rebase => OnConflict::Rebase,
        }
    }
}
