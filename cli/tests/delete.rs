//! `kfs delete`.

mod common;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use common::Bucket;
use serde_json::Value;

/// Two partitions of a topic, and one of another.
fn logs() -> Bucket {
    let bucket = Bucket::new();
    for (partition, records) in [("t/0", "a\nb\n"), ("t/1", "c\n"), ("u/0", "d\n")] {
        bucket.run_with(&format!("append --lines {partition}"), records.as_bytes()).ok();
    }
    bucket
}

/// Makes all objects of the namespace 6 minutes older.
fn age(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            age(&path);
            continue;
        }
        let file = File::options().write(true).open(&path).expect("an object");
        let modified = file.metadata().and_then(|meta| meta.modified()).expect("a time");
        file.set_modified(modified - Duration::from_secs(6 * 60)).expect("an older object");
    }
}

fn lines(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_topic_is_deleted_in_three_calls_and_says_first_what_goes() {
    let bucket = logs();
    let said = bucket.run("delete t");
    let plan = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.failed(1).is_empty(), "it says nothing on stderr");
    assert!(plan.contains("t/0: the log is deleted, offsets 0 to 2; 1 segment with"), "{plan}");
    assert!(plan.contains("t/1: the log is deleted, offsets 0 to 1; 1 segment with"), "{plan}");
    assert!(plan.ends_with("nothing was deleted; add --yes to do it\n"), "{plan}");
    assert_eq!(bucket.run("cat t/0 --from earliest").ok(), "a\nb\n");

    let first = bucket.run("delete t --yes").ok();
    assert!(
        first.contains("t/0: 0 segments with 0 bytes were removed; nothing is read any more, and the rest"),
        "{first}"
    );
    assert_eq!(bucket.run("cat t/0 --from earliest").ok(), "");
    let namespace = bucket.path().join("default");
    age(&namespace);
    let second = lines(&bucket.run("delete t --yes --json").ok());
    assert_eq!(second.len(), 4);
    assert_eq!((&second[0]["step"], &second[0]["was_begun"]), (&"plan".into(), &true.into()));
    assert_eq!(
        (&second[2]["step"], &second[2]["segments"], &second[2]["wait_s"]),
        (&"done".into(), &2.into(), &360.into())
    );
    // Nothing but marks is left, and so nobody may begin to write.
    let refused = bucket.run_with("append --lines t/0", b"e\n").failed(4);
    assert!(refused.contains("t/0 is being deleted, and that has not ended"), "{refused}");
    age(&namespace);
    let third = bucket.run("delete t --yes").ok();
    assert!(third.contains("t/1: 0 segments with 0 bytes were removed, and the log is deleted"), "{third}");

    assert_eq!(bucket.run("ls").ok().lines().count(), 2, "the other topic and a header");
    bucket.run("cat t/0 --from earliest").failed(3);
    bucket.run("delete t").failed(3);
    bucket.run_with("append --lines t/0", b"e\n").ok();
    assert_eq!(bucket.run("cat t/0 --from 0").ok(), "e\n");
    assert_eq!(bucket.run("cat u/0 --from earliest").ok(), "d\n");
}

#[test]
fn with_now_topics_that_match_go_at_once_and_no_copy_takes_their_place() {
    let bucket = logs();
    std::fs::write(bucket.path().join("default/t/0/notes.txt"), "somebody's").expect("a foreign object");
    let done = bucket.run("delete t* --now --yes").ok();
    assert!(done.contains("t/0: 1 segment with") && done.contains("1 object that is no part of a log stays"), "{done}");
    assert!(done.contains("bytes was removed, and the log is deleted\n"), "{done}");
    assert!(bucket.path().join("default/t/0/notes.txt").exists());
    let refused = bucket.run("copy u/0 --as t/0").failed(4);
    assert!(refused.contains("t/0 was deleted less than a day ago"), "{refused}");
    // The folder that is left counts for nothing in a topic, and is no log by its name.
    let nothing = bucket.run("delete t --now --yes").ok();
    assert_eq!(nothing, "");
    bucket.run("delete t/0 --now --yes").failed(3);
}

#[test]
fn a_log_that_cant_be_read_is_deleted_with_now_alone() {
    let bucket = logs();
    std::fs::write(&bucket.files("t/0", "kfs")[0], "no segment").expect("a broken segment");
    let refused = bucket.run("delete t/0").failed(1);
    assert!(refused.contains("`kfs delete t/0 --now` deletes a log that can't be read"), "{refused}");
    bucket.run("delete t/0 --now --yes").ok();
    bucket.run("cat t/0 --from earliest").failed(3);
}
