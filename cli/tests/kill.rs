//! Must hold: a process that appends to a directory is killed with SIGKILL at random; every acked
//! record is there with its offset and bytes, offsets are dense, `kfs verify` is clean.
//!
//! `KFS_KILL_ROUNDS` (default 50) and `KFS_KILL_SEED` change the run; a failure prints the seed.

#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{self, Sender};

use common::{Bucket, Killed, Random};
use serde_json::Value;

/// Rounds on one partition: later ones open what the earlier ones left.
const ROUNDS_A_PARTITION: u64 = 10;

fn number_from(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The n-th record of a round: its length varies, its bytes are its own.
fn record(round: u64, n: u64) -> String {
    let mut random = Random(round << 32 | n);
    let filler = "x".repeat(random.below(120) as usize);
    format!("round {round} record {n} {:016x} {filler}", random.next())
}

enum Event {
    /// A line of the report.
    Reported(String),
    /// So many bytes went in.
    Fed(u64),
    /// The report has ended.
    Ended,
}

/// Feeds records until the process is gone.
fn feed(mut stdin: ChildStdin, round: u64, json: bool, events: &Sender<Event>) {
    let mut fed = 0;
    for n in 0.. {
        let value = record(round, n);
        let line = if json { format!("{{\"key\": \"{n}\", \"value\": \"{value}\"}}\n") } else { value + "\n" };
        if stdin.write_all(line.as_bytes()).is_err() {
            return;
        }
        fed += line.len() as u64;
        if events.send(Event::Fed(fed)).is_err() {
            return;
        }
    }
}

/// Hands on the lines of the report that came whole.
fn listen(stdout: ChildStdout, events: &Sender<Event>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = String::new();
        match stdout.read_line(&mut line) {
            Ok(n) if n > 0 && line.ends_with('\n') => {
                let _ = events.send(Event::Reported(line));
            }
            _ => {
                let _ = events.send(Event::Ended);
                return;
            }
        }
    }
}

/// Runs an append of a round and kills it; gives the ranges that it reported.
fn append_until_killed(bucket: &Bucket, partition: &str, round: u64, random: &mut Random) -> Vec<(i64, i64)> {
    let json = random.below(2) == 0;
    let flush_bytes = 1024 << random.below(8);
    let acks = if random.below(2) == 0 { "durable" } else { "buffered" };
    let format = if json { "" } else { "--lines" };
    let codec = if random.below(3) == 0 { "zstd" } else { "none" };
    let mut command = bucket.kfs(&format!(
        "append {partition} --report --flush-bytes {flush_bytes} --batch-bytes 4KiB --acks {acks} --codec {codec} \
         --flush-interval 20ms {format}"
    ));
    // Never by time: by what was reported, or by what was taken in, which may be nothing at all.
    let (lines, bytes) =
        if random.below(3) > 0 { (1 + random.below(25), u64::MAX) } else { (u64::MAX, random.below(1 << 20)) };

    let mut child = Killed(command.stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("run kfs"));
    let (stdin, stdout) = (child.0.stdin.take().unwrap(), child.0.stdout.take().unwrap());
    let (send, events) = mpsc::channel();
    std::thread::scope(|scope| {
        let feeder = send.clone();
        scope.spawn(move || feed(stdin, round, json, &feeder));
        scope.spawn(move || listen(stdout, &send));
        let mut acked = Vec::new();
        for event in events {
            let due = match event {
                Event::Fed(fed) => fed >= bytes,
                Event::Reported(line) => {
                    acked.push(range(&line));
                    acked.len() as u64 >= lines
                }
                Event::Ended => break,
            };
            if due {
                // What it reports until it is dead is acked too: the loop goes on until its end.
                child.0.kill().expect("kill");
            }
        }
        assert_eq!(child.0.wait().expect("wait").signal(), Some(9), "it ended before it was killed");
        acked
    })
}

fn range(line: &str) -> (i64, i64) {
    let json: Value = serde_json::from_str(line).expect("a report is JSON");
    (json["base_offset"].as_i64().unwrap(), json["last_offset"].as_i64().unwrap())
}

/// Reads the partition from an offset on: offsets and values.
fn read(bucket: &Bucket, partition: &str, from: i64) -> Vec<(i64, String)> {
    let lines = bucket.run(&format!("cat {partition} --format jsonl --from {from}")).ok();
    lines
        .lines()
        .map(|line| {
            let json: Value = serde_json::from_str(line).expect("a line is JSON");
            (json["offset"].as_i64().unwrap(), json["value"].as_str().unwrap().to_owned())
        })
        .collect()
}

/// Clean, at once. But when a process died after the index and before the segment of a slot, and the
/// next one between its segment there and the index over the old one, who opens the log next mends it.
fn verify(bucket: &Bucket, partition: &str, about: &str) {
    let ended = bucket.run(&format!("verify {partition} --json"));
    if ended.code == Some(0) {
        return;
    }
    let newest = bucket.files(partition, "kfs").pop().expect("there is a segment");
    let newest = newest.with_extension("index");
    let lines = ended.text();
    let wrong: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let key = format!("default/{partition}/{}", newest.file_name().unwrap().display());
    assert!(wrong.len() == 2 && wrong[0]["kind"] == "index_wrong" && wrong[0]["key"] == key, "{about}: {lines}");
    bucket.run(&format!("append {partition}")).ok();
    bucket.run(&format!("verify {partition}")).ok();
}

#[test]
fn nothing_acked_is_lost_when_the_process_is_killed() {
    let rounds = number_from("KFS_KILL_ROUNDS", 50);
    let seed = number_from("KFS_KILL_SEED", 20_260_101);
    let bucket = Bucket::new();
    let mut random = Random(seed);
    let (mut acked_in_all, mut acked_records) = (0, 0);
    let mut end = 0;
    let mut expected: Vec<String> = Vec::new();
    for round in 0..rounds {
        let partition = format!("killed/{}", round / ROUNDS_A_PARTITION);
        if round % ROUNDS_A_PARTITION == 0 {
            end = 0;
            expected.clear();
        }
        let about = format!("seed {seed}, round {round}, {partition}");
        let acked = append_until_killed(&bucket, &partition, round, &mut random);

        // Dense: each report follows the one before, the first the log's end.
        let mut acked_end = end;
        for (base, last) in &acked {
            assert_eq!(*base, acked_end, "{about}: a report leaves a gap");
            assert!(last >= base, "{about}");
            acked_end = last + 1;
        }
        acked_in_all += acked.len();
        acked_records += acked_end - end;

        if acked.is_empty() && !bucket.path().join(format!("default/{partition}/log.json")).exists() {
            // It died before it made the log.
            continue;
        }
        // Every acked record, perhaps more, each at its offset with its bytes.
        let records = read(&bucket, &partition, end);
        let new_end = end + records.len() as i64;
        assert!(new_end >= acked_end, "{about}: the log ends at {new_end}, acked was up to {acked_end}");
        for (n, (offset, value)) in (0..).zip(&records) {
            assert_eq!((*offset, value), (end + n as i64, &record(round, n)), "{about}");
        }
        expected.extend(records.into_iter().map(|(_, value)| value));
        end = new_end;
        verify(&bucket, &partition, &about);

        if round % ROUNDS_A_PARTITION == ROUNDS_A_PARTITION - 1 || round + 1 == rounds {
            // All of it again, from the start: later rounds changed nothing of the earlier ones.
            let all = read(&bucket, &partition, 0);
            assert!(all.iter().map(|(_, value)| value).eq(&expected), "{about}: the log changed");
        }
    }
    assert!(rounds < 50 || (acked_in_all > 100 && acked_records > 1000), "{acked_in_all} reports are too few to tell");
}
