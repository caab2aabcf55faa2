//! What `-v` shows.

#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use common::{Bucket, Killed};

/// The lines of a level and a target, without their time.
fn lines<'a>(stderr: &'a str, level: &str, target: &str) -> Vec<&'a str> {
    let begin = format!("{level} {target}: ");
    stderr.lines().filter_map(|line| Some(line.split_once(&begin)?.1)).collect()
}

#[test]
fn an_append_tells_a_few_lines_with_v_each_flush_with_vv_and_each_request_with_vvv() {
    let bucket = Bucket::new();
    let quiet = bucket.run_with("append --lines t/0", b"a\n");
    assert_eq!((quiet.stderr.as_str(), quiet.code), ("", Some(0)));
    let once = bucket.run_with("-v append --lines t/0", b"b\n");
    assert_eq!(lines(&once.stderr, "INFO", "kfs::store"), [format!("opened a bucket url={}", bucket.url())]);
    assert_eq!(
        lines(&once.stderr, "INFO", "kfs::writer"),
        ["opened a writer partition=t/0 policy=Takeover next_offset=1", "closed a writer partition=t/0"]
    );
    assert_eq!(once.stderr.lines().count(), 3, "a line an event, and no other: {}", once.stderr);
    assert_eq!(once.text().lines().count(), quiet.text().lines().count(), "standard output stays as it is");
    let twice = bucket.run_with("append -vv --lines t/0", b"secret record\n").stderr;
    let flushed = lines(&twice, "DEBUG", "kfs::writer");
    assert!(flushed.iter().any(|line| line.starts_with("flushed ") && line.contains("base_offset=2")), "{twice}");
    assert!(lines(&twice, "TRACE", "kfs::store").is_empty(), "{twice}");
    let thrice = bucket.run_with("append --lines t/0 -vvv", b"secret record\n").stderr;
    let requests = lines(&thrice, "TRACE", "kfs::store");
    let put = |line: &&str| line.contains("request=\"put\"") && line.contains("segment-00000000000000000003.kfs");
    assert!(requests.iter().any(put), "{thrice}");
    for shown in [twice, thrice] {
        assert!(!shown.contains("secret record") && !shown.contains('\u{1b}'), "{shown}");
    }
}

#[test]
fn every_listing_is_shown_with_a_prefix_that_ends_in_a_slash() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0", b"a\n");
    for command in ["ls -vvv", "ls -vvv t", "ls -vvv t/0", "cat -vvv t/0"] {
        let shown = bucket.run_with(command, b"").stderr;
        let requests = lines(&shown, "TRACE", "kfs::store");
        let listings: Vec<_> = requests.iter().filter(|line| line.contains("request=\"list\"")).collect();
        assert!(!listings.is_empty(), "{command}: {shown}");
        for line in listings {
            let key = line.split_whitespace().find_map(|field| field.strip_prefix("key=")).unwrap();
            assert!(key.ends_with('/'), "{command}: {line}");
        }
    }
}

#[test]
fn a_failure_that_lasts_is_told_once_with_v_and_each_try_with_vv() {
    let bucket = Bucket::new();
    for (verbose, tries_shown) in [("-v", false), ("-vv", true)] {
        let command = format!("{} {verbose} append --lines t/0 --timeout 3s", env!("CARGO_BIN_EXE_kfs"));
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", &format!("ulimit -f 8; exec {command}")]).env("KFS_BUCKET", bucket.url());
        sh.stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = common::finish(sh, "x".repeat(100_000).as_bytes()).failed(5);
        let notices: Vec<_> = shown.lines().filter(|line| line.contains("is tried again: ")).collect();
        assert_eq!(notices.len(), 1, "{shown}");
        assert!(notices[0].starts_with("kfs: writing a segment fails"), "{shown}");
        assert!(lines(&shown, "WARN", "kfs::store").is_empty(), "the notice says it: {shown}");
        let tries = lines(&shown, "DEBUG", "kfs::store");
        assert_eq!(tries.len() > 2, tries_shown, "{shown}");
        assert!(tries.iter().all(|line| line.contains("File too large")), "{shown}");
    }
}

#[test]
fn a_fence_is_told() {
    let bucket = Bucket::new();
    let mut first = bucket.kfs("append -v --lines t/0");
    let mut first = Killed(first.stdin(Stdio::piped()).spawn().unwrap());
    let mut input = first.0.stdin.take().unwrap();
    input.write_all(b"mine\n").unwrap();
    // The line is in the log when another writer can follow it.
    while bucket.run("cat t/0").stdout != b"mine\n" {}
    bucket.run_with("append --lines t/0", b"another\'s\n").ok();
    input.write_all(b"lost\n").unwrap();
    drop(input);
    let mut shown = String::new();
    BufReader::new(first.0.stderr.take().unwrap()).read_to_string(&mut shown).unwrap();
    assert_eq!(first.0.wait().unwrap().code(), Some(4), "{shown}");
    let warnings = lines(&shown, "WARN", "kfs::writer");
    assert_eq!(warnings.len(), 1, "{shown}");
    assert!(warnings[0].starts_with("a writer was fenced partition=t/0 error=fenced: another"), "{shown}");
}

/// An S3 server that refuses all requests, and repeats what it was sent in its refusal.
#[cfg(feature = "aws")]
#[allow(clippy::disallowed_methods, reason = "a server of the test\'s own")]
fn parrot() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                let mut heard = String::new();
                while !heard.ends_with("\r\n\r\n") {
                    if stream.read_line(&mut heard).ok().filter(|read| *read > 0).is_none() {
                        return;
                    }
                }
                let said = heard.replace(['<', '>', '&'], " ");
                let body = format!("<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>");
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 403 X\r\nx-amz-request-id: 4442587FB7D0A2F9\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                let _ = stream.get_mut().write_all(answer.as_bytes());
            });
        }
    });
    address
}

#[cfg(feature = "aws")]
#[test]
fn no_credential_is_in_what_vvv_shows() {
    for arguments in ["append --lines t/0", "cat t/0", "ls"] {
        let mut command = common::on_s3(&parrot(), &format!("-vvv {arguments} --timeout 3s"));
        let (key, token) = ("AKIAIOSFODNN7EXAMPLE", "a-session-token-of-many-characters");
        command.env("AWS_ACCESS_KEY_ID", key).env("AWS_SESSION_TOKEN", token);
        let shown = common::finish(command, b"1\n").failed(5);
        assert!(!lines(&shown, "TRACE", "kfs::store").is_empty(), "requests are shown: {shown}");
        let named = |line: &&str| line.contains("request_id=\"4442587FB7D0A2F9\"");
        assert!(lines(&shown, "TRACE", "kfs::store").iter().all(named), "{shown}");
        assert!(shown.contains("(request id 4442587FB7D0A2F9) (client request id "), "{shown}");
        // What the server repeated is there without the secrets.
        let shown = shown.replace("Signature=[removed]", "").replace("Credential=[removed]", "");
        for secret in ["hunter2", key, token, "Signature=", "Credential="] {
            let at = shown.find(secret).map(|at| &shown[at.saturating_sub(80)..(at + 80).min(shown.len())]);
            assert_eq!(at, None, "{secret}");
        }
    }
}
