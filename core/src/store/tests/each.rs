//! What every store does, on each of them.

use object_store::PutPayload;

use crate::ErrorKind;
use crate::store::{Created, Identity, ReadRange, Store, StoreOptions};

/// Each kind of store, fresh, with what must outlive it.
fn each(path: &str) -> Vec<(Store, Option<tempfile::TempDir>)> {
    let options = StoreOptions::new;
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
