//! `yielding.rs` of the writer: what `claim.json` may lead to. Slots alone decide who owns the partition.

use crate::model::Run;
use crate::mutation::Mutation;
use crate::reached::Event;
use crate::state::{Step, Writer};

impl Run<'_> {
    /// The owner's read of `claim.json` returned a claim that it does not know.
    pub(crate) fn see_claim(&mut self, w: usize) {
        self.state.left.claims_seen -= 1;
        self.reach(Event::Yielded);
        self.writer(w).step = Step::Yield;
    }

    /// The owner reads its next slot while it yields. Reads that find nothing change nothing, so only the last of
    /// them is an action: after it the owner goes on. A read of one slot is no look at the tail.
    pub(crate) fn probe(&mut self, w: usize) {
        let next = self.state.writers[w].chain.next;
        match self.state.store.slot(next).segment {
            Some(segment) => {
                self.reach(Event::FencedWhileYielding);
                self.lost(w, (!segment.merged).then_some(segment.content));
            }
            None => {
                self.reach(Event::WentOnAfterYielding);
                let counts = self.mutated(Mutation::ProbeCountsAsLook);
                let Writer { step, chain, .. } = self.writer(w);
                *step = Step::Fly;
                chain.stale &= !counts;
            }
        }
    }

    /// A claimant writes `claim.json`, and its losses so far do not count as contention.
    pub(crate) fn write_claim(&mut self, w: usize) {
        self.state.left.claims_written -= 1;
        self.reach(Event::LossesForgiven);
        let believes = self.mutated(Mutation::MarkerIsOwnership);
        let writer = self.writer(w);
        writer.losses = 0;
        if believes {
            writer.flight.told = Some(writer.chain.next);
        }
    }
}
