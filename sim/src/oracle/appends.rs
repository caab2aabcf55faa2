//! Appends: what was asked for, what was answered, and whether both fit what is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use kfs_core::{ErrorKind, Offsets, OnConflict, Result, Stored};

use super::chain::Added;
use super::{Content, Image, Judged, Oracle, brief};
use crate::shared::SharedStore;

/// What the caller of an append knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet; or it died before it was told.
    Pending,
    /// Durable at these offsets.
    Acked(i64, i64),
    /// No request that carried it is or can become visible.
    NotStored,
    /// It may be in the log.
    Perhaps,
}

/// A writer as it was opened.
#[derive(Clone, Debug)]
pub(crate) struct WriterFacts {
    /// What a lost slot means to it.
    pub(crate) policy: OnConflict,
    /// The leader epoch that it stamps.
    pub(crate) epoch: Option<i32>,
    /// Why it takes no more appends, once it said so.
    pub(super) dead: Option<String>,
    /// It was told that an append is durable.
    pub(super) acked: bool,
    /// How many slots it may lose in a row.
    most_losses: u32,
    /// It claims.
    asks: bool,
    /// The slots that it lost since it won one, and when.
    lost: Vec<(i64, Duration)>,
    /// The last slot that it won.
    won: Option<i64>,
    /// The first append in its queue that failed.
    pub(super) failed: Option<usize>,
    /// First offsets of what was acked, by the order of the calls.
    pub(super) order: BTreeMap<usize, i64>,
}

#[derive(Clone, Debug)]
pub(super) struct AppendFacts {
    pub(super) writer: usize,
    pub(super) payload: Option<usize>,
    pub(super) content: Content,
    pub(super) outcome: Outcome,
    /// It was taken into the writer's queue.
    pub(super) entered: bool,
    /// Offsets that were said to be final before it was durable.
    pub(super) promised: Option<(i64, i64)>,
}

/// The bytes of one append, or of several that carry the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Payload {
    /// Who may have stored it.
    pub(super) may: usize,
    /// Copies that were ever stored.
    pub(super) copies: usize,
}

impl Oracle {
    /// The number of a writer that is about to be opened.
    pub(crate) fn open(&mut self, policy: OnConflict, epoch: Option<i32>, most_losses: u32) -> usize {
        self.writers.push(WriterFacts {
            policy,
            epoch,
            dead: None,
            acked: false,
            most_losses,
            asks: false,
            lost: Vec::new(),
            won: None,
            failed: None,
            order: BTreeMap::new(),
        });
        self.writers.len() - 1
    }

    /// The number of a payload that is about to be appended.
    pub(crate) fn payload(&mut self) -> usize {
        self.payloads.push(Payload::default());
        self.payloads.len() - 1
    }

    /// The number of an append that is about to be made. Several may carry the same payload.
    pub(crate) fn append(&mut self, writer: usize, payload: Option<usize>, content: Content) -> usize {
        if let Some(payload) = payload {
            self.payloads[payload].may += 1;
        }
        self.writers[writer].asks |= matches!(content, Content::Claim);
        let (outcome, entered, promised) = (Outcome::Pending, false, None);
        self.appends.push(AppendFacts { writer, payload, content, outcome, entered, promised });
        self.appends.len() - 1
    }

    /// Its writer took it: from now on it can fail only as others after it do.
    pub(crate) fn entered(&mut self, append: usize) {
        self.appends[append].entered = true;
    }

    /// What became of an append so far.
    pub(crate) fn outcome(&self, append: usize) -> Outcome {
        self.appends[append].outcome
    }

    /// Its offsets were said to be final.
    pub(crate) fn promised(&mut self, append: usize, offsets: Offsets) -> Judged {
        let now = (offsets.base, offsets.last);
        let facts = &mut self.appends[append];
        match facts.promised.replace(now) {
            Some(before) if before != now => Err(format!("append {append}: final offsets {before:?} became {now:?}")),
            _ => Ok(()),
        }
    }

    /// Its caller was told how it ended.
    pub(crate) fn settled(&mut self, store: &SharedStore, append: usize, result: &Result<Offsets>) -> Judged {
        if self.appends[append].outcome != Outcome::Pending {
            return Err(format!("append {append} was settled twice"));
        }
        match result {
            Ok(offsets) => self.acked(store, append, *offsets),
            Err(error) => self.refused(append, error),
        }
        .map_err(|wrong| format!("append {append} of writer {}: {wrong}", self.appends[append].writer))
    }

    fn acked(&mut self, store: &SharedStore, append: usize, offsets: Offsets) -> Judged {
        let (base, last) = (offsets.base, offsets.last);
        let facts = &self.appends[append];
        let writer = &self.writers[facts.writer];
        if let Some(dead) = &writer.dead {
            return Err(format!("acked after its writer was dead ({dead})"));
        }
        if let Some(failed) = writer.failed.filter(|failed| *failed < append) {
            return Err(format!("acked though append {failed} before it had failed (invariant 4)"));
        }
        if last - base + 1 != facts.content.count() {
            return Err(format!("acked at {base} to {last}, it takes {} offsets", facts.content.count()));
        }
        if facts.promised.is_some_and(|promised| promised != (base, last)) {
            return Err(format!("acked at {base} to {last}, promised were {:?}", facts.promised));
        }
        let Some((slot_base, slot)) = self.chain.slot_of(base).filter(|(_, slot)| last < slot.end) else {
            return Err(format!("acked at {base} to {last}, which no segment holds"));
        };
        let found = self.chain.batches(base, last + 1);
        facts.content.is_at(base, &found, writer.epoch).map_err(|e| format!("acked at {base} to {last}, but {e}"))?;
        let index = self.chain.index_is_right(&self.id, store, slot_base, slot);
        index.map_err(|e| format!("acked at {base}, but {e}"))?;
        let before = self.acked.range(..=last).next_back();
        if let Some((other, (other_last, _))) = before
            && *other_last >= base
        {
            return Err(format!("acked at {base} to {last}, another at {other} to {other_last}"));
        }
        let writer = facts.writer;
        self.acked.insert(base, (last, append));
        self.appends[append].outcome = Outcome::Acked(base, last);
        let writer = &mut self.writers[writer];
        writer.acked = true;
        writer.order.insert(append, base);
        let earlier = writer.order.range(..append).next_back().is_some_and(|(_, other)| *other >= base);
        let later = writer.order.range(append + 1..).next().is_some_and(|(_, other)| *other <= base);
        if earlier || later {
            return Err(format!("acked at {base}, out of the order of the calls"));
        }
        Ok(())
    }

    fn refused(&mut self, append: usize, error: &kfs_core::Error) -> Judged {
        let Some(stored) = error.stored() else {
            return Err(format!("failed without a word of whether it is stored: {}", brief(error)));
        };
        let facts = &mut self.appends[append];
        if facts.entered {
            let writer = &mut self.writers[facts.writer];
            writer.failed = Some(writer.failed.map_or(append, |failed| failed.min(append)));
            if let Some(later) = writer.order.range(append..).next_back() {
                return Err(format!("failed, and append {} after it was acked (invariant 4)", later.0));
            }
        }
        if error.kind() == ErrorKind::Fenced {
            self.writers[facts.writer].dead.get_or_insert_with(|| brief(error));
        }
        if stored == Stored::Perhaps {
            facts.outcome = Outcome::Perhaps;
            return Ok(());
        }
        facts.outcome = Outcome::NotStored;
        let Some(payload) = facts.payload else { return Ok(()) };
        let payload = &mut self.payloads[payload];
        payload.may -= 1;
        if payload.copies > payload.may {
            return Err(format!("said to be not stored ({}), and it is", brief(error)));
        }
        Ok(())
    }

    /// A writer tried a slot that is taken. It may do so a number of times before it is *contended*. And who lost
    /// twice in a row has looked for the tail, so what it tries next was free after that.
    pub(super) fn lost(&mut self, number: usize, base: i64, now: Duration) -> Judged {
        let slot = self.chain.slot(base);
        if slot.is_some_and(|slot| slot.unnamed) {
            // Its name was lost on the way: it may be the writer's own.
            return Ok(());
        }
        let (since, own) = (self.there_since(base), slot.and_then(|slot| slot.writer));
        let Some(writer) = self.writers.get_mut(number) else { return Ok(()) };
        // An earlier try of its own, or a late one.
        let late = writer.won.is_some_and(|won| base <= won) || writer.lost.iter().any(|(lost, _)| *lost >= base);
        if own == Some(number) || late {
            return Ok(());
        }
        let before = writer.lost.last().map(|(_, at)| *at);
        writer.lost.push((base, now));
        // While the owner is asked to yield, losses do not count: a try each 200 ms, for 5 s and once more.
        let spared = if writer.asks || writer.epoch.is_some() { 100 } else { 0 };
        if writer.lost.len() > writer.most_losses as usize + spared {
            return Err(format!("writer {number} lost {} slots in a row, and does not give up", writer.lost.len()));
        }
        match (since, before) {
            (Some(since), Some(before)) if writer.lost.len() > 2 && since < before => Err(format!(
                "writer {number} walks slot by slot: {base} was taken at {since:?}, before it lost another at {before:?}"
            )),
            _ => Ok(()),
        }
    }

    /// A segment came in.
    pub(super) fn stored(&mut self, added: &Added) -> Judged {
        if let Some(writer) = added.writer.and_then(|number| self.writers.get_mut(number)) {
            writer.lost.clear();
            writer.won = writer.won.max(Some(added.base));
        }
        if added.in_chain {
            self.follows(added)?;
        }
        // A create may be applied long after it was sent, in a slot that retention has freed. The mark hides it for ever.
        if added.below_start {
            return Ok(());
        }
        for batch in &added.batches {
            for image in Image::of(batch)? {
                let Some((number, 0)) = image.payload() else { continue };
                let Some(payload) = self.payloads.get_mut(number) else { continue };
                payload.copies += 1;
                if payload.copies > payload.may {
                    return Err(format!(
                        "payload {number} is stored {} times, {} appends of it may be; this copy at {}",
                        payload.copies, payload.may, image.offset
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether its writer may follow the segment before.
    fn follows(&self, added: &Added) -> Judged {
        let Some(writer) = added.writer.and_then(|number| self.writers.get(number)) else { return Ok(()) };
        let Some(before) = &added.before else { return Ok(()) };
        // A store that loses metadata loses the writer's name too.
        let known = before.writer.is_some() || !before.unnamed;
        if writer.policy.is_exclusive() && writer.acked && known && before.writer != added.writer {
            return Err(format!(
                "segment {} of writer {:?}, which had committed, follows one of writer {:?}",
                added.base, added.writer, before.writer
            ));
        }
        if writer.epoch.is_some_and(|epoch| before.epoch > epoch) {
            return Err(format!(
                "segment {} has leader epoch {}, the one before has {}",
                added.base, added.epoch, before.epoch
            ));
        }
        Ok(())
    }
}
