//! Bytes buffered by all writers of a bucket: bounded, and shared so that one writer that can't flush
//! holds up no other (docs/design.md, "Memory budgets").
//!
//! An append is charged to its writer's account before it enters the writer's queue, and the charge is
//! released when its flush is settled. An account that holds nothing gets in whenever there is room. One
//! that holds something gets more only while that leaves as much free as it then holds: so one account
//! alone gets half of the buffer, two get a third each, and there is always room for another.
//!
//! What does not fit waits in its account's queue, in call order. When room comes, accounts that hold
//! nothing go before those that hold something, and the account that waited longest goes first if it
//! fits. An append that fits passes one that does not.

mod line;
mod relief;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use self::line::{AccountId, Line, PlaceInLine};
use self::relief::Relief;
use crate::fork::ForkGuard;
use crate::runtime::shielded;

/// A writer as the budget sees it.
pub(crate) trait Flushable: Send + Sync {
    /// Flush now. Called without a lock of the budget.
    fn relieve(&self);
}

/// Lets an append in, with the charge for it.
type Admit = Box<dyn FnOnce(Permit) + Send>;

/// The bound on buffered bytes.
pub(crate) struct Budget {
    fork: ForkGuard,
    limit: usize,
    state: Mutex<Ledger>,
}

/// All accounts, and which of them wait.
#[derive(Default)]
struct Ledger {
    used: usize,
    /// By id; closed accounts leave `None`, whose ids are used again.
    entries: Vec<Option<LedgerEntry>>,
    free_ids: Vec<AccountId>,
    /// Accounts whose first append waits: those that hold nothing, and those that hold something.
    empty: Line,
    holding: Line,
    /// The next place in a line.
    turn: u64,
    relief: Relief,
    /// One thread at a time lets appends in, so that those of an account enter in their order.
    granting: bool,
}

/// One account.
struct LedgerEntry {
    writer: Weak<dyn Flushable>,
    used: usize,
    /// By number, so in call order.
    waiting: BTreeMap<u64, (usize, Admit)>,
    next_number: u64,
    place: Option<PlaceInLine>,
    /// An append was granted its room and has not entered the writer's queue yet.
    entering: bool,
    /// The writer is gone; what it charged is not released yet.
    closed: bool,
}

impl Ledger {
    fn entry(&mut self, id: AccountId) -> Option<&mut LedgerEntry> {
        self.entries.get_mut(id).and_then(Option::as_mut)
    }

    /// Charges an account if the bytes fit now, and nothing of its own is before them.
    fn charge(&mut self, limit: usize, id: AccountId, bytes: usize) -> bool {
        let free = limit.saturating_sub(self.used);
        let nobody_is_before = self.empty.is_empty();
        let Some(entry) = self.entry(id) else { return false };
        let in_turn = !entry.entering && entry.waiting.is_empty() && (entry.used == 0 || nobody_is_before);
        if !in_turn || need(entry.used, bytes) > free {
            return false;
        }
        entry.used += bytes;
        let used = entry.used;
        self.used += bytes;
        self.relief.holds(id, used);
        true
    }

    fn release(&mut self, id: AccountId, bytes: usize) {
        self.used -= bytes;
        let Some(entry) = self.entry(id) else { return };
        entry.used -= bytes;
        let (used, closed) = (entry.used, entry.closed);
        self.relief.holds(id, used);
        if closed && used == 0 {
            self.remove(id);
        } else {
            self.line_up(id);
        }
    }

    fn remove(&mut self, id: AccountId) {
        self.relief.remove(id);
        if let Some(entry) = self.entries.get_mut(id) {
            *entry = None;
            self.free_ids.push(id);
        }
    }

    /// Puts an account where its first waiting append belongs, in its old turn if it has one.
    fn line_up(&mut self, id: AccountId) {
        let turn = self.turn;
        let Some(entry) = self.entry(id) else { return };
        let before = entry.place.take();
        let first = entry.waiting.first_key_value().map(|(_, (bytes, _))| *bytes).filter(|_| !entry.entering);
        let used = entry.used;
        let now = first.map(|bytes| PlaceInLine {
            turn: before.map_or(turn, |place| place.turn),
            need: need(used, bytes),
            holding: used > 0,
        });
        entry.place = now;
        if let Some(place) = before {
            self.line(&place).leave(id, &place);
        }
        if let Some(place) = now {
            self.turn = self.turn.max(place.turn.wrapping_add(1));
            self.line(&place).join(id, &place);
        }
    }

    fn line(&mut self, place: &PlaceInLine) -> &mut Line {
        if place.holding { &mut self.holding } else { &mut self.empty }
    }

    /// The next append that fits, charged, and its account to be put into a line again when it has entered.
    fn next(&mut self, limit: usize) -> Option<(AccountId, usize, Admit)> {
        let free = limit.saturating_sub(self.used);
        let id = match self.empty.first_that_fits(free) {
            Some(id) => id,
            None if self.empty.is_empty() => self.holding.first_that_fits(free)?,
            None => return None,
        };
        let place = self.entry(id)?.place.take()?;
        self.line(&place).leave(id, &place);
        let entry = self.entry(id)?;
        let (_, (bytes, admit)) = entry.waiting.pop_first()?;
        entry.entering = true;
        entry.used += bytes;
        let used = entry.used;
        self.used += bytes;
        self.relief.holds(id, used);
        Some((id, bytes, admit))
    }

    /// While appends wait: writers that are to flush, so that there is room for the first.
    fn choose(&mut self, limit: usize) -> Vec<Arc<dyn Flushable>> {
        let Some((id, need)) = self.empty.first().or_else(|| self.holding.first()) else { return Vec::new() };
        let lacking = need.saturating_sub(limit.saturating_sub(self.used));
        let chosen = self.relief.choose(id, lacking);
        chosen.into_iter().filter_map(|id| self.entry(id)?.writer.upgrade()).collect()
    }
}

/// What must be free for an account that holds `used` bytes to get more.
fn need(used: usize, bytes: usize) -> usize {
    if used == 0 { bytes } else { used.saturating_add(bytes.saturating_mul(2)) }
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Budget { fork: ForkGuard::here(), limit: limit.max(1), state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn used(&self) -> usize {
        self.lock().used
    }

    /// An append of more than half of the budget counts as half: so it fits beside a writer that is stuck.
    fn charge_for(&self, bytes: usize) -> usize {
        bytes.min(self.limit.div_ceil(2))
    }

    /// An account for a writer.
    pub(crate) fn account(self: &Arc<Self>, writer: Weak<dyn Flushable>) -> Account {
        let entry = LedgerEntry {
            writer,
            used: 0,
            waiting: BTreeMap::new(),
            next_number: 0,
            place: None,
            entering: false,
            closed: false,
        };
        let mut state = self.lock();
        let id = state.free_ids.pop().unwrap_or(state.entries.len());
        match state.entries.get_mut(id) {
            Some(free) => *free = Some(entry),
            None => state.entries.push(Some(entry)),
        }
        Account { budget: self.clone(), id }
    }

    fn permit(self: &Arc<Self>, id: AccountId, bytes: usize) -> Permit {
        Permit { budget: self.clone(), id, bytes }
    }

    /// Lets in what fits. If others still wait, has writers flush.
    fn grant(self: &Arc<Self>) {
        let mut state = self.lock();
        // The thread that grants now goes on until nothing fits, so it also lets in what fits because of this call.
        if state.granting {
            return;
        }
        state.granting = true;
        while let Some((id, bytes, admit)) = state.next(self.limit) {
            // Admitting takes the writer's lock, and may run a caller's waker.
            drop(state);
            let permit = self.permit(id, bytes);
            shielded(|| admit(permit));
            state = self.lock();
            // Only now may the account's next append enter, after this one.
            if let Some(entry) = state.entry(id) {
                entry.entering = false;
            }
            state.line_up(id);
        }
        state.granting = false;
        let chosen = state.choose(self.limit);
        drop(state);
        for writer in chosen {
            writer.relieve();
        }
    }
}

/// One writer's share of the budget.
pub(crate) struct Account {
    budget: Arc<Budget>,
    id: AccountId,
}

impl Account {
    /// A permit at once. `None` if there is no room, or if an earlier append of this account waits.
    pub(crate) fn try_acquire(&self, bytes: usize) -> Option<Permit> {
        let bytes = self.budget.charge_for(bytes);
        let charged = self.budget.lock().charge(self.budget.limit, self.id, bytes);
        charged.then(|| self.budget.permit(self.id, bytes))
    }

    /// Calls `admit` with a permit, now or when there is room, in the order of the calls. The number that is
    /// returned takes it back.
    pub(crate) fn acquire(&self, bytes: usize, admit: Admit) -> u64 {
        let mut state = self.budget.lock();
        let Some(entry) = state.entry(self.id) else { return 0 };
        let number = entry.next_number;
        entry.next_number = number.wrapping_add(1);
        entry.waiting.insert(number, (self.budget.charge_for(bytes), admit));
        if entry.waiting.len() == 1 {
            state.line_up(self.id);
        }
        // What this writer holds itself is in its way.
        let own = if state.relief.take(self.id) { state.entry(self.id).and_then(|e| e.writer.upgrade()) } else { None };
        drop(state);
        if let Some(own) = own {
            own.relieve();
        }
        self.budget.grant();
        number
    }

    /// Takes back what waits, with its payload.
    pub(crate) fn cancel(&self, number: u64) {
        let mut state = self.budget.lock();
        let Some(entry) = state.entry(self.id) else { return };
        let first = entry.waiting.first_key_value().is_some_and(|(first, _)| *first == number);
        let removed = entry.waiting.remove(&number);
        if first {
            state.line_up(self.id);
        }
        drop(state);
        // The next may fit where this one did not.
        if first {
            self.budget.grant();
        }
        drop(removed);
    }

    /// Lets in all that waits, without room: the writer takes no more appends and refuses each.
    pub(crate) fn turn_away(&self) {
        let mut state = self.budget.lock();
        let Some(entry) = state.entry(self.id) else { return };
        let waiting = std::mem::take(&mut entry.waiting);
        state.line_up(self.id);
        drop(state);
        for (_, (_, admit)) in waiting {
            shielded(|| admit(self.budget.permit(self.id, 0)));
        }
        self.budget.grant();
    }

    /// A flush is on its way: another would not make room sooner.
    pub(crate) fn flush_began(&self) {
        self.budget.lock().relief.began(self.id);
    }

    /// The flush is over, and its permits are about to be released.
    pub(crate) fn flush_ended(&self) {
        let mut state = self.budget.lock();
        let used = state.entry(self.id).map_or(0, |entry| entry.used);
        state.relief.ended(self.id, used);
    }

    /// Bytes that it holds, those of all, and the bound.
    pub(crate) fn usage(&self) -> (usize, usize, usize) {
        let mut state = self.budget.lock();
        let own = state.entry(self.id).map_or(0, |entry| entry.used);
        (own, state.used, self.budget.limit)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // In a forked child a thread of the parent may have held the lock.
        if self.budget.fork.is_forked() {
            return;
        }
        let mut state = self.budget.lock();
        let Some(entry) = state.entry(self.id) else { return };
        entry.closed = true;
        if entry.used == 0 {
            state.remove(self.id);
        }
    }
}

/// A charge on an account; dropping it releases the bytes.
pub(crate) struct Permit {
    budget: Arc<Budget>,
    id: AccountId,
    bytes: usize,
}

impl Permit {
    /// Both charges, of one account, in one.
    pub(crate) fn absorb(&mut self, mut other: Permit) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes > 0 && !self.budget.fork.is_forked() {
            self.budget.lock().release(self.id, self.bytes);
            self.budget.grant();
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("limit", &self.limit).field("used", &self.used()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({})", self.bytes)
    }
}
