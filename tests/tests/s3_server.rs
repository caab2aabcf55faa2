//! The S3 server that the other tests lean on does what they lean on.

use futures_util::TryStreamExt;
use kfs_core::store::{ReadRange, Store};
use kfs_tests::S3Server;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};

fn create_as(id: &'static str) -> PutOptions {
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Metadata("kfsid".into()), id.into());
    PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() }
}

#[tokio::test]
async fn an_object_is_created_once_keeps_its_metadata_and_survives_a_kill() {
    let Some(mut server) = S3Server::start() else { return };
    let client = server.client();
    let key = Path::from("ns/topic/0/segment-00000000000000000000.kfs");
    let body = PutPayload::from_static(b"0123456789");
    client.put_opts(&key, body.clone(), create_as("first.1")).await.unwrap();
    let second = client.put_opts(&key, body, create_as("second.1")).await;
    assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");

    server.kill();
    server.restart();
    let found = client.get_opts(&key, GetOptions::default()).await.unwrap();
    assert_eq!(found.attributes.get(&Attribute::Metadata("kfsid".into())).unwrap().as_ref(), "first.1");
    assert_eq!(found.bytes().await.unwrap(), "0123456789");
    assert_eq!(client.get_range(&key, 2..5).await.unwrap(), "234");
    let listed: Vec<_> = client.list(Some(&Path::from("ns/topic"))).try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|o| o.location.as_ref()).collect::<Vec<_>>(), [key.as_ref()]);
}

#[tokio::test]
async fn of_writers_that_race_for_a_key_one_wins() {
    let Some(server) = S3Server::start() else { return };
    for round in 0..5 {
        let key = Path::from(format!("race/{round}"));
        let tries = (0..8).map(|_| {
            let (client, key) = (server.client(), key.clone());
            async move { client.put_opts(&key, PutPayload::from(vec![7; 256 << 10]), create_as("x.1")).await.is_ok() }
        });
        let won = futures_util::future::join_all(tries).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}");
    }
}

#[tokio::test]
async fn the_error_of_a_request_that_it_refuses_names_the_request() {
    let Some(server) = S3Server::start() else { return };
    let options = server.store_options().config("AWS_SECRET_ACCESS_KEY", "another-secret-of-this-test");
    let store = Store::open(&server.url("p"), &options).unwrap();
    let refused = [
        store.get("ns/t/0/a", ReadRange::Whole, None).await.map(drop),
        store.head("ns/t/0/a").await.map(drop),
        store.put("ns/t/0/a", PutPayload::from_static(b"x")).await.map(drop),
        store.list_page("ns/t/0/", None, 1).await.map(drop),
        store.delete("ns/t/0/a").await,
    ];
    let mut named = Vec::new();
    for refused in refused {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), kfs_core::ErrorKind::PermissionDenied, "{error}");
        named.push(error.request_id().unwrap_or_else(|| panic!("no request id: {error}")).to_string());
    }
    named.sort();
    named.dedup();
    assert_eq!(named.len(), 5, "each request has a name of its own: {named:?}");
}
