//! The simulation beside a second store: it runs as it does alone, and an answer that differs is named.

use std::sync::Arc;

use kfs_core::store::{Store, StoreOptions};
use kfs_core::testing::{Action, Failure, FaultStore, Op};
use kfs_sim::{run, run_on};
use object_store::memory::InMemory;

/// One with several processes, readers and faults.
const SEED: u64 = 27;

#[test]
fn a_simulation_beside_a_store_that_answers_alike_is_the_same_simulation() {
    let store = Store::open("memory:", &StoreOptions::default()).expect("open memory");
    let (beside, alone) = (run_on(SEED, store.clone()), run(SEED, false));
    assert_eq!((beside.violation, beside.hash), (None, alone.hash));
    let sent = store.requests();
    assert!(sent.put > 100 && sent.get > 100 && sent.list > 100 && sent.delete == 0, "{sent:?}");
}

#[test]
fn an_answer_that_differs_is_named_with_its_request() {
    for (op, action, request, found, expected) in [
        (Op::Put, Action::Conflict, "create default/t/0/", "NameTaken", "Done"),
        (Op::Put, Action::Fail(Failure::PermissionDenied), "create default/t/0/", "Failed(\"Refused", "Done"),
        (Op::Put, Action::DropMetadata, "get default/t/0/", "kfsid: None", "kfsid: Some"),
        (Op::Get, Action::change(|bytes| vec![0; bytes.len()].into()), "get default/t/0/", "b\"\\0\\0", "b\"KAFS"),
        (Op::Get, Action::Fail(Failure::NotFound), "get default/t/0/", "NotFound", "Read"),
    ] {
        let faulty = FaultStore::new(Arc::new(InMemory::new()));
        faulty.on(op, ".kfs", action.clone());
        let violation = run_on(SEED, Store::from_object_store_sent_once(faulty)).violation.expect("a difference");
        let (told, wanted) = violation.split_once(", expected was ").expect("what was expected");
        assert!(told.starts_with(request), "{action:?}: {violation}");
        assert!(told.contains(" answers ") && told.contains(found), "{action:?}: {violation}");
        assert!(wanted.contains(expected), "{action:?}: {violation}");
    }
}
