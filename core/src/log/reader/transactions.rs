//! Which transactions are open, and which were aborted, in a stretch of a log (docs/design.md, "Reading committed
//! records").

use std::collections::{BTreeMap, BTreeSet};

use super::answer::Fetch;
use super::options::{OnCorrupt, ReaderOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BATCH_HEADER_LEN, Batch, BatchHeader, CrcCheck, Limits, Malformed, PartitionId};
use crate::text::{counted, offset_range};

/// The most transactions that a reader keeps: those that are open, and those that were aborted in the stretch between
/// its position and the last batch that it has looked at.
pub(super) const MAX_TRANSACTIONS: usize = 1 << 16;

/// The transactions of a stretch of a log, which begins where the next fetch does.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Which of the partition's logs this is of.
    generation: u64,
    /// All batches from this offset on, and below `to`, were looked at.
    from: i64,
    to: i64,
    /// Those that are open at `to`.
    open: OpenTransactions,
    aborted: AbortedTransactions,
    /// The errors of markers that were lost, which no answer has told yet.
    untold: Vec<Error>,
}

/// For each producer that has a transaction open: the first offset of it in the stretch.
#[derive(Debug, Default)]
struct OpenTransactions {
    by_producer: BTreeMap<i64, i64>,
    /// The same, as first offset and producer: every fetch asks for the first of all.
    by_offset: BTreeSet<(i64, i64)>,
}

impl OpenTransactions {
    fn begin(&mut self, producer: i64, first: i64) {
        self.end(producer);
        self.by_producer.insert(producer, first);
        self.by_offset.insert((first, producer));
    }

    fn end(&mut self, producer: i64) {
        if let Some(first) = self.by_producer.remove(&producer) {
            self.by_offset.remove(&(first, producer));
        }
    }

    fn first(&self) -> Option<i64> {
        self.by_offset.first().map(|(first, _)| *first)
    }
}

/// For each aborted transaction, by producer and first offset in the stretch: the offset of its marker.
#[derive(Debug, Default)]
struct AbortedTransactions {
    by_producer: BTreeMap<(i64, i64), i64>,
    /// The same, as marker, producer and first offset: every fetch forgets those that it has passed.
    by_marker: BTreeSet<(i64, i64, i64)>,
}

impl AbortedTransactions {
    fn insert(&mut self, producer: i64, first: i64, marker: i64) {
        if let Some(before) = self.by_producer.insert((producer, first), marker) {
            self.by_marker.remove(&(before, producer, first));
        }
        self.by_marker.insert((marker, producer, first));
    }

    /// Forgets those whose marker is below an offset.
    fn forget_below(&mut self, offset: i64) {
        while let Some((marker, producer, first)) = self.by_marker.first().copied().filter(|one| one.0 < offset) {
            self.by_marker.remove(&(marker, producer, first));
            self.by_producer.remove(&(producer, first));
        }
    }
}

/// How a marker ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Abort,
    Commit,
}

impl Transactions {
    /// What comes next is at `offset`. What is known from there on is kept.
    pub(super) fn go_to(&mut self, offset: i64, generation: u64) {
        let is_known = generation == self.generation && (self.from..=self.to).contains(&offset);
        // What a reader gets must not depend on what it read before, so a transaction that is open only below the
        // offset does not hold it up.
        if !is_known || self.first_open().is_some_and(|first| first < offset) {
            *self = Transactions { generation, from: offset, to: offset, ..Transactions::default() };
        } else if offset > self.from {
            self.from = offset;
            self.aborted.forget_below(offset);
        }
    }

    /// Where the batches end that were looked at.
    pub(super) fn looked_to(&self) -> i64 {
        self.to
    }

    /// The first offset of a transaction that is open as far as was looked.
    pub(super) fn first_open(&self) -> Option<i64> {
        self.open.first()
    }

    /// Looks at the batches of a fetch that begins in the stretch or at its end.
    ///
    /// # Errors
    /// Corrupt when a marker that an open transaction may need is lost or can't be decoded; unsupported when there are
    /// too many transactions. What stands before that was taken in.
    pub(super) fn take_in(&mut self, fetch: &Fetch, partition: &PartitionId, options: &ReaderOptions) -> Result<()> {
        let mut gap = is_lossy(fetch);
        for (number, chunk) in fetch.chunks.iter().enumerate() {
            let mut at = 0;
            while at < chunk.len() {
                let batch = Batch::parse(chunk, at, CrcCheck::AlreadyChecked)?;
                if std::mem::take(&mut gap) {
                    self.pass_gap(batch.base_offset(), partition, options)?;
                }
                if batch.next_offset() > self.to {
                    let undecodable = |malformed| fetch.place(number, at).undecodable(batch.header(), malformed);
                    self.see(&batch, undecodable, partition, options)?;
                    self.to = batch.next_offset();
                }
                at += batch.bytes().len();
            }
        }
        if gap {
            self.pass_gap(fetch.next_offset, partition, options)?;
        }
        Ok(())
    }

    /// Offsets up to `to` are missing or can't be read. Markers of the open transactions may have stood there.
    fn pass_gap(&mut self, to: i64, partition: &PartitionId, options: &ReaderOptions) -> Result<()> {
        if to <= self.to {
            return Ok(());
        }
        if let Some(first) = self.first_open() {
            let missing = offset_range(self.to, to - 1);
            let message = format!(
                "whether {} of partition {partition} committed is not known: {missing} can't be read, where a marker may \
                 have stood",
                counted(self.open.by_producer.len(), "transaction"),
            );
            let error = Error::new(ErrorKind::Corrupt, message).with_offsets(first, to - 1);
            let error = error.with_next_readable(to).with_hint(format!(
                "read on at offset {to}, or let the reader leave out the records of these transactions (`kfs cat --skip-corrupt`)"
            ));
            if options.on_corrupt != OnCorrupt::Skip {
                return Err(error);
            }
            self.untold.push(error);
            // None of them is known to be committed.
            for (producer, first) in std::mem::take(&mut self.open).by_producer {
                self.aborted.insert(producer, first, to);
            }
        }
        self.to = to;
        Ok(())
    }

    /// Looks at the batch that comes next.
    fn see(
        &mut self,
        batch: &Batch,
        undecodable: impl Fn(Malformed) -> Error,
        partition: &PartitionId,
        options: &ReaderOptions,
    ) -> Result<()> {
        let header = batch.header();
        let open = self.open.by_producer.get(&header.producer_id).copied();
        if header.producer_id < 0 {
            return Ok(());
        }
        match (header.attributes.is_control(), open) {
            // A marker without a transaction ends nothing.
            (true, None) => {}
            (true, Some(first)) => {
                let ending = match ending(batch, &options.limits).map_err(undecodable) {
                    Err(error) if options.on_corrupt == OnCorrupt::Skip => {
                        self.untold.push(error);
                        Some(Ending::Abort)
                    }
                    ending => ending?,
                };
                if ending.is_some() {
                    self.open.end(header.producer_id);
                }
                if ending == Some(Ending::Abort) {
                    self.aborted.insert(header.producer_id, first, header.base_offset);
                }
            }
            (false, None) if header.attributes.is_transactional() => {
                if self.open.by_producer.len() + self.aborted.by_producer.len() >= MAX_TRANSACTIONS {
                    return Err(too_many(header.base_offset, partition));
                }
                self.open.begin(header.producer_id, header.base_offset.max(self.from));
            }
            (false, _) => {}
        }
        Ok(())
    }

    /// Leaves out of a fetch what an abort ended, and all from the first batch on whose transaction is open or that was
    /// not looked at.
    pub(super) fn leave_committed(&mut self, fetch: &mut Fetch, offset: i64) -> Result<()> {
        let stable = self.first_open().map_or(self.to, |first| first.min(self.to));
        let chunks = std::mem::take(&mut fetch.chunks);
        let places = std::mem::take(&mut fetch.details_mut().places);
        let mut next_offset = offset;
        for (chunk, place) in chunks.into_iter().zip(places) {
            let (mut from, mut at) = (0, 0);
            let mut keep = |from: usize, to: usize| {
                if from < to {
                    fetch.chunks.push(chunk.slice(from..to));
                    fetch.details_mut().places.push(place.map(|place| place.plus(from)));
                }
            };
            while at < chunk.len() {
                let header = BatchHeader::parse(chunk.get(at..).unwrap_or_default())?;
                if header.next_offset() > stable {
                    keep(from, at);
                    fetch.next_offset = next_offset.max(header.base_offset);
                    fetch.refused = false;
                    return Ok(());
                }
                next_offset = header.next_offset();
                let end = at + header.total_len();
                if self.is_aborted(&header) {
                    keep(from, at);
                    from = end;
                }
                at = end;
            }
            keep(from, at);
        }
        Ok(())
    }

    fn is_aborted(&self, header: &BatchHeader) -> bool {
        if self.aborted.by_producer.is_empty()
            || !header.attributes.is_transactional()
            || header.attributes.is_control()
        {
            return false;
        }
        let up_to = (header.producer_id, header.last_offset());
        let before = self.aborted.by_producer.range(..=up_to).next_back();
        before.is_some_and(|((producer, _), marker)| *producer == header.producer_id && *marker > header.last_offset())
    }

    /// The errors of lost markers that were not told yet.
    pub(super) fn take_untold(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.untold)
    }
}

/// Whether batches are missing before those of the fetch. (Errors about the object around the batches name no offset.)
fn is_lossy(fetch: &Fetch) -> bool {
    fetch.hole().is_some() || fetch.skipped().iter().any(|error| error.next_readable_offset().is_some())
}

fn too_many(offset: i64, partition: &PartitionId) -> Error {
    let message = format!(
        "reading committed records of partition {partition} has come to more than {MAX_TRANSACTIONS} transactions \
         at once"
    );
    Error::new(ErrorKind::Unsupported, message)
        .with_offsets(offset, offset)
        .with_hint("a transaction that was never ended may hold up the log; read uncommitted records to get past it")
}

/// How a control batch ends the transaction of its producer; `None` for other control batches, and for what
/// compaction leaves of one.
fn ending(batch: &Batch, limits: &Limits) -> Result<Option<Ending>, Malformed> {
    if batch.header().record_count == 0 {
        return Ok(None);
    }
    let records = batch.records(limits)?;
    let Some(record) = (&records).into_iter().next().transpose()? else { return Ok(None) };
    let key = record.key.unwrap_or_default();
    match key
        .first_chunk::<4>()
        .map(|[v0, v1, t0, t1]| (i16::from_be_bytes([*v0, *v1]), i16::from_be_bytes([*t0, *t1])))
    {
        Some((0.., 0)) => Ok(Some(Ending::Abort)),
        Some((0.., 1)) => Ok(Some(Ending::Commit)),
        Some((0.., _)) => Ok(None),
        _ => {
            let found = format!("a control record with a key of {}", counted(key.len(), "byte"));
            Err(Malformed::new(BATCH_HEADER_LEN as u64, found, "a version of at least 0 and a type, in 4 bytes"))
        }
    }
}
