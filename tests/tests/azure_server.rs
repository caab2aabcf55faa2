//! The Azure server that the other tests lean on does what they lean on.

use futures_util::TryStreamExt;
use kfs_tests::AzureServer;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    UpdateVersion,
};

fn create_as(id: &'static str) -> PutOptions {
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Metadata("kfsid".into()), id.into());
    PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() }
}

#[tokio::test]
async fn a_blob_is_created_once_keeps_its_metadata_and_is_replaced_by_its_etag() {
    let Some(server) = AzureServer::start() else { return };
    let client = server.client();
    let key = Path::from("ns/topic/0/segment-00000000000000000000.kfs");
    let body = PutPayload::from_static(b"0123456789");
    let put = client.put_opts(&key, body.clone(), create_as("first")).await.unwrap();
    let second = client.put_opts(&key, body.clone(), create_as("second")).await;
    assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");

    let found = client.get_opts(&key, GetOptions::default()).await.unwrap();
    assert_eq!(found.attributes.get(&Attribute::Metadata("kfsid".into())).unwrap().as_ref(), "first");
    assert_eq!(found.bytes().await.unwrap(), "0123456789");
    assert_eq!(client.get_range(&key, 2..5).await.unwrap(), "234");

    let version = UpdateVersion::from(put);
    client.put_opts(&key, body.clone(), PutMode::Update(version.clone()).into()).await.unwrap();
    let stale = client.put_opts(&key, body, PutMode::Update(version).into()).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
}

#[tokio::test]
async fn of_writers_that_race_for_a_blob_one_wins() {
    let Some(server) = AzureServer::start() else { return };
    for round in 0..5 {
        let key = Path::from(format!("race/{round}"));
        let tries = (0..8).map(|_| {
            let (client, key) = (server.client(), key.clone());
            async move { client.put_opts(&key, PutPayload::from(vec![7; 256 << 10]), create_as("x")).await.is_ok() }
        });
        let won = futures_util::future::join_all(tries).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}");
    }
}

#[tokio::test]
async fn two_tests_share_a_server_and_no_blob() {
    let Some(one) = AzureServer::start() else { return };
    let Some(other) = AzureServer::start() else { return };
    assert_eq!(one.endpoint(), other.endpoint());
    one.client().put(&Path::from("a"), PutPayload::from_static(b"x")).await.unwrap();
    let listed: Vec<_> = other.client().list(None).try_collect().await.unwrap();
    assert_eq!(listed, [], "another test's blob");
}

#[tokio::test]
async fn another_key_is_refused() {
    let Some(server) = AzureServer::start() else { return };
    let client = MicrosoftAzureBuilder::new()
        .with_account(kfs_tests::azure::ACCOUNT)
        .with_access_key("YW5vdGhlciBrZXkgb2YgdGhpcyB0ZXN0")
        .with_endpoint(server.endpoint())
        .with_allow_http(true)
        .with_container_name(server.container())
        .build()
        .unwrap();
    let refused = client.put(&Path::from("a"), PutPayload::from_static(b"x")).await;
    assert!(matches!(refused, Err(Error::PermissionDenied { .. })), "{refused:?}");
}
