//! Batches in, text out.

use kfs_core::Error;
use kfs_core::format::{Batch, Limits, Malformed};

use crate::args::{CatArgs, Format};
use crate::encoding::Encoding;
use crate::failure::{Failure, Outcome};
use crate::jsonl;
use crate::output::{self, Out, Sink};

/// Whether more is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    More,
    Done,
}

/// Prints the records of batches that are in the range asked for.
pub(super) struct Printer {
    out: Out,
    format: Format,
    encoding: Encoding,
    control: bool,
    /// The output is a terminal.
    terminal: bool,
    skip_corrupt: bool,
    from: i64,
    /// Nothing is printed before the first record of this time or later.
    since: Option<i64>,
    to: i64,
    /// Nothing is printed from the first record of this time or later on.
    until: Option<i64>,
    left: u64,
    skipped: bool,
    limits: Limits,
}

impl Printer {
    pub(super) fn new(args: &CatArgs) -> Self {
        Printer {
            out: Out::new(),
            format: args.format,
            encoding: args.encoding,
            control: args.format != Format::Text && !args.no_control,
            terminal: output::is_terminal(),
            skip_corrupt: args.skip_corrupt,
            from: 0,
            since: None,
            to: i64::MAX,
            until: args.to_time,
            left: args.count.unwrap_or(u64::MAX),
            skipped: false,
            limits: Limits::default().max_decompressed_batch(args.max_decompressed),
        }
    }

    pub(super) fn start_at(&mut self, offset: i64) {
        self.from = offset;
    }

    /// Nothing is printed from this offset on.
    pub(super) fn stop_at(&mut self, offset: i64) {
        self.to = offset;
    }

    pub(super) fn start_at_time(&mut self, time_ms: i64) {
        self.since = Some(time_ms);
    }

    /// Whether a record at this offset or later may still be printed.
    pub(super) fn wants(&self, offset: i64) -> bool {
        self.left > 0 && offset < self.to
    }

    /// Nothing from this offset on is wanted, as far as can be told from where the reading stands: where
    /// offsets are missing, so the same number of records reaches further.
    pub(super) fn needs_until(&self, position: i64) -> i64 {
        let left = i64::try_from(self.left).unwrap_or(i64::MAX);
        self.to.min(position.max(self.from).saturating_add(left))
    }

    /// Says what was corrupt and passed over.
    pub(super) fn skipped(&mut self, error: &Error) {
        self.skipped = true;
        output::note(&format!("skipped: {error}"));
    }

    pub(super) fn flush(&mut self) -> Outcome {
        self.out.flush()
    }

    pub(super) fn finish(mut self, printed: Outcome) -> Outcome {
        self.flush()?;
        match printed {
            Ok(()) if self.skipped => Err(Failure::Findings),
            printed => printed,
        }
    }

    /// Prints a batch. `undecodable` makes the error for records that can't be decoded.
    pub(super) fn batch(&mut self, batch: &Batch, undecodable: impl FnOnce(Malformed) -> Error) -> Outcome<Flow> {
        if !self.wants(batch.base_offset()) {
            return Ok(Flow::Done);
        }
        if batch.last_offset() >= self.from {
            let ended = match self.format {
                Format::Raw => self.raw(batch),
                Format::Text | Format::Jsonl => self.records(batch),
            };
            match ended {
                Err(Unprinted::Malformed(malformed)) => {
                    let error = undecodable(malformed);
                    if !self.skip_corrupt {
                        return Err(error.into());
                    }
                    self.skipped(&error);
                }
                Err(Unprinted::Failure(failure)) => return Err(failure),
                Ok(()) => {}
            }
        }
        Ok(if self.wants(batch.next_offset()) { Flow::More } else { Flow::Done })
    }

    fn raw(&mut self, batch: &Batch) -> Result<(), Unprinted> {
        if (batch.header().attributes.is_control() && !self.control) || !self.is_in_time(batch)? {
            return Ok(());
        }
        self.left = self.left.saturating_sub(u64::try_from(batch.header().record_count).unwrap_or(0));
        Ok(self.out.bytes(batch.bytes())?)
    }

    /// Whether a batch holds a record of the times that are asked for. After the last of them nothing more is
    /// wanted.
    fn is_in_time(&mut self, batch: &Batch) -> Result<bool, Unprinted> {
        if self.since.is_none() && self.until.is_none() {
            return Ok(true);
        }
        // An empty batch has no time; it stands between others.
        let mut holds = batch.header().record_count == 0 && self.since.is_none();
        for record in &batch.records(&self.limits)? {
            let record = record?;
            if record.offset < self.from || self.since.is_some_and(|since| record.timestamp_ms < since) {
                continue;
            }
            self.since = None;
            if self.is_over(record.timestamp_ms) {
                break;
            }
            holds = true;
        }
        Ok(holds)
    }

    /// Whether a record of this time ends the range.
    fn is_over(&mut self, timestamp: i64) -> bool {
        let over = self.until.is_some_and(|until| timestamp >= until);
        if over {
            self.left = 0;
        }
        over
    }

    fn records(&mut self, batch: &Batch) -> Result<(), Unprinted> {
        let control = batch.header().attributes.is_control();
        if control && !self.control {
            return Ok(());
        }
        for record in &batch.records(&self.limits)? {
            let record = record?;
            if record.offset < self.from || self.since.is_some_and(|since| record.timestamp_ms < since) {
                continue;
            }
            if !self.wants(record.offset) || self.is_over(record.timestamp_ms) {
                return Ok(());
            }
            self.since = None;
            let value = record.value.unwrap_or_default();
            match self.encoding {
                encoding if self.format == Format::Jsonl => {
                    jsonl::write_object(&record, control, encoding, &mut self.out)?;
                }
                Encoding::Utf8 if self.terminal => output::escape_for_terminal(value, &mut self.out)?,
                encoding => encoding.encode(value, &mut self.out)?,
            }
            self.out.bytes(b"\n")?;
            self.left -= 1;
        }
        Ok(())
    }
}

enum Unprinted {
    Malformed(Malformed),
    Failure(Failure),
}

impl From<Malformed> for Unprinted {
    fn from(malformed: Malformed) -> Self {
        Unprinted::Malformed(malformed)
    }
}

impl From<Failure> for Unprinted {
    fn from(failure: Failure) -> Self {
        Unprinted::Failure(failure)
    }
}
