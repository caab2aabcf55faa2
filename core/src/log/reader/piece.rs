//! Bytes of a segment that a reader holds, and serving batches from them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::gather::Gather;
use crate::format::{
    BATCH_HEADER_LEN, BatchHeader, CrcCheck, FOOTER_LEN, HEADER_LEN, Malformed, Segment, SegmentFooter, SegmentHeader,
    crc32c,
};
use crate::mutant::mutant;
use crate::store::Version;

/// The bytes of a batch's header that its CRC does not cover.
const UNCOVERED: usize = 21;
/// Batches between two places that are kept, so that the next lookup walks no further.
const PLACE_EVERY: usize = 64;
const MAX_PLACES: usize = 4096;
const MAX_CHECKED: usize = 1024;

/// Where batches stand: the next one whose base is at or above `offset` starts at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: i64,
    pub(crate) position: u64,
}

/// What a check of the whole object told.
#[derive(Debug)]
enum Soundness {
    /// It was not checked as a whole: each batch is when it is served.
    Unchecked,
    /// Header, footer, body and all batches agree.
    Sound,
    /// They don't.
    Broken { fault: Malformed, in_batch: bool },
}

/// A stretch of one version of one segment.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) base: i64,
    pub(crate) version: Version,
    /// Position of the first byte held.
    at: u64,
    bytes: Bytes,
    soundness: Soundness,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Ascending by offset and position.
    places: Vec<Place>,
    /// Positions of batches whose CRC was checked, ascending, apart from each other.
    checked: Vec<(u64, u64)>,
    /// The body's CRC was found right, so base offsets are as they were written.
    faithful: bool,
    /// A fault outside all batches was reported to a caller who skips.
    reported: bool,
}

/// A broken place.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) malformed: Malformed,
    /// The batch that is broken, by where and at which offset it should be.
    pub(crate) place: Place,
    /// Where reading can go on in the segment.
    pub(crate) resume: Option<Place>,
    /// No batch is broken: header, footer or the body's CRC is.
    pub(crate) whole: bool,
}

/// How serving ended.
#[derive(Debug)]
pub(crate) enum Served {
    /// The caller has what it asked for.
    Full,
    /// The segment has no more batches; its last ended before this offset.
    End(i64),
    /// The batch at this place is not held; it takes at least so many bytes.
    More(Place, u64),
    /// No batch at or below the offset is known.
    Unplaced,
    /// A base offset, which no batch's CRC covers, is not what was expected: only the body's CRC
    /// can tell whether it was written so.
    Doubt,
    Fault(Fault),
}

impl Piece {
    /// All bytes of a segment. With `check`, all of it is checked now.
    pub(crate) fn whole(base: i64, version: Version, bytes: Bytes, check: Option<CrcCheck>) -> Self {
        let soundness = match check {
            Some(check) => check_whole(base, &bytes, check),
            None => match check_edges(base, &bytes) {
                Ok(()) => Soundness::Unchecked,
                Err(_) => check_whole(base, &bytes, CrcCheck::Verify),
            },
        };
        let faithful = matches!(soundness, Soundness::Sound);
        let start = Place { offset: base, position: HEADER_LEN as u64 };
        let known = Mutex::new(Known { places: vec![start], faithful, ..Known::default() });
        Piece { base, version, at: 0, bytes, soundness, known }
    }

    /// Bytes from position `at` on, of which a batch starts at `place`. A header among them is
    /// checked.
    pub(crate) fn part(base: i64, version: Version, at: u64, bytes: Bytes, place: Place) -> Self {
        let header = if at == 0 { check_header(base, &bytes) } else { Ok(()) };
        let soundness = match header {
            Ok(()) => Soundness::Unchecked,
            Err(fault) => Soundness::Broken { fault, in_batch: false },
        };
        let known = Mutex::new(Known { places: vec![place], ..Known::default() });
        Piece { base, version, at, bytes, soundness, known }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn size(&self) -> u64 {
        self.version.size()
    }

    /// Whether it is this version of this segment.
    pub(crate) fn is(&self, base: i64, version: &Version) -> bool {
        self.base == base && (self.version.same_as(version) || mutant!(HoldByKeyAlone))
    }

    /// Whether all of the object is held.
    pub(crate) fn is_whole(&self) -> bool {
        self.at == 0 && self.bytes.len() as u64 == self.size()
    }

    /// The object's bytes, when all are held.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where the footer starts.
    fn body_end(&self) -> u64 {
        self.size().saturating_sub(FOOTER_LEN as u64)
    }

    /// The batch's base offset at a position, if its header is held and sound.
    pub(crate) fn base_offset_at(&self, position: u64) -> Option<i64> {
        let from = usize::try_from(position.checked_sub(self.at)?).ok()?;
        BatchHeader::parse(self.bytes.get(from..)?).ok().map(|header| header.base_offset)
    }

    /// A batch is known to start there.
    pub(crate) fn note(&self, place: Place) {
        self.lock().note(place);
    }

    /// The body's CRC is right.
    pub(crate) fn set_faithful(&self) {
        self.lock().faithful = true;
    }

    /// What is wrong with the object outside its batches, once: for a caller who skips.
    pub(crate) fn take_whole_fault(&self) -> Option<Malformed> {
        match &self.soundness {
            Soundness::Broken { fault, in_batch: false } if !std::mem::replace(&mut self.lock().reported, true) => {
                Some(fault.clone())
            }
            _ => None,
        }
    }

    /// Puts batches from the one that holds the gathering's offset on into it. `next` is the base of
    /// the following segment; `lenient` serves what is whole in an object that is not.
    pub(crate) fn serve(&self, gather: &mut Gather, next: Option<i64>, check: CrcCheck, lenient: bool) -> Served {
        let mut known = self.lock();
        let Some(place) = known.place(gather.position()) else { return Served::Unplaced };
        if let (Soundness::Broken { fault, in_batch: false }, false) = (&self.soundness, lenient) {
            let start = Place { offset: self.base, position: HEADER_LEN as u64 };
            return Served::Fault(Fault { malformed: fault.clone(), place: start, resume: None, whole: true });
        }
        let mut walk = Walk { piece: self, gather, known: &mut known, next, check, place, run: None };
        let served = walk.go();
        walk.flush();
        let place = walk.place;
        known.note(place);
        served
    }
}

struct Walk<'a> {
    piece: &'a Piece,
    gather: &'a mut Gather,
    known: &'a mut Known,
    next: Option<i64>,
    check: CrcCheck,
    place: Place,
    /// Bytes that are gathered and not yet handed over.
    run: Option<(usize, usize)>,
}

impl Walk<'_> {
    fn go(&mut self) -> Served {
        let mut steps = 0_usize;
        loop {
            if self.place.position >= self.piece.body_end() {
                return Served::End(self.place.offset);
            }
            if let Some(served) = self.step() {
                return served;
            }
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(PLACE_EVERY) {
                self.known.note(self.place);
            }
        }
    }

    /// One batch.
    fn step(&mut self) -> Option<Served> {
        let Place { offset, position } = self.place;
        let left = usize::try_from(self.piece.body_end().saturating_sub(position)).unwrap_or(usize::MAX);
        let from = position.checked_sub(self.piece.at).and_then(|from| usize::try_from(from).ok());
        let Some((from, rest)) = from.and_then(|from| Some((from, self.piece.bytes.get(from..)?))) else {
            return Some(Served::More(self.place, BATCH_HEADER_LEN as u64));
        };
        let rest = rest.get(..left).unwrap_or(rest);
        if rest.len() < BATCH_HEADER_LEN.min(left) {
            return Some(Served::More(self.place, BATCH_HEADER_LEN as u64));
        }
        let header = match BatchHeader::parse(rest) {
            Ok(header) => header,
            Err(malformed) => return Some(self.fault(malformed, None)),
        };
        let len = header.total_len();
        if len > left {
            let found = format!("a batch of {len} bytes where {left} are left before the footer");
            return Some(self.fault(Malformed::new(8, found, "a whole batch"), None));
        }
        let after = Place { offset: header.next_offset(), position: position.saturating_add(len as u64) };
        if header.base_offset != offset {
            let first = position == HEADER_LEN as u64;
            if first || matches!(self.piece.soundness, Soundness::Broken { .. }) {
                let found = format!("base offset {}", header.base_offset);
                return Some(self.fault(Malformed::new(0, found, format!("{offset}")), None));
            }
            if self.doubts() {
                return Some(Served::Doubt);
            }
        }
        if header.base_offset < offset {
            // KafScale's: passed over, as Kafka's clients do (format.md).
            self.flush();
            self.place.position = after.position;
            return None;
        }
        if after.offset <= self.gather.position() {
            self.place = after;
            return None;
        }
        if !self.gather.has_room(len) {
            return Some(Served::Full);
        }
        let Some(bytes) = rest.get(..len) else { return Some(Served::More(self.place, len as u64)) };
        if self.next.is_some_and(|next| after.offset > next) && self.doubts() {
            return Some(Served::Doubt);
        }
        if self.check == CrcCheck::Verify && !self.is_checked(position, after.position) {
            let computed = crc32c(bytes.get(UNCOVERED..).unwrap_or_default());
            if computed != header.crc {
                let found = format!("batch CRC {:08x}", header.crc);
                let malformed = Malformed::new(17, found, format!("{computed:08x}, which its bytes have"));
                return Some(self.fault(malformed, Some(after)));
            }
            self.known.set_checked(position, after.position);
        }
        let to = from.saturating_add(len);
        self.run = match self.run {
            Some((start, end)) if end == from => Some((start, to)),
            _ => {
                self.flush();
                Some((from, to))
            }
        };
        self.gather.took(len, after.offset);
        self.place = after;
        None
    }

    /// Whether base offsets here are no more than likely.
    fn doubts(&self) -> bool {
        !self.known.faithful && self.check == CrcCheck::Verify
    }

    fn is_checked(&self, from: u64, to: u64) -> bool {
        matches!(self.piece.soundness, Soundness::Sound) || self.known.is_checked(from, to)
    }

    fn flush(&mut self) {
        if let Some((from, to)) = self.run.take() {
            self.gather.hand_over(self.piece.bytes.slice(from..to));
        }
    }

    /// The batch here is broken; `after` is where the next one should be.
    fn fault(&self, malformed: Malformed, after: Option<Place>) -> Served {
        // What the broken header says of its offsets is not believed: the batch behind it says where it
        // begins. Behind the last one only what follows the segment tells.
        let resume = after.and_then(|after| {
            let offset = self.piece.base_offset_at(after.position)?;
            let within = after.position < self.piece.body_end() && offset > self.place.offset;
            within.then_some(Place { offset, position: after.position })
        });
        Served::Fault(Fault {
            malformed: malformed.offset_position(self.place.position),
            place: self.place,
            resume,
            whole: false,
        })
    }
}

impl Known {
    fn place(&self, offset: i64) -> Option<Place> {
        let above = self.places.partition_point(|place| place.offset <= offset);
        above.checked_sub(1).and_then(|i| self.places.get(i)).copied()
    }

    fn note(&mut self, place: Place) {
        if self.places.len() >= MAX_PLACES {
            let mut keep = false;
            self.places.retain(|_| {
                keep = !keep;
                keep
            });
        }
        let index = self.places.partition_point(|known| known.offset < place.offset);
        match self.places.get_mut(index) {
            // An overlapping batch was passed over.
            Some(known) if known.offset == place.offset => known.position = known.position.max(place.position),
            _ => self.places.insert(index, place),
        }
    }

    fn is_checked(&self, from: u64, to: u64) -> bool {
        let above = self.checked.partition_point(|(start, _)| *start <= from);
        above.checked_sub(1).and_then(|i| self.checked.get(i)).is_some_and(|(_, end)| to <= *end)
    }

    fn set_checked(&mut self, from: u64, to: u64) {
        if self.checked.len() >= MAX_CHECKED {
            self.checked.clear();
        }
        let index = self.checked.partition_point(|(start, _)| *start <= from);
        match index.checked_sub(1).and_then(|i| self.checked.get_mut(i)) {
            Some((_, end)) if *end >= from => *end = to.max(*end),
            _ => self.checked.insert(index, (from, to)),
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
    SegmentHeader::parse(bytes).and_then(|header| check_base(base, &header))
}

fn check_base(base: i64, header: &SegmentHeader) -> Result<(), Malformed> {
    if header.base_offset == base {
        return Ok(());
    }
    Err(Malformed::new(8, format!("base offset {}", header.base_offset), format!("{base}, which the key says")))
}

fn check_whole(base: i64, bytes: &Bytes, check: CrcCheck) -> Soundness {
    let parsed = Segment::parse(bytes, check).and_then(|segment| check_base(base, segment.header()));
    match parsed {
        Ok(()) => Soundness::Sound,
        Err(fault) => Soundness::Broken { in_batch: has_broken_batch(base, bytes), fault },
    }
}

/// Whether a batch is broken, or only what is around them.
fn has_broken_batch(base: i64, bytes: &Bytes) -> bool {
    let body_end = bytes.len().saturating_sub(FOOTER_LEN);
    if body_end <= HEADER_LEN {
        return false;
    }
    let body = bytes.slice(..body_end);
    let (mut at, mut offset) = (HEADER_LEN, base);
    while at < body_end {
        match crate::format::Batch::parse(&body, at, CrcCheck::Verify) {
            Ok(batch) if batch.base_offset() == offset => {
                at = at.saturating_add(batch.bytes().len());
                offset = batch.next_offset();
            }
            _ => return true,
        }
    }
    at != body_end
}
