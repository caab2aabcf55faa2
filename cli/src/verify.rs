//! `kfs verify`: every CRC, every batch, indexes against segments, continuity.

use std::path::Path;

use bytes::Bytes;
use indicatif::ProgressBar;
use kfs_core::format::{Limits, ObjectName};
use kfs_core::text::{counted, offset_range};
use kfs_core::{
    BucketOptions, Finding, FindingKind, Partition, SegmentBytes, Severity, VerifyOptions, VerifyProgress,
    verify_segment_from,
};
use serde_json::json;

use crate::args::{VerifyArgs, check_range};
use crate::context::Context;
use crate::failure::{self, Failure, Outcome};
use crate::output::{self, Out};
use crate::segment_file;
use crate::target::Target;
use crate::units::show_bytes;

pub(crate) async fn run(context: &Context, args: VerifyArgs) -> Outcome {
    check_range(args.from, args.to)?;
    // All names are understood before the first takes its time.
    let targets: Vec<_> =
        args.targets.iter().map(|name| Target::parse(name, context.namespace())).collect::<Outcome<_>>()?;
    let mut job = Job { args: &args, out: Out::new(), sound: true };
    let ended = job.targets(context, targets).await;
    job.out.flush()?;
    ended?;
    if job.sound { Ok(()) } else { Err(Failure::Findings) }
}

struct Job<'a> {
    args: &'a VerifyArgs,
    out: Out,
    sound: bool,
}

impl Job<'_> {
    async fn targets(&mut self, context: &Context, targets: Vec<Target>) -> Outcome {
        let mut bucket = None;
        for target in targets {
            match target {
                Target::File(path) => self.file(&path)?,
                Target::Partition(id) => {
                    let bucket = match &mut bucket {
                        Some(bucket) => bucket,
                        none => none.insert(context.bucket(BucketOptions::default())?),
                    };
                    self.partition(context, &bucket.partition_of(id)).await?;
                }
            }
        }
        Ok(())
    }

    async fn partition(&mut self, context: &Context, partition: &Partition) -> Outcome {
        let bar = output::spinner();
        let drawn = bar.clone();
        let options = VerifyOptions::default()
            .records(!self.args.no_records)
            .limits(Limits::default().max_decompressed_batch(self.args.max_decompressed))
            .offsets(self.args.from.unwrap_or(0)..=self.args.to.map_or(i64::MAX, |to| to.saturating_sub(1)))
            .on_progress(move |progress| draw(&drawn, progress));
        let mut verify = partition.verify(options);
        let ended = loop {
            match context.within(verify.next()).await {
                Ok(Ok(Some(finding))) => bar.suspend(|| self.finding(&finding))?,
                Ok(Ok(None)) => break Ok(()),
                Ok(Err(error)) => break Err(error.into()),
                Err(failure) => break Err(failure),
            }
        };
        bar.finish_and_clear();
        ended?;
        self.summary(&partition.id().to_string(), &verify.progress())
    }

    /// A file with what stands beside it, where that is there.
    fn file(&mut self, path: &Path) -> Outcome {
        let name = path.display().to_string();
        let (mut segment, size) = segment_file::open_small(path)?;
        let beside = |extension| {
            let path = path.with_extension(extension);
            if path.is_file() { segment_file::read(&path).map(Some) } else { Ok(None) }
        };
        let mut bytes = SegmentBytes::new(&name, Bytes::new()).time_index(beside("kfst")?);
        if let Some(index) = beside("index")? {
            bytes = bytes.index(Some(index));
        }
        let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(ObjectName::Segment(base)) = ObjectName::parse(file_name) {
            bytes = bytes.base(base);
        }
        let limits = Limits::default().max_decompressed_batch(self.args.max_decompressed);
        let report = verify_segment_from(&mut segment, &bytes, (!self.args.no_records).then_some(&limits))
            .map_err(|error| failure::file(path, error))?;
        let mut counted = VerifyProgress::default();
        (counted.segments, counted.bytes) = (1, size);
        (counted.batches, counted.records) = (report.batches, report.records);
        counted.first_offset = report.header.map(|header| header.base_offset);
        counted.next_offset = report.next_offset;
        for finding in &report.findings {
            match finding.severity {
                Severity::Error => counted.errors += 1,
                Severity::Warning => counted.warnings += 1,
                _ => {}
            }
            self.finding(finding)?;
        }
        self.summary(&name, &counted)
    }

    fn finding(&mut self, finding: &Finding) -> Outcome {
        if self.args.json {
            return self.out.json(&json!({
                "severity": finding.severity.to_string(),
                "kind": kind_name(finding.kind),
                "key": finding.key,
                "position": finding.position,
                "offsets": finding.offsets,
                "message": finding.message,
            }));
        }
        self.out.line(&finding.to_string())
    }

    fn summary(&mut self, name: &str, progress: &VerifyProgress) -> Outcome {
        self.sound &= progress.is_clean();
        let last = progress.next_offset.map(|next| next.saturating_sub(1));
        if self.args.json {
            self.out.json(&json!({
                "verified": name,
                "segments": progress.segments,
                "bytes": progress.bytes,
                "batches": progress.batches,
                "records": progress.records,
                "first_offset": progress.first_offset,
                "last_offset": last,
                "errors": progress.errors,
                "warnings": progress.warnings,
            }))?;
        } else {
            let offsets = match (progress.first_offset, last) {
                (Some(first), Some(last)) => format!(", {}", offset_range(first, last)),
                _ => String::new(),
            };
            let verdict = match progress.is_clean() {
                true => "sound".to_string(),
                false => format!("{}, {}", counted(progress.errors, "error"), counted(progress.warnings, "warning")),
            };
            let is_ranged = self.args.from.is_some() || self.args.to.is_some();
            let empty =
                if is_ranged && progress.batches == 0 { "; nothing is in the range that was asked for" } else { "" };
            self.out.line(&format!(
                "{name}: {}, {}, {}, {}{offsets}: {verdict}{empty}",
                counted(progress.segments, "segment"),
                show_bytes(progress.bytes),
                counted(progress.batches, "batch"),
                counted(progress.records, "record"),
            ))?;
        }
        self.out.flush()
    }
}

fn draw(bar: &ProgressBar, progress: &VerifyProgress) {
    bar.set_message(format!(
        "{}, {}, {}",
        counted(progress.segments, "segment"),
        show_bytes(progress.bytes),
        counted(progress.errors.saturating_add(progress.warnings), "finding")
    ));
}

fn kind_name(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Segment => "segment",
        FindingKind::Batch => "batch",
        FindingKind::Records => "records",
        FindingKind::MaxTimestamp => "max_timestamp",
        FindingKind::Overlap => "overlap",
        FindingKind::IndexMissing => "index_missing",
        FindingKind::IndexWrong => "index_wrong",
        FindingKind::TimeIndexWrong => "time_index_wrong",
        FindingKind::Hole => "hole",
        FindingKind::Leftover => "leftover",
        FindingKind::SegmentsOverlap => "segments-overlap",
        FindingKind::Ghost => "ghost",
        FindingKind::LogJson => "log_json",
        _ => "other",
    }
}
