//! Conditional replaces on a real S3 server.

use futures_util::future::join_all;
use kfs_core::ErrorKind;
use kfs_core::store::{Identity, ReadRange, Replaced, Store, Version};
use kfs_tests::{Action, Failure, FaultStore, Op, S3Server};
use object_store::PutPayload;

fn open(server: &S3Server) -> Store {
    Store::open(&server.url("replace"), &server.store_options()).expect("the store")
}

async fn replace(store: &Store, text: &str, version: &Version) -> Replaced {
    let payload = PutPayload::from(text.as_bytes().to_vec());
    store.replace_if("t/a", payload, &Identity::none().with_merged(Some("m1")), version).await
}

async fn read(store: &Store) -> (String, Version) {
    let fetched = store.get("t/a", ReadRange::Whole, None).await.expect("the object");
    (String::from_utf8(fetched.bytes.to_vec()).expect("text"), fetched.info.version)
}

#[tokio::test]
async fn a_replace_happens_only_while_the_object_is_that_version() {
    let Some(server) = S3Server::start() else { return };
    let store = open(&server);
    let first = store.put("t/a", PutPayload::from_static(b"one")).await.unwrap();
    let Replaced::Yes(second) = replace(&store, "two", &first).await else { panic!() };
    let there = store.get("t/a", ReadRange::Whole, Some(&second)).await.unwrap();
    assert_eq!((&there.bytes[..], there.identity.kfsmerged.as_deref()), (&b"two"[..], Some("m1")));
    assert!(matches!(replace(&store, "three", &first).await, Replaced::Changed));
    let listed = store.list_page("t/", None, 1).await.unwrap().objects.remove(0).version;
    let Replaced::Yes(last) = replace(&store, "four", &listed).await else { panic!() };
    assert_eq!(read(&store).await.0, "four");
    store.delete("t/a").await.unwrap();
    let replaced = replace(&store, "five", &last).await;
    assert!(matches!(replaced, Replaced::NotFound), "{replaced:?}");
    let gone = store.get("t/a", ReadRange::Whole, None).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_replace_whose_reply_is_lost_is_settled_by_a_read() {
    let Some(server) = S3Server::start() else { return };
    let faults = FaultStore::new(std::sync::Arc::new(server.client()));
    let store = Store::from_object_store_sent_once(faults.clone());
    let first = store.put("t/a", PutPayload::from_static(b"one")).await.unwrap();
    faults.on(Op::Put, "t/a", Action::ActThenFail(Failure::Unavailable));
    assert!(matches!(replace(&store, "two", &first).await, Replaced::Unknown(_)));
    let (text, now) = read(&store).await;
    assert!(text == "two" && !now.same_as(&first));
    // Sent again with the old version it finds its own work, and the caller sees that by the bytes.
    assert!(matches!(replace(&store, "two", &first).await, Replaced::Changed));
    assert_eq!(read(&store).await.0, "two");
}

async fn increment(store: &Store) -> u32 {
    loop {
        let (text, version) = read(store).await;
        let next = text.parse::<u32>().expect("a number") + 1;
        match replace(store, &next.to_string(), &version).await {
            Replaced::Yes(_) => return next,
            Replaced::Changed => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn of_the_increments_of_two_clients_none_is_lost() {
    let Some(server) = S3Server::start() else { return };
    let stores = [open(&server), open(&server)];
    stores[0].put("t/a", PutPayload::from_static(b"0")).await.unwrap();
    let counting = stores.iter().map(|store| async move {
        let mut counted = Vec::new();
        for _ in 0..50 {
            counted.push(increment(store).await);
        }
        counted
    });
    let mut counted: Vec<u32> = join_all(counting).await.concat();
    counted.sort_unstable();
    assert_eq!(counted, (1..=100).collect::<Vec<_>>());
    assert_eq!(read(&stores[0]).await.0, "100");
}
