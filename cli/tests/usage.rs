//! The command line: help, errors in one line with a hint, exit codes.

mod common;

use common::{Bucket, finish, kfs, run};

const COMMANDS: [&str; 8] = ["append", "cat", "check", "create", "inspect", "ls", "repair", "verify"];

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
        refused(
            &[command, "t/0", "--bucket", "ftp://b"],
            2,
            "unsupported: there is no store for ftp: URLs",
            "file:///",
        );
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
        ] {
            refused(&[command, name, "--bucket", &url], 2, message, "");
        }
    }
    for command in ["append", "create", "repair"] {
        refused(&[command, "../0", "--bucket", &url], 2, "a topic name is \"..\"", "");
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

#[test]
fn a_relative_file_url_is_refused() {
    for url in ["file:b1", "file:", "file:./b1", "FILE:b1"] {
        refused(&["ls", "--bucket", url], 2, "a file: URL needs an absolute path", "file:///");
    }
}

#[cfg(feature = "aws")]
#[test]
fn a_wrong_setting_of_s3_is_answered_with_a_right_one() {
    for (name, value, hint) in [
        ("AWS_ENDPOINT_URL", "127.0.0.1:17771", "http://127.0.0.1:9000"),
        ("AWS_ENDPOINT_URL", "", "http://127.0.0.1:9000"),
        ("AWS_CA_BUNDLE", "/nope", "PEM"),
    ] {
        let mut command = kfs();
        command.args(["ls", "--bucket", "s3://b", "--timeout", "3s"]);
        command.envs([("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"), (name, value)]);
        let ended = finish(command, b"");
        let last = ended.stderr.lines().last().unwrap_or_default().to_string();
        assert!(last.contains(name) && last.contains(hint), "{name}={value}: {}", ended.stderr);
        assert_ne!(ended.code, Some(0));
    }
}

#[test]
fn a_range_that_ends_before_it_starts_is_refused() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0", b"a\nb\n").ok();
    let file = bucket.files("t/0", "kfs").pop().unwrap();
    for target in ["t/0", file.to_str().unwrap()] {
        for range in ["--from 5 --to 2", "--from -2 --to -5", "--from-time 5000 --to-time 4999"] {
            let message = bucket.run(&format!("cat {target} {range}")).failed(2);
            assert!(message.contains("must be at most"), "{range}: {message}");
        }
    }
}

#[test]
fn a_range_beyond_the_log_is_said_to_hold_nothing() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0", b"a\nb\n").ok();
    let said = bucket.run("verify t/0 --from 100").ok();
    assert!(said.contains("nothing is in the range that was asked for"), "{said}");
    assert!(!bucket.run("verify t/0 --from 1").ok().contains("nothing"));
}

#[test]
fn a_wrong_number_is_answered_with_a_right_one() {
    for (option, value, example) in [
        ("--timeout", "-1", "250ms"),
        ("--timeout", "-1s", "250ms"),
        ("--timeout", "", "250ms"),
        ("--timeout", "soon", "250ms"),
        ("--timeout", "1 fortnight", "250ms"),
        ("--count", "-1", "as in 10"),
        ("--count", "x", "as in 10"),
        ("--max-decompressed", "-1", "8MiB"),
        ("--max-decompressed", "much", "8MiB"),
        ("--max-decompressed", "1.5M", "8MiB"),
    ] {
        let message = run(["cat", "t/0", &format!("{option}={value}")]).failed(2);
        assert!(message.contains(example), "{option}={value}: {message}");
    }
}
