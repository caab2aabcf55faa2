//! `kfs delete-records` and `kfs retain`.

mod common;

use common::{Bucket, Ended};
use serde_json::Value;

/// A partition of five segments, of a record each.
fn log() -> Bucket {
    let bucket = Bucket::new();
    for value in ["a", "b", "c", "d", "e"] {
        bucket.run_with("append --lines t/0", value.as_bytes()).ok();
    }
    bucket
}

fn records(bucket: &Bucket) -> String {
    let ended: Ended = bucket.run("cat t/0 --from earliest");
    ended.ok()
}

#[test]
fn without_yes_nothing_is_written_and_a_dry_run_succeeds() {
    let bucket = log();
    let said = bucket.run("delete-records t/0 --before 3");
    let plan = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.failed(1).is_empty(), "it says nothing on stderr");
    assert!(plan.contains("the log start moves from 0 to 3, and 3 segments with"), "{plan}");
    assert!(plan.contains("nothing was removed; add --yes to do it"), "{plan}");
    let plan = bucket.run("delete-records t/0 --before end --dry-run").ok();
    assert!(plan.contains("from 0 to 5, and 4 segments with") && !plan.contains("--yes"), "{plan}");
    assert_eq!(records(&bucket), "a\nb\nc\nd\ne\n");
}

#[test]
fn records_below_the_offset_are_read_no_more_and_young_segments_wait() {
    let bucket = log();
    let done = bucket.run("delete-records t/0 --before 3 --yes --json").ok();
    let lines: Vec<Value> = done.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["step"], &lines[0]["new_log_start"]), (&"plan".into(), &3.into()), "{done}");
    assert_eq!((&lines[1]["step"], &lines[1]["log_start"]), (&"done".into(), &3.into()), "{done}");
    assert_eq!((&lines[1]["segments"], &lines[1]["spared"]), (&0.into(), &true.into()), "{done}");
    assert_eq!(records(&bucket), "d\ne\n");
    let again = bucket.run("delete-records t/0 --before 1 --yes").ok();
    assert!(again.contains("the log start stays at 3"), "{again}");
    assert!(again.contains("segments that are younger than 6 minutes wait for a later call"), "{again}");
    bucket.run_with("append --lines t/0", b"f").ok();
    assert_eq!(records(&bucket), "d\ne\nf\n");
}

#[test]
fn what_can_not_be_deleted_is_said() {
    let bucket = log();
    let beyond = bucket.run("delete-records t/0 --before 6 --yes").failed(3);
    assert!(beyond.contains("can't start at 6: it ends at 5"), "{beyond}");
    let unknown = bucket.run("delete-records u/0 --before 0 --yes").failed(3);
    assert!(unknown.contains("u/0"), "{unknown}");
    let negative = bucket.run("delete-records t/0 --before -1").failed(2);
    assert!(negative.contains("an offset from 0 on, or end"), "{negative}");
    assert_eq!(records(&bucket), "a\nb\nc\nd\ne\n");
}

#[test]
fn retention_says_what_its_limits_remove_and_does_it() {
    let bucket = log();
    let plan = bucket.run("retain t/0 --max-bytes 1 --dry-run").ok();
    assert!(plan.contains("the log start moves from 0 to 4 by the limit of bytes, and 4 segments with"), "{plan}");
    let young = bucket.run("retain t/0 --max-age 7d --yes").ok();
    assert!(young.contains("the log start stays at 0"), "{young}");
    let said = bucket.run("retain t/0 --max-age 1h --start-offset 2");
    let plan = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.failed(1).is_empty(), "it says nothing on stderr");
    assert!(plan.contains("from 0 to 2 by the limit of offset") && plan.contains("add --yes to do it"), "{plan}");
    assert_eq!(records(&bucket), "a\nb\nc\nd\ne\n");
    let done = bucket.run("retain t/0 --max-age 1h --start-offset 2 --yes --json").ok();
    let lines: Vec<Value> = done.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["limit"], &lines[1]["log_start"]), (&"offset".into(), &2.into()), "{done}");
    assert_eq!(records(&bucket), "c\nd\ne\n");
    let none = bucket.run("retain t/0 --yes").failed(2);
    assert!(none.contains("--max-age") && none.contains("--max-bytes"), "{none}");
}
