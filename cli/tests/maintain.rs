//! `kfs maintain`.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use common::{Bucket, Killed};

/// Two topics of five segments, of a record each, that were made an hour ago.
fn logs() -> Bucket {
    let bucket = Bucket::new();
    for topic in ["t", "u"] {
        for value in ["a", "b", "c", "d", "e"] {
            bucket.run_with(&format!("append --lines {topic}/0"), value.as_bytes()).ok();
        }
        for entry in std::fs::read_dir(bucket.path().join("default").join(topic).join("0")).expect("a partition") {
            let file = File::options().write(true).open(entry.expect("an entry").path()).expect("an object");
            let modified = file.metadata().and_then(|meta| meta.modified()).expect("a time");
            file.set_modified(modified - Duration::from_secs(3600)).expect("an older object");
        }
    }
    bucket
}

const POLICY: &str = r#"{"rules": [
    {"names": ["t"], "retain": {"max_bytes": "150B"}, "log_manifest": true},
    {"names": ["*"], "exclude": ["v"], "merge": {"target_size": "4KiB", "min_size": "0B", "grace": "15m"}}
]}"#;

fn with_policy(bucket: &Bucket, policy: &str) -> String {
    let file = bucket.path().join("policy.json");
    std::fs::write(&file, policy).expect("a policy");
    format!("maintain --policy {}", file.display())
}

#[test]
fn a_round_does_what_the_first_rule_of_each_partition_says() {
    let bucket = logs();
    let maintain = with_policy(&bucket, POLICY);
    let said = bucket.run(&maintain);
    let plan = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(plan.contains("t/0: the log start moves from 0 to 3"), "{plan}");
    assert!(
        plan.contains("u/0: 4 segments with") && plan.ends_with("nothing was changed; add --yes to do it\n"),
        "{plan}"
    );
    assert_eq!(bucket.files("t/0", "kfs").len(), 5);
    let done = bucket.run(&format!("{maintain} --yes --json")).ok();
    let steps: Vec<serde_json::Value> = done.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let steps: Vec<_> = steps.iter().map(|step| (step["step"].as_str(), step["partition"].as_str())).collect();
    assert_eq!(
        steps,
        [("retained", "t/0"), ("log_manifest", "t/0"), ("merged", "u/0")].map(|(a, b)| (Some(a), Some(b))),
        "{done}"
    );
    assert!(bucket.path().join("default/t/0/log.manifest").exists());
    assert_eq!(bucket.files("t/0", "kfs").len(), 2);
    assert_eq!(bucket.run("cat u/0 --from earliest").ok(), "a\nb\nc\nd\ne\n");
    assert_eq!(bucket.run(&format!("{maintain} --yes")).ok(), "", "nothing is left to do");
}

#[test]
fn rounds_go_on_until_the_command_is_stopped() {
    let bucket = logs();
    let maintain = with_policy(&bucket, POLICY);
    let mut command = bucket.kfs(&format!("{maintain} --every 100ms --yes"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("run kfs");
    let mut child = Killed(child);
    let mut lines = BufReader::new(child.0.stdout.take().expect("its output")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert!(next().contains("t/0: the log starts at 3"));
    assert!(next().contains("t/0/log.manifest was written"));
    assert!(next().contains("u/0: 4 segments were merged into 1"));
    // A later round sees what came meanwhile.
    bucket.run("delete t --yes").ok();
    let deleted = next();
    assert!(deleted.contains("t/0:") && deleted.contains("the rest may go in"), "{deleted}");
}

#[test]
fn a_policy_that_makes_no_sense_is_refused_and_a_failure_is_told() {
    let bucket = logs();
    for (policy, expected) in [
        ("{", "EOF while parsing"),
        (r#"{"rules": [{"names": []}]}"#, "a rule names no partitions"),
        (r#"{"rules": [{"names": ["t"], "retain": {}}]}"#, "retain has neither max_age nor max_bytes"),
        (r#"{"rules": [{"names": ["t"], "retain": {"max_age": "soon"}}]}"#, "line 1 column"),
        (r#"{"rules": [{"names": ["t"], "mergee": {}}]}"#, "unknown field `mergee`"),
    ] {
        let maintain = with_policy(&bucket, policy);
        let refused = bucket.run(&maintain).failed(2);
        assert!(refused.contains(expected) && refused.contains("policy.json"), "{policy}: {refused}");
    }
    bucket.run("maintain --policy /does/not/exist").failed(3);
    let wrong = with_policy(&bucket, r#"{"rules": [{"names": ["*"], "merge": {"target_size": "1B"}}]}"#);
    let failed = bucket.run(&format!("{wrong} --yes")).failed(2);
    assert!(
        failed.contains("t/0: merging failed: invalid input: the merge policy's target_size is 1 bytes"),
        "{failed}"
    );
    bucket.run(&format!("{wrong} --every 1s")).failed(2);
}
