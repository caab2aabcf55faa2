//! Keys that are no log's in a bucket of S3, buckets that go, and servers that are no S3 store.

#![cfg(feature = "aws")]

mod common;

use common::{Ended, finish, kfs};
use kfs_tests::FakeS3;
use kfs_tests::fake_http::Answer;
use serde_json::{Value, json};

fn on(server: &FakeS3, arguments: &str, input: &[u8]) -> Ended {
    let mut command = kfs();
    command.env("KFS_BUCKET", "s3://logs").envs(server.environment()).args(arguments.split_whitespace());
    finish(command, input)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[test]
fn every_command_works_beside_keys_that_are_no_log_s() {
    let server = FakeS3::start();
    on(&server, "append --lines t/0", b"a\nb\n").ok();
    on(&server, "append --lines u/3 --start-offset 5", b"x\n").ok();
    let long = "x/".repeat(2000);
    let names: [&[u8]; 14] = [
        b"/x",
        b"/",
        b"./x",
        b"..",
        b"../x",
        b"a//b",
        b"a\x01b",
        b"\x1b[2J",
        b"\xff\xfe",
        b"%2e%2e/%",
        b"%00",
        b" ",
        b"a/",
        long.as_bytes(),
    ];
    for place in ["", "default/", "default/t/", "default/t/0/"] {
        for name in names {
            server.put([place.as_bytes(), name].concat(), b"junk");
        }
    }
    // These look like a log's once a slash or a blank is taken away.
    let segment = |base: u32| format!("default/t/0/segment-{base:020}.kfs");
    for key in [format!("{}/", segment(2)), format!("{} ", segment(7)), format!("/{}", segment(1))] {
        server.put(key, b"junk");
    }
    server.put("default/t/0/log-start-00000000000000000009/", b"");
    server.requests();

    let mut topics = lines(&on(&server, "ls --json", b"").ok());
    // A folder may be a topic without partitions.
    topics.retain(|row| row["partitions"] != 0);
    assert_eq!(topics, [json!({"topic": "t", "partitions": 1}), json!({"topic": "u", "partitions": 1})]);
    let row = |start: u64, end: u64| json!({"topic": "t", "partition": 0, "log_start": start, "high_watermark": end});
    assert_eq!(lines(&on(&server, "ls t --json", b"").ok()), [row(0, 2)]);
    assert_eq!(lines(&on(&server, "ls t/0 --json", b"").ok()).len(), 1);
    assert_eq!(on(&server, "cat t/0", b"").ok(), "a\nb\n");
    on(&server, "append --lines t/0", b"c\n").ok();
    assert_eq!(on(&server, "cat t/0 --follow -n 3", b"").ok(), "a\nb\nc\n");
    assert_eq!(lines(&on(&server, "ls t/0 --json", b"").ok()).len(), 2);
    on(&server, "verify t/0", b"").ok();
    on(&server, "append --lines v/0", b"new\n").ok();
    assert_eq!(on(&server, "cat u/3 --from 5", b"").ok(), "x\n");
}

#[test]
fn a_web_server_at_the_endpoint_is_named_at_once_and_takes_no_append() {
    let server = FakeS3::start();
    server.script(|_, _| Some(Answer::page()));
    for arguments in ["ls", "ls t", "cat t/0", "cat t/0 --follow", "verify t/0", "append --lines --report t/0"] {
        let ended = on(&server, &format!("{arguments} --timeout 30s"), b"a\n");
        assert_eq!(ended.stdout, b"", "{arguments}");
        let message = ended.failed(5);
        assert!(message.contains("is not that of an S3 store") && message.contains("text/html"), "{message}");
        assert!(message.contains("AWS_ENDPOINT_URL") && !message.contains("tried again"), "{message}");
    }
}

#[test]
fn a_bucket_that_is_gone_is_named_by_append_cat_and_ls() {
    let server = FakeS3::start();
    on(&server, "append --lines t/0", b"a\n").ok();
    server.script(|_, _| Some(Answer::error(404, "NoSuchBucket")));
    for arguments in ["ls", "ls t", "ls t/0", "cat t/0", "verify t/0", "append --lines t/0"] {
        let message = on(&server, &format!("{arguments} --timeout 5s"), b"b\n").failed(3);
        assert!(message.contains("the bucket of s3://logs does not exist"), "{arguments}: {message}");
        assert!(message.contains("hint: check the bucket's name"), "{arguments}: {message}");
    }
}

#[test]
fn a_bucket_that_goes_in_the_middle_is_named() {
    // After the opening of the writer.
    let server = FakeS3::start();
    server.script(|request, serve| match request.method.as_str() {
        "PUT" => Some(Answer::error(404, "NoSuchBucket")),
        _ => Some(serve()),
    });
    let message = on(&server, "append --lines t/0 --no-preflight --timeout 1s", b"a\n").failed(5);
    assert!(message.contains("the bucket of s3://logs does not exist") && message.contains("not stored"), "{message}");
    // Between two segments of a reader.
    server.serve_truly();
    for value in ["a\n", "b\n", "c\n"] {
        on(&server, "append --lines t/0", format!("{}{value}", "x".repeat(300_000)).as_bytes()).ok();
    }
    let mut segments = 0;
    server.script(move |request, serve| {
        if request.key().ends_with(".kfs") {
            segments += 1;
        }
        Some(if segments > 2 { Answer::error(404, "NoSuchBucket") } else { serve() })
    });
    let message = on(&server, "cat t/0 --timeout 2s", b"").failed(3);
    assert!(message.contains("the bucket of s3://logs does not exist"), "{message}");
}

#[test]
fn a_partition_that_holds_a_claim_alone_is_none_until_a_writer_starts_it() {
    let server = FakeS3::start();
    server.put("default/t/0/claim.json", br#"{"version": 1}"#);
    for arguments in ["cat t/0", "verify t/0", "ls t/0", "ls t"] {
        let message = on(&server, arguments, b"").failed(3);
        assert!(message.contains("not found"), "{arguments}: {message}");
    }
    on(&server, "append --lines t/0 --start-offset 7", b"a\n").ok();
    assert_eq!(on(&server, "cat t/0 --format jsonl", b"").ok().matches("\"offset\"").count(), 1);
    let row = json!({"topic": "t", "partition": 0, "log_start": 7, "high_watermark": 8});
    assert_eq!(lines(&on(&server, "ls t --json", b"").ok()), [row]);
    assert!(server.keys().contains(&b"default/t/0/log.json".to_vec()));
}
