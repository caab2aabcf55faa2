//! Checking a segment that comes in pieces.

use bytes::Bytes;

use super::beside::Beside;
use super::finding::{Finding, FindingKind, Severity};
use super::records::RecordCheck;
use crate::format::{
    BatchCutter, BatchHeader, BatchSum, Cut, CutBatch, FOOTER_LEN, HEADER_LEN, IndexBuilder, Limits, MAX_SEGMENT_LEN,
    Malformed, SegmentFooter, SegmentHeader, SparseIndex,
};

/// What was found in a segment.
pub(in crate::log) struct CheckedSegment {
    /// What is wrong or worth knowing, in the order of positions.
    pub(in crate::log) findings: Vec<Finding>,
    /// Its header, if nothing is wrong with the segment itself.
    pub(in crate::log) whole: Option<SegmentHeader>,
    /// One past its last offset, as far as its bytes tell.
    pub(in crate::log) next_offset: Option<i64>,
    /// Batches that are whole.
    pub(in crate::log) batches: u64,
    /// Records that were decoded, or that the batches' headers promise when they were not.
    pub(in crate::log) records: u64,
    /// The index that a whole segment gives, if one was to be built anew.
    pub(in crate::log) rebuilt: Option<SparseIndex>,
}

/// What is known of a segment before its batches come.
pub(in crate::log) struct SegmentFrame<'a> {
    /// The segment's key, or a file's name: findings are about it.
    pub(in crate::log) key: &'a str,
    /// The base offset that its key says, where it has one.
    pub(in crate::log) base: Option<i64>,
    /// Bytes of the whole segment.
    pub(in crate::log) size: u64,
    /// Its first bytes: the header's at least.
    pub(in crate::log) first: &'a [u8],
    /// Its last bytes: the footer's at least.
    pub(in crate::log) last: &'a [u8],
}

/// Checks a segment while its pieces come, in their order and from its first byte on: CRCs, batches, records when asked,
/// and the indexes against the segment.
///
/// It holds one piece. If records are checked, it also holds a batch that comes in several pieces. Besides that it holds
/// its findings, and the indexes that it builds.
pub(in crate::log) struct SegmentCheck {
    key: String,
    base: Option<i64>,
    size: u64,
    header: Option<SegmentHeader>,
    footer: Option<SegmentFooter>,
    beside: Beside,
    /// What is wrong around the batches. It counts only if no batch is broken.
    fault: Option<Malformed>,
    cutter: BatchCutter,
    /// What the batches say together; `None` once the segment is known to be broken.
    sum: Option<BatchSum>,
    records: Option<RecordCheck>,
    /// The index as the stored one should be, and the one that is built anew.
    indexes: [Option<IndexBuilder>; 2],
    batches: u64,
    /// Records that the headers of all batches promise, and of those whose records are not decoded.
    promised: u64,
    undecoded: u64,
    broken: Broken,
}

/// The broken batches of a segment, each named.
#[derive(Default)]
struct Broken {
    findings: Vec<Finding>,
    /// The batch before this place. Where its offsets end, the next one tells.
    last: Option<(Finding, BatchHeader)>,
    /// The end of the offsets so far.
    offset: i64,
    /// Where the next batch begins can't be told.
    is_lost: bool,
}

impl SegmentCheck {
    pub(in crate::log) fn new(frame: &SegmentFrame<'_>, beside: Beside, records: Option<&Limits>) -> Self {
        let (header, footer, fault) = match frame.parse() {
            Ok((header, footer)) => (Some(header), Some(footer), None),
            Err(fault) => (SegmentHeader::parse(frame.first).ok(), SegmentFooter::at_end_of(frame.last), Some(fault)),
        };
        let sum = match (&header, &footer, &fault) {
            (Some(header), Some(footer), None) => Some(BatchSum::new(header, footer)),
            _ => None,
        };
        let offset = frame.base.or(header.map(|header| header.base_offset)).unwrap_or(0);
        let intervals = [beside.stored_interval(), beside.rebuild];
        SegmentCheck {
            key: frame.key.to_owned(),
            base: frame.base,
            size: frame.size,
            header,
            footer,
            cutter: BatchCutter::new(frame.size, records.is_some() && sum.is_some()),
            indexes: intervals.map(|interval| interval.filter(|_| sum.is_some()).map(IndexBuilder::new)),
            beside,
            fault,
            sum,
            records: records.map(|limits| RecordCheck::new(frame.key, limits)),
            batches: 0,
            promised: 0,
            undecoded: 0,
            broken: Broken { offset, ..Broken::default() },
        }
    }

    /// Whether another piece is of any use.
    pub(in crate::log) fn wants_more(&self) -> bool {
        !self.broken.is_lost && !self.cutter.is_at_end()
    }

    /// Takes the next piece.
    pub(in crate::log) fn push(&mut self, piece: Bytes) {
        self.cutter.push(piece);
        while !self.broken.is_lost
            && let Some(cut) = self.cutter.next()
        {
            self.settle(cut.header());
            match cut {
                _ if self.broken.is_lost => {}
                Cut::Batch(CutBatch { header, crc: Err(malformed), .. }) => self.breaks(malformed, Some(header)),
                Cut::Batch(batch) => self.batch(&batch),
                Cut::None { malformed, .. } => self.breaks(malformed, None),
            }
        }
    }

    /// A batch that is whole.
    fn batch(&mut self, cut: &CutBatch) {
        let (header, position) = (&cut.header, cut.position);
        let promised = u64::from(header.record_count.unsigned_abs());
        self.batches = self.batches.saturating_add(1);
        self.promised = self.promised.saturating_add(promised);
        self.broken.offset = self.broken.offset.max(header.next_offset());
        let overlaps = match self.sum.as_mut().map(|sum| sum.add(position, header)) {
            None => return,
            Some(Err(fault)) => {
                self.fault = Some(fault);
                return self.is_broken();
            }
            Some(Ok(overlaps)) => overlaps,
        };
        for index in self.indexes.iter_mut().flatten().filter(|_| !overlaps) {
            index.push(header.base_offset, position, header.record_count);
        }
        match (&mut self.records, &cut.batch) {
            (Some(records), Some(batch)) if !overlaps => records.check(position, batch),
            _ => self.undecoded = self.undecoded.saturating_add(promised),
        }
    }

    /// A batch that is broken; its length can be followed if its header was read.
    fn breaks(&mut self, malformed: Malformed, header: Option<BatchHeader>) {
        self.is_broken();
        let finding = Finding::malformed(Severity::Error, FindingKind::Batch, &self.key, &malformed);
        match header {
            Some(header) => self.broken.last = Some((finding, header)),
            None => self.broken.lose(finding, self.footer),
        }
    }

    /// From now on only broken batches are looked for.
    fn is_broken(&mut self) {
        (self.sum, self.indexes, self.records) = (None, [None, None], None);
        self.cutter.keep_none();
    }

    /// Says where the broken batch before this place ends, by the header at it. Its length is believed if that makes sense;
    /// its offsets are not.
    fn settle(&mut self, header: Option<&BatchHeader>) {
        let Some((finding, _)) = self.broken.last.take() else { return };
        match header.map(|header| header.base_offset).filter(|follows| *follows > self.broken.offset) {
            Some(follows) => self.broken.end_at(finding, follows),
            None => self.broken.lose(finding, self.footer),
        }
    }

    /// What was found. Without its last pieces a segment is taken to end where they begin.
    pub(in crate::log) fn finish(mut self) -> CheckedSegment {
        if let Some((finding, header)) = self.broken.last.take() {
            let follows = self.footer.map_or(header.next_offset(), end_of);
            match follows > self.broken.offset {
                true => self.broken.end_at(finding, follows),
                false => self.broken.lose(finding, self.footer),
            }
        }
        let fault = self.fault.take().or_else(|| self.fault_around());
        let mut checked = match (self.sum.take(), fault) {
            (Some(sum), None) if self.broken.findings.is_empty() => self.whole(&sum),
            (_, fault) => self.broken(fault),
        };
        // Without its segment an index can only be parsed.
        let is_whole = checked.whole.is_some();
        let [right, rebuilt] = self.indexes.map(|index| index.filter(|_| is_whole).map(IndexBuilder::finish));
        checked.rebuilt = rebuilt;
        self.beside.check_index(&self.key, is_whole, right.as_ref(), &mut checked.findings);
        if let Some(records) = self.records.filter(|records| is_whole && records.are_decoded()) {
            self.beside.check_times(&self.key, records.times(), &mut checked.findings);
        }
        checked
    }

    /// What is wrong with header and footer, if all batches are whole.
    fn fault_around(&self) -> Option<Malformed> {
        let (sum, header, footer) = (self.sum.as_ref()?, self.header.as_ref()?, self.footer.as_ref()?);
        if sum.batches() == 0 {
            // Too short for a batch: every segment holds at least one.
            return BatchHeader::parse(&[]).err().map(|malformed| malformed.offset_position(HEADER_LEN as u64));
        }
        sum.check(header, footer, self.footer_at(), Some(self.cutter.body_crc())).err()
    }

    fn whole(&mut self, sum: &BatchSum) -> CheckedSegment {
        let mut findings = Vec::new();
        if let (Some(base), Some(header)) = (self.base, &self.header)
            && let Err(malformed) = header.check_key(base)
        {
            findings.push(Finding::malformed(Severity::Error, FindingKind::Segment, &self.key, &malformed));
        }
        findings.extend(sum.overlaps().iter().map(|overlap| {
            let message = format!(
                "a batch's base offset {} is below {}, its predecessor's end; readers pass over it",
                overlap.base_offset, overlap.expected_offset
            );
            Finding::new(Severity::Warning, FindingKind::Overlap, &self.key, message).at(overlap.position)
        }));
        let mut records = self.undecoded;
        if let Some(checked) = &mut self.records {
            findings.append(&mut checked.findings);
            records = records.saturating_add(checked.records());
        }
        CheckedSegment {
            findings,
            whole: self.header,
            next_offset: Some(sum.next_offset()),
            batches: self.batches,
            records,
            rebuilt: None,
        }
    }

    /// Every broken batch that can be told apart, or else what is wrong around them.
    fn broken(&mut self, fault: Option<Malformed>) -> CheckedSegment {
        let offset = self.broken.offset;
        let end = self.footer.map(end_of);
        let mut findings = std::mem::take(&mut self.broken.findings);
        if let Some(fault) = fault.filter(|_| findings.is_empty()) {
            let mut finding = Finding::malformed(Severity::Error, FindingKind::Segment, &self.key, &fault);
            // A base offset may be what is wrong, or the footer: the nearer end is likelier.
            let base = self.base.or(self.header.map(|header| header.base_offset));
            if let (Some(first), true) = (base, self.cutter.position() > HEADER_LEN as u64) {
                let end = [Some(offset), end].into_iter().flatten().filter(|end| *end > first).min();
                finding = finding.offsets(first, end.map_or(first, |end| end.saturating_sub(1)));
            }
            findings.push(finding);
        }
        CheckedSegment {
            findings,
            whole: None,
            next_offset: end.filter(|end| *end >= offset),
            batches: self.batches,
            records: self.promised,
            rebuilt: None,
        }
    }

    fn footer_at(&self) -> u64 {
        self.size.saturating_sub(FOOTER_LEN as u64)
    }
}

impl Broken {
    /// The batch holds the offsets up to this one.
    fn end_at(&mut self, finding: Finding, next: i64) {
        self.findings.push(finding.offsets(self.offset, next.saturating_sub(1).max(self.offset)));
        self.offset = next;
    }

    /// Nothing tells where the batch ends, unless it is the last one.
    fn lose(&mut self, mut finding: Finding, footer: Option<SegmentFooter>) {
        if let Some(end) = footer.map(end_of).filter(|end| *end > self.offset) {
            finding = finding.offsets(self.offset, end.saturating_sub(1).max(self.offset));
        }
        self.findings.push(finding);
        self.is_lost = true;
    }
}

impl SegmentFrame<'_> {
    /// Header and footer, and whether the size can be a segment's.
    fn parse(&self) -> Result<(SegmentHeader, SegmentFooter), Malformed> {
        let header = SegmentHeader::parse(self.first)?;
        let Some(footer_at) = self.size.checked_sub(FOOTER_LEN as u64) else {
            return Err(Malformed::new(self.size, "the end of the bytes", "a segment footer of 16 bytes"));
        };
        if self.size > MAX_SEGMENT_LEN {
            return Err(Malformed::new(MAX_SEGMENT_LEN, format!("{} bytes", self.size), "less than 2 GiB"));
        }
        let footer = self.last.get(self.last.len().saturating_sub(FOOTER_LEN)..).unwrap_or_default();
        let footer = SegmentFooter::parse(footer).map_err(|malformed| malformed.offset_position(footer_at))?;
        Ok((header, footer))
    }
}

fn end_of(footer: SegmentFooter) -> i64 {
    footer.last_offset.saturating_add(1)
}

#[cfg(test)]
mod tests;
