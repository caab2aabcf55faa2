//! What a store that refuses, or is away, looks like to who runs the command.

#![cfg(unix)]

mod common;

use common::Bucket;
#[cfg(feature = "aws")]
use common::{Ended, finish, kfs, on_s3};

/// A store that never lets anything be, for as long as a test needs.
const TIMEOUT: &str = "3s";

#[test]
fn a_directory_or_a_symlink_in_the_slot_ends_an_append_at_once() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0", b"a\n").ok();
    let slot = bucket.path().join("default/t/0/segment-00000000000000000001.kfs");
    std::fs::create_dir(&slot).unwrap();
    let message = bucket.run_with("append --lines t/0 --timeout 60s", b"b\n").failed(1);
    assert!(!message.contains("tried again") && !message.contains("no progress"), "{message}");
    for word in ["corrupt", "directory", "segment-00000000000000000001.kfs", "move it away"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    std::fs::remove_dir(&slot).unwrap();
    std::os::unix::fs::symlink("elsewhere", &slot).unwrap();
    let message = bucket.run_with("append --lines t/0 --timeout 60s", b"b\n").failed(1);
    assert!(message.contains("corrupt") && message.contains("symbolic link"), "{message}");
}

#[test]
fn a_directory_does_not_pretend_to_know_who_won() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0 --name first --leader-epoch 3", b"a\n").ok();
    let message = bucket.run_with("append --lines t/0 --leader-epoch 2", b"b\n").failed(4);
    assert!(message.contains("leader epoch 3") && !message.contains("inode-"), "{message}");
}

#[test]
fn an_input_that_is_a_directory_is_not_to_be_tried_again() {
    let bucket = Bucket::new();
    let message = bucket.run(&format!("append --lines t/0 {}", bucket.path().display())).failed(2);
    assert!(message.contains("irectory") && !message.contains("try again"), "{message}");
}

/// Root writes everywhere, so what it is refused needs a file system or a limit.
#[test]
fn a_limit_of_the_file_s_size_is_named() {
    let bucket = Bucket::new();
    let script = format!("ulimit -f 8; exec {} append --lines t/0 --timeout {TIMEOUT}", env!("CARGO_BIN_EXE_kfs"));
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).env("KFS_BUCKET", bucket.url());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let message = common::finish(command, "x".repeat(100_000).as_bytes()).failed(5);
    assert!(message.contains("File too large") && message.contains("ulimit -f"), "{message}");
    assert!(message.contains("fails, and is tried again"), "{message}");
}

#[cfg(feature = "aws")]
mod s3 {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::common::Killed;

    const LIST: &str = "<ListBucketResult><Name>b</Name><Prefix></Prefix><KeyCount>0</KeyCount>\
        <MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>";

    /// What a server refuses, and how.
    #[derive(Clone, Copy)]
    struct Refusal {
        /// How the requests begin.
        of: &'static str,
        status: u16,
        code: &'static str,
    }

    fn puts(status: u16, code: &'static str) -> Arc<Mutex<Option<Refusal>>> {
        Arc::new(Mutex::new(Some(Refusal { of: "PUT", status, code })))
    }

    /// An S3 server that holds nothing, takes every PUT, and refuses what it is told to. It ends with the test.
    #[allow(clippy::disallowed_methods, reason = "a server of the test's own")]
    fn stub(refusal: Arc<Mutex<Option<Refusal>>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let refusal = refusal.clone();
                std::thread::spawn(move || serve(stream, &refusal));
            }
        });
        address
    }

    fn serve(stream: TcpStream, refusal: &Mutex<Option<Refusal>>) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let (mut line, mut length) = (String::new(), 0);
            stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
            loop {
                let mut header = String::new();
                stream.read_line(&mut header).ok()?;
                match header.trim().to_ascii_lowercase().split_once(':') {
                    Some(("content-length", value)) => length = value.trim().parse().ok()?,
                    Some(_) => {}
                    None => break,
                }
            }
            stream.read_exact(&mut vec![0; length]).ok()?;
            let refused = refusal.lock().unwrap().filter(|refusal| line.starts_with(refusal.of));
            let error =
                |code| format!("<Error><Code>{code}</Code><Message>this is &quot;the cause&quot;</Message></Error>");
            let (status, body) = match refused {
                Some(refusal) => (refusal.status, error(refusal.code)),
                None if line.starts_with("PUT") => (200, String::new()),
                None if line.contains("list-type=2") => (200, LIST.to_string()),
                None => (404, error("NoSuchKey")),
            };
            let answer = format!("HTTP/1.1 {status} X\r\nETag: \"a\"\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.get_mut().write_all(answer.as_bytes()).ok()?;
        }
    }

    fn on(address: &str, arguments: &str, input: &[u8]) -> Ended {
        finish(on_s3(address, &format!("{arguments} --no-preflight --timeout {TIMEOUT}")), input)
    }

    #[test]
    fn a_refused_put_is_named_while_it_is_tried_again_and_at_the_end() {
        for (status, code, hint) in [
            (403, "AccessDenied", "policies"),
            (400, "InvalidArgument", "AWS_ENDPOINT_URL"),
            (403, "RequestTimeTooSkewed", "clock"),
        ] {
            let message = on(&stub(puts(status, code)), "append --lines t/0", b"1\n").failed(5);
            let cause = format!("{code}: this is \"the cause\"");
            let lines: Vec<&str> = message.lines().collect();
            assert!(lines[0].contains("fails, and is tried again") && lines[0].contains(&cause), "{message}");
            let [.., end, last] = &lines[..] else { panic!("{message}") };
            assert!(end.contains("no progress for 3s") && end.contains(&cause), "{message}");
            assert!(end.ends_with("not stored") && last.contains(hint), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn a_profile_without_keys_is_named() {
        let home = tempfile::tempdir().expect("an empty home");
        let mut command = kfs();
        command.args(["ls", "--bucket", "s3://b"]).env("AWS_PROFILE", "work").env("HOME", home.path());
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        let message = finish(command, b"").failed(5);
        assert!(message.contains("the profile work has no keys") && message.contains("AWS_PROFILE"), "{message}");
    }

    #[test]
    fn a_put_that_is_not_implemented_ends_an_append_at_once() {
        let message = on(&stub(puts(501, "NotImplemented")), "append --lines t/0", b"1\n").failed(5);
        for word in ["unsupported", "NotImplemented: this is \"the cause\"", "not stored"] {
            assert!(message.contains(word), "{word}: {message}");
        }
        assert!(!message.contains("tried again"), "{message}");
    }

    #[test]
    fn what_a_server_refuses_or_lacks_is_no_usage_error() {
        for (status, code, hint) in [
            (400, "InvalidArgument", "AWS_ENDPOINT_URL"),
            (404, "XAdminUserNotFound", "AWS_ENDPOINT_URL"),
            (405, "MethodNotAllowed", "AWS_ENDPOINT_URL"),
            (307, "TemporaryRedirect", "AWS_REGION"),
            (501, "NotImplemented", "AWS_ENDPOINT_URL"),
        ] {
            for (of, arguments) in [("GET", "ls"), ("GET", "cat t/0"), ("", "append --lines t/0")] {
                let refusal = Arc::new(Mutex::new(Some(Refusal { of, status, code })));
                let message = on(&stub(refusal), arguments, b"1\n").failed(5);
                // Of a redirect the client keeps the status alone.
                let cause = if status == 307 { "307" } else { &format!("{code}: this is \"the cause\"") };
                assert!(message.contains(cause), "{arguments}: {message}");
                let last = message.lines().last().unwrap();
                assert!(last.contains(hint) && !last.contains("--help"), "{arguments}, {status}: {message}");
            }
        }
    }

    #[test]
    fn an_outage_that_was_told_ends_with_a_word_however_soon_the_command_ends() {
        for status in [503, 403] {
            let refusal = puts(status, "SlowDown");
            let address = stub(refusal.clone());
            let mut command = on_s3(&address, "append --lines t/0 --no-preflight");
            let mut child = Killed(command.stdin(std::process::Stdio::piped()).spawn().unwrap());
            child.0.stdin.take().unwrap().write_all(b"1\n").unwrap();
            let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
            let mut message = String::new();
            while !message.contains("is tried again") {
                assert_ne!(stderr.read_line(&mut message).unwrap(), 0, "{message}");
            }
            *refusal.lock().unwrap() = None;
            stderr.read_to_string(&mut message).unwrap();
            assert_eq!(child.0.wait().unwrap().code(), Some(0), "{message}");
            assert!(message.lines().last().unwrap().starts_with("kfs: the store answers again, after "), "{message}");
            assert_eq!(message.matches("answers again").count(), 1, "{message}");
        }
    }

    #[test]
    fn an_outage_that_does_not_end_is_not_said_to() {
        let message = on(&stub(puts(503, "SlowDown")), "append --lines t/0", b"1\n").failed(5);
        assert!(message.contains("is tried again") && !message.contains("answers again"), "{message}");
    }

    #[test]
    fn connections_that_fail_tell_their_innermost_cause() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (address, cause, hint) in [
            (format!("http://{closed}"), "Connection refused", "is the server running"),
            ("http://nohost.invalid".to_string(), "dns error", "AWS_ENDPOINT_URL"),
        ] {
            for arguments in ["ls", "append --lines t/0"] {
                let message = on(&address, arguments, b"1\n").failed(5);
                let lines: Vec<&str> = message.lines().collect();
                assert!(lines[0].contains("fails, and is tried again"), "{message}");
                let [.., end, last] = &lines[..] else { panic!("{message}") };
                assert!(lines[0].contains(cause) && end.contains(cause), "{message}");
                assert!(last.contains(hint), "{message}");
            }
        }
    }
}
