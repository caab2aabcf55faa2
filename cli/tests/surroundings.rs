//! What the command makes of its surroundings: pipes without a writer, few descriptors, closed or full streams.

#![cfg(unix)]

mod common;

use std::fs::OpenOptions;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Bucket, Ended, Killed, filled, finish, kfs, run};

fn fifo(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    assert!(Command::new("mkfifo").arg(&path).status().expect("run mkfifo").success());
    path
}

/// The command in a shell, after this was done in it.
fn in_shell(bucket: &Bucket, before: &str, arguments: &str, after: &str) -> Ended {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before}\nexec \"$0\" {arguments} {after}"), env!("CARGO_BIN_EXE_kfs")]);
    command.env("KFS_BUCKET", bucket.url()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command, b"a\n")
}

#[test]
fn one_signal_ends_an_append_whose_pipe_nobody_opened_for_writing() {
    for (signal, code) in [("TERM", 143), ("HUP", 129)] {
        let bucket = Bucket::new();
        let pipe = fifo(bucket.path(), "pipe");
        let mut command = bucket.kfs(&format!("append --lines --report --claim q/0 {}", pipe.display()));
        let mut child = Killed(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        // The claim is reported after the signals are listened to.
        let mut first = [0];
        child.0.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        let sent = Command::new("kill").args(["-s", signal, &child.0.id().to_string()]).status();
        assert!(sent.expect("run kill").success());
        let mut message = String::new();
        child.0.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(code), "{message}");
        assert!(message.contains("the reading has ended"), "{message}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_by_name() {
    let bucket = Bucket::new();
    let pipe = fifo(bucket.path(), "pipe.kfs");
    let directory = bucket.path().join("directory.kfs");
    std::fs::create_dir(&directory).unwrap();
    for (path, what) in [(&pipe, "a named pipe"), (&directory, "a directory")] {
        for command in ["cat", "verify", "ls", "inspect"] {
            let message = run([command, path.to_str().unwrap(), "--timeout", "3s"]).failed(2);
            assert!(message.contains(&format!("{} is {what}, not a regular file", path.display())), "{message}");
        }
    }
}

#[test]
fn too_few_descriptors_are_named_and_the_hint_is_to_raise_their_limit() {
    let bucket = filled(3);
    let mut refused = 0;
    for limit in (4..=20).step_by(2) {
        for arguments in ["append --lines t/1 --timeout 3s", "verify t/0 --timeout 3s", "cat t/0 --timeout 3s"] {
            let ended = in_shell(&bucket, &format!("ulimit -n {limit}"), arguments, "");
            if ended.code == Some(0) {
                continue;
            }
            refused += 1;
            let message = ended.failed(5);
            assert!(message.contains("Too many open files"), "{limit} {arguments}: {message}");
            assert!(message.lines().last().unwrap().contains("ulimit -n"), "{limit} {arguments}: {message}");
            assert!(!message.contains("panicked"), "{message}");
        }
    }
    assert!(refused > 0, "no limit was too low");
}

#[test]
fn a_closed_standard_input_is_an_error() {
    let bucket = Bucket::new();
    for form in ["--lines", "", "--raw"] {
        let message = in_shell(&bucket, "", &format!("append {form} o/0"), "<&-").failed(2);
        assert!(message.contains("standard input is closed") && message.contains("/dev/null"), "{message}");
    }
    // A file needs no standard input.
    let file = bucket.path().join("lines");
    std::fs::write(&file, "x\n").unwrap();
    in_shell(&bucket, "", &format!("append --lines o/0 {}", file.display()), "<&-").failed(0);
}

#[test]
fn help_that_can_not_be_written_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    for arguments in [&["help"][..], &["--help"], &["cat", "--help"], &["--version"]] {
        let mut command = kfs();
        command.args(arguments).stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let message = finish(command, b"").failed(6);
        assert!(message.contains("the output can't be written: No space left"), "{message}");
    }
}
