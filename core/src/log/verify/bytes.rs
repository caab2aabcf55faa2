//! Verifying the bytes of one segment and of what stands beside it.

use bytes::Bytes;

use super::finding::{Finding, FindingKind, Severity};
use crate::format::{
    Batch, BatchHeader, CrcCheck, FOOTER_LEN, HEADER_LEN, Limits, Malformed, Segment, SegmentFooter, SegmentHeader,
    SparseIndex, TimeIndex,
};
use crate::setters::setters;
use crate::text::counted;

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
    /// The segment, when it is whole.
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
    let mut report = SegmentReport::default();
    let key = &bytes.key;
    match Segment::parse(&bytes.segment, CrcCheck::Verify) {
        Ok(segment) => {
            check_whole(bytes, &segment, records, &mut report);
            report.next_offset = segment.batches().filter(|b| !b.overlaps).last().map(|b| b.batch.next_offset());
            report.segment = Some(segment);
        }
        Err(malformed) => broken(bytes, &malformed, &mut report),
    }
    // Without its segment an index can only be parsed.
    let alone = bytes.index.as_ref().filter(|_| report.segment.is_none());
    if let Some(Err(malformed)) = alone.map(|index| SparseIndex::parse(index)) {
        report.findings.push(wrong_index(key, &malformed));
    }
    report
}

fn check_whole(bytes: &SegmentBytes, segment: &Segment, records: Option<&Limits>, report: &mut SegmentReport) {
    let key = &bytes.key;
    if let Some(malformed) = bytes.base.and_then(|base| segment.header().check_key(base).err()) {
        report.findings.push(Finding::malformed(Severity::Error, FindingKind::Segment, key, &malformed));
    }
    for overlap in segment.overlaps() {
        let message = format!(
            "a batch's base offset {} is below {}, its predecessor's end; readers pass over it",
            overlap.base_offset, overlap.expected_offset
        );
        report.findings.push(Finding::new(Severity::Warning, FindingKind::Overlap, key, message).at(overlap.position));
    }
    let mut times: Option<TimeIndex> = None;
    let mut decoded = true;
    for at in segment.batches() {
        report.batches = report.batches.saturating_add(1);
        let Some(limits) = records.filter(|_| !at.overlaps) else {
            report.records = report.records.saturating_add(u64::from(at.batch.header().record_count.unsigned_abs()));
            continue;
        };
        let found = |severity, kind, malformed: Malformed| {
            let finding = Finding::malformed(severity, kind, key, &malformed.offset_position(at.position));
            finding.offsets(at.batch.base_offset(), at.batch.last_offset())
        };
        match decode(&at.batch, limits, &mut times) {
            Ok(decoded) => {
                report.records = report.records.saturating_add(decoded.records);
                let disorder = decoded.disorder.map(|m| found(Severity::Error, FindingKind::Records, m));
                let time = decoded.max_timestamp.map(|m| found(Severity::Warning, FindingKind::MaxTimestamp, m));
                report.findings.extend(time.into_iter().chain(disorder));
            }
            Err(malformed) => {
                decoded = false;
                report.findings.push(found(Severity::Error, FindingKind::Records, malformed));
            }
        }
    }
    check_index(bytes, segment, report);
    if let (Some(stored), true) = (&bytes.time_index, records.is_some() && decoded) {
        check_time_index(key, stored, times, report);
    }
}

/// What the records of a batch say, and where the header or they themselves are wrong.
#[derive(Default)]
struct Decoded {
    records: u64,
    /// The first record whose offset is not above its predecessor's.
    disorder: Option<Malformed>,
    /// A header's greatest timestamp that is not the records'.
    max_timestamp: Option<Malformed>,
}

fn decode(batch: &Batch, limits: &Limits, times: &mut Option<TimeIndex>) -> Result<Decoded, Malformed> {
    let records = batch.records(limits)?;
    let mut decoded = Decoded::default();
    let (mut before, mut greatest) = (None, None);
    for record in &records {
        let record = record?;
        times
            .get_or_insert_with(|| TimeIndex::of(record.timestamp_ms, record.offset))
            .add(record.timestamp_ms, record.offset);
        if before.is_some_and(|before| record.offset <= before) && decoded.disorder.is_none() {
            let index = usize::try_from(decoded.records).unwrap_or(usize::MAX);
            let found = format!("offset {} in record {index} of {}", record.offset, records.count());
            let expected = format!("more than {}, for offsets follow each other", before.unwrap_or_default());
            decoded.disorder = Some(records.malformed(index, &found, expected));
        }
        before = Some(record.offset);
        greatest = greatest.max(Some(record.timestamp_ms));
        decoded.records = decoded.records.saturating_add(1);
    }
    let told = batch.header().max_timestamp;
    if let Some(greatest) = greatest.filter(|greatest| *greatest != told) {
        let expected = format!("{greatest}, the greatest of its records");
        decoded.max_timestamp = Some(Malformed::new(35, format!("a max_timestamp of {told}"), expected));
    }
    Ok(decoded)
}

fn check_index(bytes: &SegmentBytes, segment: &Segment, report: &mut SegmentReport) {
    let key = sidecar(&bytes.key, "index");
    let Some(stored) = &bytes.index else {
        if bytes.index_expected {
            let message = "there is no sparse index; KafScale can't open the partition without";
            report.findings.push(Finding::new(Severity::Warning, FindingKind::IndexMissing, &key, message));
        }
        return;
    };
    let parsed = match SparseIndex::parse(stored) {
        Ok(parsed) => parsed,
        Err(malformed) => return report.findings.push(wrong_index(&bytes.key, &malformed)),
    };
    let right = segment.index(parsed.interval()).encode();
    if right != *stored {
        let same = right.iter().zip(stored).take_while(|(a, b)| a == b).count();
        let message = format!(
            "the index of {} is not what the segment gives with interval {}: {}",
            counted(parsed.len(), "entry"),
            parsed.interval(),
            counted(segment.index(parsed.interval()).len(), "entry")
        );
        let finding = Finding::new(Severity::Warning, FindingKind::IndexWrong, &key, message);
        report.findings.push(finding.at(u64::try_from(same).unwrap_or(u64::MAX)));
    }
}

fn wrong_index(key: &str, malformed: &Malformed) -> Finding {
    Finding::malformed(Severity::Warning, FindingKind::IndexWrong, &sidecar(key, "index"), malformed)
}

fn check_time_index(key: &str, stored: &Bytes, times: Option<TimeIndex>, report: &mut SegmentReport) {
    let key = sidecar(key, "kfst");
    let wrong = FindingKind::TimeIndexWrong;
    match TimeIndex::parse(stored) {
        Err(malformed) => report.findings.push(Finding::malformed(Severity::Warning, wrong, &key, &malformed)),
        Ok(index) if Some(index) != times => {
            let message = match times {
                Some(times) => format!(
                    "times {} to {} of offsets {} to {}, while the records have {} to {} and {} to {}",
                    index.min_ts,
                    index.max_ts,
                    index.min_offset,
                    index.max_offset,
                    times.min_ts,
                    times.max_ts,
                    times.min_offset,
                    times.max_offset
                ),
                None => "a time index of a segment without records".to_owned(),
            };
            report.findings.push(Finding::new(Severity::Warning, wrong, &key, message));
        }
        Ok(_) => {}
    }
}

/// Names every broken batch that can be told apart, or else what is wrong around them.
fn broken(bytes: &SegmentBytes, fault: &Malformed, report: &mut SegmentReport) {
    let (key, segment) = (&bytes.key, &bytes.segment);
    let body_end = segment.len().saturating_sub(FOOTER_LEN);
    let footer = SegmentFooter::at_end_of(segment);
    let header = SegmentHeader::parse(segment).ok();
    let body = segment.slice(..body_end.min(segment.len()));
    let mut offset = bytes.base.or(header.map(|h| h.base_offset)).unwrap_or(0);
    let mut at = HEADER_LEN;
    let mut in_batch = false;
    while at < body_end {
        match Batch::parse(&body, at, CrcCheck::Verify) {
            Ok(batch) => {
                report.batches = report.batches.saturating_add(1);
                let records = batch.header().record_count.unsigned_abs();
                report.records = report.records.saturating_add(u64::from(records));
                at = at.saturating_add(batch.bytes().len());
                offset = offset.max(batch.next_offset());
            }
            Err(malformed) => {
                in_batch = true;
                let next = following(&body, at, offset, footer);
                let last = match next {
                    Some((_, next)) => Some(next),
                    None => footer.map(|footer| footer.last_offset.saturating_add(1)).filter(|end| *end > offset),
                };
                let mut finding = Finding::malformed(Severity::Error, FindingKind::Batch, key, &malformed);
                if let Some(last) = last {
                    finding = finding.offsets(offset, last.saturating_sub(1).max(offset));
                }
                report.findings.push(finding);
                let Some((position, next)) = next else { break };
                (at, offset) = (position, next);
            }
        }
    }
    let end = footer.map(|footer| footer.last_offset.saturating_add(1)).filter(|end| *end >= offset);
    if !in_batch {
        let mut finding = Finding::malformed(Severity::Error, FindingKind::Segment, key, fault);
        // A base offset may be what is wrong, or the footer: the nearer end is likelier.
        let ends = [Some(offset), footer.map(|footer| footer.last_offset.saturating_add(1))];
        if let (Some(first), true) = (bytes.base.or(header.map(|h| h.base_offset)), at > HEADER_LEN) {
            let end = ends.into_iter().flatten().filter(|end| *end > first).min();
            finding = finding.offsets(first, end.map_or(first, |end| end.saturating_sub(1)));
        }
        report.findings.push(finding);
    }
    report.next_offset = end;
}

/// Where the batch after a broken one starts, if the broken one's length can be believed. Its offsets
/// are not.
fn following(body: &Bytes, at: usize, offset: i64, footer: Option<SegmentFooter>) -> Option<(usize, i64)> {
    let header = BatchHeader::parse(body.get(at..)?).ok()?;
    let next = at.checked_add(header.total_len())?;
    let follows = if next == body.len() {
        footer.map_or(header.next_offset(), |footer| footer.last_offset.saturating_add(1))
    } else {
        BatchHeader::parse(body.get(next..)?).ok()?.base_offset
    };
    (follows > offset).then_some((next, follows))
}

/// The key of a segment's sidecar.
fn sidecar(key: &str, extension: &str) -> String {
    format!("{}.{extension}", key.strip_suffix(".kfs").unwrap_or(key))
}
