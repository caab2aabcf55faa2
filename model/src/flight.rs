//! `slot.rs` and `look.rs` of the writer: one segment on its way into one slot.

use crate::config::OFFSETS;
use crate::model::Run;
use crate::mutation::Mutation;
use crate::reached::Event;
use crate::state::{Answer, Fate, Listed, Step, Try, Writer};
use crate::store::Content;

/// `Look` in the code.
enum Look {
    Clear,
    Next { version: Content, alone: bool },
    Moved,
}

/// `Held` in the code.
enum Held {
    Ours,
    Absent,
    Merged,
    Unknown,
    Other(Content),
}

impl Run<'_> {
    /// `look`: one LIST from the previous segment.
    fn look(&self, w: usize) -> Look {
        let chain = &self.state.writers[w].chain;
        let store = &self.state.store;
        let mut segments = store.list(chain.previous.map_or(0, |previous| previous.base));
        match chain.previous {
            Some(previous) => {
                let found = segments.next();
                if !found.is_some_and(|(base, s)| base == previous.base && s.content == previous.version) {
                    return Look::Moved;
                }
            }
            None => {
                let same = store.log_json == chain.log_json || self.mutated(Mutation::LookWithoutLogJson);
                if !same || store.mark > chain.next {
                    return Look::Moved;
                }
            }
        }
        match (segments.next(), segments.next()) {
            (None, _) => Look::Clear,
            (Some((base, found)), rest) if base == chain.next => {
                Look::Next { version: found.content, alone: rest.is_none() }
            }
            _ => Look::Moved,
        }
    }

    /// The look of a writer that has not seen the tail for longer than the bound.
    pub(crate) fn look_before(&mut self, w: usize) {
        let flight = self.state.writers[w].flight;
        match self.look(w) {
            Look::Clear => {
                self.reach(Event::LookBeforeClear);
                self.writer(w).chain.stale = false;
            }
            Look::Next { alone: true, version } if flight.first_try.is_some() => {
                self.writer(w).step = Step::Inspect { listed: Some(Listed { version, stale: false }) };
            }
            Look::Next { .. } | Look::Moved => self.gone_or_perhaps(w),
        }
    }

    fn gone_or_perhaps(&mut self, w: usize) {
        if self.state.writers[w].flight.may_have_landed {
            self.fail_for_good(w, Fate::Perhaps);
        } else {
            self.gone(w);
        }
    }

    /// Sends segment and index together.
    pub(crate) fn put(&mut self, w: usize) {
        let flight = &mut self.writer(w).flight;
        flight.first_try.get_or_insert(Try::Fresh);
        flight.was_unsure = flight.may_have_landed;
        flight.may_have_landed = true;
        flight.sent_is_stale = false;
        let index = if flight.index_done { Answer::Exists } else { Answer::Awaited };
        self.writer(w).step = Step::AwaitPut { segment: Answer::Awaited, index };
    }

    /// Both answers are in.
    pub(crate) fn after_put(&mut self, w: usize, segment: Answer, index: Answer) {
        let store_repeats = !self.config.single_attempt && !self.mutated(Mutation::ConflictIsCertain);
        let forgets = self.mutated(Mutation::FailedIndexSyncForgets);
        let flight = &mut self.state.writers[w].flight;
        let unsure = flight.was_unsure && self.config.mutation != Some(Mutation::ForgetEarlierTries);
        match index {
            Answer::Yes => flight.index_done = true,
            Answer::Exists => flight.index_done |= self.config.mutation == Some(Mutation::IndexConflictIsOurs),
            Answer::SyncFailed { .. } => {
                let lands = !matches!(segment, Answer::Exists | Answer::Refused);
                flight.may_have_landed = lands || unsure && !forgets;
                return self.failed(w);
            }
            Answer::Refused | Answer::Unknown | Answer::Awaited => {}
        }
        let may_move = self.mutated(Mutation::MoveUnsureTry) && segment == Answer::Unknown;
        let flight = &mut self.state.writers[w].flight;
        match segment {
            Answer::Yes => return self.won(w),
            Answer::Exists => {
                flight.may_have_landed = unsure || store_repeats;
                self.writer(w).step = Step::Inspect { listed: None };
            }
            Answer::Refused => {
                flight.may_have_landed = unsure;
                self.writer(w).step = Step::Fly;
            }
            Answer::SyncFailed { visible } => {
                flight.may_have_landed = unsure || visible;
                return self.failed(w);
            }
            Answer::Unknown | Answer::Awaited => self.writer(w).step = Step::Fly,
        }
        if may_move {
            self.writer(w).step = Step::Reopen;
        }
    }

    /// `inspect`: the slot is taken. By whom?
    pub(crate) fn inspect(&mut self, w: usize) {
        let Writer { step, chain, flight, .. } = self.state.writers[w];
        let Step::Inspect { listed } = step else { return };
        let found = self.state.store.slot(chain.next).segment.map(|segment| segment.content);
        if listed.is_some_and(|listed| found != Some(listed.version)) && !self.mutated(Mutation::AnySegmentIsTheListed)
        {
            // Not what the LIST saw, so the LIST was no sight of the tail: look again.
            self.reach(Event::SlotChangedWithinLook);
            self.writer(w).step = Step::Fly;
            return;
        }
        let first_is_stale = flight.first_try != Some(Try::Fresh);
        match self.identify(w) {
            Held::Ours => {
                self.reach(if listed.is_some() { Event::OursByLook } else { Event::OursByConflict });
                self.looked(w, listed);
                // An earlier try won, and others may have followed it before this one was sent.
                self.writer(w).flight.sent_is_stale = listed.is_some() || first_is_stale;
                self.won(w);
            }
            Held::Absent => {
                self.reach(Event::ConflictKeptNothing);
                self.looked(w, listed);
                let flight = &mut self.writer(w).flight;
                flight.may_have_landed = true;
                flight.empty_conflicts += 1;
                if flight.empty_conflicts >= self.config.most_empty_conflicts {
                    return self.fail_for_good(w, Fate::Perhaps);
                }
                self.writer(w).step = Step::Fly;
            }
            Held::Unknown => {
                self.reach(Event::OutcomeUnknown);
                self.fail_for_good(w, Fate::Perhaps);
            }
            Held::Merged if flight.may_have_landed && !self.mutated(Mutation::MergedIsLost) => {
                self.reach(Event::MergedBeforeKnown);
                self.fail_for_good(w, Fate::Perhaps);
            }
            Held::Other(_) if self.state.writers[w].flight.may_have_landed => {
                self.reach(Event::OutcomeUnknown);
                self.fail_for_good(w, Fate::Perhaps);
            }
            Held::Merged => self.rival(w, listed, None),
            Held::Other(content) => self.rival(w, listed, Some(content)),
        }
    }

    fn identify(&mut self, w: usize) -> Held {
        let Writer { chain, flight, .. } = self.state.writers[w];
        let Some(segment) = self.state.store.slot(chain.next).segment else { return Held::Absent };
        let ours = Content::of(flight.append);
        let same_size = segment.content.size(self.config) == ours.size(self.config);
        let taken_for_ours = self.mutated(Mutation::ConflictIsOurs)
            || self.mutated(Mutation::EqualBytesAreOurs) && !segment.merged && same_size;
        if taken_for_ours || self.config.keeps_metadata && segment.content == ours {
            Held::Ours
        } else if segment.merged {
            Held::Merged
        } else if segment.content == ours {
            Held::Unknown
        } else {
            // A slot is won once: ours is not there and can't be, unless so much time has passed that it
            // may have been removed and won again.
            self.writer(w).flight.may_have_landed &= flight.first_try != Some(Try::Fresh);
            Held::Other(segment.content)
        }
    }

    /// Within `look_before` the LIST counts as the look, as of then.
    fn looked(&mut self, w: usize, listed: Option<Listed>) {
        if let Some(listed) = listed {
            self.writer(w).chain.stale = listed.stale;
        }
    }

    fn rival(&mut self, w: usize, listed: Option<Listed>, found: Option<Content>) {
        if listed.is_some() {
            return self.gone_or_perhaps(w);
        }
        let Writer { chain, flight, .. } = self.state.writers[w];
        if self.mutated(Mutation::LoserWritesIndex) {
            self.state.store.slot_mut(chain.next).index = Content::of(flight.append);
        }
        self.lost(w, found);
    }

    /// The segment is in.
    fn won(&mut self, w: usize) {
        let flight = &mut self.state.writers[w].flight;
        flight.may_have_landed = true;
        let ready = flight.index_done || self.config.mutation == Some(Mutation::AckBeforeIndex);
        self.writer(w).step = if ready { Step::Settle } else { Step::FinishIndex };
    }

    /// The index must be in before it is acked. It is written over what is there, so the slot must be
    /// known to be ours still: after the bound the look comes first.
    pub(crate) fn finish_index(&mut self, w: usize) {
        let Writer { chain, flight, .. } = self.state.writers[w];
        let slot = self.state.store.slot_mut(chain.next);
        if !slot.index.is_none() && slot.index != Content::of(flight.append) {
            self.reached.count(Event::IndexOverwritten);
        }
        slot.index = Content::of(flight.append);
        self.writer(w).flight.index_done = true;
        self.writer(w).step = Step::Settle;
    }

    /// The segment is in and its index can't be written: poisoned.
    pub(crate) fn index_refused(&mut self, w: usize) {
        self.state.left.refusals -= 1;
        self.reach(Event::Poisoned);
        self.failed(w);
    }

    /// The look after a try that took longer than the bound. The log going on after the own segment is
    /// no sight of the tail: what the next slot held may be gone. So the time of the last look stays.
    pub(crate) fn look_after(&mut self, w: usize) {
        let append = self.state.writers[w].flight.append;
        match self.look(w) {
            Look::Next { version, alone } if version == Content::of(append) => {
                self.reach(if alone { Event::LookAfterOk } else { Event::LookAfterBuiltUpon });
                let counts = alone || self.mutated(Mutation::LookAfterCountsBeyondOwn);
                let writer = self.writer(w);
                (writer.chain.stale, writer.flight.sent_is_stale) = (!counts, !counts);
                // Who built upon it made its index right.
                if alone && self.state.writers[w].step == Step::FinishIndex {
                    return;
                }
                self.ack(w);
            }
            _ => {
                self.reach(Event::LookAfterFenced);
                self.fail_for_good(w, Fate::Perhaps);
            }
        }
    }

    /// `failed`: over, with what is known of the bytes.
    fn failed(&mut self, w: usize) {
        let perhaps = self.state.writers[w].flight.may_have_landed;
        self.fail_for_good(w, if perhaps { Fate::Perhaps } else { Fate::NotStored });
    }

    /// `gave_up`: the close deadline passed; what is on its way stays on its way.
    pub(crate) fn give_up(&mut self, w: usize) {
        self.state.left.give_ups -= 1;
        self.abandon(w);
        let Writer { step, flight, .. } = self.state.writers[w];
        let before_the_flight = matches!(
            step,
            Step::Reopen | Step::ReadNewest { .. } | Step::FixStart | Step::AwaitLogJson | Step::ReadLogJson
        );
        let perhaps = flight.may_have_landed && !before_the_flight;
        self.fail_for_good(w, if perhaps { Fate::Perhaps } else { Fate::NotStored });
    }

    /// The process ends. What was never sent is appended again by the next one; of the rest nobody knows.
    pub(crate) fn crash(&mut self, w: usize) {
        self.state.left.crashes -= 1;
        self.reach(Event::Crashed);
        self.abandon(w);
        let flight = self.state.writers[w].flight;
        let sent = flight.first_try.is_some();
        self.state.fates[usize::from(flight.append)] = if sent { Fate::Perhaps } else { Fate::Unsent };
        self.writer(w).begun -= u8::from(!sent);
        self.close(w);
    }

    /// Whether a slot is one that the model has.
    pub(crate) fn has_slot(slot: u8) -> bool {
        usize::from(slot) < OFFSETS
    }
}
