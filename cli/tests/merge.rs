//! `kfs merge`.

mod common;

use std::fs::File;
use std::time::Duration;

use common::Bucket;
use serde_json::Value;

/// A partition of five segments, of a record each, that were made an hour ago.
fn log() -> Bucket {
    let bucket = Bucket::new();
    for value in ["a", "b", "c", "d", "e"] {
        bucket.run_with("append --lines t/0", value.as_bytes()).ok();
    }
    age(&bucket, Duration::from_secs(3600));
    bucket
}

/// Makes all objects of the partition older.
fn age(bucket: &Bucket, by: Duration) {
    for entry in std::fs::read_dir(bucket.path().join("default/t/0")).expect("a partition") {
        let path = entry.expect("an entry").path();
        let file = File::options().write(true).open(&path).expect("an object");
        let modified = file.metadata().and_then(|meta| meta.modified()).expect("a time");
        file.set_modified(modified - by).expect("an older object");
    }
}

fn segments(bucket: &Bucket) -> Vec<String> {
    let names = std::fs::read_dir(bucket.path().join("default/t/0")).expect("a partition");
    let names = names.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".kfs")).collect();
    names.sort();
    names
}

const MERGE: &str = "merge t/0 --target-size 4KiB --min-size 0 --grace 15m";

#[test]
fn small_segments_become_one_and_the_others_go_after_the_grace() {
    let bucket = log();
    let said = bucket.run(MERGE);
    let plan = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.failed(1).is_empty(), "it says nothing on stderr");
    assert!(plan.contains("t/0: 4 segments with") && plan.contains("bytes are merged into 1\n"), "{plan}");
    assert!(plan.contains("nothing was merged or removed; add --yes to do it"), "{plan}");
    assert_eq!(segments(&bucket).len(), 5);

    let done = bucket.run(&format!("{MERGE} --yes")).ok();
    assert!(done.contains("4 segments were merged into 1 with"), "{done}");
    assert!(done.contains("3 merged segments stay in place for readers, and may be removed in 0 h 21 min"), "{done}");
    assert_eq!(segments(&bucket).len(), 5);
    assert_eq!(bucket.run("cat t/0 --from earliest").ok(), "a\nb\nc\nd\ne\n");
    let again = bucket.run(&format!("{MERGE} --yes")).ok();
    assert!(again.contains("no segments were merged; 3 merged segments stay in place"), "{again}");

    age(&bucket, Duration::from_secs(22 * 60));
    let plan = bucket.run(&format!("{MERGE} --dry-run")).ok();
    assert!(plan.contains("3 segments with") && plan.contains("that earlier merges left are removed"), "{plan}");
    let done = bucket.run(&format!("{MERGE} --yes --json")).ok();
    let lines: Vec<Value> = done.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["step"], &lines[0]["leftovers"]), (&"plan".into(), &3.into()), "{done}");
    assert_eq!(
        (&lines[1]["step"], &lines[1]["leftovers"], &lines[1]["in_grace"]),
        (&"done".into(), &3.into(), &0.into())
    );
    assert_eq!(segments(&bucket).len(), 2);
    assert_eq!(bucket.run("cat t/0 --from earliest").ok(), "a\nb\nc\nd\ne\n");
    bucket.run("verify t/0").ok();
}

#[test]
fn what_makes_no_sense_is_refused_and_a_preset_bounds_the_size() {
    let bucket = log();
    let small = bucket.run("merge t/0 --target-size 4095B").failed(2);
    assert!(small.contains("target_size is 4095 bytes, 4096 to 1073741824 are allowed"), "{small}");
    let short = bucket.run("merge t/0 --grace 14m").failed(2);
    assert!(short.contains("at least 15 minutes are allowed"), "{short}");
    let unknown = bucket.run("merge u/0").failed(3);
    assert!(unknown.contains("u/0"), "{unknown}");
    let none = bucket.run("merge t/0 --dry-run").ok();
    assert!(none.contains("no segments are merged; 4 small segments wait for more to be merged with"), "{none}");
    let preset = bucket.run("merge t/0 --preset kafscale --min-size 1000001B").failed(2);
    assert!(preset.contains("more than the target_size of 1000000"), "{preset}");
}

#[test]
fn a_broken_segment_is_told_and_stays() {
    let bucket = log();
    let path = bucket.path().join("default/t/0/segment-00000000000000000001.kfs");
    let mut bytes = std::fs::read(&path).expect("a segment");
    bytes[60] ^= 1;
    std::fs::write(&path, &bytes).expect("a write");
    age(&bucket, Duration::from_secs(3600));
    let ended = bucket.run(&format!("{MERGE} --yes"));
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.failed(1), "");
    assert!(
        said.contains("2 segments were merged into 1") && said.contains("1 segment can't be read, the first:"),
        "{said}"
    );
    assert_eq!(std::fs::read(&path).expect("a segment"), bytes);
}
