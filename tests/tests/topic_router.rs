//! Topics in several buckets of a real server.

use std::time::Duration;

use futures_util::TryStreamExt;
use kfs_core::format::NewRecord;
use kfs_core::object_store::ObjectStore;
use kfs_core::object_store::aws::AmazonS3Builder;
use kfs_core::store::StoreConfig;
use kfs_core::{BucketOptions, TopicConfig, TopicRouter};
use kfs_tests::S3Server;
use kfs_tests::s3::{ACCESS_KEY, REGION, SECRET_KEY};

async fn keys(server: &S3Server, bucket: &str) -> Vec<String> {
    let client = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(REGION)
        .with_endpoint(server.endpoint())
        .with_allow_http(true)
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY)
        .build()
        .expect("a client");
    let all: Vec<_> = client.list(None).try_collect().await.expect("listed");
    let mut keys: Vec<String> = all.into_iter().map(|object| object.location.to_string()).collect();
    keys.retain(|key| key.ends_with(".kfs"));
    keys.sort_unstable();
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_topic_has_its_keys_in_its_own_bucket() {
    let Some(server) = S3Server::start() else { return };
    server.create_bucket("company-financial-data");
    let default = StoreConfig::from_url(&server.url("shared")).expect("a URL");
    let options = BucketOptions::default().store(server.store_options());
    let router = TopicRouter::open(&default, options).expect("a router");
    let endpoint = server.endpoint();
    let of_deep = [("s3.prefix", "kafka/financial/")];
    let of_elsewhere = [("s3.endpoint", endpoint.as_str()), ("storage.mode", "diskless")];
    for (topic, more) in [("financial-data", &[][..]), ("deep", &of_deep), ("elsewhere", &of_elsewhere)] {
        let all = [("s3.bucket", "company-financial-data")].into_iter().chain(more.iter().copied());
        router.route(topic, &TopicConfig::parse(all).expect("settings")).expect("routed");
    }
    for topic in ["financial-data", "deep", "elsewhere", "plain"] {
        let writer = router.partition(topic, 0).expect("a name").writer().await.expect("a writer");
        let append = writer.append(&[NewRecord::new(1).value(topic.as_bytes())]).await.expect("admitted");
        append.durable().await.expect("durable");
    }
    let segment = format!("segment-{:020}.kfs", 0);
    // The prefix, the namespace, the topic, the partition.
    let expected =
        ["elsewhere/default/elsewhere", "financial-data/default/financial-data", "kafka/financial/default/deep"];
    assert_eq!(keys(&server, "company-financial-data").await, expected.map(|before| format!("{before}/0/{segment}")));
    assert_eq!(keys(&server, "kfs-test").await, [format!("shared/default/plain/0/{segment}")]);
    let topics: Vec<String> = router.topics().await.expect("listed").iter().map(ToString::to_string).collect();
    assert_eq!(topics, ["deep", "elsewhere", "financial-data", "plain"]);
    // The server's address as a setting of its own and as that of the default is one place.
    assert_eq!(router.pool().clients(), 2);
    router.close(Duration::from_secs(30)).await.expect("closed");
}
