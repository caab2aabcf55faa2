//! A block: one stretch of one version of one segment, and what was found out about its bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use crate::format::{Batches, CrcCheck, FOOTER_LEN, HEADER_LEN, Malformed, Segment, SegmentFooter, SegmentHeader};
use crate::mutant::mutant;
use crate::store::Version;

/// Bytes of a block for each place that is kept, and for each stretch that was checked.
const BYTES_A_PLACE: usize = 1024;
const MAX_PLACES: usize = 4096;

/// Where batches stand: the next one whose base is at or above `offset` starts at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchStart {
    pub(crate) offset: i64,
    pub(crate) position: u64,
}

impl BatchStart {
    /// Where a segment's first batch stands.
    pub(crate) fn first(base: i64) -> Self {
        BatchStart { offset: base, position: HEADER_LEN as u64 }
    }
}

/// What a check of the whole object told.
#[derive(Debug)]
pub(crate) enum Soundness {
    /// It was not checked as a whole: each batch is when it is served.
    Unchecked,
    /// Header, footer, body and all batches agree.
    Sound,
    /// They don't.
    Broken { fault: Malformed, in_batch: bool },
}

/// What is checked of a block's bytes before any batch of it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockCheck {
    /// The whole object.
    All,
    /// Header and footer of a whole object, and all of it where they are broken.
    Edges,
    /// The header, where the block has it.
    Header,
}

/// Some bytes of one version of one segment. What one reader finds out about them serves all.
#[derive(Debug)]
pub(crate) struct Block {
    base: i64,
    version: Version,
    /// Position of the first byte.
    at: u64,
    bytes: Bytes,
    check: BlockCheck,
    verified: OnceLock<Soundness>,
    trusted: OnceLock<Soundness>,
    known: Mutex<Known>,
    /// Positions below this were given to a fetch.
    served_to: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    /// Ascending by offset and position.
    places: Vec<BatchStart>,
    /// Positions of batches whose CRC was checked, ascending, apart from each other.
    checked: Vec<(u64, u64)>,
}

impl Block {
    pub(crate) fn new(base: i64, version: Version, at: u64, bytes: Bytes, check: BlockCheck) -> Self {
        let places = if at == 0 { vec![BatchStart::first(base)] } else { Vec::new() };
        Block {
            base,
            version,
            at,
            bytes,
            check,
            verified: OnceLock::new(),
            trusted: OnceLock::new(),
            known: Mutex::new(Known { places, checked: Vec::new() }),
            served_to: AtomicU64::new(0),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn base(&self) -> i64 {
        self.base
    }

    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// Position of the first byte.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The position after the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.at.saturating_add(self.bytes.len() as u64)
    }

    /// Whether it is of this version of this segment.
    pub(crate) fn is(&self, base: i64, version: &Version) -> bool {
        self.base == base && (self.version.same_as(version) || mutant!(HoldByKeyAlone))
    }

    /// Whether all of the object is in it.
    pub(crate) fn is_whole(&self) -> bool {
        self.at == 0 && self.bytes.len() as u64 == self.version.size()
    }

    /// Whether bytes of it are held outside the cache: by a fetch under way, or by a chunk that a caller has.
    pub(crate) fn is_lent(&self) -> bool {
        !self.bytes.is_unique()
    }

    /// The last known place at or below an offset.
    pub(crate) fn place(&self, offset: i64) -> Option<BatchStart> {
        let known = self.known();
        let above = known.places.partition_point(|place| place.offset <= offset);
        above.checked_sub(1).and_then(|i| known.places.get(i)).copied()
    }

    /// A batch is known to start there.
    pub(crate) fn note(&self, place: BatchStart) {
        let most = (self.bytes.len() / BYTES_A_PLACE).clamp(8, MAX_PLACES);
        let mut known = self.known();
        if known.places.len() >= most {
            let mut keep = false;
            known.places.retain(|_| {
                keep = !keep;
                keep
            });
        }
        let index = known.places.partition_point(|known| known.offset < place.offset);
        match known.places.get_mut(index) {
            // An overlapping batch was passed over.
            Some(known) if known.offset == place.offset => known.position = known.position.max(place.position),
            _ => known.places.insert(index, place),
        }
    }

    /// Whether the CRC of the batch between these positions was found right.
    pub(crate) fn is_checked(&self, from: u64, to: u64) -> bool {
        let known = self.known();
        let above = known.checked.partition_point(|(start, _)| *start <= from);
        above.checked_sub(1).and_then(|i| known.checked.get(i)).is_some_and(|(_, end)| to <= *end)
    }

    /// The CRC of the batch between these positions was found right.
    pub(crate) fn set_checked(&self, from: u64, to: u64) {
        let most = (self.bytes.len() / BYTES_A_PLACE).clamp(8, MAX_PLACES);
        let mut known = self.known();
        if known.checked.len() >= most {
            known.checked.clear();
        }
        let index = known.checked.partition_point(|(start, _)| *start <= from);
        match index.checked_sub(1).and_then(|i| known.checked.get_mut(i)) {
            Some((_, end)) if *end >= from => *end = to.max(*end),
            _ => known.checked.insert(index, (from, to)),
        }
    }

    /// Whether bytes at this position were given already. A reader that goes on from where it stood does not
    /// read again, however small its steps.
    pub(crate) fn was_served(&self, position: u64) -> bool {
        position < self.served_to.load(Ordering::Relaxed)
    }

    /// Bytes below this position were given.
    pub(crate) fn set_served(&self, position: u64) {
        if position > self.served_to.load(Ordering::Relaxed) {
            self.served_to.fetch_max(position, Ordering::Relaxed);
        }
    }

    /// What a check of the whole told; made once for each kind of check.
    pub(crate) fn soundness(&self, check: CrcCheck) -> &Soundness {
        let told = match check {
            CrcCheck::Verify => &self.verified,
            CrcCheck::AlreadyChecked => &self.trusted,
        };
        told.get_or_init(|| self.examine(check))
    }

    fn examine(&self, check: CrcCheck) -> Soundness {
        match self.check {
            BlockCheck::All => check_whole(self.base, &self.bytes, check),
            BlockCheck::Edges => match check_edges(self.base, &self.bytes) {
                Ok(()) => Soundness::Unchecked,
                Err(_) => check_whole(self.base, &self.bytes, CrcCheck::Verify),
            },
            BlockCheck::Header if self.at > 0 => Soundness::Unchecked,
            BlockCheck::Header => match check_header(self.base, &self.bytes) {
                Ok(()) => Soundness::Unchecked,
                Err(fault) => Soundness::Broken { fault, in_batch: false },
            },
        }
    }
}

/// Header and footer alone.
fn check_edges(base: i64, bytes: &Bytes) -> Result<(), Malformed> {
    check_header(base, bytes)?;
    let footer = bytes.len().checked_sub(FOOTER_LEN).and_then(|at| bytes.get(at..)).unwrap_or_default();
    SegmentFooter::parse(footer).map(|_| ())
}

fn check_header(base: i64, bytes: &[u8]) -> Result<(), Malformed> {
    SegmentHeader::parse(bytes).and_then(|header| header.check_key(base))
}

fn check_whole(base: i64, bytes: &Bytes, check: CrcCheck) -> Soundness {
    match Segment::parse_at(base, bytes, check) {
        Ok(_) => Soundness::Sound,
        Err(fault) => Soundness::Broken { in_batch: has_broken_batch(base, bytes), fault },
    }
}

/// Whether a batch is broken, or only what is around them.
fn has_broken_batch(base: i64, bytes: &Bytes) -> bool {
    let body = bytes.slice(..bytes.len().saturating_sub(FOOTER_LEN));
    let mut offset = base;
    Batches::starting_at(&body, HEADER_LEN, CrcCheck::Verify).any(|batch| match batch {
        Ok(batch) if batch.base_offset() == offset => {
            offset = batch.next_offset();
            false
        }
        _ => true,
    })
}
