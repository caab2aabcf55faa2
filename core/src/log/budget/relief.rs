//! Which writers are told to flush when there is no room.

use std::collections::BTreeSet;

use super::line::AccountId;

/// How many are told at a time.
const TOLD_AT_ONCE: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// A flush would free what it holds: of this class, 0 for nothing.
    Idle(u32),
    /// It was told to flush, and has not begun.
    Told,
    /// Its flush is on its way, or stuck. Telling it again would free nothing.
    Flushing,
}

/// The accounts whose flush would make room, by how much they hold. Classes are powers of two: most
/// appends change none.
#[derive(Default)]
pub(super) struct Relief {
    status: Vec<Status>,
    by_class: BTreeSet<(u32, AccountId)>,
}

fn class(bytes: usize) -> u32 {
    usize::BITS - bytes.leading_zeros()
}

impl Relief {
    fn get(&self, id: AccountId) -> Status {
        self.status.get(id).copied().unwrap_or(Status::Idle(0))
    }

    fn set(&mut self, id: AccountId, now: Status) {
        let before = self.get(id);
        if before == now {
            return;
        }
        if let Status::Idle(class @ 1..) = before {
            self.by_class.remove(&(class, id));
        }
        if let Status::Idle(class @ 1..) = now {
            self.by_class.insert((class, id));
        }
        if self.status.len() <= id {
            self.status.resize(id + 1, Status::Idle(0));
        }
        if let Some(status) = self.status.get_mut(id) {
            *status = now;
        }
    }

    /// An account now holds this many bytes.
    pub(super) fn holds(&mut self, id: AccountId, bytes: usize) {
        if let Status::Idle(_) = self.get(id) {
            self.set(id, Status::Idle(class(bytes)));
        }
    }

    pub(super) fn began(&mut self, id: AccountId) {
        self.set(id, Status::Flushing);
    }

    pub(super) fn ended(&mut self, id: AccountId, bytes: usize) {
        self.set(id, Status::Idle(class(bytes)));
    }

    pub(super) fn remove(&mut self, id: AccountId) {
        self.set(id, Status::Idle(0));
    }

    /// Whether an account is to be told to flush: its flush would free something.
    pub(super) fn take(&mut self, id: AccountId) -> bool {
        let would_free = matches!(self.get(id), Status::Idle(1..));
        if would_free {
            self.set(id, Status::Told);
        }
        would_free
    }

    /// Takes accounts whose flushes free about this many bytes: `first` if it can, then the fullest.
    pub(super) fn choose(&mut self, first: AccountId, bytes: usize) -> Vec<AccountId> {
        let mut chosen = Vec::new();
        let mut freed = 0_usize;
        let mut next = Some(first);
        while chosen.len() < TOLD_AT_ONCE && (chosen.is_empty() || freed < bytes) {
            let candidate = next.take().filter(|id| matches!(self.get(*id), Status::Idle(1..)));
            let Some(id) = candidate.or_else(|| self.by_class.last().map(|(_, id)| *id)) else { break };
            // An account of class n holds 2^(n-1) bytes at least.
            if let Status::Idle(class @ 1..) = self.get(id) {
                freed += 1_usize << (class - 1);
            }
            self.set(id, Status::Told);
            chosen.push(id);
        }
        chosen
    }
}
