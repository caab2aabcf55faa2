//! `open.rs`, `start.rs` and `commit.rs` of the writer: opening, the first slot, what a lost slot means.

use crate::action::may_move;
use crate::config::Policy;
use crate::model::Run;
use crate::mutation::Mutation;
use crate::reached::Event;
use crate::rules::Rule;
use crate::state::{Chain, Fate, Flight, Previous, Step, Writer};
use crate::store::{Content, LogJson};

impl Run<'_> {
    pub(crate) fn writer(&mut self, w: usize) -> &mut Writer {
        &mut self.state.writers[w]
    }

    fn policy(&self, w: usize) -> Policy {
        self.config.writers[w].policy
    }

    fn may_move(&self, w: usize) -> bool {
        may_move(self.config, self.policy(w), self.state.writers[w].chain.committed)
    }

    /// `Chain::offsets_final`.
    fn offsets_final(&self, w: usize) -> bool {
        let chain = &self.state.writers[w].chain;
        match self.policy(w) {
            Policy::Takeover => chain.committed,
            Policy::Fence => chain.fixed,
            Policy::Rebase => false,
        }
    }

    /// `obey`: any start offset but the one that is fixed is a conflict.
    fn obeys(&self, w: usize, fixed: u8) -> bool {
        self.config.writers[w].start_offset.is_none_or(|asked| asked == fixed)
    }

    /// `find`: the listing. From `open_chain`, or from `reopen` within a commit.
    pub(crate) fn find(&mut self, w: usize) {
        let reopens = self.state.writers[w].step == Step::Reopen;
        if !reopens {
            self.writer(w).opened += 1;
        }
        let store = &self.state.store;
        let first = store.list(0).next().map(|(base, _)| base);
        let fixed = store.log_json.map(|log_json| log_json.start_offset).or(first);
        if !fixed.is_none_or(|fixed| self.obeys(w, fixed)) {
            self.reach(Event::StartConflict);
            return self.fail_for_good(w, Fate::NotStored);
        }
        let (newest, log_json) = (store.newest(), store.log_json);
        if let Some(base) = newest {
            self.writer(w).step = Step::ReadNewest { base, stale: false, follows: false };
            return;
        }
        // `find_empty`
        let committed = reopens && self.state.writers[w].chain.committed;
        let next = log_json.map_or(0, |log_json| log_json.start_offset);
        self.writer(w).chain =
            Chain { fixed: log_json.is_some(), next, previous: None, log_json, stale: false, committed };
        self.opened(w);
    }

    /// `adopt`: one GET of the newest segment, or of the one that won a lost slot; the checks, the index.
    pub(crate) fn read_newest(&mut self, w: usize) {
        let writer = self.state.writers[w];
        let Step::ReadNewest { base, stale, follows } = writer.step else { return };
        let reopens = writer.flight.append != 0;
        let Some(segment) = self.state.store.slot(base).segment else {
            // It vanished between the listing and the read.
            if reopens {
                self.writer(w).step = Step::Reopen;
            } else {
                self.writer(w).step = Step::Closed;
                self.writer(w).opened -= 1;
            }
            return;
        };
        if !self.epoch_allows(w, segment.content) {
            return self.fail_for_good(w, Fate::NotStored);
        }
        let skips = if follows { Mutation::FollowWithoutIndex } else { Mutation::OpenWithoutIndex };
        if !self.mutated(skips) {
            self.make_index_right(base, segment.content);
        }
        if follows && segment.merged {
            // Merged since it was lost: what follows it must be found as an opening does.
            self.writer(w).step = Step::Reopen;
            return;
        }
        let previous = Some(Previous { base, version: segment.content });
        let next = base + segment.content.size(self.config);
        let committed = reopens && writer.chain.committed;
        self.writer(w).chain = Chain { fixed: true, next, previous, log_json: None, stale, committed };
        self.opened(w);
    }

    /// `repair_index`.
    pub(crate) fn make_index_right(&mut self, base: u8, content: Content) {
        if self.state.store.slot(base).index != content {
            self.reach(Event::IndexRepaired);
            self.state.store.slot_mut(base).index = content;
        }
    }

    /// `check_epoch`.
    fn epoch_allows(&self, w: usize, content: Content) -> bool {
        let Some(ours) = self.config.writers[w].leader_epoch else { return true };
        let higher = content.epoch(self.config).is_some_and(|epoch| epoch > ours);
        if higher {
            self.reach(Event::FencedByEpoch);
        }
        !higher || self.mutated(Mutation::IgnoreLeaderEpoch)
    }

    fn opened(&mut self, w: usize) {
        if self.state.writers[w].flight.append != 0 { self.new_flight(w) } else { self.next_append(w) }
    }

    /// Takes the next append into a flight (`Next::Flush`), or rests.
    fn next_append(&mut self, w: usize) {
        let told = self.offsets_final(w).then_some(self.state.writers[w].chain.next);
        let (all, append) = (self.config.writers[w].appends, self.config.append(w, self.state.writers[w].begun));
        let writer = self.writer(w);
        writer.losses = 0;
        if writer.begun == all {
            (writer.step, writer.chain, writer.flight) = (Step::Idle, Chain::default(), Flight::default());
            return;
        }
        writer.begun += 1;
        writer.flight = Flight { append, told, ..Flight::default() };
        self.state.fates[usize::from(append)] = Fate::InFlight;
        self.new_flight(w);
    }

    /// The head of the loop in `commit`: `fix_start`, then `Flight::new`.
    pub(crate) fn new_flight(&mut self, w: usize) {
        let writer = self.writer(w);
        writer.flight = Flight { append: writer.flight.append, told: writer.flight.told, ..Flight::default() };
        writer.step = if writer.chain.fixed { Step::Fly } else { Step::FixStart };
    }

    /// `fix_start` sends its create.
    pub(crate) fn fix_start(&mut self, w: usize) {
        if self.mutated(Mutation::SkipLogJson) {
            let wanted = self.wanted(w);
            return self.start_is(w, LogJson { start_offset: wanted, made: 0 });
        }
        self.writer(w).step = Step::AwaitLogJson;
    }

    pub(crate) fn wanted(&self, w: usize) -> u8 {
        self.config.writers[w].start_offset.unwrap_or(0)
    }

    /// `fix_start` reads what is there after anything but a success.
    pub(crate) fn read_log_json(&mut self, w: usize) {
        match self.state.store.log_json {
            Some(log_json) => {
                self.reach(Event::LogJsonObeyed);
                self.start_is(w, log_json);
            }
            None => self.writer(w).step = Step::FixStart,
        }
    }

    pub(crate) fn start_is(&mut self, w: usize, log_json: LogJson) {
        if !self.obeys(w, log_json.start_offset) {
            self.reach(Event::StartConflict);
            return self.fail_for_good(w, Fate::NotStored);
        }
        let chain = &mut self.writer(w).chain;
        (chain.fixed, chain.next, chain.log_json) = (true, log_json.start_offset, Some(log_json));
        self.writer(w).step = Step::Fly;
    }

    /// `SlotEnd::Lost`. `found`: the rival's segment, `None` if it is a merged one.
    pub(crate) fn lost(&mut self, w: usize, found: Option<Content>) {
        if !self.may_move(w) {
            self.reach(if self.state.writers[w].chain.committed {
                Event::FencedAfterCommit
            } else {
                Event::FencedAtFirstLoss
            });
            return self.fail_for_good(w, Fate::NotStored);
        }
        if found.is_none() {
            self.reach(Event::ReopenedBehindMerged);
        }
        self.give_way(w, found.is_none());
    }

    /// `give_way`: finds where the log goes on, unless it is *contended*. `jump` is modelled as `reopen`: both
    /// list the tail and read the newest segment.
    fn give_way(&mut self, w: usize, gone: bool) {
        let most = self.config.most_losses;
        let writer = self.writer(w);
        writer.losses += 1;
        let losses = writer.losses;
        if losses >= most {
            self.reach(Event::Contended);
            return self.fail_for_good(w, Fate::NotStored);
        }
        if gone || losses > 1 {
            if !gone {
                self.reach(Event::Jumped);
            }
            self.writer(w).step = Step::Reopen;
        } else {
            self.follow(w);
        }
    }

    /// `SlotEnd::Gone`: the look says that the log went elsewhere.
    pub(crate) fn gone(&mut self, w: usize) {
        if self.may_move(w) {
            self.reach(Event::ReopenedAfterLook);
            self.give_way(w, true);
        } else {
            self.reach(Event::FencedByLook);
            self.fail_for_good(w, Fate::NotStored);
        }
    }

    /// `follow`: goes on after the segment that won the slot. Its GET is no look at the tail: what came
    /// after it may have been there, and be gone. So the time of the last look stays.
    fn follow(&mut self, w: usize) {
        self.reach(Event::Followed);
        let counts = self.mutated(Mutation::FollowCountsAsLook);
        let writer = self.writer(w);
        let stale = writer.chain.stale && !counts;
        writer.step = Step::ReadNewest { base: writer.chain.next, stale, follows: true };
    }

    /// The flush is durable: `commit` returns, `settle` tells the waiters.
    pub(crate) fn ack(&mut self, w: usize) {
        let Writer { chain, flight, .. } = self.state.writers[w];
        let (base, content) = (chain.next, Content::of(flight.append));
        if self.state.kept >> flight.append & 1 == 0 {
            self.breaks(Rule::NoPast);
        }
        if self.state.writers[w].failed {
            self.breaks(Rule::NoAckAfterFailure);
        }
        if flight.told.is_some_and(|told| told != base) {
            self.breaks(Rule::FinalOffsets);
        }
        self.count_ack(w);
        self.state.fates[usize::from(flight.append)] = Fate::Acked(base);
        let next = base + content.size(self.config);
        let previous = Some(Previous { base, version: content });
        self.writer(w).chain =
            Chain { fixed: true, next, previous, log_json: None, stale: flight.sent_is_stale, committed: true };
        self.next_append(w);
    }

    fn count_ack(&self, w: usize) {
        let Writer { chain, flight, .. } = self.state.writers[w];
        if flight.was_unsure {
            self.reach(Event::AckedAfterLostReply);
        }
        // Another owner that has committed is alive and does not know yet.
        let mut owners = (0..self.config.writers.len()).filter(|other| {
            *other != w && self.policy(*other) != Policy::Rebase && self.state.writers[*other].chain.committed
        });
        if !chain.committed && owners.next().is_some() {
            self.reach(Event::TookOver);
        }
    }

    /// `settle` of a flush that failed: whyever it did, the writer is over.
    pub(crate) fn fail_for_good(&mut self, w: usize, fate: Fate) {
        self.told(w, fate);
        let goes_on = self.mutated(Mutation::GoOnAfterFailedFlush) && self.state.writers[w].flight.append != 0;
        if goes_on { self.next_append(w) } else { self.close(w) }
    }

    fn told(&mut self, w: usize, fate: Fate) {
        let append = self.state.writers[w].flight.append;
        if append != 0 {
            self.reach(if fate == Fate::Perhaps { Event::PerhapsStored } else { Event::NotStored });
            let fate =
                if fate == Fate::Perhaps && self.mutated(Mutation::UnsureIsNotStored) { Fate::NotStored } else { fate };
            self.state.fates[usize::from(append)] = fate;
            self.writer(w).failed = true;
        }
    }

    pub(crate) fn close(&mut self, w: usize) {
        let Writer { opened, begun, .. } = self.state.writers[w];
        *self.writer(w) = Writer { opened, begun, ..Writer::default() };
    }
}
