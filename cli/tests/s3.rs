//! `kfs` by URL on a real S3 server, and on one that never answers.

#![cfg(feature = "aws")]

mod common;

use std::net::TcpListener;
use std::process::Command;

use common::{Ended, cases, file_of, finish, kfs, member, on_s3, run};
use kfs_tests::S3Server;
use serde_json::Value;

/// The command on a bucket of the server.
fn on(server: &S3Server, arguments: &str) -> Command {
    let mut command = kfs();
    command.env("KFS_BUCKET", server.url("logs")).envs(server.environment()).args(arguments.split_whitespace());
    command
}

fn run_on(server: &S3Server, arguments: &str, input: &[u8]) -> Ended {
    finish(on(server, arguments), input)
}

#[test]
fn a_partition_on_s3_is_written_read_listed_inspected_and_verified() {
    let Some(server) = S3Server::start() else { return };
    let input: String = (0..2000).map(|n| format!("record {n}\n")).collect();
    let report = run_on(&server, "append --lines --report t/0 --flush-bytes 4KiB --name tester", input.as_bytes()).ok();
    let last: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    assert_eq!(last["last_offset"], 1999);
    assert_eq!(run_on(&server, "cat t/0", b"").ok(), input);
    assert_eq!(run_on(&server, "cat t/0 --from -1", b"").ok(), "record 1999\n");
    assert_eq!(run_on(&server, "ls --json", b"").ok(), "{\"partitions\":1,\"topic\":\"t\"}\n");
    let segments = run_on(&server, "ls t/0 --json", b"").ok();
    let first: Value = serde_json::from_str(segments.lines().next().unwrap()).unwrap();
    assert_eq!(first["base_offset"], 0);
    let shown = run_on(&server, &format!("inspect --json {}", first["key"].as_str().unwrap()), b"").ok();
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["bytes"], first["bytes"]);
    run_on(&server, "verify t/0", b"").ok();

    let message = run_on(&server, "cat t/1", b"").failed(3);
    assert!(message.contains("not found: partition t/1"), "{message}");
    run_on(&server, "append --lines t/0 --leader-epoch 3", b"x\n").ok();
    let message = run_on(&server, "append --lines t/0 --leader-epoch 2", b"y\n").failed(4);
    assert!(message.contains("fenced"), "{message}");
}

#[test]
fn vvv_shows_what_the_store_calls_each_request_and_the_partition() {
    let Some(server) = S3Server::start() else { return };
    let shown = run_on(&server, "-vvv append --lines t/0 --no-preflight", b"x\n").stderr;
    let requests: Vec<&str> = shown.lines().filter(|line| line.contains(": a request ended ")).collect();
    assert!(requests.iter().any(|line| line.contains(" status=200 ")), "{shown}");
    for line in requests {
        assert!(line.contains(" request_id=\"") && line.contains(" partition=t/0 "), "{line}");
    }
}

#[test]
fn vectors_go_to_s3_and_back() {
    let Some(server) = S3Server::start() else { return };
    for name in ["mixed-codecs", "java-transactions"] {
        let case = cases().into_iter().find(|case| case.ends_with(name)).unwrap();
        let raw = run(["cat", "--format", "raw", file_of(&case, "kfs").to_str().unwrap()]).ok_bytes();
        let start = member(&case, "base_offset");
        run_on(&server, &format!("append --raw {name}/0 --start-offset {start}"), &raw).ok();
        let printed = run_on(&server, &format!("cat {name}/0 --format jsonl --encoding hex"), b"").ok();
        assert_eq!(printed, std::fs::read_to_string(case.join("records.jsonl")).unwrap());
    }
}

#[test]
fn wrong_credentials_are_refused_without_a_secret_in_the_message() {
    let Some(server) = S3Server::start() else { return };
    let mut command = on(&server, "ls --timeout 10s");
    command.env("AWS_SECRET_ACCESS_KEY", "hunter2hunter2");
    let message = finish(command, b"").failed(5);
    assert!(message.contains("permission denied") && !message.contains("hunter2"), "{message}");
}

#[test]
fn a_store_that_never_answers_is_given_up() {
    // Connections are taken by the system's backlog; nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    for arguments in ["ls", "cat t/0", "verify t/0", "append --lines t/0", "create t/0"] {
        let command = on_s3(&address, &format!("{arguments} --timeout 300ms"));
        let message = finish(command, b"x\n").failed(5);
        assert!(message.contains("timed out: the store made no progress for 300ms"), "{arguments}: {message}");
        assert!(message.contains("\nhint: ") && message.contains("--timeout"), "{message}");
    }
}

#[test]
fn a_store_that_goes_away_while_appends_are_pending_is_given_up() {
    let Some(mut server) = S3Server::start() else { return };
    use std::io::{BufRead, BufReader, Read, Write};
    let mut command = on(&server, "append --lines --report t/0 --timeout 2s --flush-interval 10ms");
    let mut child = common::Killed(command.stdin(std::process::Stdio::piped()).spawn().unwrap());
    let mut stdin = child.0.stdin.take().unwrap();
    let mut report = BufReader::new(child.0.stdout.take().unwrap());
    stdin.write_all(b"kept\n").unwrap();
    let mut line = String::new();
    report.read_line(&mut line).unwrap();
    assert_eq!(line, "{\"base_offset\": 0, \"last_offset\": 0}\n");
    server.kill();
    stdin.write_all(b"lost\n").unwrap();
    // Input goes on; only the store is gone.
    let mut message = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(5), "{message}");
    assert!(message.contains("no progress") && message.contains("stored"), "{message}");
    assert!(message.contains("durable before that: 1 offset, the last is 0"), "{message}");
    drop(stdin);
    server.restart();
    assert!(run_on(&server, "cat t/0", b"").ok().starts_with("kept\n"));
}

/// An append whose store goes away when it knows that its first line is durable; `more` is written to it then.
fn with_the_store_away(
    server: &mut S3Server,
    partition: &str,
    options: &str,
    more: &[u8],
) -> (common::Killed, std::process::ChildStdin) {
    use std::io::{BufRead, BufReader, Write};
    let mut command = on(server, &format!("append --lines {partition} --timeout 0 {options}"));
    let mut child = common::Killed(command.stdin(std::process::Stdio::piped()).spawn().unwrap());
    let mut stdin = child.0.stdin.take().unwrap();
    stdin.write_all(b"kept\n").unwrap();
    if options.contains("--report") {
        let mut line = String::new();
        BufReader::new(child.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "{\"base_offset\": 0, \"last_offset\": 0}\n");
    } else {
        // A line that can be read may be one whose answer is still on its way. The second line can be read only after
        // the answer for the first came in.
        while run_on(server, &format!("cat {partition}"), b"").stdout != b"kept\n" {}
        stdin.write_all(b"too\n").unwrap();
        while run_on(server, &format!("cat {partition}"), b"").stdout != b"kept\ntoo\n" {}
    }
    server.kill();
    stdin.write_all(more).unwrap();
    (child, stdin)
}

fn terminate(child: &std::process::Child) {
    let sent = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Reads lines of a child's stderr until one holds `text`.
fn wait_for(stderr: &mut impl std::io::BufRead, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "{text:?} was not said");
    }
}

#[test]
fn a_second_signal_ends_an_append_while_the_store_is_away() {
    use std::io::{BufReader, Read};
    let Some(mut server) = S3Server::start() else { return };
    for (partition, options) in [("reported/0", "--report"), ("silent/0", "")] {
        // More than a pipe holds: once it went in, some of it was read.
        let more = "a line of input\n".repeat(20_000);
        let (mut child, stdin) = with_the_store_away(&mut server, partition, options, more.as_bytes());
        let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
        terminate(&child.0);
        wait_for(&mut stderr, "kfs: SIGTERM: ");
        terminate(&child.0);
        let mut message = String::new();
        stderr.read_to_string(&mut message).unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(143), "{partition}: {message}");
        let durable = message.split_once("durable before that: ").map(|(_, rest)| rest);
        assert!(durable.is_some_and(|told| told.contains("the last is ")), "{partition}: {message}");
        assert!(message.contains("not durable: ") && message.contains("stored"), "{partition}: {message}");
        drop(stdin);
        server.restart();
    }
}

#[test]
fn all_that_was_read_before_a_signal_is_flushed() {
    use std::io::{BufReader, Read};
    let Some(mut server) = S3Server::start() else { return };
    const PIPE: usize = 64 << 10;
    // More than the buffer takes: part of it waits between the reading and the writer.
    let more = format!("{}\n", "x".repeat(999)).repeat(300);
    let (mut child, stdin) = with_the_store_away(&mut server, "t/0", "--report --buffer-bytes 128KiB", more.as_bytes());
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    terminate(&child.0);
    wait_for(&mut stderr, "kfs: SIGTERM: ");
    server.restart();
    let mut message = String::new();
    stderr.read_to_string(&mut message).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(143), "{message}");
    drop(stdin);
    let kept = run_on(&server, "cat t/0 --from 1", b"").ok();
    assert!(more.starts_with(&kept) && kept.len() + PIPE >= more.len() - 1000, "{} of {}", kept.len(), more.len());
}
