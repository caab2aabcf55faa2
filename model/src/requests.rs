//! What becomes of a request: it acts and is answered, or one of these without the other.

use crate::action::Request;
use crate::model::Run;
use crate::mutation::Mutation;
use crate::reached::Event;
use crate::rules::Rule;
use crate::state::{Answer, Step};
use crate::store::{Content, LogJson, Segment};

impl Run<'_> {
    /// The request acts, if the key is free, and is answered.
    pub(crate) fn answer(&mut self, w: usize, request: Request) {
        let acted = self.act_on_store(w, request);
        self.answered(w, request, if acted { Answer::Yes } else { Answer::Exists });
    }

    /// Nobody waits for the request any more. It may still act.
    pub(crate) fn lose_reply(&mut self, w: usize, request: Request) {
        self.state.left.lost_replies -= 1;
        self.leave_behind(w, request);
        self.answered(w, request, Answer::Unknown);
    }

    pub(crate) fn refuse(&mut self, w: usize, request: Request) {
        self.state.left.refusals -= 1;
        self.answered(w, request, Answer::Refused);
    }

    pub(crate) fn empty_conflict(&mut self, w: usize, request: Request) {
        self.state.left.empty_conflicts -= 1;
        self.answered(w, request, Answer::Exists);
    }

    pub(crate) fn own_conflict(&mut self, w: usize, request: Request) {
        self.state.left.own_conflicts -= 1;
        self.act_on_store(w, request);
        self.answered(w, request, Answer::Exists);
    }

    pub(crate) fn sync_fails(&mut self, w: usize, request: Request, visible: bool) {
        self.state.left.failed_syncs -= 1;
        if visible {
            self.act_on_store(w, request);
        }
        self.answered(w, request, Answer::SyncFailed { visible });
    }

    /// The writer ends while requests of its are on their way.
    pub(crate) fn abandon(&mut self, w: usize) {
        match self.state.writers[w].step {
            Step::AwaitLogJson => self.leave_behind(w, Request::LogJson),
            Step::AwaitPut { segment, index } => {
                if segment == Answer::Awaited {
                    self.leave_behind(w, Request::Segment);
                }
                if index == Answer::Awaited {
                    self.leave_behind(w, Request::Index);
                }
            }
            _ => {}
        }
    }

    fn leave_behind(&mut self, w: usize, request: Request) {
        let (slot, append) = (self.state.writers[w].chain.next, self.state.writers[w].flight.append);
        let wanted = self.wanted(w);
        let store = &mut self.state.store;
        match request {
            Request::LogJson => store.late_log_jsons |= 1 << wanted,
            Request::Segment => store.late_segments.add(slot, append),
            Request::Index => store.late_indexes.add(slot, append),
        }
    }

    fn act_on_store(&mut self, w: usize, request: Request) -> bool {
        let (slot, append) = (self.state.writers[w].chain.next, self.state.writers[w].flight.append);
        match request {
            Request::LogJson => self.create_log_json(self.wanted(w)),
            Request::Segment => self.create_segment(slot, append),
            Request::Index => self.create_index(slot, append),
        }
    }

    fn answered(&mut self, w: usize, request: Request, answer: Answer) {
        if request == Request::LogJson {
            let start_offset = self.wanted(w);
            return match answer {
                Answer::Yes => {
                    self.start_is(w, LogJson { start_offset, made: self.state.store.made });
                }
                _ => self.writer(w).step = Step::ReadLogJson,
            };
        }
        let Step::AwaitPut { mut segment, mut index } = self.state.writers[w].step else { return };
        *(if request == Request::Segment { &mut segment } else { &mut index }) = answer;
        self.writer(w).step = Step::AwaitPut { segment, index };
        if segment != Answer::Awaited && index != Answer::Awaited {
            self.after_put(w, segment, index);
        }
    }

    fn create_log_json(&mut self, start_offset: u8) -> bool {
        let store = &mut self.state.store;
        let free = store.log_json.is_none();
        if free {
            store.log_json = Some(LogJson { start_offset, made: store.made });
        }
        free
    }

    fn create_segment(&mut self, slot: u8, append: u8) -> bool {
        if !Self::has_slot(slot) {
            return false;
        }
        let free = self.state.store.slot(slot).segment.is_none();
        if !free && !self.mutated(Mutation::OverwriteInsteadOfCreate) {
            return false;
        }
        let store = &self.state.store;
        let ghost = slot < store.mark || store.list(slot).any(|(base, _)| base > slot);
        let before = store.list(0).take_while(|(base, _)| *base < slot).last();
        let follows_wrong_index =
            before.is_some_and(|(base, segment)| store.slot(base).index != segment.content) && !ghost;
        let epoch = self.config.epoch(append);
        let epoch_before = before.and_then(|(_, segment)| segment.content.epoch(self.config));
        if follows_wrong_index {
            self.breaks(Rule::IndexBeforeNext);
        }
        if !ghost && epoch.is_some() && epoch < epoch_before {
            self.breaks(Rule::EpochsNeverFall);
        }
        if ghost {
            self.reach(Event::GhostLanded);
        } else {
            self.state.kept |= 1 << append;
        }
        let content = Content::of(append);
        self.state.store.slot_mut(slot).segment =
            Some(Segment { content, merged: false, replaced: None, old: false, ghost });
        true
    }

    fn create_index(&mut self, slot: u8, append: u8) -> bool {
        if !Self::has_slot(slot) {
            return false;
        }
        let index = &mut self.state.store.slot_mut(slot).index;
        let free = index.is_none();
        if free {
            *index = Content::of(append);
        }
        free
    }

    pub(crate) fn land_segment(&mut self, slot: u8, append: u8) {
        self.state.store.late_segments.remove(slot, append);
        if self.create_segment(slot, append) {
            self.reach(Event::LandedLate);
            let writer = self.config.writer_of(append).map(|w| self.state.writers[w]);
            if writer.is_some_and(|writer| writer.flight.append != append) {
                self.reach(Event::LandedOfFormerOwner);
            }
        }
    }

    pub(crate) fn land_index(&mut self, slot: u8, append: u8) {
        self.state.store.late_indexes.remove(slot, append);
        self.create_index(slot, append);
    }

    pub(crate) fn land_log_json(&mut self, start_offset: u8) {
        self.state.store.late_log_jsons &= !(1 << start_offset);
        self.create_log_json(start_offset);
    }
}
