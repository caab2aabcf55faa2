//! `kfs copy`.

mod common;

use common::Bucket;
use serde_json::Value;

/// A bucket with two topics: three records each in two partitions, and one in another topic.
fn bucket() -> Bucket {
    let bucket = Bucket::new();
    for partition in ["orders/0", "orders/1", "audit/0"] {
        for value in ["a", "b", "c"] {
            bucket.run_with(&format!("append --lines {partition}"), value.as_bytes()).ok();
        }
    }
    bucket
}

#[test]
fn topics_are_copied_into_another_bucket_and_later_runs_copy_what_is_new() {
    let (source, target) = (bucket(), Bucket::new());
    let to = format!("--into {}", target.url());
    let plan = source.run(&format!("copy orders {to} --dry-run")).ok();
    assert!(plan.contains("orders/0 into orders/0: offsets 0 to 3 are copied; 3 segments with"), "{plan}");
    assert_eq!(target.run("ls").ok(), "", "a plan writes nothing");
    let done = source.run(&format!("copy or* audit {to} --exclude orders/1 --json")).ok();
    let mut lines: Vec<Value> = done.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    lines.sort_by_key(|line| line["source"].to_string());
    assert_eq!((lines.len(), &lines[1]["source"], &lines[1]["segments"]), (2, &"orders/0".into(), &3.into()), "{done}");
    for partition in ["orders/0", "audit/0"] {
        assert_eq!(target.run(&format!("cat {partition}")).ok(), "a\nb\nc\n");
        target.run(&format!("verify {partition}")).ok();
    }
    source.run_with("append --lines orders/0", b"d").ok();
    let more = source.run(&format!("copy orders/0 {to}")).ok();
    assert!(more.contains("1 segment with") && more.contains("and the copy ends at 4"), "{more}");
    let none = source.run(&format!("copy orders/0 {to}")).ok();
    assert!(none.contains("0 segments with 0 bytes were copied"), "{none}");
    assert_eq!(target.run("cat orders/0").ok(), "a\nb\nc\nd\n");
}

#[test]
fn a_partition_gets_another_name_within_its_bucket() {
    let bucket = bucket();
    bucket.run("copy orders/0 --as copies/7 --from 1 --to 2 --segment-size 1MiB").ok();
    assert_eq!(bucket.run("cat copies/7").ok(), "b\n");
    bucket.run("copy orders --into-namespace other").ok();
    assert_eq!(bucket.run("cat orders/1 --namespace other").ok(), "a\nb\nc\n");
}

#[test]
fn a_range_of_time_is_copied() {
    let bucket = Bucket::new();
    let records = "{\"timestamp_ms\":1000,\"value\":\"a\"}\n{\"timestamp_ms\":2000,\"value\":\"b\"}\n{\"timestamp_ms\":3000,\"value\":\"c\"}\n";
    for record in records.lines() {
        bucket.run_with("append t/0", record.as_bytes()).ok();
    }
    bucket.run("copy t/0 --as u/0 --from-time 1500 --to-time 2500").ok();
    assert_eq!(bucket.run("cat u/0").ok(), "b\n");
    let none = bucket.run("copy t/0 --as v/0 --from-time 3001 --dry-run").ok();
    assert!(none.contains("offsets 3 to 3 are copied; 0 segments"), "{none}");
}

#[test]
fn what_can_not_be_copied_is_said() {
    let bucket = bucket();
    let itself = bucket.run("copy orders/0").failed(4);
    assert!(itself.contains("orders/0 has a log already, which is no copy of orders/0"), "{itself}");
    let twice = bucket.run("copy orders --as copies/0").failed(2);
    assert!(twice.contains("several partitions would be copied into copies/0"), "{twice}");
    let none = bucket.run("copy nothing* --as x").failed(3);
    assert!(none.contains("nothing in the bucket is called nothing*"), "{none}");
    bucket.run("copy orders/0 --as copies/0 --to 2").ok();
    let other = bucket.run("copy orders/0 --as copies/0").failed(4);
    assert!(other.contains("a copy into copies/0 was begun with offsets from the log start to 2"), "{other}");
    bucket.run_with("append --lines copies/0", b"mine").ok();
    let mixed = bucket.run("copy orders/0 --as copies/0 --to 2").failed(4);
    assert!(mixed.contains("copies/0 has other records at offset 2 than orders/0"), "{mixed}");
}
