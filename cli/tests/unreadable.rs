//! `kfs ls` where part of the bucket can't be read.

#![cfg(feature = "aws")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use common::{Ended, finish, on_s3};
use serde_json::{Value, json};

/// An S3 server with the topics `open`, `other` and `secret`, each of two partitions; it refuses all that
/// concerns `secret` and `open/1`. It ends with the test.
#[allow(clippy::disallowed_methods, reason = "a server of the test's own")]
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(stream: TcpStream) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
        }
        let line = line.replace("%2F", "/");
        let (status, body) = if line.contains("default/secret/") || line.contains("default/open/1/") {
            (403, "<Error><Code>AccessDenied</Code><Message>not\x1b[2J for you</Message></Error>".to_string())
        } else if line.contains("delimiter=") {
            let prefix = line.split(['&', '?', ' ']).find_map(|part| part.strip_prefix("prefix=")).unwrap_or("");
            let names: &[&str] = if prefix == "default/" { &["open", "other", "secret"] } else { &["0", "1"] };
            (
                200,
                list(
                    names
                        .iter()
                        .map(|name| format!("<CommonPrefixes><Prefix>{prefix}{name}/</Prefix></CommonPrefixes>")),
                ),
            )
        } else if line.contains("list-type=2") {
            let key = "default/open/0/log-start-00000000000000000007";
            let object = format!(
                "<Contents><Key>{key}</Key><LastModified>2025-11-21T07:00:00.000Z</LastModified><ETag>\"a\"</ETag>\
                 <Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>"
            );
            let log = object.replace("log-start-00000000000000000007", "log.json");
            (200, list([object, log].into_iter().filter(|_| line.contains("default/open/0/"))))
        } else {
            let json =
                r#"{"version": 1, "log_id": "00000000000000000000000000000000", "start_offset": "7", "created_ms": 1}"#;
            (200, json.to_string())
        };
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nETag: \"a\"\r\nLast-Modified: Fri, 21 Nov 2025 07:00:00 GMT\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

fn list(entries: impl Iterator<Item = String>) -> String {
    let entries: String = entries.collect();
    format!("<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>")
}

fn on(address: &str, arguments: &str) -> Ended {
    finish(on_s3(address, &format!("{arguments} --timeout 20s")), b"")
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[test]
fn a_list_of_topics_goes_on_past_one_that_can_not_be_read() {
    let address = server();
    let ended = on(&address, "ls --json");
    let partitions = |topic, partitions: Option<u64>| json!({ "topic": topic, "partitions": partitions });
    let expected = [partitions("open", Some(2)), partitions("other", Some(2)), partitions("secret", None)];
    assert_eq!(lines(&ended.stdout), expected);
    let message = ended.failed(5);
    assert!(message.starts_with("kfs: topic secret: permission denied: "), "{message}");
    assert!(message.contains("AccessDenied: not\\u{1b}[2J for you"), "{message}");
    let ended = on(&address, "ls");
    assert!(String::from_utf8_lossy(&ended.stdout).lines().last().unwrap().starts_with("secret "));
    ended.failed(5);
}

#[test]
fn a_list_of_partitions_goes_on_past_one_that_can_not_be_read() {
    let ended = on(&server(), "ls open --json");
    let row = |partition: u32, start: Option<u64>| json!({ "topic": "open", "partition": partition, "log_start": start, "high_watermark": start });
    assert_eq!(lines(&ended.stdout), [row(0, Some(7)), row(1, None)]);
    let message = ended.failed(5);
    assert!(message.starts_with("kfs: partition open/1: permission denied: "), "{message}");
}
