//! How `kfs append` ends early: signals, a report that can't be written, and what it says is durable.

#![cfg(unix)]

mod common;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, Command, Stdio};

use common::{Bucket, Killed};
use serde_json::Value;

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
    assert!(sent.expect("run kill").success());
}

fn spawn(mut command: Command) -> Killed {
    Killed(command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run kfs"))
}

/// Reads lines of stderr up to the one that holds `text`.
fn wait_for(stderr: &mut BufReader<ChildStderr>, text: &str) -> String {
    let mut seen = String::new();
    loop {
        let from = seen.len();
        assert_ne!(stderr.read_line(&mut seen).expect("read stderr"), 0, "{text:?} was not said: {seen}");
        if seen[from..].contains(text) {
            return seen;
        }
    }
}

#[test]
fn each_signal_ends_the_reading_and_what_was_read_is_flushed() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let bucket = Bucket::new();
        let mut child = spawn(bucket.kfs("append --lines --report --claim t/0 --acks buffered --flush-interval 1h"));
        let mut stdin = child.0.stdin.take().unwrap();
        let mut report = BufReader::new(child.0.stdout.take().unwrap());
        let mut line = String::new();
        report.read_line(&mut line).unwrap();
        assert_eq!(line, "{\"base_offset\": 0, \"last_offset\": 0, \"claim\": true}\n");
        // More than a pipe holds: once it went in, most of it was read.
        let input = "a line of input\n".repeat(20_000);
        stdin.write_all(input.as_bytes()).unwrap();
        send(signal, &child.0);
        let mut rest = String::new();
        report.read_to_string(&mut rest).unwrap();
        let mut message = String::new();
        child.0.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(code), "{signal}: {message}");
        assert!(message.starts_with(&format!("kfs: SIG{signal}: ")), "{message}");
        assert!(rest.starts_with("{\"base_offset\": 1,"), "{rest}");
        let kept = bucket.run("cat t/0").ok();
        assert!(!kept.is_empty() && input.starts_with(&kept));
        let last: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
        assert_eq!(last["last_offset"], kept.lines().count());
    }
}

#[cfg(feature = "aws")]
#[test]
fn a_signal_ends_an_append_at_once_whose_partition_is_not_open_yet() {
    let store = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", store.local_addr().unwrap());
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut child = spawn(common::on_s3(&address, "append --lines --report t/0 --timeout 0"));
        // It asks, and gets no answer.
        let _asked = store.accept().unwrap();
        send(signal, &child.0);
        let mut message = String::new();
        child.0.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(code), "{signal}: {message}");
        let expected = format!(
            "kfs: SIG{signal}: ended before the partition was open: nothing was read, and no record is stored\n"
        );
        assert_eq!(message, expected);
    }
}

#[test]
fn a_signal_that_is_ignored_when_it_starts_stays_ignored() {
    let bucket = Bucket::new();
    // As nohup does it.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP; exec \"$0\" append --lines --report t/0", env!("CARGO_BIN_EXE_kfs")])
        .env("KFS_BUCKET", bucket.url())
        .stdout(Stdio::piped());
    let mut child = spawn(command);
    let mut stdin = child.0.stdin.take().unwrap();
    let mut report = BufReader::new(child.0.stdout.take().unwrap());
    let mut line = String::new();
    for offset in 0..2 {
        stdin.write_all(b"x\n").unwrap();
        line.clear();
        report.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{{\"base_offset\": {offset}, \"last_offset\": {offset}}}\n"));
        send("HUP", &child.0);
    }
    drop(stdin);
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_report_that_can_not_be_written_is_said_with_what_is_durable() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let bucket = Bucket::new();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = bucket.kfs("append --lines --report t/0");
    command.stdout(full());
    let message = common::finish(command, b"1\n2\n3\n").failed(6);
    assert!(message.contains("durable before that: 3 offsets, the last is 2"), "{message}");
    assert!(message.contains("kfs: the output can't be written: No space left on device"), "{message}");
    assert!(message.contains("\nhint: ") && !message.contains("internal") && !message.contains("report this"));
    // Any other output likewise.
    for arguments in ["cat t/0", "ls", "verify t/0", "inspect t/0 --offset 0", "repair t/0"] {
        let mut command = bucket.kfs(arguments);
        command.stdout(full());
        let message = common::finish(command, b"").failed(6);
        assert!(message.starts_with("kfs: the output can't be written: No space"), "{arguments}: {message}");
    }
}

#[test]
fn an_append_without_an_end_is_ended_by_a_report_that_can_not_be_written() {
    let bucket = Bucket::new();
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
    let mut command = bucket.kfs("append --lines --report t/0 --flush-bytes 4KiB");
    command.stdout(full);
    let mut child = spawn(command);
    let mut stdin = child.0.stdin.take().unwrap();
    while stdin.write_all(b"a line of input that never ends\n").is_ok() {}
    let mut message = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(6), "{message}");
    let kept = bucket.run("cat t/0").ok().lines().count();
    assert!(message.contains(&format!("durable before that: {kept} offsets")), "{kept}: {message}");
}

#[test]
fn an_append_ends_when_nobody_reads_its_report_and_says_what_is_durable() {
    let bucket = Bucket::new();
    let mut child = spawn(bucket.kfs("append --lines --report t/0 --flush-bytes 4KiB"));
    drop(child.0.stdout.take());
    let mut stdin = child.0.stdin.take().unwrap();
    while stdin.write_all(b"a line of input that never ends\n").is_ok() {}
    let mut message = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(141), "{message}");
    let kept = bucket.run("cat t/0").ok().lines().count();
    assert!(message.contains("nobody reads the report"), "{message}");
    assert!(message.contains(&format!("durable before that: {kept} offsets")), "{kept}: {message}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_append_whose_report_is_not_read_on_ends_at_the_second_signal() {
    let bucket = Bucket::new();
    let (reader, writer) = std::io::pipe().unwrap();
    fill(&writer);
    let mut command = bucket.kfs("append --lines --report t/0");
    command.stdout(writer);
    let mut child = spawn(command);
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    child.0.stdin.take().unwrap().write_all(b"a\nb\n").unwrap();
    // It is durable once its report is being written, which nobody reads.
    while !writes_to_standard_output(child.0.id()) {
        std::thread::yield_now();
    }
    send("TERM", &child.0);
    wait_for(&mut stderr, "kfs: SIGTERM: ");
    assert!(child.0.try_wait().unwrap().is_none());
    send("TERM", &child.0);
    let mut message = String::new();
    stderr.read_to_string(&mut message).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(143), "{message}");
    assert!(message.contains("the report was not written to its end"), "{message}");
    assert!(message.contains("durable before that: 2 offsets, the last is 1"), "{message}");
    drop(reader);
}

#[test]
fn what_is_one_is_counted_as_one() {
    let bucket = Bucket::new();
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
    let mut command = bucket.kfs("append --lines --report t/0");
    command.stdout(full);
    let message = common::finish(command, b"1\n").failed(6);
    assert!(message.contains("durable before that: 1 offset, the last is 0"), "{message}");
}

#[test]
fn a_closed_standard_output_is_no_success() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0", b"a\n").ok();
    let with = |redirected: &str, arguments: &str| {
        let mut command = Command::new("sh");
        let script = format!("exec \"$0\" {arguments} {redirected}");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_kfs")]).env("KFS_BUCKET", bucket.url());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        common::finish(command, b"b\n")
    };
    for arguments in [
        "cat t/0",
        "cat t/0 --format raw",
        "ls",
        "ls t/0",
        "inspect t/0 --offset 0",
        "verify t/0",
        "repair t/0",
        "append --lines --report t/0",
        "--help",
        "cat --help",
    ] {
        let message = with(">&-", arguments).failed(6);
        assert!(message.contains("kfs: the output can't be written: standard output is closed\nhint: "), "{message}");
        assert!(!message.contains("disk"), "{message}");
        assert_eq!(with(">&- 2>&-", arguments).failed(6), "");
        // Where it goes nowhere, but is open in each direction, as some programs open it for their children.
        assert_eq!(with("1<>/dev/null", arguments).failed(0), "", "{arguments}");
    }
    // Nothing is written.
    with(">&-", "append --lines t/0").failed(0);
    with(">&-", "create t/0").failed(0);
}

/// Fills a pipe, so that the next write to it blocks.
#[cfg(target_os = "linux")]
fn fill(pipe: &std::io::PipeWriter) {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    const O_NONBLOCK: i32 = 0o4000;
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let mut pipe = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path).unwrap();
    for chunk in [4096, 1] {
        while pipe.write_all(&vec![b'.'; chunk]).is_ok() {}
    }
}

/// Whether a thread of the process is in a call that writes to its standard output.
#[cfg(target_os = "linux")]
fn writes_to_standard_output(process: u32) -> bool {
    // The number of `write`, then its first argument.
    let write = if cfg!(target_arch = "x86_64") { "1 0x1 " } else { "64 0x1 " };
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads
        .flatten()
        .any(|thread| std::fs::read_to_string(thread.path().join("syscall")).is_ok_and(|call| call.starts_with(write)))
}

/// The input goes on while the signal comes; what is not in the log by then is in the pipe still, or is one line
/// that was not whole.
#[test]
fn nothing_that_was_read_before_a_signal_is_lost() {
    const PIPE: usize = 64 << 10;
    for round in 0..12 {
        let bucket = Bucket::new();
        let options = ["", "--acks buffered --flush-interval 20ms", "--flush-bytes 16KiB --buffer-bytes 64KiB"];
        let mut child = spawn(bucket.kfs(&format!("append --lines --report t/0 {}", options[round % 3])));
        let mut stdin = child.0.stdin.take().unwrap();
        let mut report = BufReader::new(child.0.stdout.take().unwrap());
        // Once something is reported, a signal no longer kills it.
        stdin.write_all(b"first\n").unwrap();
        report.read_line(&mut String::new()).unwrap();
        let reading = std::thread::scope(|scope| {
            let rest = scope.spawn(move || report.read_to_string(&mut String::new()));
            let mut fed = 0;
            for n in 0.. {
                let line = format!("{n} {}\n", "x".repeat(n * 37 % 900));
                if stdin.write_all(line.as_bytes()).is_err() {
                    break;
                }
                fed += if n < 50 + round * 150 { line.len() } else { 0 };
                if n == 50 + round * 150 {
                    send("TERM", &child.0);
                }
            }
            rest.join().unwrap().unwrap();
            fed
        });
        assert_eq!(child.0.wait().unwrap().code(), Some(143));
        let kept = bucket.run("cat t/0").ok();
        let kept: usize = kept.lines().filter(|line| *line != "first").map(|line| line.len() + 1).sum();
        assert!(kept + PIPE + 1000 >= reading, "round {round}: {kept} of {reading}");
    }
}
