//! What the tests of the command share: running it, and the vectors.

#![allow(dead_code, reason = "each test file uses a part")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    /// What it printed, after it ended well and without a word on stderr.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        assert_eq!(self.stderr, "");
        self.text()
    }

    #[track_caller]
    pub(crate) fn ok_bytes(self) -> Vec<u8> {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// What it said on stderr, after it ended with this code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.text_lossy(), self.stderr);
        self.stderr
    }

    #[track_caller]
    pub(crate) fn text(self) -> String {
        String::from_utf8(self.stdout).expect("the output is UTF-8")
    }

    fn text_lossy(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// The command with a clean environment.
pub(crate) fn kfs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kfs"));
    // A test that lacks credentials must not ask a cloud machine's metadata for them.
    for cloud in ["AWS_EC2", "AZURE", "GOOGLE"] {
        command.env(format!("{cloud}_METADATA_DISABLED"), "true");
    }
    command.env_remove("KFS_BUCKET").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end, with this on its standard input.
pub(crate) fn finish(mut command: Command, input: &[u8]) -> Ended {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("run kfs");
    let mut stdin = child.stdin.take().expect("its stdin");
    let output = std::thread::scope(|scope| {
        // The command may end before it has read all of it.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("wait for kfs")
    });
    Ended {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
    }
}

/// Runs the command without a bucket.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ended {
    let mut command = kfs();
    command.args(arguments);
    finish(command, b"")
}

/// A directory for a bucket, removed at the end.
pub(crate) struct Bucket(TempDir);

impl Bucket {
    pub(crate) fn new() -> Self {
        Bucket(tempfile::tempdir().expect("make a directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    /// The command on this bucket.
    pub(crate) fn kfs(&self, arguments: &str) -> Command {
        let mut command = kfs();
        command.env("KFS_BUCKET", self.url()).args(arguments.split_whitespace());
        command
    }

    /// Runs the command on this bucket; arguments stand between blanks.
    pub(crate) fn run(&self, arguments: &str) -> Ended {
        self.run_with(arguments, b"")
    }

    /// The same with something on its standard input.
    pub(crate) fn run_with(&self, arguments: &str, input: &[u8]) -> Ended {
        finish(self.kfs(arguments), input)
    }

    /// Files of a partition, by name.
    pub(crate) fn files(&self, partition: &str, extension: &str) -> Vec<PathBuf> {
        let directory = self.path().join("default").join(partition);
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .expect("the partition has a directory")
            .map(|entry| entry.expect("read the directory").path())
            .filter(|path| path.extension().is_some_and(|e| e == extension))
            .collect();
        files.sort();
        files
    }
}

/// Ten records a segment, `segments` of them, in t/0; the value of each is its offset.
pub(crate) fn filled(segments: usize) -> Bucket {
    let bucket = Bucket::new();
    for segment in 0..segments {
        let lines: String = (segment * 10..segment * 10 + 10)
            .map(|n| format!("{{\"value\": \"{n}\", \"timestamp_ms\": {}}}\n", 1_000_000 + n * 100))
            .collect();
        bucket.run_with("append t/0", lines.as_bytes()).ok();
    }
    bucket
}

/// What `kfs cat` prints of these records.
pub(crate) fn numbers(range: std::ops::Range<usize>) -> String {
    range.map(|n| format!("{n}\n")).collect()
}

/// What a crash or a careless tool leaves of a newest segment.
pub(crate) fn broken_newest() -> [(&'static str, Vec<u8>); 3] {
    let whole = std::fs::read(&filled(1).files("t/0", "kfs")[0]).expect("read the segment");
    let (cut, zeros) = (whole[..70].to_vec(), vec![0; whole.len()]);
    [("empty", Vec::new()), ("cut", cut), ("filled with zeros", zeros)]
}

/// The command on a bucket of the S3 server at this address.
pub(crate) fn on_s3(address: &str, arguments: &str) -> Command {
    let mut command = kfs();
    command.args(arguments.split_whitespace()).args(["--bucket", "s3://b"]).envs([
        ("AWS_ENDPOINT_URL", address),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
    ]);
    command
}

/// Stops a child when the test fails.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Directories of the vectors' cases, those of clients too; not the small pairs.
pub(crate) fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let mut cases = Vec::new();
    for directory in [root.clone(), root.join("clients")] {
        for entry in std::fs::read_dir(directory).expect("the vectors are there") {
            let path = entry.expect("read the directory").path();
            if path.join("case.json").is_file() {
                cases.push(path);
            }
        }
    }
    cases.sort();
    assert!(cases.len() >= 28, "{} cases were found", cases.len());
    cases
}

/// The one file of a case with this extension.
pub(crate) fn file_of(case: &Path, extension: &str) -> PathBuf {
    std::fs::read_dir(case)
        .expect("a case is a directory")
        .map(|entry| entry.expect("read the directory").path())
        .find(|path| path.extension().is_some_and(|e| e == extension))
        .expect("the case has such a file")
}

/// A member of a case's `case.json`.
pub(crate) fn member(case: &Path, name: &str) -> serde_json::Value {
    let text = std::fs::read(case.join("case.json")).expect("read case.json");
    let json: serde_json::Value = serde_json::from_slice(&text).expect("case.json is JSON");
    json[name].clone()
}

/// A sequence of numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
