//! What verify finds.

use std::fmt;

use crate::error::Error;
use crate::format::Malformed;
use crate::log::segment_info::SegmentInfo;
use crate::text::{into_printable, offset_range, printable};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Something is not as it should be; every record can still be read.
    Warning,
    /// Records can't be read, or not all of them are right.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A segment's header, footer or body CRC.
    Segment,
    /// A batch: its header or its CRC.
    Batch,
    /// Records that can't be decoded though their batch's CRC is right, or whose offsets don't follow each
    /// other.
    Records,
    /// A batch's header names another greatest timestamp than its records have. Searching by time finds the
    /// records all the same; other readers may not.
    MaxTimestamp,
    /// A batch below its predecessor's end, as KafScale's broker makes them. Readers pass over it.
    Overlap,
    /// A segment has no sparse index. KafScale can't open the partition; `kfs repair` builds it. Merely
    /// an info of the newest segment: a flush may be under way, and the next writer makes it.
    IndexMissing,
    /// A sparse index is not its segment's. Readers find out; `kfs repair` builds it again.
    IndexWrong,
    /// A time index does not say what the segment's records say.
    TimeIndexWrong,
    /// Offsets that no segment holds, though the log goes on after them.
    Hole,
    /// A segment inside another's range with the same batches: merging left it for a while.
    Leftover,
    /// A segment inside another's range with other batches: a writer that slept made it, and nothing
    /// in it was acknowledged.
    Ghost,
    /// A segment that starts inside another's range and goes on beyond it. An info when both hold the
    /// same batches where they meet: two merges met, and what comes after is in this one alone. An
    /// error when they hold others.
    SegmentsOverlap,
    /// `log.json`.
    LogJson,
}

/// One thing that verify found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub kind: FindingKind,
    /// The object's key, or the file's name, escaped as [`printable`] does it.
    pub key: String,
    /// The byte in the object.
    pub position: Option<u64>,
    /// First and last offset that it concerns.
    pub offsets: Option<(i64, i64)>,
    /// What was found, and what was expected. Escaped likewise.
    pub message: String,
}

impl Finding {
    pub(super) fn new(severity: Severity, kind: FindingKind, key: &str, message: impl Into<String>) -> Self {
        let (key, message) = (printable(key).into_owned(), into_printable(message.into()));
        Finding { severity, kind, key, position: None, offsets: None, message }
    }

    /// A segment that a listing shows, and that no read finds.
    pub(in crate::log) fn listed_alone(info: &SegmentInfo) -> Self {
        let message = "a listing shows it, and a read says that there is no such object";
        let finding = Self::new(Severity::Error, FindingKind::Segment, &info.key, message);
        finding.offsets(info.base, info.last.unwrap_or(info.base).max(info.base))
    }

    pub(super) fn malformed(severity: Severity, kind: FindingKind, key: &str, malformed: &Malformed) -> Self {
        let message = format!("found {}, expected {}", malformed.found(), malformed.expected());
        Finding { position: Some(malformed.position()), ..Self::new(severity, kind, key, message) }
    }

    pub(super) fn error(kind: FindingKind, key: &str, error: &Error) -> Self {
        Finding { position: error.position(), ..Self::new(Severity::Error, kind, key, error.message()) }
    }

    pub(super) fn offsets(mut self, first: i64, last: i64) -> Self {
        self.offsets = Some((first, last));
        self
    }

    pub(super) fn at(mut self, position: u64) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.key)?;
        if let Some(position) = self.position {
            write!(f, " at byte {position}")?;
        }
        if let Some((first, last)) = self.offsets {
            write!(f, ", {}", offset_range(first, last))?;
        }
        write!(f, ": {}", self.message)
    }
}
