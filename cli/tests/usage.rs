//! The command line: help, errors in one line with a hint, exit codes.

mod common;

use common::{Bucket, finish, kfs, run};

const COMMANDS: [&str; 7] = ["append", "cat", "create", "inspect", "ls", "repair", "verify"];

#[test]
fn every_subcommands_help_has_examples() {
    let help = run(["--help"]).ok();
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not listed");
        let help = run([command, "--help"]).ok();
        assert!(help.contains("Examples:\n  kfs "), "{command}:\n{help}");
        assert!(help.contains("--bucket"), "{command}:\n{help}");
    }
}

/// One line of message, one of hint, this exit code.
#[track_caller]
fn refused(arguments: &[&str], code: i32, message: &str, hint: &str) {
    let mut command = kfs();
    command.args(arguments);
    let ended = finish(command, b"").failed(code);
    let lines: Vec<_> = ended.lines().collect();
    assert_eq!(lines.len(), 2, "{ended}");
    assert!(lines[0].starts_with("kfs: ") && lines[0].contains(message), "{ended}");
    assert!(lines[1].starts_with("hint: ") && lines[1].contains(hint), "{ended}");
}

#[test]
fn a_wrong_bucket_is_a_usage_error() {
    for command in ["append", "cat", "create", "verify"] {
        refused(&[command, "t/0"], 2, "no bucket is given", "KFS_BUCKET");
        refused(&[command, "t/0", "--bucket", "gs://b"], 2, "unsupported: there is no store for gs: URLs", "file:///");
        refused(&[command, "t/0", "--bucket", "/tmp/x"], 2, "not given as a URL", "file:///");
        refused(&[command, "t/0", "--bucket", "file:///no/such/place"], 3, "does not exist", "parent");
    }
    let secret = run(["ls", "--bucket", "s3://id:hunter2@b"]).failed(2);
    assert!(!secret.contains("hunter2"), "{secret}");
}

#[test]
fn a_wrong_partition_is_a_usage_error() {
    let bucket = Bucket::new();
    let url = bucket.url();
    for command in ["append", "cat", "create", "repair", "verify"] {
        for (name, message) in [
            ("orders", "does not name a partition"),
            ("orders/x", "does not name a partition"),
            ("orders/01", "does not name a partition"),
            ("orders/-1", "does not name a partition"),
            ("or ders/0", "a topic name holds ' '"),
            ("../0", "a topic name is \"..\""),
        ] {
            refused(&[command, name, "--bucket", &url], 2, message, "");
        }
    }
}

#[test]
fn a_missing_partition_is_not_found() {
    let bucket = Bucket::new();
    let url = bucket.url();
    for command in ["cat", "ls", "verify", "repair"] {
        refused(&[command, "orders/0", "--bucket", &url], 3, "not found: partition orders/0", "namespace");
    }
    refused(&["cat", "no/such/file.kfs"], 3, "no/such/file.kfs", "");
    refused(&["inspect", "no/such/key", "--bucket", &url], 3, "not found", "whole key");
    refused(&["inspect", "no/such/key"], 3, "there is no file no/such/key", "--bucket");
}

#[test]
fn an_offset_outside_the_log_names_its_range() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0 --start-offset 10", b"a\nb\n").ok();
    let url = bucket.url();
    for offset in ["9", "13"] {
        refused(
            &["cat", "t/0", "--from", offset, "--bucket", &url],
            3,
            "(the log starts at 10 and ends before 12)",
            "",
        );
    }
    assert_eq!(bucket.run("cat t/0 --from 12").ok(), "");
}

#[test]
fn namespaces_are_apart() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0 --namespace other", b"x\n").ok();
    bucket.run("cat t/0").failed(3);
    assert_eq!(bucket.run("cat t/0 --namespace other").ok(), "x\n");
    bucket.run("cat t/0 --namespace ..").failed(2);
}

#[test]
fn a_file_that_is_no_segment_is_told_so() {
    let bucket = Bucket::new();
    let file = bucket.path().join("note.txt");
    std::fs::write(&file, "text").unwrap();
    let path = file.to_str().unwrap();
    refused(&["cat", path], 2, "is a file, but not called .kfs", "inspect");
    refused(&["inspect", path], 2, "is no segment", "KAFS");
    let text = bucket.path().join("text.kfs");
    std::fs::write(&text, "this is not what a segment looks like, not at all").unwrap();
    let message = run(["cat", text.to_str().unwrap()]).failed(1);
    assert!(message.contains("text.kfs at byte 0"), "{message}");
}
