//! Checking the records of a segment's batches.

use super::finding::{Finding, FindingKind, Severity};
use crate::format::{Batch, Limits, Malformed, TimeIndex};

/// What the records of a segment say, batch after batch.
pub(super) struct RecordCheck {
    key: String,
    limits: Limits,
    pub(super) findings: Vec<Finding>,
    times: Option<TimeIndex>,
    records: u64,
    has_failed: bool,
}

impl RecordCheck {
    pub(super) fn new(key: &str, limits: &Limits) -> Self {
        RecordCheck {
            key: key.to_owned(),
            limits: *limits,
            findings: Vec::new(),
            times: None,
            records: 0,
            has_failed: false,
        }
    }

    /// Checks the records of the batch that begins at this byte of the segment.
    pub(super) fn check(&mut self, position: u64, batch: &Batch) {
        let key = &self.key;
        let found = |severity, kind, malformed: Malformed| {
            let finding = Finding::malformed(severity, kind, key, &malformed.offset_position(position));
            finding.offsets(batch.base_offset(), batch.last_offset())
        };
        match decode(batch, &self.limits, &mut self.times) {
            Ok(decoded) => {
                self.records = self.records.saturating_add(decoded.records);
                let disorder = decoded.disorder.map(|m| found(Severity::Error, FindingKind::Records, m));
                let time = decoded.max_timestamp.map(|m| found(Severity::Warning, FindingKind::MaxTimestamp, m));
                self.findings.extend(time.into_iter().chain(disorder));
            }
            Err(malformed) => {
                self.has_failed = true;
                self.findings.push(found(Severity::Error, FindingKind::Records, malformed));
            }
        }
    }

    /// How many were decoded.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Whether all could be decoded.
    pub(super) fn are_decoded(&self) -> bool {
        !self.has_failed
    }

    /// The range of their timestamps and offsets.
    pub(super) fn times(&self) -> Option<TimeIndex> {
        self.times
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
