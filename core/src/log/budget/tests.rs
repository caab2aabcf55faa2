use super::*;

/// Counts how often it was told to flush.
#[derive(Default)]
struct Told(Mutex<usize>);

impl Flushable for Told {
    fn relieve(&self) {
        *self.0.lock().unwrap() += 1;
    }
}

impl Told {
    fn times(&self) -> usize {
        *self.0.lock().unwrap()
    }
}

fn account(budget: &Arc<Budget>) -> (Account, Arc<Told>) {
    let told = Arc::new(Told::default());
    let writer: Weak<dyn Flushable> = Arc::downgrade(&(told.clone() as Arc<dyn Flushable>));
    (budget.account(writer), told)
}

/// What was let in, in order; the permits are held.
#[derive(Clone, Default)]
struct Entered(Arc<Mutex<Vec<(&'static str, Permit)>>>);

impl Entered {
    fn acquire(&self, account: &Account, name: &'static str, bytes: usize) -> u64 {
        let entered = self.0.clone();
        account.acquire(bytes, Box::new(move |permit| entered.lock().unwrap().push((name, permit))))
    }

    fn names(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().iter().map(|(name, _)| *name).collect()
    }

    fn release(&self, name: &str) {
        let mut entered = self.0.lock().unwrap();
        let at = entered.iter().position(|(n, _)| *n == name).unwrap();
        let (_, permit) = entered.remove(at);
        drop(entered);
        drop(permit);
    }
}

#[test]
fn grants_keep_the_order_of_the_calls() {
    let budget = Budget::new(20);
    let (account, _) = account(&budget);
    let first = account.try_acquire(8).unwrap();
    let entered = Entered::default();
    entered.acquire(&account, "b", 9);
    entered.acquire(&account, "c", 1);
    assert!(account.try_acquire(1).is_none(), "nothing overtakes what waits in the same account");
    assert!(entered.names().is_empty());
    drop(first);
    assert_eq!(entered.names(), ["b", "c"]);
}

#[test]
fn one_account_holds_half_at_most_and_leaves_room_for_others() {
    let budget = Budget::new(100);
    let ((stuck, _), (other, _), (third, _)) = (account(&budget), account(&budget), account(&budget));
    let held: Vec<_> = std::iter::from_fn(|| stuck.try_acquire(10)).collect();
    assert_eq!(held.len(), 5);
    let others: Vec<_> = std::iter::from_fn(|| other.try_acquire(10)).collect();
    assert_eq!(others.len(), 2, "as much as then stays free");
    assert!(third.try_acquire(30).is_some());
    assert!(third.try_acquire(31).is_none());
}

#[test]
fn an_append_larger_than_the_budget_goes_in_beside_a_stuck_account() {
    let budget = Budget::new(10);
    let ((stuck, _), (other, _)) = (account(&budget), account(&budget));
    let _stuck = stuck.try_acquire(1000).unwrap();
    assert!(stuck.try_acquire(1).is_none());
    let large = other.try_acquire(1000).unwrap();
    drop(large);
    assert_eq!(budget.used(), 5);
}

#[test]
fn what_was_taken_back_is_gone_at_once_and_lets_in_what_fits() {
    let budget = Budget::new(100);
    let (account, _) = account(&budget);
    let _held = account.try_acquire(30).unwrap();
    let entered = Entered::default();
    let payload = Arc::new(());
    let held = payload.clone();
    let large = account.acquire(50, Box::new(move |permit| drop((held, permit))));
    entered.acquire(&account, "small", 5);
    assert!(entered.names().is_empty(), "call order");
    account.cancel(large);
    assert_eq!(Arc::strong_count(&payload), 1, "its payload is dropped");
    assert_eq!(entered.names(), ["small"]);
    account.cancel(large);
}

#[test]
fn accounts_take_turns_and_those_that_hold_nothing_go_first() {
    let budget = Budget::new(100);
    let ((a, _), (b, _), (c, _)) = (account(&budget), account(&budget), account(&budget));
    let entered = Entered::default();
    entered.acquire(&a, "a1", 50);
    entered.acquire(&a, "a2", 20);
    entered.acquire(&a, "a3", 20);
    entered.acquire(&b, "b1", 50);
    entered.acquire(&b, "b2", 20);
    entered.acquire(&c, "c1", 40);
    assert_eq!(entered.names(), ["a1", "b1"]);
    assert!(a.try_acquire(1).is_none());
    entered.release("a1");
    // 50 are free. The account that waited longest comes first, then it holds something.
    assert_eq!(entered.names(), ["b1", "a2"]);
    entered.release("b1");
    assert_eq!(entered.names(), ["a2", "b2", "c1"]);
    for (name, left) in [("c1", vec!["a2", "b2", "a3"]), ("a2", vec!["b2", "a3"])] {
        entered.release(name);
        assert_eq!(entered.names(), left);
    }
}

#[test]
fn whoever_fits_passes_whoever_does_not() {
    let budget = Budget::new(100);
    let (stuck, _) = account(&budget);
    let _stuck = stuck.try_acquire(50).unwrap();
    let (filler, _) = account(&budget);
    let filling = filler.try_acquire(45).unwrap();
    let entered = Entered::default();
    let large: Vec<_> = (0..20).map(|_| account(&budget).0).collect();
    for account in &large {
        entered.acquire(account, "large", 50);
    }
    let (small, _) = account(&budget);
    entered.acquire(&small, "small", 5);
    assert_eq!(entered.names(), ["small"], "though twenty wait that do not fit");
    drop(filling);
    assert_eq!(entered.names(), ["small"]);
    entered.release("small");
    assert_eq!(entered.names(), ["large"]);
}

#[test]
fn a_writer_whose_flush_is_stuck_is_not_told_again_and_the_fullest_other_is() {
    let budget = Budget::new(1000);
    let ((stuck, stuck_told), (small, small_told), (full, full_told)) =
        (account(&budget), account(&budget), account(&budget));
    let _stuck = stuck.try_acquire(400).unwrap();
    stuck.flush_began();
    let _small = small.try_acquire(10).unwrap();
    let held = full.try_acquire(200).unwrap();
    let (last, last_told) = account(&budget);
    let entered = Entered::default();
    entered.acquire(&last, "last", 400);
    assert_eq!([&stuck_told, &small_told, &full_told, &last_told].map(|told| told.times()), [0, 0, 1, 0]);
    full.flush_began();
    full.flush_ended();
    drop(held);
    assert_eq!(entered.names(), ["last"]);
}

#[test]
fn a_writer_in_its_own_way_is_told_to_flush() {
    let budget = Budget::new(1000);
    let ((own, own_told), (fuller, fuller_told)) = (account(&budget), account(&budget));
    let _fuller = fuller.try_acquire(300).unwrap();
    let _own = own.try_acquire(200).unwrap();
    let entered = Entered::default();
    entered.acquire(&own, "next", 200);
    assert_eq!(own_told.times(), 1);
    assert!(fuller_told.times() <= 1);
    own.flush_began();
    entered.acquire(&own, "another", 200);
    assert_eq!(own_told.times(), 1, "once for each flush");
}

#[test]
fn an_append_under_pressure_tells_few_of_many_writers() {
    let budget = Budget::new(20_000);
    let writers: Vec<_> = (0..10_000).map(|_| account(&budget)).collect();
    let _held: Vec<_> = writers.iter().map(|(account, _)| account.try_acquire(1).unwrap()).collect();
    let (large, _) = account(&budget);
    let entered = Entered::default();
    let _half = large.try_acquire(5_000).unwrap();
    let tickets: Vec<_> = (0..100).map(|_| entered.acquire(&large, "waits", 9_000)).collect();
    let told: usize = writers.iter().map(|(_, told)| told.times()).sum();
    assert!(told <= 8 * tickets.len(), "{told} writers were told by {} appends", tickets.len());
    assert!(told > 0);
}

#[test]
fn a_writer_that_ends_turns_away_what_waits() {
    let budget = Budget::new(10);
    let (account, _) = account(&budget);
    let held = account.try_acquire(5).unwrap();
    let entered = Entered::default();
    entered.acquire(&account, "a", 5);
    account.turn_away();
    assert_eq!(entered.names(), ["a"]);
    assert_eq!(budget.used(), 5, "without room");
    drop(account);
    drop(held);
    assert_eq!(budget.used(), 0);
    let entries = budget.lock().entries.iter().flatten().count();
    assert_eq!(entries, 0, "a closed account is forgotten");
}
