//! Exactly one of many creates the file, between threads and between processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use futures_util::future::join_all;

use super::*;
use crate::store::{Created, Identity, ReadRange};

const CHILD: &str = "KFS_TEST_RACE_DIRECTORY";
const SLOTS: usize = 50;

fn text(who: &str, slot: usize) -> String {
    format!("{who} in {slot} {}", who.repeat(1000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_tasks_wins() {
    for options in both() {
        let dir = tempfile::tempdir().unwrap();
        // Two stores, as two buckets in a process have them.
        let stores = [open(dir.path(), &options), open(dir.path(), &options)];
        for slot in 0..20 {
            let key = format!("ns/t/0/{slot}");
            let tries = (0..8).map(|n| {
                let (store, key) = (stores[n % 2].clone(), key.clone());
                async move {
                    let identity = Identity::of(format!("{n:02x}.{slot}"));
                    match store.create(&key, payload(&n.to_string().repeat(5000)), &identity).await {
                        Created::Yes(_) => Some(n),
                        Created::Exists => None,
                        other => panic!("{other:?}"),
                    }
                }
            });
            // Each waits on a thread of its own for the disk.
            let winners: Vec<usize> = join_all(tries).await.into_iter().flatten().collect();
            assert_eq!(winners.len(), 1, "{slot}: {winners:?}");
            let fetched = stores[winners[0] % 2].get(&key, ReadRange::Whole, None).await.unwrap();
            assert_eq!(fetched.bytes, winners[0].to_string().repeat(5000).as_bytes());
            assert_eq!(fetched.identity.kfsid, Some(format!("{:02x}.{slot}", winners[0])));
        }
        assert_eq!(tree(dir.path()).len(), 20);
    }
}

/// What a process of the race does; run by itself it does nothing.
#[tokio::test]
async fn child_of_the_race() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let mut options = StoreOptions::default();
    if std::env::var("KFS_TEST_RACE_NAMED").is_ok() {
        options = options.named_staging(true);
    }
    let store = open(std::path::Path::new(&dir), &options);
    let who = std::process::id().to_string();
    let (mut line, mut input) = (String::new(), BufReader::new(std::io::stdin()));
    for slot in 0..SLOTS {
        // Each slot begins for all at once.
        println!("ready");
        line.clear();
        input.read_line(&mut line).unwrap();
        let created = store.create(&format!("ns/t/0/{slot}"), payload(&text(&who, slot)), &Identity::of("aa.0")).await;
        match created {
            Created::Yes(_) => println!("won {who}"),
            Created::Exists => println!("lost"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn one_of_two_processes_wins() {
    for named in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let start = || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["store::local::tests::race::child_of_the_race", "--exact", "--nocapture"])
                .env(CHILD, dir.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            if named {
                command.env("KFS_TEST_RACE_NAMED", "1");
            }
            let mut child = command.spawn().unwrap();
            let output = BufReader::new(child.stdout.take().unwrap());
            let input = child.stdin.take().unwrap();
            (child, input, output)
        };
        let mut children = [start(), start()];
        // The test harness prints around what the child does, at times on the same line.
        let answer = |output: &mut BufReader<std::process::ChildStdout>| loop {
            let mut line = String::new();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the child ended");
            for word in ["ready", "won", "lost"] {
                if let Some(at) = line.find(word) {
                    return line[at..].trim().to_string();
                }
            }
        };
        for slot in 0..SLOTS {
            for (_, _, output) in &mut children {
                assert_eq!(answer(output), "ready");
            }
            for (_, input, _) in &mut children {
                input.write_all(b"go\n").unwrap();
            }
            let answers: Vec<String> = children.iter_mut().map(|(_, _, output)| answer(output)).collect();
            let winners: Vec<&str> = answers.iter().filter_map(|answer| answer.strip_prefix("won ")).collect();
            assert_eq!(winners.len(), 1, "{slot}: {answers:?}");
            let bytes = std::fs::read_to_string(dir.path().join(format!("ns/t/0/{slot}"))).unwrap();
            assert_eq!(bytes, text(winners[0], slot));
        }
        for (mut child, input, mut output) in children {
            drop(input);
            let mut rest = String::new();
            output.read_to_string(&mut rest).unwrap();
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(tree(dir.path()).len(), SLOTS);
    }
}
