//! What stands beside a segment, against what the segment gives.

use bytes::Bytes;

use super::finding::{Finding, FindingKind, Severity};
use crate::format::{SparseIndex, TimeIndex};
use crate::text::counted;

/// The sidecars of a segment, where they are there.
#[derive(Clone, Debug, Default)]
pub(in crate::log) struct Beside {
    /// Its sparse index. With `None`, a missing one is reported only where `index_expected` is set.
    pub(in crate::log) index: Option<Bytes>,
    /// Whether a missing sparse index is a finding.
    pub(in crate::log) index_expected: bool,
    /// Its time index.
    pub(in crate::log) time_index: Option<Bytes>,
    /// Messages between the entries of the index that is built anew for a caller who writes it; `None` builds none.
    pub(in crate::log) rebuild: Option<i32>,
}

impl Beside {
    /// The interval of the stored index, if it is one.
    pub(in crate::log) fn stored_interval(&self) -> Option<i32> {
        let stored = self.index.as_ref()?;
        SparseIndex::parse(stored).ok().map(|index| index.interval())
    }

    /// Compares the stored index with the one that a whole segment gives with the same interval.
    pub(super) fn check_index(
        &self,
        segment: &str,
        is_whole: bool,
        built: Option<&SparseIndex>,
        findings: &mut Vec<Finding>,
    ) {
        let key = sidecar(segment, "index");
        let wrong = FindingKind::IndexWrong;
        let Some(stored) = &self.index else {
            if self.index_expected && is_whole {
                let message = "there is no sparse index; KafScale can't open the partition without";
                findings.push(Finding::new(Severity::Warning, FindingKind::IndexMissing, &key, message));
            }
            return;
        };
        let parsed = match SparseIndex::parse(stored) {
            Ok(parsed) => parsed,
            Err(malformed) => return findings.push(Finding::malformed(Severity::Warning, wrong, &key, &malformed)),
        };
        let Some(built) = built else { return };
        let right = built.encode();
        if right != *stored {
            let same = right.iter().zip(stored).take_while(|(a, b)| a == b).count();
            let message = format!(
                "the index of {} is not what the segment gives with interval {}: {}",
                counted(parsed.len(), "entry"),
                parsed.interval(),
                counted(built.len(), "entry")
            );
            let finding = Finding::new(Severity::Warning, wrong, &key, message);
            findings.push(finding.at(u64::try_from(same).unwrap_or(u64::MAX)));
        }
    }

    /// Compares the stored time index with the times of the records.
    pub(super) fn check_times(&self, segment: &str, times: Option<TimeIndex>, findings: &mut Vec<Finding>) {
        let Some(stored) = &self.time_index else { return };
        let (key, wrong) = (sidecar(segment, "kfst"), FindingKind::TimeIndexWrong);
        match TimeIndex::parse(stored) {
            Err(malformed) => findings.push(Finding::malformed(Severity::Warning, wrong, &key, &malformed)),
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
                findings.push(Finding::new(Severity::Warning, wrong, &key, message));
            }
            Ok(_) => {}
        }
    }
}

/// The key of a segment's sidecar.
fn sidecar(key: &str, extension: &str) -> String {
    format!("{}.{extension}", key.strip_suffix(".kfs").unwrap_or(key))
}
