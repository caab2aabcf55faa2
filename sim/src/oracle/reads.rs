//! What readers were given, against what the log holds.

use kfs_core::TimedOffset;
use kfs_core::format::Batch;

use super::{Image, Judged, Oracle};
use crate::kafscale;
use crate::shared::SharedStore;

/// The log's range at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first offset that is served; `None` where there is no log yet.
    pub(crate) start: Option<i64>,
    /// One past the last.
    pub(crate) end: i64,
}

impl Oracle {
    /// The range now.
    pub(crate) fn range(&self) -> Range {
        let start = self.chain.log_start();
        Range { start, end: self.chain.end().or(start).unwrap_or(0) }
    }

    /// A batch that a reader was given where it asked for `offset`.
    pub(crate) fn read(&self, offset: i64, batch: &Batch) -> Judged {
        if batch.next_offset() <= offset {
            return Err(format!("a reader that asked for {offset} got the batch at {}", batch.base_offset()));
        }
        match self.chain.batches(batch.base_offset(), batch.next_offset()).as_slice() {
            [was] if was.bytes() == batch.bytes() => Ok(()),
            [] => Err(format!("a reader got a batch at {}, which the log does not hold", batch.base_offset())),
            _ => Err(format!("a reader got other bytes at {}", batch.base_offset())),
        }
    }

    /// A reader went on from `from` to `to` and was given nothing between them.
    pub(crate) fn passed_over(&self, from: i64, to: i64) -> Judged {
        if self.chain.log_start().is_some_and(|start| to <= start) {
            return Ok(());
        }
        let from = from.max(self.chain.log_start().unwrap_or(from));
        match self.chain.batches(from, to).first() {
            Some(batch) if from < to => Err(format!("a reader passed over {from} to {to}: {}", batch.base_offset())),
            _ => Ok(()),
        }
    }

    /// A stream of records went on from `from` to `to` and gave none.
    pub(crate) fn gave_none(&self, from: i64, to: i64) -> Judged {
        let start = self.chain.log_start().unwrap_or(0);
        match self.records_between(from.max(start), to.max(start)).first() {
            Some(image) => Err(format!("a stream went from {from} to {to} without {image:?}")),
            None => Ok(()),
        }
    }

    /// Records from an offset on, as a stream must give them.
    pub(crate) fn records(&self, from: i64) -> Vec<Image> {
        self.records_between(from, self.chain.end().unwrap_or(from))
    }

    /// Records from an offset on, below another.
    pub(crate) fn records_between(&self, from: i64, to: i64) -> Vec<Image> {
        let mut images = self.chain.images(from, to);
        images.retain(|image| image.value.is_some());
        images
    }

    /// The answer to a search by time that began at `before`.
    pub(crate) fn timed(&self, timestamp: i64, before: Range, found: Option<TimedOffset>) -> Judged {
        let after = self.range();
        let images = self.records(before.start.unwrap_or(0));
        let ordered = self.maxima_do_not_fall(before.start.unwrap_or(0));
        if let Some(found) = found {
            let real = images.iter().find(|image| image.offset == found.offset);
            if real.is_none_or(|real| real.timestamp != found.timestamp_ms) || found.timestamp_ms < timestamp {
                return Err(format!("the search for {timestamp} found {found:?}, which is {real:?}"));
            }
        }
        if !ordered {
            return Ok(());
        }
        let wrong = |image: &&Image| {
            image.timestamp >= timestamp
                && image.offset >= after.start.unwrap_or(0)
                && found.map_or(image.offset < before.end, |found| image.offset < found.offset)
        };
        match images.iter().find(wrong) {
            Some(missed) => Err(format!("the search for {timestamp} found {found:?} and missed {missed:?}")),
            None => Ok(()),
        }
    }

    /// The answer to a search for the greatest time that began at `before`.
    pub(crate) fn latest(&self, before: Range, found: Option<TimedOffset>) -> Judged {
        let images = self.records(before.start.unwrap_or(0));
        if let Some(found) = found
            && !images.iter().any(|image| image.offset == found.offset && image.timestamp == found.timestamp_ms)
        {
            return Err(format!("the greatest timestamp is said to be {found:?}, which is not there"));
        }
        if !self.maxima_do_not_fall(before.start.unwrap_or(0)) {
            return Ok(());
        }
        let start = self.chain.log_start().unwrap_or(0);
        let there = images.iter().filter(|image| (start..before.end).contains(&image.offset));
        match there.max_by_key(|image| image.timestamp) {
            Some(max) if found.is_none_or(|found| found.timestamp_ms < max.timestamp) => {
                Err(format!("the greatest timestamp is said to be {found:?}, it is {max:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the slots' greatest timestamps do not fall from an offset on.
    fn maxima_do_not_fall(&self, from: i64) -> bool {
        let slots = self.chain.slots().filter(|(_, slot)| slot.end > from);
        let maxima = slots.filter_map(|(base, slot)| {
            let images = self.chain.images(base, slot.end);
            images.iter().filter(|image| image.value.is_some()).map(|image| image.timestamp).max()
        });
        maxima.is_sorted()
    }

    /// What a reader of KafScale's sees at this moment is the log, from its start to its end.
    pub(crate) fn kafscale_reads(&self, store: &SharedStore) -> Judged {
        if self.chain.ghosts() > 0 {
            // It believes whatever lies in the slot.
            return Ok(());
        }
        let prefix = self.id.prefix();
        kafscale::opens(store, &prefix).map_err(|e| format!("KafScale can't open the partition: {e}"))?;
        let Range { start: Some(mut next), end } = self.range() else { return Ok(()) };
        while next < end {
            let found = kafscale::fetch(store, &prefix, next).map_err(|e| format!("KafScale at {next}: {e}"))?;
            let before = next;
            for found in found {
                let was = self.chain.batches(found.base, found.next);
                if !matches!(was.as_slice(), [was] if was.bytes() == &found.bytes) {
                    return Err(format!("KafScale reads other bytes at {}", found.base));
                }
                next = next.max(found.next);
            }
            if next == before {
                return Err(format!("KafScale finds nothing at {next}, the log ends at {end}"));
            }
        }
        Ok(())
    }
}
