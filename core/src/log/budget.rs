//! Bytes buffered by all writers of a bucket, bounded, first come first served.
//!
//! An append is charged before it enters its writer's accumulator and released when its flush is
//! settled. Who does not fit waits in one queue, so that call order is kept; while somebody waits,
//! the fullest writer is told to flush.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A writer as the budget sees it.
pub(crate) trait Flushable: Send + Sync {
    /// Bytes that wait for a flush (not those in flight).
    fn buffered(&self) -> usize;
    /// Flush now.
    fn relieve(&self);
}

type Admit = Box<dyn FnOnce(Permit) + Send>;

struct State {
    used: usize,
    waiting: VecDeque<(usize, Admit)>,
    /// One thread at a time hands out grants, so that they are carried out in order.
    granting: bool,
    /// Writers that hold buffered bytes, by address.
    dirty: HashMap<usize, Weak<dyn Flushable>>,
}

/// The bound on buffered bytes.
pub(crate) struct Budget {
    limit: usize,
    state: Mutex<State>,
}

/// A charge on the budget; dropping it releases the bytes.
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let state = State { used: 0, waiting: VecDeque::new(), granting: false, dirty: HashMap::new() };
        Arc::new(Budget { limit: limit.max(1), state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn used(&self) -> usize {
        self.lock().used
    }

    /// An append larger than the whole budget is let in alone.
    fn charge_for(&self, bytes: usize) -> usize {
        bytes.min(self.limit)
    }

    /// A permit at once, or `None` when there is no room or somebody waits already.
    pub(crate) fn try_acquire(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let bytes = self.charge_for(bytes);
        let mut state = self.lock();
        if state.granting || !state.waiting.is_empty() || state.used.saturating_add(bytes) > self.limit {
            return None;
        }
        state.used = state.used.saturating_add(bytes);
        Some(Permit { budget: self.clone(), bytes })
    }

    /// Calls `admit` with a permit, now or when there is room, in the order of the calls.
    pub(crate) fn acquire(self: &Arc<Self>, bytes: usize, admit: Admit) {
        self.lock().waiting.push_back((self.charge_for(bytes), admit));
        self.grant();
    }

    /// A writer that begins to hold buffered bytes.
    pub(crate) fn register(&self, writer: &Arc<dyn Flushable>) {
        self.lock().dirty.insert(address(writer), Arc::downgrade(writer));
    }

    /// A writer that holds none any more.
    pub(crate) fn unregister(&self, writer: &Arc<dyn Flushable>) {
        self.lock().dirty.remove(&address(writer));
    }

    fn grant(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.granting {
            return;
        }
        state.granting = true;
        loop {
            let fits = state.waiting.front().is_some_and(|(bytes, _)| state.used.saturating_add(*bytes) <= self.limit);
            if !fits {
                break;
            }
            if let Some((bytes, admit)) = state.waiting.pop_front() {
                state.used = state.used.saturating_add(bytes);
                drop(state);
                admit(Permit { budget: self.clone(), bytes });
                state = self.lock();
            }
        }
        state.granting = false;
        let pressed = !state.waiting.is_empty();
        let dirty: Vec<_> = if pressed { state.dirty.values().filter_map(Weak::upgrade).collect() } else { Vec::new() };
        drop(state);
        if let Some(fullest) = dirty.iter().max_by_key(|w| w.buffered())
            && fullest.buffered() > 0
        {
            fullest.relieve();
        }
    }
}

fn address(writer: &Arc<dyn Flushable>) -> usize {
    Arc::as_ptr(writer).cast::<()>().addr()
}

impl Permit {
    /// Both charges in one.
    pub(crate) fn absorb(&mut self, mut other: Permit) {
        self.bytes = self.bytes.saturating_add(std::mem::take(&mut other.bytes));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        {
            let mut state = self.budget.lock();
            state.used = state.used.saturating_sub(self.bytes);
        }
        self.budget.grant();
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Budget")
            .field("limit", &self.limit)
            .field("used", &state.used)
            .field("waiting", &state.waiting.len())
            .finish()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({})", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_keep_the_order_of_the_calls() {
        let budget = Budget::new(10);
        let first = budget.try_acquire(8).unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        for (name, bytes) in [("b", 9), ("c", 1)] {
            let order = order.clone();
            budget.acquire(bytes, Box::new(move |permit| order.lock().unwrap().push((name, permit))));
        }
        assert!(budget.try_acquire(1).is_none(), "nobody overtakes who waits");
        assert!(order.lock().unwrap().is_empty());
        drop(first);
        let names: Vec<_> = order.lock().unwrap().iter().map(|(n, _)| *n).collect();
        assert_eq!(names, ["b", "c"]);
    }

    #[test]
    fn an_append_larger_than_the_budget_goes_in_alone() {
        let budget = Budget::new(10);
        let large = budget.try_acquire(1000).unwrap();
        assert!(budget.try_acquire(1).is_none());
        drop(large);
        assert_eq!(budget.used(), 0);
    }
}
