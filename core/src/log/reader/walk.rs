//! Serving batches from the bytes that are held.

use super::gather::{ChunkAt, Gather};
use super::span::BlockSpan;
use crate::format::{BATCH_HEADER_LEN, BatchHeader, CrcCheck, HEADER_LEN, Malformed, crc32c};
use crate::log::cache::{BatchStart, Soundness};
use crate::mutant::mutant;
use crate::text::counted;

/// The bytes of a batch's header that its CRC does not cover.
const UNCOVERED: usize = 21;
/// Batches between two places that are kept, so that the next lookup walks no further.
const PLACE_EVERY: usize = 64;

/// A broken place.
#[derive(Clone, Debug)]
pub(crate) struct ReadFault {
    pub(crate) malformed: Malformed,
    /// The batch that is broken, by where and at which offset it should be.
    pub(crate) place: BatchStart,
    /// Where reading can go on in the segment.
    pub(crate) resume: Option<BatchStart>,
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
    /// The batch at this place is not held; it takes at least this many bytes.
    More(BatchStart, u64),
    /// No batch at or below the offset is known.
    Unplaced,
    /// A base offset, which no batch's CRC covers, is not what was expected: only the body's CRC
    /// can tell whether it was written so.
    Doubt,
    Fault(ReadFault),
}

impl BlockSpan {
    /// Puts batches from the one that holds the gathering's offset on into it. `next` is the base of
    /// the following segment; `lenient` serves what is whole in an object that is not.
    pub(crate) fn serve(&mut self, gather: &mut Gather, next: Option<i64>, check: CrcCheck, lenient: bool) -> Served {
        let Some(place) = self.place(gather.position()) else { return Served::Unplaced };
        if let (Soundness::Broken { fault, in_batch: false }, false) = (self.first().soundness(check), lenient) {
            let start = BatchStart::first(self.base());
            return Served::Fault(ReadFault { malformed: fault.clone(), place: start, resume: None, whole: true });
        }
        if !self.has_body() && !mutant!(TakeNoBatchForTheEnd) {
            // A footer says where a segment ends; of one without a batch nothing does.
            let found = format!("a segment of {}", counted(self.size(), "byte"));
            let malformed = Malformed::new(0, found, "a header, at least one batch, and a footer");
            return Served::Fault(ReadFault {
                malformed,
                place: BatchStart::first(self.base()),
                resume: None,
                whole: true,
            });
        }
        let mut walk = SpanWalk::new(self, gather, next, check, place);
        let served = walk.go();
        let (index, place) = walk.end();
        // The last batch may reach into the next blocks.
        for block in (index..).map_while(|index| self.block(index)).take_while(|block| block.at() < place.position) {
            block.set_served(place.position);
        }
        self.note(place);
        served
    }
}

/// Goes over the batches of a span.
struct SpanWalk<'a> {
    span: &'a BlockSpan,
    gather: &'a mut Gather,
    next: Option<i64>,
    check: CrcCheck,
    /// All of the object was checked.
    sound: bool,
    /// Base offsets are no more than likely.
    doubts: bool,
    broken: bool,
    place: BatchStart,
    /// The block that holds the place.
    index: usize,
    /// Bytes of that block that are gathered and not yet handed over.
    run: Option<(usize, usize)>,
}

impl<'a> SpanWalk<'a> {
    fn new(span: &'a BlockSpan, gather: &'a mut Gather, next: Option<i64>, check: CrcCheck, place: BatchStart) -> Self {
        let soundness = span.first().soundness(check);
        let sound = matches!(soundness, Soundness::Sound);
        SpanWalk {
            span,
            gather,
            next,
            check,
            sound,
            doubts: !span.is_faithful() && !sound && check == CrcCheck::Verify,
            broken: matches!(soundness, Soundness::Broken { .. }),
            place,
            index: span.locate(0, place.position).map_or(0, |(index, _)| index),
            run: None,
        }
    }

    /// Serves batches until one is not held.
    fn go(&mut self) -> Served {
        let served = self.serve();
        self.flush();
        served
    }

    /// Where it ended, and in which block.
    fn end(&self) -> (usize, BatchStart) {
        (self.index, self.place)
    }

    fn serve(&mut self) -> Served {
        let mut steps = 0_usize;
        loop {
            if self.place.position >= self.span.body_end() {
                return Served::End(self.place.offset);
            }
            if self.gather.is_full() {
                return Served::Full;
            }
            if let Some(served) = self.step() {
                return served;
            }
            steps += 1;
            if steps.is_multiple_of(PLACE_EVERY) {
                self.note();
            }
        }
    }

    fn note(&self) {
        if let Some(block) = self.span.block(self.index).filter(|block| self.place.position < block.end()) {
            block.note(self.place);
        }
    }

    /// Goes to the block that holds the place; where in it.
    fn enter(&mut self) -> Option<usize> {
        let (index, from) = self.span.locate(self.index, self.place.position)?;
        if index > self.index {
            self.flush();
            for passed in self.index..index {
                if let Some(block) = self.span.block(passed) {
                    block.set_served(block.end());
                }
            }
            self.index = index;
            self.note();
        }
        Some(from)
    }

    /// One batch.
    fn step(&mut self) -> Option<Served> {
        let span = self.span;
        let BatchStart { offset, position } = self.place;
        let left = usize::try_from(span.body_end() - position).unwrap_or(usize::MAX);
        let more = |bytes: usize| Some(Served::More(BatchStart { offset, position }, bytes as u64));
        let Some(from) = self.enter() else { return more(BATCH_HEADER_LEN) };
        let Some(rest) = span.block(self.index).and_then(|block| block.bytes().get(from..)) else {
            return more(BATCH_HEADER_LEN);
        };
        let rest = rest.get(..left).unwrap_or(rest);
        let parsed = if rest.len() >= BATCH_HEADER_LEN.min(left) {
            BatchHeader::parse(rest)
        } else {
            let Some(joined) = span.bytes(position, BATCH_HEADER_LEN.min(left)) else { return more(BATCH_HEADER_LEN) };
            BatchHeader::parse(&joined)
        };
        let header = match parsed {
            Ok(header) => header,
            Err(malformed) => return Some(self.fault(malformed, None)),
        };
        // A length that reaches into the footer can't be followed: nothing after it is a batch.
        let len = header.total_len();
        if len > left {
            let found = format!("a batch of {len} bytes where {left} are left before the footer");
            return Some(self.fault(Malformed::new(8, found, "a whole batch"), None));
        }
        let after = BatchStart { offset: header.next_offset(), position: position + len as u64 };
        // No batch's CRC covers its base offset. The key vouches for the first one's; of a segment that is known to be
        // broken no other is believed; else the body's CRC must tell.
        if header.base_offset != offset {
            let first = position == HEADER_LEN as u64;
            if first || self.broken {
                let found = format!("base offset {}", header.base_offset);
                return Some(self.fault(Malformed::new(0, found, format!("{offset}")), None));
            }
            if self.doubts {
                return Some(Served::Doubt);
            }
        }
        if header.base_offset < offset {
            // KafScale's: passed over, as Kafka's clients do (format.md).
            self.flush();
            self.place.position = after.position;
            return None;
        }
        // Batches below the wanted offset are passed over by their headers, and their CRCs are not compared.
        let late = i64::from(mutant!(StartOneBatchLate));
        if after.offset <= self.gather.position().saturating_add(late) {
            self.place = after;
            return None;
        }
        // Room is asked for before the bytes: what does not fit is not read.
        if !self.gather.has_room(len) {
            return Some(Served::Full);
        }
        let (bytes, joined) = match rest.get(..len) {
            Some(bytes) => (bytes, None),
            None => match span.bytes(position, len) {
                Some(joined) => (rest, Some(joined)),
                None => return more(len),
            },
        };
        // A batch that ends beyond the next segment's base claims offsets of that one, too.
        if self.next.is_some_and(|next| after.offset > next) && self.doubts {
            return Some(Served::Doubt);
        }
        if self.check == CrcCheck::Verify
            && !self.sound
            && let Err(malformed) = self.verify(joined.as_deref().unwrap_or(bytes), header.crc, joined.is_some())
        {
            return Some(self.fault(malformed, Some(after)));
        }
        // Batches back to back in one block leave as one slice; one that lies in several blocks leaves as its own copy.
        match joined {
            Some(joined) => {
                self.flush();
                let at = ChunkAt { segment: span.base(), position };
                self.gather.hand_over(joined, Some(at));
            }
            None => self.extend(from, from + len),
        }
        self.gather.took(len, after.offset);
        self.place = after;
        None
    }

    /// Compares a batch's CRC with its bytes. That of one that lies in several blocks is compared each
    /// time: the blocks may have come at different times.
    fn verify(&self, bytes: &[u8], crc: u32, joined: bool) -> std::result::Result<(), Malformed> {
        let (from, to) = (self.place.position, self.place.position + bytes.len() as u64);
        let block = self.span.block(self.index).filter(|_| !joined);
        if block.is_some_and(|block| block.is_checked(from, to)) {
            return Ok(());
        }
        let computed = crc32c(bytes.get(UNCOVERED..).unwrap_or_default());
        if computed != crc {
            let found = format!("batch CRC {crc:08x}");
            return Err(Malformed::new(17, found, format!("{computed:08x}, which its bytes have")));
        }
        if let Some(block) = block {
            block.set_checked(from, to);
        }
        Ok(())
    }

    fn extend(&mut self, from: usize, to: usize) {
        self.run = match self.run {
            Some((start, end)) if end == from => Some((start, to)),
            _ => {
                self.flush();
                Some((from, to))
            }
        };
    }

    fn flush(&mut self) {
        if let (Some((from, to)), Some(block)) = (self.run.take(), self.span.block(self.index)) {
            let at = ChunkAt { segment: self.span.base(), position: block.at() + from as u64 };
            self.gather.hand_over(block.bytes().slice(from..to), Some(at));
        }
    }

    /// The batch here is broken; `after` is where the next one should be.
    fn fault(&self, malformed: Malformed, after: Option<BatchStart>) -> Served {
        // What the broken header says of its offsets is not believed: the batch after it says where it
        // begins. After the last one, only what follows the segment tells.
        let resume = after.and_then(|after| {
            let offset = self.span.base_offset_at(after.position)?;
            let within = after.position < self.span.body_end() && offset > self.place.offset;
            within.then_some(BatchStart { offset, position: after.position })
        });
        Served::Fault(ReadFault {
            malformed: malformed.offset_position(self.place.position),
            place: self.place,
            resume,
            whole: false,
        })
    }
}
