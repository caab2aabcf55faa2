//! Verifying the bytes of one segment and of what stands beside it.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;

use super::beside::Beside;
use super::check::{CheckedSegment, SegmentCheck, SegmentFrame};
use super::finding::Finding;
use crate::format::{CrcCheck, FOOTER_LEN, Limits, Segment, SegmentHeader};
use crate::log::pieces::PIECE_BYTES;
use crate::setters::setters;

/// The bytes of a segment, and of its sidecars where they are there.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SegmentBytes {
    /// The segment's key, or a file's name: findings are about it.
    pub key: String,
    /// The segment.
    pub segment: Bytes,
    /// The base offset that its key says, where it has one.
    pub base: Option<i64>,
    /// Its sparse index. With `None`, a missing one is reported only where `index_expected` is set.
    pub index: Option<Bytes>,
    /// Whether a missing sparse index is a finding.
    pub index_expected: bool,
    /// Its time index.
    pub time_index: Option<Bytes>,
}

impl SegmentBytes {
    /// A segment alone.
    pub fn new(key: impl Into<String>, segment: Bytes) -> Self {
        SegmentBytes { key: key.into(), segment, ..Self::default() }
    }

    setters! { base: some i64, time_index: Option<Bytes> }

    /// Sets [`index`](Self::index); `None` is a finding.
    #[must_use]
    pub fn index(mut self, index: Option<Bytes>) -> Self {
        self.index = index;
        self.index_expected = true;
        self
    }
}

/// What was found in a segment's bytes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SegmentReport {
    /// What is wrong or worth knowing, in the order of positions.
    pub findings: Vec<Finding>,
    /// The segment's header, when the segment is whole.
    pub header: Option<SegmentHeader>,
    /// The segment, when it is whole and its bytes were given.
    pub segment: Option<Segment>,
    /// One past its last offset, as far as its bytes tell.
    pub next_offset: Option<i64>,
    /// Batches that are whole.
    pub batches: u64,
    /// Records that were decoded, or that the batches' headers promise when they were not.
    pub records: u64,
}

/// Checks all of a segment: CRCs, batches, records when asked, the indexes against the segment.
pub fn verify_segment(bytes: &SegmentBytes, records: Option<&Limits>) -> SegmentReport {
    let segment = &bytes.segment;
    let mut check = check_of(bytes, segment.len() as u64, segment, segment, records);
    check.push(segment.clone());
    let report = report(check.finish());
    let whole = report.header.map(|_| Segment::parse(segment, CrcCheck::AlreadyChecked).ok());
    SegmentReport { segment: whole.flatten(), ..report }
}

/// Checks the same of a segment that is read in pieces of 16 MiB, such as a file, and holds one of them at a time. If
/// records are checked, a batch that does not lie in one piece is held whole.
///
/// The rest comes from `beside`, whose own [`segment`](SegmentBytes::segment) stays empty: what the segment is called, and
/// what stands beside it. The report has no [`segment`](SegmentReport::segment) either.
///
/// ```
/// use std::io::Cursor;
/// use kfs_core::{SegmentBytes, verify_segment_from};
///
/// let mut file = Cursor::new(b"no segment");
/// let report = verify_segment_from(&mut file, &SegmentBytes::new("a.kfs", Default::default()), None)?;
/// assert!(report.header.is_none());
/// assert_eq!(report.findings[0].key, "a.kfs");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// What reading answers. Bytes that are wrong are findings, not errors.
pub fn verify_segment_from(
    source: &mut (impl Read + Seek),
    beside: &SegmentBytes,
    records: Option<&Limits>,
) -> io::Result<SegmentReport> {
    let size = source.seek(SeekFrom::End(0))?;
    let last = read_at(source, size.saturating_sub(FOOTER_LEN as u64), size)?;
    let piece = |source: &mut _, at: u64| read_at(source, at, size.min(at.saturating_add(PIECE_BYTES)));
    let mut next = piece(source, 0)?;
    let mut check = check_of(beside, size, &next, &last, records);
    let mut at = 0_u64;
    loop {
        at = at.saturating_add(next.len() as u64);
        check.push(std::mem::take(&mut next));
        if at >= size || !check.wants_more() {
            return Ok(report(check.finish()));
        }
        next = piece(source, at)?;
    }
}

/// The bytes from one place to another, all of which were there a moment ago.
fn read_at(source: &mut (impl Read + Seek), from: u64, to: u64) -> io::Result<Bytes> {
    source.seek(SeekFrom::Start(from))?;
    let wanted = to.saturating_sub(from);
    // No more than a piece.
    let mut bytes = Vec::with_capacity(usize::try_from(wanted.min(PIECE_BYTES)).unwrap_or_default());
    source.take(wanted).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == wanted {
        return Ok(bytes.into());
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"))
}

fn check_of(bytes: &SegmentBytes, size: u64, first: &[u8], last: &[u8], records: Option<&Limits>) -> SegmentCheck {
    let beside = Beside {
        index: bytes.index.clone(),
        index_expected: bytes.index_expected,
        time_index: bytes.time_index.clone(),
        rebuild: None,
    };
    let frame = SegmentFrame { key: &bytes.key, base: bytes.base, size, first, last };
    SegmentCheck::new(&frame, beside, records)
}

fn report(checked: CheckedSegment) -> SegmentReport {
    SegmentReport {
        findings: checked.findings,
        header: checked.whole,
        segment: None,
        next_offset: checked.next_offset,
        batches: checked.batches,
        records: checked.records,
    }
}
