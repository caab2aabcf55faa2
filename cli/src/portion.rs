//! How much of the input is handed to the writer at once.

use kfs_core::format::NewRecord;

/// What one append may hold at most. An append is all in one segment, so it must not be larger than the
/// settings of a flush allow; a read of the input may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    pub(crate) bytes: usize,
    pub(crate) records: u64,
    pub(crate) batches: usize,
}

/// What a part that can't be divided adds: a record, or a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) bytes: usize,
    pub(crate) records: u64,
    pub(crate) batches: usize,
}

impl Portion {
    /// How many of the parts at the front go together: at least one, if there is one.
    pub(crate) fn take(&self, parts: impl IntoIterator<Item = Part>) -> usize {
        let mut sum = Part { bytes: 0, records: 0, batches: 0 };
        let mut count = 0_usize;
        for part in parts {
            sum.bytes = sum.bytes.saturating_add(part.bytes);
            sum.records = sum.records.saturating_add(part.records);
            sum.batches = sum.batches.saturating_add(part.batches);
            if count > 0 && (sum.bytes > self.bytes || sum.records > self.records || sum.batches > self.batches) {
                break;
            }
            count = count.saturating_add(1);
        }
        count
    }

    /// The records of the next append, and the rest.
    pub(crate) fn of_records<'a, 'b>(
        &self,
        records: &'b [NewRecord<'a>],
    ) -> (&'b [NewRecord<'a>], &'b [NewRecord<'a>]) {
        let part = |record: &NewRecord<'_>| Part { bytes: record.encoded_bound(), records: 1, batches: 0 };
        let count = self.take(records.iter().map(part));
        records.split_at_checked(count).unwrap_or((records, &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_keeps_to_each_bound_and_holds_one_part_at_least() {
        let parts = |bytes: usize| std::iter::repeat_n(Part { bytes, records: 10, batches: 1 }, 100);
        let portion = Portion { bytes: 1000, records: 95, batches: 7 };
        assert_eq!(portion.take(parts(1)), 7);
        assert_eq!(Portion { batches: 100, ..portion }.take(parts(1)), 9);
        assert_eq!(portion.take(parts(300)), 3);
        assert_eq!(portion.take(parts(5000)), 1);
        assert_eq!(portion.take(parts(1).take(2)), 2);
        assert_eq!(portion.take(parts(1).take(0)), 0);
    }
}
