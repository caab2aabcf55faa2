//! What every store does, on each of them.

use std::sync::Arc;

use object_store::PutPayload;

use crate::ErrorKind;
use crate::store::{Created, Identity, ReadRange, Replaced, Store, StoreOptions, Version};
use crate::testing::{Action, Failure, FaultStore, Op};

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
async fn what_was_created_is_read_with_its_identity() {
    for (store, _dir) in each("") {
        let mut identity = Identity::of("00ff.7").with_name(Some("me"));
        if store.url().starts_with("file:") {
            // A directory keeps no name.
            identity.kfsname = None;
        }
        let Created::Yes(version) = store.create("a/b/c", payload("hello"), &identity).await else { panic!() };
        let fetched = store.get("a/b/c", ReadRange::Whole, Some(&version)).await.unwrap();
        assert_eq!(&fetched.bytes[..], b"hello");
        assert_eq!(fetched.identity, identity);
        assert!(fetched.info.version.same_as(&version));
        assert!(matches!(store.create("a/b/c", payload("other"), &Identity::none()).await, Created::Exists));
    }
}

#[tokio::test]
async fn ranges_are_clipped_and_a_start_beyond_the_end_gives_no_bytes() {
    for (store, _dir) in each("") {
        store.overwrite("k", payload("0123456789")).await.unwrap();
        let get = async |range| store.get("k", range, None).await.unwrap();
        assert_eq!(&get(ReadRange::Range(2..5)).await.bytes[..], b"234");
        let tail = get(ReadRange::Range(8..50)).await;
        assert_eq!((&tail.bytes[..], tail.range, tail.info.size), (&b"89"[..], 8..10, 10));
        assert_eq!(&get(ReadRange::Suffix(3)).await.bytes[..], b"789");
        assert_eq!(get(ReadRange::Suffix(30)).await.range, 0..10);
        let beyond = get(ReadRange::Range(10..11)).await;
        assert_eq!((beyond.bytes.len(), beyond.range, beyond.info.size), (0, 10..10, 10));
        assert_eq!(store.get("k", ReadRange::Range(3..3), None).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(store.get("x", ReadRange::Range(3..4), None).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn another_version_is_a_conflict() {
    for (store, _dir) in each("") {
        let first = store.overwrite("k", payload("one")).await.unwrap();
        store.overwrite("k", payload("two")).await.unwrap();
        let error = store.get("k", ReadRange::Whole, Some(&first)).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some("k")));
    }
}

#[tokio::test]
async fn pages_ascend_and_say_whether_more_follows() {
    for (store, _dir) in each("some/prefix") {
        for n in 0..5 {
            store.overwrite(&format!("t/0/{n}"), payload("x")).await.unwrap();
        }
        store.overwrite("t/00", payload("x")).await.unwrap();
        let keys = async |prefix: &str, after: Option<&str>, max| {
            let page = store.list_page(prefix, after, max).await.unwrap();
            (page.objects.into_iter().map(|object| object.key).collect::<Vec<_>>(), page.complete)
        };
        assert_eq!(keys("t/0/", None, 2).await, (vec!["t/0/0".into(), "t/0/1".into()], false));
        assert_eq!(keys("t/0/", Some("t/0/2"), 2).await, (vec!["t/0/3".into(), "t/0/4".into()], true));
        assert_eq!(keys("t/0/", Some("t/0/4"), 2).await, (vec![], true));
        assert_eq!(keys("t/0/", Some("t/1"), 2).await, (vec![], true));
        assert_eq!(keys("t/0", None, 100).await.0.len(), 6);
        assert_eq!(keys("t/0/3", None, 100).await, (vec!["t/0/3".into()], true));
        assert_eq!(keys("none/", None, 100).await, (vec![], true));
        assert_eq!(store.list_dirs("").await.unwrap(), ["t"]);
        assert_eq!(store.list_dirs("t/").await.unwrap(), ["0"]);
    }
}

#[tokio::test]
async fn requests_are_counted() {
    for (store, dir) in each("") {
        for n in 0..1001 {
            match &dir {
                Some(dir) if n > 0 => std::fs::write(dir.path().join(format!("t/{n:05}")), "abc").unwrap(),
                _ => drop(store.overwrite(&format!("t/{n:05}"), payload("abc")).await.unwrap()),
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
async fn a_copy_takes_no_name_that_is_taken() {
    for (store, _dir) in each("") {
        store.overwrite("a", payload("hello")).await.unwrap();
        store.copy("a", "a.bad").await.unwrap();
        assert_eq!(&store.get("a.bad", ReadRange::Whole, None).await.unwrap().bytes[..], b"hello");
        assert_eq!(store.copy("a", "a.bad").await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(store.copy("none", "b").await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_replace_happens_only_while_the_object_is_that_version() {
    for (store, _dir) in each("p/") {
        let nobody = Identity::none();
        let replace = async |text, version: &Version| store.replace_if("t/a", payload(text), &nobody, version).await;
        let Created::Yes(first) = store.create("t/a", payload("one"), &nobody).await else { panic!() };
        let Replaced::Yes(second) = replace("two", &first).await else { panic!("{store}") };
        let fetched = store.get("t/a", ReadRange::Whole, Some(&second)).await.unwrap();
        assert!(fetched.bytes == "two" && fetched.info.version.same_as(&second) && !second.same_as(&first));
        assert!(matches!(replace("three", &first).await, Replaced::Changed), "{store}");
        // Every way to learn a version will do.
        let head = store.head("t/a").await.unwrap().info.version;
        let Replaced::Yes(_) = replace("four", &head).await else { panic!("{store}") };
        let listed = store.list_page("t/", None, 1).await.unwrap().objects.remove(0).version;
        let Replaced::Yes(_) = replace("five", &listed).await else { panic!("{store}") };
        let overwritten = store.overwrite("t/a", payload("six")).await.unwrap();
        assert!(matches!(replace("seven", &listed).await, Replaced::Changed), "{store}");
        let Replaced::Yes(last) = replace("seven", &overwritten).await else { panic!("{store}") };
        assert_eq!(store.get("t/a", ReadRange::Whole, None).await.unwrap().bytes, "seven");
        store.delete("t/a").await.unwrap();
        assert!(matches!(replace("eight", &last).await, Replaced::NotFound), "{store}");
        let without = Version::new(None, 5, Some(1));
        let Replaced::Refused(error) = replace("nine", &without).await else { panic!("{store}") };
        assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some("t/a")));
        assert_eq!(store.get("t/a", ReadRange::Whole, None).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_replace_whose_reply_is_lost_is_settled_by_a_read() {
    let faults = FaultStore::new(Arc::new(object_store::memory::InMemory::new()));
    let store = Store::from_object_store_sent_once(faults.clone());
    let nobody = Identity::none();
    let mut version = store.overwrite("a", payload("0")).await.unwrap();
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
    let version = once.overwrite("a", payload("0")).await.unwrap();
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
