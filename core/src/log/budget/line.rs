//! Accounts that wait for room, in two orders.

use std::collections::{BTreeMap, BTreeSet};

/// An account, by its place in the ledger.
pub(super) type AccountId = usize;

/// How many of those that waited longest are looked at before the smallest.
const LOOKS: usize = 8;

/// Where an account stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaceInLine {
    pub(super) turn: u64,
    /// Bytes that must be free for its first append.
    pub(super) need: usize,
    /// In the line of those that hold something.
    pub(super) holding: bool,
}

#[derive(Default)]
pub(super) struct Line {
    by_turn: BTreeMap<(u64, AccountId), usize>,
    by_need: BTreeSet<(usize, AccountId)>,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.by_turn.is_empty()
    }

    pub(super) fn join(&mut self, id: AccountId, place: &PlaceInLine) {
        self.by_turn.insert((place.turn, id), place.need);
        self.by_need.insert((place.need, id));
    }

    pub(super) fn leave(&mut self, id: AccountId, place: &PlaceInLine) {
        self.by_turn.remove(&(place.turn, id));
        self.by_need.remove(&(place.need, id));
    }

    /// The account that waited longest, and what it needs.
    pub(super) fn first(&self) -> Option<(AccountId, usize)> {
        self.by_turn.first_key_value().map(|((_, id), need)| (*id, *need))
    }

    /// The first that fits of those that waited longest; otherwise the one that needs least, if that fits.
    pub(super) fn first_that_fits(&self, free: usize) -> Option<AccountId> {
        let in_turn = self.by_turn.iter().take(LOOKS).find(|(_, need)| **need <= free).map(|((_, id), _)| *id);
        in_turn.or_else(|| self.by_need.first().filter(|(need, _)| *need <= free).map(|(_, id)| *id))
    }
}
