//! Each topic is in its bucket alone, and buckets share what they can.

use object_store::memory::InMemory;

use super::*;
use crate::format::NewRecord;

#[cfg(feature = "aws")]
const SECRET: &str = "hunter2hunter2hunter2";

fn memory() -> Store {
    Store::from_object_store(Arc::new(InMemory::new()))
}

fn router() -> TopicRouter {
    TopicRouter::from_store(memory(), BucketOptions::default()).unwrap()
}

async fn append(partition: &Partition, value: &str) {
    let writer = partition.writer().await.unwrap();
    writer.append(&[NewRecord::new(1).value(value.as_bytes())]).await.unwrap().durable().await.unwrap();
    writer.close(None).await.unwrap();
}

async fn values(partition: &Partition) -> Vec<String> {
    let fetched = partition.reader().fetch(0, 1 << 20).await.unwrap();
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    fetched.records().map(|record| text(record.unwrap().value().unwrap())).collect()
}

#[tokio::test]
async fn a_topic_is_written_read_and_listed_in_its_bucket_alone() {
    let (router, own) = (router(), memory());
    let routed = router.route_to("routed", own.clone()).unwrap();
    for topic in ["routed", "plain"] {
        append(&router.partition(topic, 0).unwrap(), topic).await;
        assert_eq!(values(&router.partition(topic, 0).unwrap()).await, [topic]);
    }
    let names = |topics: Vec<Topic>| topics.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(routed.topics().await.unwrap()), ["routed"]);
    assert_eq!(names(router.default_bucket().topics().await.unwrap()), ["plain"]);
    // What the other bucket has under a topic's name is not the topic's.
    for (bucket, foreign) in [(router.default_bucket(), "routed"), (&routed, "stray")] {
        bucket.partition(foreign, 7).unwrap().create(0).await.unwrap();
    }
    assert_eq!(names(router.topics().await.unwrap()), ["plain", "routed"]);
    let partitions = router.partitions("routed").await.unwrap();
    assert_eq!(partitions.iter().map(|partition| partition.id().partition()).collect::<Vec<_>>(), [0]);
    let sum = router.buckets().unwrap().iter().map(|bucket| bucket.requests().total()).sum::<u64>();
    assert_eq!(router.requests().total(), sum);
}

#[tokio::test]
async fn buckets_that_share_a_cache_never_read_each_others_bytes() {
    let router = router();
    let own = router.route_to("t", memory()).unwrap();
    // One name, one offset and one ETag in both: the store in memory counts its writes.
    let both = [own.partition("t", 0).unwrap(), router.default_bucket().partition("t", 0).unwrap()];
    append(&both[0], "one").await;
    append(&both[1], "two").await;
    for _ in 0..2 {
        assert_eq!((values(&both[0]).await, values(&both[1]).await), (vec!["one".into()], vec!["two".into()]));
    }
}

#[tokio::test]
async fn a_topic_keeps_its_first_bucket() {
    let (router, one, other) = (router(), memory(), memory());
    router.route_to("a", one.clone()).unwrap();
    router.route_to("a", one.clone()).unwrap();
    let moved = router.route_to("a", other.clone()).unwrap_err();
    assert_eq!(moved.kind(), ErrorKind::Conflict, "{moved}");
    // Its first use puts a topic into the default bucket.
    router.bucket("b").unwrap();
    assert_eq!(router.route_to("b", other).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(router.route_to("c", one).unwrap().is_same(&router.bucket("a").unwrap()));
    assert_eq!(router.buckets().unwrap().len(), 2);
}

#[tokio::test]
async fn buckets_share_the_buffer_and_close_together() {
    let router = router();
    let own = router.route_to("a", memory()).unwrap();
    let options = crate::WriterOptions::default().flush_interval(Duration::from_secs(3600));
    let mut appends = Vec::new();
    for topic in ["a", "b"] {
        let writer = router.partition(topic, 0).unwrap().writer_with(options.clone()).await.unwrap();
        let before = router.default_bucket().buffered_bytes();
        appends.push(writer.append(&[NewRecord::new(1).value(b"kept")]).await.unwrap());
        assert!(own.buffered_bytes() > before && own.buffered_bytes() == router.default_bucket().buffered_bytes());
    }
    router.close(Duration::from_secs(60)).await.unwrap();
    for append in appends {
        append.durable().await.unwrap();
    }
    assert_eq!(router.partition("a", 1).unwrap().writer().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[cfg(feature = "aws")]
fn on_s3(keys: &[(&str, &str)]) -> TopicConfig {
    TopicConfig::parse(keys.iter().copied()).unwrap()
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn one_place_with_the_same_credentials_has_one_client_and_no_other_has_it() {
    let default = StoreConfig::from_url("s3://main?region=eu-west-1").unwrap();
    let default = default.set("access_key", "id").unwrap().set("secret_key", SECRET).unwrap();
    let mut options = BucketOptions::default();
    options.store = options.store.environment(false);
    let router = TopicRouter::open(&default, options).unwrap();
    assert_eq!(router.pool().clients(), 1);
    let own = [("s3.access.key.id", "id2"), ("s3.secret.access.key", SECRET)];
    let other = [("s3.access.key.id", "id2"), ("s3.secret.access.key", "another secret")];
    for (topic, bucket, more, clients) in [
        ("a", "main", &[][..], 1),
        ("b", "main", &[("s3.prefix", "deep/er"), ("s3.storage.class", "GLACIER")][..], 1),
        ("c", "main", &[("s3.region", "eu-west-2")][..], 2),
        ("d", "main", &[("s3.endpoint", "https://localhost:1")][..], 3),
        ("e", "main", &own[..], 4),
        ("f", "main", &own[..], 4),
        ("g", "main", &other[..], 5),
        ("h", "main", &[("s3.encryption", "SSE-S3")][..], 6),
        ("i", "else", &[][..], 7),
        ("j", "main", &[("s3.use.iam.role", "true")][..], 8),
    ] {
        let keys: Vec<_> = [("s3.bucket", bucket)].into_iter().chain(more.iter().copied()).collect();
        let bucket = router.route(topic, &on_s3(&keys)).unwrap();
        assert_eq!(router.pool().clients(), clients, "{topic}");
        let prefix = if topic == "b" { "deep/er" } else { topic };
        assert!(bucket.store().url().ends_with(&format!("/{prefix}")), "{}", bucket.store().url());
    }
    // The same place to the last setting is the same bucket.
    let keys = [("s3.bucket", "main"), ("s3.prefix", "a")];
    assert!(router.route("a2", &on_s3(&keys)).unwrap().is_same(&router.bucket("a").unwrap()));
    let shown = format!("{router:?} {:?} {:?}", router.pool(), on_s3(&[("s3.bucket", "x"), own[0], own[1]]));
    assert!(!shown.contains(SECRET), "{shown}");
}

#[cfg(feature = "aws")]
#[tokio::test]
async fn a_reference_to_credentials_is_no_leave_to_use_others() {
    let router = router();
    let config = on_s3(&[("s3.bucket", "b"), ("credentials_ref", "vault/audit")]);
    let error = router.route("a", &config).unwrap_err();
    assert_eq!(error.message(), "credentials_ref stands for credentials that were not supplied");
    assert!(router.buckets().unwrap().len() == 1);
}
