//! Nothing from outside reaches a terminal or a log raw.

#![cfg(target_os = "linux")]

mod common;

use std::process::{Command, Stdio};

use common::{Bucket, run};

const HOSTILE: &str = "\u{1b}[2J\r\u{7f}\u{9b}31m\u{202e}";

/// What a command prints on a terminal, by util-linux's `script`; `None` where there is none.
fn on_a_terminal(bucket: &Bucket, arguments: &str) -> Option<(i32, Vec<u8>)> {
    let command = format!("{} {arguments}", env!("CARGO_BIN_EXE_kfs"));
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("KFS_BUCKET", bucket.url());
    let child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        kfs_tests::skip("there is no `script` to make a terminal");
        return None;
    };
    // Its end would be shown on the terminal.
    let stdin = child.stdin.take();
    let ended = child.wait_with_output().unwrap();
    drop(stdin);
    Some((ended.status.code().unwrap(), ended.stdout))
}

#[track_caller]
fn assert_harmless(shown: &[u8]) {
    let text = String::from_utf8(shown.to_vec()).expect("what is shown is UTF-8").replace("\r\n", "\n");
    let acts = |c: char| kfs_core::text::acts_on_a_terminal(c) && c != '\n' && c != '\t';
    assert!(!text.contains(acts), "{text:?}");
}

#[test]
fn values_are_escaped_on_a_terminal_and_raw_elsewhere() {
    let bucket = Bucket::new();
    let value = [format!("a\tb {HOSTILE} ü").as_bytes(), b"\xff\xfe"].concat();
    bucket.run_with("append --lines --verbatim t/0", &value).ok();
    assert_eq!(bucket.run("cat t/0").ok_bytes(), [&value[..], b"\n"].concat());
    let Some((code, shown)) = on_a_terminal(&bucket, "cat t/0") else { return };
    assert_eq!(code, 0);
    assert_harmless(&shown);
    assert!(String::from_utf8(shown).unwrap().ends_with(" \\u{1b}[2J\\r\\u{7f}\\u{9b}31m\\u{202e} ü\\xff\\xfe\r\n"));

    let (code, shown) = on_a_terminal(&bucket, "cat t/0 --format raw").unwrap();
    assert_harmless(&shown);
    assert_eq!(code, 2, "{}", String::from_utf8_lossy(&shown));
}

#[test]
fn json_lines_are_the_same_data_without_what_a_terminal_acts_on() {
    let bucket = Bucket::new();
    let line = format!("{{\"key\": \"{}\", \"headers\": [[\"\u{9b}\", \"\u{7f}\u{2028}\"]]}}", &HOSTILE[6..]);
    bucket.run_with("append t/0", line.as_bytes()).ok();
    let printed = bucket.run("cat t/0 --format jsonl").ok();
    assert_harmless(printed.as_bytes());
    bucket.run_with("append t/1", printed.as_bytes()).ok();
    assert_eq!(bucket.run("cat t/1 --format jsonl").ok(), printed);
    let json: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&json["key"], &json["headers"][0][0]), (&HOSTILE[6..].into(), &"\u{9b}".into()));
    for arguments in ["inspect t/0 --offset 0", "inspect t/0 --offset 0 --json"] {
        assert_harmless(bucket.run(arguments).ok().as_bytes());
    }
}

#[test]
fn names_of_files_and_objects_are_escaped_in_messages_and_tables() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0", b"x\n").ok();
    let hostile = bucket.path().join(format!("segment{HOSTILE}\n.kfs"));
    let mut bytes = std::fs::read(bucket.files("t/0", "kfs").remove(0)).unwrap();
    std::fs::write(&hostile, &bytes).unwrap();
    let name = hostile.to_str().unwrap();
    for arguments in [
        &["verify", name][..],
        &["inspect", name],
        &["ls", "--json", name],
        &["inspect", "--json", name],
        &["verify", "--json", name],
    ] {
        let shown = run(arguments).ok();
        assert_harmless(shown.as_bytes());
        assert!(shown.contains("[2J"), "{arguments:?}: {shown}");
    }
    bytes[70] ^= 1;
    std::fs::write(&hostile, &bytes).unwrap();
    let missing = format!("{name}.kfs");
    for arguments in [
        &["verify", name][..],
        &["inspect", name],
        &["cat", name],
        &["cat", "--skip-corrupt", name],
        &["cat", &missing],
    ] {
        let ended = run(arguments);
        assert_ne!(ended.code, Some(0));
        assert_harmless(&ended.stdout);
        assert_harmless(ended.stderr.as_bytes());
    }
    let message = run(["append", "t/0", "--bucket", &bucket.url(), &missing]).failed(3);
    assert_harmless(message.as_bytes());
    let message = run(["append", "t/0", "x", &missing]).failed(2);
    assert_harmless(message.as_bytes());
}
