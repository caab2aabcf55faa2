//! A topic's keys are read, refused by name, and written out without secrets.

use super::*;
use crate::store::StoreBackend;

const SECRET: &str = "hunter2hunter2hunter2";

fn parse(keys: &[(&str, &str)]) -> Result<TopicConfig> {
    TopicConfig::parse(keys.iter().copied())
}

fn base() -> StoreConfig {
    StoreConfig::new(StoreBackend::S3)
}

fn store(keys: &[(&str, &str)], default: &StoreConfig) -> StoreConfig {
    let topic = Topic::new("financial-data").unwrap();
    parse(keys).unwrap().store(&topic, default).unwrap().expect("a store of its own")
}

/// What is set, but for the address.
fn set(config: &StoreConfig) -> Vec<(&'static str, String)> {
    let shown = config.shown(false).unwrap().into_iter().filter(|setting| setting.set_as.is_some());
    shown.filter(|s| !["bucket", "prefix"].contains(&s.name)).map(|s| (s.name, s.value.unwrap())).collect()
}

#[test]
fn the_examples_of_the_roadmap_name_their_stores() {
    let keys = [
        ("s3.bucket", "company-financial-data"),
        ("s3.region", "us-east-1"),
        ("s3.prefix", "kafka/financial"),
        ("s3.access.key.id", "AKIA1"),
        ("s3.secret.access.key", SECRET),
        ("s3.endpoint", "https://s3.amazonaws.com"),
    ];
    let config = store(&keys, &base());
    assert_eq!(config.url().unwrap(), "s3://company-financial-data/kafka/financial");
    let shown = "region=us-east-1 endpoint=https://s3.amazonaws.com/ access_key=*** secret_key=***";
    let found: Vec<_> = set(&config).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(found.join(" "), shown);
    // Without a prefix, the topic's name is one.
    let keys = [("s3.bucket", "company-logs"), ("s3.region", "eu-west-1"), ("s3.use.iam.role", "true")];
    let config = store(&keys, &base());
    assert_eq!(
        (config.url().unwrap(), config.prefix().unwrap()),
        ("s3://company-logs/financial-data".into(), "financial-data/".into())
    );
    assert_eq!(store(&[("s3.bucket", "my-bucket"), ("s3.prefix", "data/")], &base()).prefix().unwrap(), "data/");
    let keys =
        [("s3.bucket", "b"), ("s3.storage.class", "GLACIER"), ("s3.encryption", "SSE-KMS"), ("s3.kms.key.id", "k")];
    let found = set(&store(&keys, &base()));
    let expected = [("storage_class", "GLACIER"), ("encryption", "aws:kms"), ("kms_key_id", "k")];
    assert_eq!(found, expected.map(|(name, value)| (name, value.to_string())));
}

#[test]
fn what_a_topic_leaves_out_is_as_for_the_default_store_and_its_address_is_not() {
    let default = StoreConfig::from_url("s3://main/logs?region=eu-west-1&readBucket=copy&connect_timeout=3s").unwrap();
    let default = default.set("access_key", "id").unwrap().set("secret_key", SECRET).unwrap();
    let default = default.set("session_token", SECRET).unwrap().set("kms_key_id", "key").unwrap();
    let names = |config: &StoreConfig| set(config).into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ");
    let inherits = store(&[("s3.bucket", "own")], &default);
    assert_eq!(inherits.url().unwrap(), "s3://own/financial-data");
    assert_eq!(names(&inherits), "region access_key secret_key session_token kms_key_id connect_timeout");
    // Credentials and encryption are taken over as a whole, or not at all.
    let own = [
        ("s3.bucket", "own"),
        ("s3.access.key.id", "id2"),
        ("s3.secret.access.key", SECRET),
        ("s3.encryption", "none"),
    ];
    assert_eq!(names(&store(&own, &default)), "region access_key secret_key encryption connect_timeout");
    let of_role = [("s3.bucket", "own"), ("s3.use.iam.role", "true")];
    assert_eq!(names(&store(&of_role, &default)), "region use_iam_role kms_key_id connect_timeout");
    let elsewhere = StoreConfig::from_url("file:///tmp/logs").unwrap();
    assert_eq!(names(&store(&[("s3.bucket", "own")], &elsewhere)), "");
}

#[test]
fn a_topic_without_a_bucket_or_with_s3_disabled_is_in_the_default_store() {
    let topic = Topic::new("t").unwrap();
    for keys in [&[][..], &[("s3.enabled", "false"), ("s3.bucket", "own")], &[("storage.mode", "diskless")]] {
        assert!(parse(keys).unwrap().store(&topic, &base()).unwrap().is_none(), "{keys:?}");
    }
}

#[test]
fn diskless_keys_become_options_of_the_writer() {
    let plain = WriterOptions::default();
    let options = |keys: &[(&str, &str)]| parse(keys).unwrap().writer_options(plain.clone());
    assert_eq!(options(&[("s3.bucket", "b")]), plain);
    let diskless = options(&[("storage.mode", "diskless"), ("diskless.format", "segment")]);
    let of_seed = plain.clone().flush_records(10_000).flush_bytes(67_108_864).flush_interval(Duration::from_secs(60));
    assert_eq!(diskless, of_seed);
    let keys = [
        ("diskless.flush.interval.ms", "0"),
        ("diskless.flush.records", "7"),
        ("diskless.flush.bytes", "9"),
        ("diskless.compression", "ZSTD"),
    ];
    let expected =
        plain.clone().flush_interval(Duration::ZERO).flush_records(7).flush_bytes(9).compression(Codec::Zstd);
    assert_eq!(options(&keys), expected);
    expected.check().unwrap();
}

#[test]
fn what_can_not_be_is_refused_by_the_key_as_it_was_written() {
    use ErrorKind::{InvalidInput, Unsupported};
    for (keys, kind, message) in [
        (&[("s3.buckt", "b")][..], InvalidInput, "s3.buckt is no setting of a topic"),
        (&[(SECRET, "s3.bucket")], InvalidInput, "the given key is no setting of a topic"),
        (&[("retention.ms", "1")], InvalidInput, "retention.ms is no setting of a topic"),
        (&[("s3.enabled", "yes please")], InvalidInput, "s3.enabled can't be used: expected true or false"),
        (&[("s3.enabled", "true")], InvalidInput, "s3.bucket is missing: s3.enabled is true"),
        (&[("s3.region", "x")], InvalidInput, "s3.bucket is missing: s3.region needs it"),
        (&[("s3.bucket", "a/b")], InvalidInput, "s3.bucket can't be used: expected letters"),
        (&[("s3.bucket", "b"), ("s3.prefix", "a//b")], InvalidInput, "s3.prefix is not a usable prefix"),
        (&[("s3.bucket", "b"), ("s3.endpoint", "nowhere")], InvalidInput, "s3.endpoint can't be used: expected a URL"),
        (&[("s3.bucket", "b"), ("s3.endpoint", "https://u:p@h")], InvalidInput, "s3.endpoint holds a user"),
        (
            &[("s3.bucket", "b"), ("s3.encryption", "aes")],
            InvalidInput,
            "s3.encryption can't be used: expected one of SSE-S3",
        ),
        (
            &[("s3.bucket", "b"), ("s3.encryption", "SSE-S3"), ("s3.kms.key.id", "k")],
            InvalidInput,
            "s3.kms.key.id does not go with s3.encryption SSE-S3",
        ),
        (&[("s3.bucket", "b"), ("s3.access.key.id", "a")], InvalidInput, "s3.secret.access.key is missing"),
        (
            &[("s3.bucket", "b"), ("s3.use.iam.role", "true"), ("s3.access.key.id", "a")],
            InvalidInput,
            "s3.use.iam.role and s3.access.key.id contradict each other",
        ),
        (&[("storage.mode", "standard")], Unsupported, "storage.mode standard is not supported"),
        (&[("storage.mode", "tiered")], Unsupported, "storage.mode tiered is not supported"),
        (
            &[("storage.mode", "hybrid"), ("external.s3.bucket", "b")],
            Unsupported,
            "storage.mode hybrid is not supported",
        ),
        (&[("external.s3.bucket", "b")], Unsupported, "external.s3.bucket is not supported"),
        (&[("storage.mode", "fast")], InvalidInput, "storage.mode can't be used: expected one of standard"),
        (&[("diskless.format", "parquet")], Unsupported, "diskless.format parquet is not supported"),
        (
            &[("diskless.flush.records", "0")],
            InvalidInput,
            "diskless.flush.records can't be used: expected a whole number, at least 1",
        ),
        (&[("diskless.flush.interval.ms", "60s")], InvalidInput, "diskless.flush.interval.ms can't be used"),
        (&[("diskless.compression", "brotli")], InvalidInput, "diskless.compression can't be used: expected one of"),
    ] {
        let error = parse(keys).expect_err(message);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().starts_with(message), "{error}");
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    }
    assert!(
        TopicConfig::is_key("s3.bucket")
            && TopicConfig::is_key("diskless.what")
            && !TopicConfig::is_key("retention.ms")
    );
}

#[test]
fn a_reference_stands_for_the_secrets_when_it_is_written_out() {
    let keys = [
        ("s3.bucket", "b"),
        ("s3.access.key.id", SECRET),
        ("s3.secret.access.key", SECRET),
        ("credentials_ref", "vault/audit"),
        ("storage.mode", "diskless"),
        ("diskless.flush.records", "5"),
    ];
    let config = parse(&keys).unwrap();
    assert!(!format!("{config:?}").contains(SECRET));
    let text = serde_json::to_string(&config).unwrap();
    let expected = "{\"credentials_ref\":\"vault/audit\",\"diskless.flush.records\":\"5\",\"s3.bucket\":\"b\",\"storage.mode\":\"diskless\"}";
    assert_eq!(text, expected);
    let read: TopicConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), expected);
    let numbers: TopicConfig = serde_json::from_str("{\"s3.enabled\": false, \"diskless.flush.records\": 5}").unwrap();
    assert_eq!(numbers.writer_options(WriterOptions::default()).flush_records, 5);
    let error = serde_json::to_string(&parse(&keys[..3]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("credentials_ref") && !error.to_string().contains(SECRET), "{error}");
}
