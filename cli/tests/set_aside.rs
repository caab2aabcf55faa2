//! A partition whose newest segment is broken: what `kfs append` says to do, done.

#![cfg(unix)]

mod common;

use std::process::Command;

use common::{Bucket, Ended, broken_newest, finish, kfs};

/// A partition of two records and a newest segment of these bytes, in a directory whose name a shell would divide.
fn broken(bytes: &[u8]) -> (Bucket, String) {
    let bucket = Bucket::new();
    std::fs::create_dir(bucket.path().join("it's here")).unwrap();
    let url = format!("{}/it's%20here", bucket.url());
    for line in ["a\n", "b\n", "c\n"] {
        on(&url, "append --lines t/0", line.as_bytes()).ok();
    }
    std::fs::write(bucket.path().join("it's here/default/t/0/segment-00000000000000000002.kfs"), bytes).unwrap();
    (bucket, url)
}

fn on(url: &str, arguments: &str, input: &[u8]) -> Ended {
    let mut command = kfs();
    command.args(arguments.split_whitespace()).args(["--bucket", url]);
    finish(command, input)
}

/// The command that a hint names, pasted into a shell.
fn pasted(hint: &str, more: &str, bucket: Option<&str>) -> Ended {
    let command = hint.split('`').nth(1).expect("the hint names a command");
    let arguments = command.strip_prefix("kfs ").expect("it is this command");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" {arguments}{more}"), env!("CARGO_BIN_EXE_kfs")]);
    shell.env_remove("KFS_BUCKET").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    shell.envs(bucket.map(|url| ("KFS_BUCKET", url)));
    finish(shell, b"")
}

#[test]
fn the_hint_for_a_broken_newest_segment_works_when_it_is_pasted() {
    for (what, bytes) in broken_newest() {
        for by_environment in [false, true] {
            let (_directory, url) = broken(&bytes);
            let append = || match by_environment {
                false => on(&url, "append --lines t/0", b"d\n"),
                true => {
                    let mut command = kfs();
                    command.args(["append", "--lines", "t/0"]).env("KFS_BUCKET", &url);
                    finish(command, b"d\n")
                }
            };
            let message = append().failed(1);
            assert!(message.contains("segment-00000000000000000002.kfs"), "{what}: {message}");
            let hint = message.lines().last().unwrap();
            assert!(hint.starts_with("hint: ") && hint.contains("set-aside"), "{what}: {message}");
            let environment = by_environment.then_some(&url[..]);
            let said = pasted(hint, "", environment);
            let plan = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.failed(1).is_empty() && plan.contains("the next append gets offset"), "{what}: {plan}");
            assert_eq!(pasted(hint, " --yes", environment).failed(0), "");
            append().ok();
            assert_eq!(on(&url, "cat t/0", b"").ok(), "a\nb\nd\n", "{what}");
        }
    }
}

/// `repair` names a command for the same as well.
#[test]
fn the_command_that_repair_names_works_when_it_is_pasted() {
    for (what, bytes) in broken_newest() {
        let (_directory, url) = broken(&bytes);
        let said = on(&url, "repair t/0", b"");
        let shown = String::from_utf8_lossy(&said.stdout).into_owned();
        said.failed(1);
        assert_eq!(pasted(shown.lines().last().unwrap(), " --yes", None).failed(0), "", "{what}: {shown}");
        on(&url, "append --lines t/0", b"d\n").ok();
    }
}

#[test]
fn a_segment_that_is_sound_is_not_set_aside() {
    let bucket = Bucket::new();
    for line in ["a\n", "b\n", "c\n"] {
        on(&bucket.url(), "append --lines t/0", line.as_bytes()).ok();
    }
    for base in [1, 2] {
        let key = format!("default/t/0/segment-{base:020}.kfs");
        let message = on(&bucket.url(), &format!("repair --set-aside {key} --yes"), b"").failed(2);
        assert!(message.contains("the segment is sound") && message.contains(&key), "{message}");
        assert!(message.contains("replica"), "{message}");
    }
    assert_eq!(on(&bucket.url(), "cat t/0", b"").ok(), "a\nb\nc\n");
}
