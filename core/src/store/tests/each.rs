//! What every store does, on each of them.

use std::sync::Arc;

use futures_util::StreamExt;
use object_store::PutPayload;

use crate::ErrorKind;
use crate::store::{Created, Identity, ReadRange, Replaced, Store, StoreOptions, Version};
use crate::testing::{Action, Failure, FaultStore, Op, conformance};

/// Each kind of store, fresh, with what must outlive it.
fn each(path: &str) -> Vec<(Store, Option<tempfile::TempDir>)> {
    let options = StoreOptions::default;
    let mut stores = vec![(Store::open(&format!("memory:///{path}"), &options()).unwrap(), None)];
    for options in [options(), options().named_staging(true), options().map(false)] {
        let dir = tempfile::tempdir().unwrap();
        let url = url::Url::from_directory_path(dir.path()).unwrap();
        stores.push((Store::open(url.as_str(), &options).unwrap(), Some(dir)));
    }
    stores
}

fn payload(text: &'static str) -> PutPayload {
    PutPayload::from_static(text.as_bytes())
}

fn payload_of(text: &str) -> PutPayload {
    PutPayload::from(text.as_bytes().to_vec())
}

#[tokio::test]
async fn each_store_conforms() {
    for (store, _dir) in each("some/prefix") {
        let report = conformance(&store).await.unwrap();
        assert!(report.is_ok(), "{report}");
        assert!(store.list("").next().await.is_none(), "{store}: nothing is left");
    }
}

#[tokio::test]
async fn requests_are_counted() {
    for (store, dir) in each("") {
        for n in 0..1001 {
            match &dir {
                Some(dir) if n > 0 => std::fs::write(dir.path().join(format!("t/{n:05}")), "abc").unwrap(),
                _ => drop(store.put(&format!("t/{n:05}"), payload("abc")).await.unwrap()),
            }
        }
        let before = store.requests();
        let puts = if dir.is_some() { 1 } else { 1001 };
        assert_eq!((before.put, before.bytes_out), (puts, puts * 3));
        store.get("t/00000", ReadRange::Whole, None).await.unwrap();
        store.get("none", ReadRange::Whole, None).await.unwrap_err();
        store.list_page("t/", None, 10).await.unwrap();
        store.list_page("t/", None, 1000).await.unwrap();
        store.list_page("t/", None, 10_000).await.unwrap();
        store.delete("t/00000").await.unwrap();
        store.delete("t/00000").await.unwrap();
        let counts = store.requests().since(&before);
        assert_eq!((counts.put, counts.get, counts.list, counts.delete), (0, 2, 1 + 1 + 2, 2));
        assert_eq!((counts.bytes_in, counts.total()), (3, 8));
    }
}

#[tokio::test]
async fn every_way_to_learn_a_version_will_do_to_replace_it() {
    for (store, _dir) in each("p/") {
        let nobody = Identity::none();
        let replace = async |text, version: &Version| store.replace_if("t/a", payload(text), &nobody, version).await;
        let Created::Yes(created) = store.create("t/a", payload("one"), &nobody).await else { panic!() };
        let Replaced::Yes(replaced) = replace("two", &created).await else { panic!("{store}") };
        let Replaced::Yes(_) = replace("three", &replaced).await else { panic!("{store}") };
        let head = store.head("t/a").await.unwrap().info.version;
        let Replaced::Yes(_) = replace("four", &head).await else { panic!("{store}") };
        let listed = store.list_page("t/", None, 1).await.unwrap().objects.remove(0).version;
        let Replaced::Yes(_) = replace("five", &listed).await else { panic!("{store}") };
        let put = store.put("t/a", payload("six")).await.unwrap();
        assert!(matches!(replace("seven", &listed).await, Replaced::Changed), "{store}");
        let Replaced::Yes(_) = replace("seven", &put).await else { panic!("{store}") };
        let without = Version::new(None, 5, Some(1));
        let Replaced::Refused(error) = replace("eight", &without).await else { panic!("{store}") };
        assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some("t/a")));
    }
}

#[tokio::test]
async fn a_replace_whose_reply_is_lost_is_settled_by_a_read() {
    let faults = FaultStore::new(Arc::new(object_store::memory::InMemory::new()));
    let store = Store::from_object_store_sent_once(faults.clone());
    let nobody = Identity::none();
    let mut version = store.put("a", payload("0")).await.unwrap();
    for (n, fault, applied) in [
        (1, Action::ActThenFail(Failure::Unavailable), true),
        (2, Action::Fail(Failure::TimedOut), false),
        // A second try of the client's own, after the first one was applied.
        (3, Action::ActThenFail(Failure::Precondition), true),
        // S3's 409, which keeps nothing.
        (4, Action::Conflict, false),
    ] {
        faults.on(Op::Put, "a", fault.clone());
        let sent = format!("{n}");
        let replaced = store.replace_if("a", payload_of(&sent), &nobody, &version).await;
        match fault {
            Action::ActThenFail(Failure::Precondition) | Action::Conflict => {
                assert!(matches!(replaced, Replaced::Changed), "{n} {replaced:?}");
            }
            _ => assert!(matches!(replaced, Replaced::Unknown(_)), "{n} {replaced:?}"),
        }
        // What the caller does: it reads, and compares with what it sent.
        let now = store.get("a", ReadRange::Whole, None).await.unwrap();
        assert_eq!((now.bytes == sent, now.info.version.same_as(&version)), (applied, !applied), "{n}");
        version = now.info.version;
    }
    // Sent, and applied when the caller has given up waiting. After the next replace it can't be applied any more.
    faults.on(Op::Put, "a", Action::Late(Failure::TimedOut));
    let replaced = store.replace_if("a", payload("late"), &nobody, &version).await;
    assert!(matches!(replaced, Replaced::Unknown(_)), "{replaced:?}");
    let replaced = store.replace_if("a", payload("5"), &nobody, &version).await;
    assert!(matches!(replaced, Replaced::Yes(_)), "{replaced:?}");
    let [(_, landed)] = &faults.land_late().await[..] else { panic!() };
    assert!(matches!(landed, Err(object_store::Error::Precondition { .. })), "{landed:?}");
    assert_eq!(store.get("a", ReadRange::Whole, None).await.unwrap().bytes, "5");
}

#[tokio::test]
async fn a_failed_replace_on_a_store_that_may_try_again_is_unknown() {
    let faults = FaultStore::new(Arc::new(object_store::memory::InMemory::new()));
    let (once, again) = (Store::from_object_store_sent_once(faults.clone()), Store::from_object_store(faults.clone()));
    let version = once.put("a", payload("0")).await.unwrap();
    for (failure, kind) in [
        (Failure::PermissionDenied, ErrorKind::PermissionDenied),
        (Failure::NotSupported, ErrorKind::Unsupported),
        (Failure::NotFound, ErrorKind::NotFound),
    ] {
        for store in [&once, &again] {
            faults.on(Op::Put, "a", Action::Fail(failure));
            let replaced = store.replace_if("a", payload("1"), &Identity::none(), &version).await;
            match (failure, replaced) {
                (Failure::NotFound, Replaced::NotFound) => {}
                (Failure::NotSupported, Replaced::Refused(error)) => assert_eq!(error.kind(), kind),
                (_, Replaced::Refused(error)) if store.sends_once() => assert_eq!(error.kind(), kind),
                (_, Replaced::Unknown(error)) if !store.sends_once() => assert_eq!(error.kind(), kind),
                (_, other) => panic!("{failure:?} {other:?}"),
            }
        }
    }
}
