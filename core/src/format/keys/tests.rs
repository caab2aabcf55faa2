use super::*;

fn partition() -> PartitionId {
    PartitionId::new(Namespace::default(), Topic::new("orders").unwrap(), 7).unwrap()
}

#[test]
fn keys_are_padded_so_that_key_order_is_offset_order() {
    let p = partition();
    assert_eq!(p.prefix(), "default/orders/7/");
    assert_eq!(p.segment_key(42), "default/orders/7/segment-00000000000000000042.kfs");
    assert_eq!(p.index_key(42), "default/orders/7/segment-00000000000000000042.index");
    assert_eq!(p.time_index_key(42), "default/orders/7/segment-00000000000000000042.kfst");
    assert_eq!(p.log_json_key(), "default/orders/7/log.json");
    assert_eq!(p.claim_json_key(), "default/orders/7/claim.json");
    assert_eq!(p.log_start_key(9), "default/orders/7/log-start-00000000000000000009");
    assert!(p.segment_key(i64::MAX) > p.segment_key(i64::MAX / 10));
    assert!(p.log_start_key(i64::MAX) < p.log_json_key(), "marks sort before all that a listing must know");
    assert!(p.log_json_key() < p.segment_key(0));
    assert!(p.claim_json_key() < p.log_start_key(0), "where a listing of the log begins, the marker has passed");
}

#[test]
fn every_name_reads_back_as_itself() {
    for offset in [0, 1, 42, i64::from(u32::MAX), i64::MAX] {
        let names = [
            ObjectName::Segment(offset),
            ObjectName::Index(offset),
            ObjectName::TimeIndex(offset),
            ObjectName::LogJson,
            ObjectName::LogManifest,
            ObjectName::Claim,
            ObjectName::LogStart(offset),
        ];
        for name in names {
            assert_eq!(ObjectName::parse(&name.file_name()), Some(name));
            assert_eq!(PartitionId::parse_key(&partition().key(name)), Some((partition(), name)));
        }
    }
}

#[test]
fn names_of_any_other_form_are_foreign() {
    for name in [
        "",
        "segment-42.kfs",
        "segment-00000000000000000042",
        "segment-00000000000000000042.kfs.bad",
        "segment-00000000000000000042.KFS",
        "segment-000000000000000000042.kfs",
        "segment-0000000000000000042.kfs",
        "segment-+0000000000000000042.kfs",
        "segment--0000000000000000042.kfs",
        "segment-09223372036854775808.kfs",
        "segment-99999999999999999999.kfs",
        "segment-0000000000000000004é.kfs",
        "segment-0000000000000000000é.kfs",
        "sub/segment-00000000000000000042.kfs",
        "log-start-42",
        "log-start-00000000000000000042.x",
        "log.json.bak",
        "claim.json.bak",
        "manifest.json",
    ] {
        assert_eq!(ObjectName::parse(name), None, "{name}");
    }
    for key in [
        "default/orders/segment-00000000000000000042.kfs",
        "default/orders/07/segment-00000000000000000042.kfs",
        "default/orders/+7/segment-00000000000000000042.kfs",
        "default/orders/2147483648/segment-00000000000000000042.kfs",
        "default/orders//segment-00000000000000000042.kfs",
        "default/../7/segment-00000000000000000042.kfs",
        "x/default/orders/7/segment-00000000000000000042.kfs",
        "/default/orders/7/segment-00000000000000000042.kfs",
        "lfs/a/b/c",
    ] {
        assert_eq!(PartitionId::parse_key(key), None, "{key}");
    }
}

#[test]
fn topic_names_follow_kafkas_rule() {
    for good in ["a", "A.b_c-9", "...", "__consumer_offsets", &"x".repeat(249)] {
        assert_eq!(Topic::new(good).unwrap().as_str(), good);
        assert_eq!(Namespace::new(good).unwrap().as_str(), good);
    }
    for bad in ["", ".", "..", "a/b", "a b", "é", "a\0", "a\\b", ".kfs-jobs", &"x".repeat(250)] {
        assert_eq!(Topic::new(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        assert_eq!(Namespace::new(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
    }
}

#[test]
fn partitions_are_plain_decimal() {
    let parse = |text| PartitionId::parse(text, Namespace::default());
    assert_eq!(parse("orders/7").unwrap(), partition());
    assert_eq!(parse("orders/7").unwrap().to_string(), "orders/7");
    assert_eq!(parse("orders/2147483647").unwrap().partition(), i32::MAX);
    for bad in ["orders", "orders/", "orders/-1", "orders/+1", "orders/01", "orders/2147483648", "orders/1/2", "/1"] {
        assert_eq!(parse(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
    }
    assert!(PartitionId::new(Namespace::default(), Topic::new("t").unwrap(), -1).is_err());
}
