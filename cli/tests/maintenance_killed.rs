//! Must hold: a command that maintains a log is killed with SIGKILL at random; nothing that the log start allows is lost,
//! before and after the command has run again, and `kfs verify` is clean then.
//!
//! `KFS_KILL_ROUNDS` (default 20) and `KFS_KILL_SEED` change the run; a failure prints the seed.

#![cfg(unix)]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Bucket, Killed, Random};

const RECORDS: usize = 12;
const HOUR: Duration = Duration::from_secs(3600);
const RETAIN: &str = "delete-records t/0 --before 5 --yes";
const DELETE: &str = "delete t/0 --yes";
const MERGE: &str = "merge t/0 --target-size 4KiB --min-size 0 --grace 15m --yes";

fn number_from(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Makes all objects of the partition older, and what is written about its deletion.
fn age(bucket: &Bucket, by: Duration) {
    let entries = std::fs::read_dir(bucket.path().join("default/t/0")).expect("a partition");
    let marker = Some(bucket.path().join("default/.kfs-deleted/t/0")).filter(|path| path.exists());
    for path in entries.map(|entry| entry.expect("an entry").path()).chain(marker) {
        let file = File::options().write(true).open(path).expect("an object");
        let modified = file.metadata().and_then(|meta| meta.modified()).expect("a time");
        file.set_modified(modified - by).expect("an older object");
    }
}

/// A copy of a bucket whose objects are an hour old.
fn like(template: &Bucket) -> Bucket {
    let bucket = Bucket::new();
    let (from, to) = (template.path().join("default/t/0"), bucket.path().join("default/t/0"));
    std::fs::create_dir_all(&to).expect("a partition");
    for entry in std::fs::read_dir(from).expect("a partition") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
    age(&bucket, HOUR);
    bucket
}

/// Runs a command and kills it after so many lines of its log, which has a line for each request. How many there were.
fn killed_after(mut command: Command, lines: u64) -> u64 {
    let child = command.arg("-vvv").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("run kfs");
    let mut child = Killed(child);
    let log = BufReader::new(child.0.stderr.take().expect("its stderr"));
    log.lines().take(usize::try_from(lines).expect("few lines")).count() as u64
}

struct Round<'a> {
    template: &'a Bucket,
    random: Random,
}

impl Round<'_> {
    /// Kills a command somewhere, of which there are so many lines at most.
    fn kill(&mut self, bucket: &Bucket, arguments: &str, most: u64) {
        killed_after(bucket.kfs(arguments), self.random.below(most));
    }

    fn retain(&mut self, most: u64) {
        let bucket = like(self.template);
        let all = records(0);
        self.kill(&bucket, RETAIN, most);
        let left = bucket.run("cat t/0 --from earliest").ok();
        assert!(left == all || left == records(5), "{left}");
        bucket.run(RETAIN).ok();
        assert_eq!(bucket.run("cat t/0 --from earliest").ok(), records(5));
        assert_eq!(bucket.files("t/0", "kfs").len(), RECORDS - 5);
        assert_eq!(bucket.files("t/0", "index").len(), RECORDS - 5);
        bucket.run("verify t/0").ok();
    }

    fn merge(&mut self, most: u64) {
        let bucket = like(self.template);
        // Merging, and then what removes the rest.
        for _ in 0..2 {
            self.kill(&bucket, MERGE, most);
            assert_eq!(bucket.run("cat t/0 --from earliest").ok(), records(0));
            bucket.run(MERGE).ok();
            assert_eq!(bucket.run("cat t/0 --from earliest").ok(), records(0));
            age(&bucket, HOUR);
        }
        bucket.run(MERGE).ok();
        assert_eq!(bucket.run("cat t/0 --from earliest").ok(), records(0));
        assert_eq!(bucket.files("t/0", "kfs").len(), 2);
        assert_eq!(bucket.files("t/0", "index").len(), 2);
        bucket.run("verify t/0").ok();
    }

    fn delete(&mut self, most: u64) {
        let bucket = like(self.template);
        for _ in 0..4 {
            self.kill(&bucket, DELETE, most);
            let left = bucket.run("cat t/0 --from earliest");
            // All of it or nothing: the log start moves at once.
            let left = String::from_utf8(left.stdout).expect("text");
            assert!(left.is_empty() || left == records(0), "{left}");
            age(&bucket, HOUR);
        }
        let ended = (0..4).any(|_| {
            let ended = bucket.run(DELETE).code == Some(3);
            age(&bucket, HOUR);
            ended
        });
        assert!(ended, "it does not end");
        let left = std::fs::read_dir(bucket.path().join("default/t/0")).expect("its folder");
        assert_eq!(left.count(), 0);
        bucket.run_with("append --lines t/0", b"made again").ok();
        assert_eq!(bucket.run("cat t/0 --from 0").ok(), "made again\n");
        bucket.run("verify t/0").ok();
    }

    fn copy(&mut self, most: u64) {
        let target = Bucket::new();
        let copy = format!("copy t --into {}", target.url());
        for _ in 0..3 {
            self.kill(self.template, &copy, most);
        }
        self.template.run(&copy).ok();
        assert_eq!(target.run("cat t/0 --from earliest").ok(), records(0));
        for suffix in ["kfs", "index"] {
            let bytes = |bucket: &Bucket| bucket.files("t/0", suffix).iter().map(read).collect::<Vec<_>>();
            assert_eq!(bytes(&target), bytes(self.template));
        }
        target.run("verify t/0").ok();
    }
}

impl Round<'_> {
    /// A backup, and what is restored from it, each of which is killed three times.
    fn restore(&mut self, most: u64) {
        let (store, restored) = (Bucket::new(), Bucket::new());
        let create = format!("backup create b t --into {}", store.url());
        for _ in 0..3 {
            self.kill(self.template, &create, most);
        }
        let created = self.template.run(&create);
        assert!(matches!(created.code, Some(0 | 4)), "{}", created.stderr);
        store.run("backup verify b --deep").ok();
        let restore = format!("backup restore b --to 7 --into {}", restored.url());
        for _ in 0..3 {
            self.kill(&store, &restore, most);
        }
        store.run(&restore).ok();
        assert_eq!(restored.run("cat t/0 --from earliest").ok(), (0..7).map(line).collect::<String>());
        restored.run("verify t/0").ok();
    }
}

fn line(number: usize) -> String {
    format!("record {number}\n")
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).expect("an object")
}

/// What is read from an offset on.
fn records(from: usize) -> String {
    (from..RECORDS).map(line).collect()
}

#[test]
fn a_command_that_was_killed_is_completed_by_the_next_and_nothing_is_lost() {
    let seed = number_from("KFS_KILL_SEED", u64::from(std::process::id()));
    println!("KFS_KILL_SEED={seed}");
    let template = Bucket::new();
    for line in records(0).lines() {
        template.run_with("append --lines t/0", line.as_bytes()).ok();
    }
    // How long the logs are of commands that nobody kills.
    let whole = |arguments: &str| killed_after(like(&template).kfs(arguments), u64::MAX >> 1);
    let copied = Bucket::new();
    let copy = format!("copy t --into {}", copied.url());
    let (retain, merge, copy) = (whole(RETAIN), whole(MERGE), killed_after(template.kfs(&copy), u64::MAX >> 1));
    let delete = whole(DELETE);
    assert!(retain > 20 && merge > 20 && copy > 20 && delete > 20, "{retain} {merge} {copy} {delete}");
    let mut round = Round { template: &template, random: Random(seed) };
    for _ in 0..number_from("KFS_KILL_ROUNDS", 20).div_ceil(5) {
        round.retain(retain);
        round.merge(merge);
        round.copy(copy);
        round.delete(delete);
        round.restore(copy);
    }
}
