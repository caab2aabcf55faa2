//! `kfs manifest`.

mod common;

use common::Bucket;
use serde_json::Value;

/// Two topics, of three segments of a record each.
fn bucket() -> Bucket {
    let bucket = Bucket::new();
    for partition in ["orders/0", "audit/1"] {
        for (value, time) in [("a", 1000), ("b", 2000), ("c", 3000)] {
            let record = format!("{{\"timestamp_ms\":{time},\"value\":\"{value}\"}}\n");
            bucket.run_with(&format!("append {partition}"), record.as_bytes()).ok();
        }
    }
    bucket
}

fn entries(bucket: &Bucket) -> Vec<Value> {
    let text = std::fs::read(bucket.path().join("default/manifest.json")).expect("a manifest");
    serde_json::from_slice::<Value>(&text).expect("JSON").as_array().expect("an array").clone()
}

#[test]
fn all_topics_are_named_with_offsets_and_times_or_those_that_are_asked_for() {
    let bucket = bucket();
    let plan = bucket.run("manifest kafscale --dry-run").ok();
    assert!(plan.starts_with("default/manifest.json: 6 segments of 2 partitions, of which 6 with"), "{plan}");
    assert!(!bucket.path().join("default/manifest.json").exists(), "a plan writes nothing");
    let done = bucket.run("manifest kafscale").ok();
    assert!(done.starts_with("default/manifest.json: 6 segments of 2 partitions, in "), "{done}");
    let named = entries(&bucket);
    assert_eq!((named.len(), &named[0]["topic"], &named[0]["partition"]), (6, &"audit".into(), &1.into()));
    let second = &named[4];
    assert_eq!(second["segment_key"], "orders/0/segment-00000000000000000001.kfs");
    assert_eq!((&second["min_offset"], &second["max_offset"]), (&1.into(), &1.into()));
    assert_eq!((&second["min_ts"], &second["max_ts"]), (&2000.into(), &2000.into()));

    bucket.run_with("append --lines orders/0", b"d").ok();
    let again = bucket.run("manifest kafscale or* --exclude audit --log-start orders/0=1 --json").ok();
    let lines: Vec<Value> = again.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["step"], &lines[0]["known"]), (&"plan".into(), &3.into()), "{again}");
    assert_eq!((&lines[1]["kept"], &lines[1]["below"]), (&2.into(), &1.into()), "{again}");
    assert_eq!(entries(&bucket).len(), 3);
}

#[test]
fn what_is_left_out_for_a_fault_is_told() {
    let bucket = bucket();
    std::fs::remove_file(bucket.path().join("default/orders/0/segment-00000000000000000001.index")).expect("an index");
    let ended = bucket.run("manifest kafscale");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.failed(1), "");
    assert!(said.contains("1 segment has no index and is not named: `kfs repair` makes indexes"), "{said}");
    assert_eq!(entries(&bucket).len(), 5);
    let none = bucket.run("manifest kafscale nothing*").failed(3);
    assert!(none.contains("nothing in the bucket is called nothing*"), "{none}");
    let wrong = bucket.run("manifest kafscale --log-start orders/0").failed(2);
    assert!(wrong.contains("orders/0 names no log start"), "{wrong}");
}

#[test]
fn the_manifest_of_a_log_is_written_for_each_partition_that_is_named() {
    let bucket = bucket();
    let key = "default/orders/0/log.manifest";
    let plan = bucket.run("manifest log orders/0 --dry-run").ok();
    assert!(plan.starts_with(&format!("{key}: 3 of 3 segments in ")), "{plan}");
    assert!(!bucket.path().join(key).exists(), "a plan writes nothing");
    let done = bucket.run("manifest log o* audit --exclude audit/0").ok();
    let lines: Vec<_> = done.lines().collect();
    assert!(lines[0].starts_with("default/audit/1/log.manifest was written: it names 3 segments in "), "{done}");
    assert!(lines[1].starts_with(&format!("{key} was written")) && lines.len() == 2, "{done}");
    let size = std::fs::metadata(bucket.path().join(key)).expect("a manifest").len();

    let again = bucket.run("manifest log orders/0 --json").ok();
    let lines: Vec<Value> = again.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["step"], &lines[0]["segments"], &lines[0]["named"]), (&"plan".into(), &3.into(), &3.into()));
    assert_eq!((&lines[1]["step"], &lines[1]["bytes"]), (&"done".into(), &size.into()));
    assert_eq!(bucket.run("cat orders/0").ok().lines().count(), 3);
    assert!(bucket.run("verify orders/0").ok().contains('0'));

    let none = bucket.run("manifest log orders/7").failed(3);
    assert!(none.contains("partition orders/7 has neither log.json nor a segment"), "{none}");
    bucket.run("manifest log").failed(2);
}
