//! Options of `kfs append`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use kfs_core::format::{BatchCheck, Compression};
use kfs_core::{BucketOptions, OnConflict, WriterOptions};

use super::common::offsets;
use crate::encoding::Encoding;
use crate::input::{Form, Origin};
use crate::portion::Portion;
use crate::units;

const EXAMPLES: &str = r#"Input:
  Default: one JSON object per line, as `kfs cat --format jsonl` writes it. Every member is optional:
    {"key": "k", "value": "v", "headers": [["name", "value"], ["name", null]], "timestamp_ms": 1767225600000}
  Keys, values and header values are written in the --encoding, and a header's name is text. {"hex": "ff00"} in
  place of a string stands for bytes. A member that is null or left out is Kafka's null. Without timestamp_ms a
  record gets the current time. "offset" is ignored, because the log gives the offset. Lines with "control": true
  are skipped and counted on stderr (--raw keeps control batches). Any other member is an error.

  --lines: a line ends in a newline, or in a carriage return and a newline; neither is part of the value.
  A UTF-8 byte order mark at the beginning is skipped, as it is before JSON lines. --verbatim keeps the
  mark and the carriage returns, so that `kfs cat` prints every byte again.

  --raw: if only zeros follow a batch, the input ends there, because a broker may preallocate its files. stderr
  says so. Holes between the batches' offsets are closed, and counted on stderr.

  What was read before bad input is appended, and the exit code is 2.

Report (--report): one line on stdout for each range of offsets, once it is durable:
    {"base_offset": 0, "last_offset": 99}
  The line of a claim also has "claim": true.

Ctrl-C (SIGINT), SIGTERM and SIGHUP end the reading. What was read, up to the last whole line or batch, is
flushed. A second signal ends the command at once, and stderr says what is durable and what is not. The exit
code is 128 plus the signal's number, unless something fails.

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
    /// The file to read. Standard input if it is left out or is -.
    pub(crate) file: Option<PathBuf>,

    /// Read lines: each is the value of a record, without its line end (LF or CRLF).
    #[arg(long, conflicts_with_all = ["raw", "encoding"])]
    lines: bool,
    /// With --lines, keep what Windows adds to text: carriage returns before newlines, and a byte order mark.
    #[arg(long, requires = "lines")]
    verbatim: bool,
    /// Read record batches (Kafka's magic 2), back to back. Only their offsets change (and their leader epoch, if given).
    #[arg(long, conflicts_with_all = ["encoding", "codec", "batch_bytes"])]
    raw: bool,
    /// How batches are checked before they are appended.
    ///
    /// The header and the CRC must be right in every case.
    #[arg(long, value_enum, default_value_t, value_name = "CHECK", requires = "raw")]
    check: Check,
    /// How keys and values are written in JSON lines.
    #[arg(long, value_enum, default_value_t, value_name = "ENCODING")]
    encoding: Encoding,

    /// When to flush: as soon as the input pauses, or by the flush settings alone.
    ///
    /// With either, the exit code is 0 only if everything is durable.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) acks: Acks,
    /// Print a line of JSON on stdout for each range of offsets, once it is durable.
    #[arg(long)]
    pub(crate) report: bool,
    /// Commit a claim first. Once it is durable, every earlier owner is fenced. It takes one offset.
    #[arg(long)]
    pub(crate) claim: bool,
    /// What to do when another writer wins a segment's slot.
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    on_conflict: Policy,
    /// The first offset of an empty partition. If the log has another first offset, that is a conflict.
    #[arg(long, value_parser = offsets(), allow_negative_numbers = true, value_name = "OFFSET")]
    start_offset: Option<i64>,
    /// Stamp batches with this leader epoch. A higher epoch in the log fences this writer.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..), allow_negative_numbers = true, value_name = "EPOCH")]
    leader_epoch: Option<i32>,
    /// A name for people, which is kept with each segment.
    #[arg(long)]
    name: Option<String>,

    /// Settings for partitions that other software reads.
    #[arg(long, value_enum, value_name = "PRESET", conflicts_with_all = ["codec", "batch_bytes", "flush_bytes", "index_interval"], help_heading = "Batches and segments")]
    preset: Option<Preset>,
    /// The codec of batches that are made from records. KafScale's own SQL reader takes only none.
    ///
    /// One of none, gzip, snappy, lz4 and zstd. gzip and zstd may have a level, as in zstd:9.
    #[arg(long, value_parser = str::parse::<Compression>, default_value = "none", value_name = "CODEC", help_heading = "Batches and segments")]
    codec: Compression,
    /// The size up to which records share a batch.
    #[arg(long, value_parser = units::bytes_from(1), default_value = "64KiB", value_name = "SIZE", help_heading = "Batches and segments")]
    batch_bytes: usize,
    /// Flush when this many bytes are buffered: about the size of a segment.
    #[arg(long, value_parser = units::bytes_from(1), default_value = "8MiB", value_name = "SIZE", help_heading = "Batches and segments")]
    flush_bytes: usize,
    /// Flush when this many records are buffered. A flush takes no more than this.
    #[arg(long, value_parser = units::count_from(1_u64), allow_negative_numbers = true, value_name = "N", help_heading = "Batches and segments")]
    flush_records: Option<u64>,
    /// Flush when this many batches are buffered, as with --flush-records.
    #[arg(long, value_parser = units::count_from(1_usize), allow_negative_numbers = true, value_name = "N", help_heading = "Batches and segments")]
    flush_batches: Option<usize>,
    /// Flush when the oldest buffered record is this old; 0 flushes at once.
    #[arg(long, value_parser = units::duration, allow_negative_numbers = true, default_value = "250ms", value_name = "TIME", help_heading = "Batches and segments")]
    flush_interval: Duration,
    /// With --acks durable, wait this long for more input before a flush. The end of the input ends the wait.
    #[arg(long, value_parser = units::duration, allow_negative_numbers = true, default_value = "0", value_name = "TIME", help_heading = "Batches and segments")]
    linger: Duration,
    /// The most bytes to buffer, including those in flight [default: four times --flush-bytes, at least 32MiB]
    #[arg(long, value_parser = units::bytes_from(BucketOptions::LEAST_BUFFER_BYTES), value_name = "SIZE", help_heading = "Batches and segments")]
    buffer_bytes: Option<usize>,
    /// The number of messages between entries of the sparse index.
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

    /// One partition gets half of the buffer, which holds one segment in flight and one that is being gathered.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes.unwrap_or_else(|| self.flush_bytes.saturating_mul(4).max(32 << 20))
    }

    /// The most that one append holds, so that segments and the buffer keep to their options, however much
    /// one read of the input returns.
    pub(crate) fn portion(&self) -> Portion {
        // While one flush is under way, the next one is being gathered.
        let share = self.buffer_bytes() / 2;
        // Records of up to this size are one batch.
        let batch = if self.flush_batches.is_some() && !self.raw { self.batch_bytes } else { usize::MAX };
        Portion {
            bytes: self.preset().flush_bytes.min(share).min(batch),
            records: self.flush_records.unwrap_or(u64::MAX),
            batches: self.flush_batches.unwrap_or(usize::MAX),
        }
    }

    /// What the preset sets, or without a preset the options that it would replace.
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

/// When an append is flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Acks {
    /// Flush as soon as there is no more input for now and the store is free.
    #[default]
    Durable,
    /// Flush by bytes, records, batches and interval only. A slow input gives fewer, larger segments.
    Buffered,
}

/// Settings by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// For a KafScale broker that serves Kafka's consumers: segments below 1 MiB, no codec, index interval 100.
    Kafscale,
}

/// [`BatchCheck`] on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Check {
    /// What a Kafka broker requires of a producer: records decode, offsets count up, no control batch. A wrong max_timestamp is corrected.
    Produce,
    /// Records decode. Compacted batches and control batches are accepted too, and all are stored as they are.
    #[default]
    Decode,
    /// Records are not checked: for batches that a broker has checked.
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
    /// Displace the former owner, and be fenced by the next one.
    #[default]
    Takeover,
    /// Be fenced at the first lost slot.
    Fence,
    /// Always move on to the next slot, so that several writers share the partition.
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
