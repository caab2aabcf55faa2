//! The store itself on a real Azure Blob server.

use bytes::Bytes;
use kfs_core::ErrorKind;
use kfs_core::store::{Created, Identity, ReadRange, Replaced, Store};
use kfs_tests::AzureServer;
use object_store::PutPayload;

#[tokio::test]
async fn a_blob_is_created_once_and_replaced_only_while_it_is_that_version() {
    let Some(server) = AzureServer::start() else { return };
    let store = Store::open(&server.url("p"), &server.store_options()).expect("store");
    let identity = Identity::of("00ff.7").with_name(Some("me"));
    let create =
        async |text: &'static str| store.create("t/a", PutPayload::from_static(text.as_bytes()), &identity).await;
    let Created::Yes(first) = create("one").await else { panic!() };
    assert!(matches!(create("two").await, Created::Exists));
    let whole = store.get("t/a", ReadRange::Whole, Some(&first)).await.expect("there");
    assert_eq!((&whole.bytes, &whole.identity), (&Bytes::from_static(b"one"), &identity));
    for (range, expected) in
        [(ReadRange::Suffix(2), "ne"), (ReadRange::Suffix(9), "one"), (ReadRange::Range(1..9), "ne")]
    {
        let part = store.get("t/a", range, None).await.expect("there");
        assert_eq!(part.bytes, expected.as_bytes());
    }
    let beyond = store.get("t/a", ReadRange::Range(7..9), None).await.expect("there");
    assert_eq!((beyond.bytes.len(), beyond.info.size), (0, 3));
    let replace =
        async |version: &_| store.replace_if("t/a", PutPayload::from_static(b"two"), &identity, version).await;
    let Replaced::Yes(second) = replace(&first).await else { panic!() };
    assert!(matches!(replace(&first).await, Replaced::Changed));
    let changed = store.get("t/a", ReadRange::Whole, Some(&first)).await.expect_err("another version");
    assert_eq!(changed.kind(), ErrorKind::Conflict);
    let listed = store.list_page("t/", None, 5).await.expect("listed").objects.remove(0).version;
    assert!(listed.same_as(&second));
    assert!(matches!(replace(&listed).await, Replaced::Yes(_)));
    for _ in 0..2 {
        store.delete("t/a").await.expect("deleted");
    }
    assert!(matches!(replace(&second).await, Replaced::NotFound));
    assert_eq!(store.get("t/a", ReadRange::Suffix(2), None).await.expect_err("gone").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn listings_are_paged_in_order_and_name_folders() {
    let Some(server) = AzureServer::start() else { return };
    let store = Store::open(&server.url("p"), &server.store_options()).expect("store");
    let keys = ["t/0/a", "t/0/b c%", "t/0/d", "t/1/a", "u/0/a"];
    for key in keys {
        store.put(key, PutPayload::from_static(b"x")).await.expect("put");
    }
    let mut found: Vec<String> = Vec::new();
    loop {
        let page = store.list_page("t/", found.last().map(String::as_str), 2).await.expect("listed");
        found.extend(page.objects.into_iter().map(|object| object.key));
        if page.complete {
            break;
        }
    }
    assert_eq!(found, keys[..4]);
    assert_eq!(store.list_dirs("").await.expect("listed"), ["t", "u"]);
    assert_eq!(store.list_dirs("t").await.expect("listed"), ["0", "1"]);
}

#[tokio::test]
async fn what_is_set_wrongly_is_told_and_holds_no_key() {
    let Some(server) = AzureServer::start() else { return };
    let wrong = "d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZ3dyb25nd3Jvbmc=";
    let options = server.store_options().config("AZURE_STORAGE_KEY", wrong);
    let store = Store::open(&server.url("p"), &options).expect("store");
    let created = store.create("a", PutPayload::new(), &Identity::none()).await;
    let Created::Refused(created) = created else { panic!("{created:?}") };
    let read = store.get("a", ReadRange::Whole, None).await.expect_err("refused");
    for error in [created, read, store.list_page("", None, 1).await.expect_err("refused")] {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("AZURE_STORAGE_KEY")), "{error:?}");
        assert!(!format!("{error:?}").contains(wrong) && error.request_id().is_some(), "{error:?}");
    }
    let store = Store::open("az://nothing-here/p", &server.store_options()).expect("store");
    let missing = store.list_page("", None, 1).await.expect_err("no container");
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    assert!(missing.message().contains("the bucket of az://nothing-here/p does not exist"), "{missing}");
    let plain = server.store_options().config("AZURE_ALLOW_HTTP", "false");
    let refused = Store::open(&server.url("p"), &plain).expect_err("http without leave");
    assert!(refused.kind() == ErrorKind::InvalidInput && refused.message().contains("AZURE_ENDPOINT"), "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("AZURE_ALLOW_HTTP")), "{refused:?}");
}
