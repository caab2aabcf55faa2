//! `kfs backup`.

mod common;

use common::Bucket;
use serde_json::Value;

/// Two topics; the first with two partitions, whose records have timestamps.
fn logs() -> Bucket {
    let bucket = Bucket::new();
    let records = "{\"timestamp_ms\":1000,\"value\":\"a\"}\n{\"timestamp_ms\":3000,\"value\":\"b\"}\n{\"timestamp_ms\":2000,\"value\":\"c\"}\n";
    bucket.run_with("append t/0", records.as_bytes()).ok();
    bucket.run_with("append --lines t/1", b"d\n").ok();
    bucket.run_with("append --lines u/0", b"e\n").ok();
    bucket
}

#[test]
fn a_backup_in_another_bucket_is_listed_verified_and_restored() {
    let (bucket, store) = (logs(), Bucket::new());
    let create = format!("backup create monday t* --into {}", store.url());
    let planned = bucket.run(&format!("{create} --dry-run")).ok();
    assert!(planned.starts_with("monday: the backup of 2 partitions; 2 segments with"), "{planned}");
    assert_eq!(store.run("backup list").ok(), "");
    let made = bucket.run(&create).ok();
    assert!(made.contains("monday: the backup is complete: 4 records in 2 segments with"), "{made}");
    let again = bucket.run(&create).failed(4);
    assert!(again.contains("the backup monday is there already"), "{again}");

    let listed = store.run("backup list").ok();
    assert!(
        listed.lines().nth(1).is_some_and(|line| line.starts_with("monday") && line.contains("complete")),
        "{listed}"
    );
    let json: Value = serde_json::from_str(&store.run("backup list --json").ok()).expect("JSON");
    assert_eq!((&json["partitions"][0]["records"], &json["partitions"][0]["end"]), (&3.into(), &3.into()), "{json}");
    assert_eq!(store.run("backup verify monday").ok(), "monday: sound; segments were listed; --deep reads them\n");
    assert_eq!(store.run("backup verify monday --deep").ok(), "monday: sound; all segments were read\n");

    // Into a new bucket, under the same names.
    let fresh = Bucket::new();
    store.run(&format!("backup restore monday --into {}", fresh.url())).ok();
    assert_eq!(fresh.run("cat t/0 --from earliest").ok(), "a\nb\nc\n");
    assert_eq!(fresh.run("cat t/1 --from earliest").ok(), "d\n");
    fresh.run("verify t/0").ok();
    // Up to a time: the record of 2000 comes after one of 3000, and so is not restored.
    store.run("backup restore monday t/0 --as then --to-time 2500").ok();
    assert_eq!(store.run("cat then/0 --from earliest").ok(), "a\n");
    store.run("backup restore monday t/0 --as offset --to 2").ok();
    assert_eq!(store.run("cat offset/0 --from earliest").ok(), "a\nb\n");
    store.run("verify then/0").ok();
    store.run("verify offset/0").ok();
    let taken = store.run(&format!("backup restore monday t/0 --into {}", bucket.url())).failed(4);
    assert!(taken.contains("t/0 has a log already"), "{taken}");
    let missing = store.run("backup restore monday u").failed(3);
    assert!(missing.contains("nothing in the backup monday is called u"), "{missing}");
    store.run("backup restore tuesday").failed(3);

    // A byte that changed is found by reading alone.
    let segment = store.path().join(".kfs-backups/monday/default/t/0/segment-00000000000000000000.kfs");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).expect("another segment");
    store.run("backup verify monday").ok();
    let found = store.run("backup verify monday --deep");
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.code, Some(1), "{said}");
    assert!(said.contains("t/0: corrupt") && said.ends_with("monday: 1 fault; all segments were read\n"), "{said}");
}

#[test]
fn backups_in_the_same_bucket_are_no_topics_and_expire() {
    let bucket = logs();
    for name in ["a", "b", "c"] {
        bucket.run(&format!("backup create {name} * --segment-size 1MiB")).ok();
    }
    assert_eq!(bucket.run("ls").ok().lines().count(), 3, "two topics and a header");
    bucket.run("backup expire").failed(2);
    let said = bucket.run("backup expire --keep 1");
    let plan = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.code, Some(1));
    assert!(plan.contains("are removed: a, b; 1 backup stays\nnothing was removed; add --yes to do it\n"), "{plan}");
    bucket.run("backup expire --younger-than 1h --yes").ok();
    assert_eq!(bucket.run("backup list").ok().lines().count(), 4);
    let done = bucket.run("backup expire --keep 1 --yes").ok();
    assert!(done.ends_with("2 backups were removed\n"), "{done}");
    assert_eq!(bucket.run("backup list").ok().lines().count(), 2);
    bucket.run("backup verify c --deep").ok();
    bucket.run("cat t/0 --from earliest").ok();
}
