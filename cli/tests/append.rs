//! `kfs append`: what goes in, what comes back, what is reported.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::{Bucket, Killed, cases, file_of, member, run};
use serde_json::Value;

const RECORDS: &str = concat!(
    r#"{"offset": 0, "timestamp_ms": 1767225600000, "key": "k", "value": "v", "headers": []}"#,
    "\n",
    r#"{"offset": 1, "timestamp_ms": 1767225600001, "key": null, "value": null, "headers": [["a", null], ["a", ""], ["hé", "x"]]}"#,
    "\n",
    r#"{"offset": 2, "timestamp_ms": -1, "key": "", "value": "q\"u\\o\n\u0000 中文 🚀", "headers": []}"#,
    "\n",
    r#"{"offset": 3, "timestamp_ms": 1767225600002, "key": {"hex": "ff00"}, "value": {"hex": "c328"}, "headers": [[{"hex": "fe"}, "y"]]}"#,
    "\n",
);

#[test]
fn json_lines_come_back_as_they_went_in_in_every_encoding() {
    let bucket = Bucket::new();
    bucket.run_with("append t/0", RECORDS.as_bytes()).ok();
    assert_eq!(bucket.run("cat t/0 --format jsonl").ok(), RECORDS);
    for (number, encoding) in ["utf8", "hex", "base64"].iter().enumerate() {
        let lines = bucket.run(&format!("cat t/0 --format jsonl --encoding {encoding}")).ok();
        let copy = format!("copy/{number}");
        bucket.run_with(&format!("append {copy} --encoding {encoding}"), lines.as_bytes()).ok();
        assert_eq!(bucket.run(&format!("cat {copy} --format jsonl")).ok(), RECORDS, "{encoding}");
    }
}

#[test]
fn lines_are_values_byte_for_byte() {
    let bucket = Bucket::new();
    let input = b"first\r\n\nnot UTF-8 \xff\nwithout a newline at the end";
    bucket.run_with("append --lines --verbatim t/0", input).ok();
    let text = bucket.run("cat t/0").ok_bytes();
    assert_eq!(text, [&input[..], b"\n"].concat());
    assert_eq!(bucket.run("cat t/0 --encoding hex --from 1 --count 2").ok(), "\n6e6f74205554462d3820ff\n");
}

#[test]
fn a_files_records_come_back_with_every_codec() {
    let bucket = Bucket::new();
    let file = bucket.path().join("input.txt");
    let input: String = (0..5000).map(|n| format!("line {n} of the file\n")).collect();
    std::fs::write(&file, &input).unwrap();
    for (number, codec) in ["none", "gzip:9", "snappy", "lz4", "zstd:3"].iter().enumerate() {
        let report = bucket.run(&format!("append --lines --report --codec {codec} t/{number} {}", file.display())).ok();
        assert_eq!(report, "{\"base_offset\": 0, \"last_offset\": 4999}\n", "{codec}");
        assert_eq!(bucket.run(&format!("cat t/{number}")).ok(), input, "{codec}");
        let header = bucket.run(&format!("inspect t/{number} --offset 0 --json")).ok();
        let header: Value = serde_json::from_str(&header).unwrap();
        assert_eq!(header["codec"], codec.split(':').next().unwrap());
    }
}

#[test]
fn raw_batches_keep_everything_but_their_offsets() {
    let case = cases().into_iter().find(|case| case.ends_with("java-transactions")).unwrap();
    let bucket = Bucket::new();
    let file = file_of(&case, "kfs");
    let raw = run(["cat", "--format", "raw", file.to_str().unwrap()]).ok_bytes();
    bucket.run_with("append --raw t/0 --leader-epoch 9", &raw).ok();
    let shift = member(&case, "base_offset").as_i64().unwrap();
    let expected = std::fs::read_to_string(case.join("records.jsonl")).unwrap();
    let printed = bucket.run("cat t/0 --format jsonl --encoding hex").ok();
    assert_eq!(printed.lines().count(), expected.lines().count());
    for (printed, expected) in printed.lines().zip(expected.lines()) {
        let mut printed: Value = serde_json::from_str(printed).unwrap();
        printed["offset"] = (printed["offset"].as_i64().unwrap() + shift).into();
        assert_eq!(printed, serde_json::from_str::<Value>(expected).unwrap());
    }
    let batch: Value = serde_json::from_str(&bucket.run("inspect t/0 --offset 0 --json").ok()).unwrap();
    assert_eq!(batch["partition_leader_epoch"], 9);
    assert_eq!(batch["flags"], serde_json::json!(["transactional"]));
}

#[test]
fn control_records_are_no_data_for_json_lines() {
    let case = cases().into_iter().find(|case| case.ends_with("transactional-with-control")).unwrap();
    let lines = std::fs::read(case.join("records.jsonl")).unwrap();
    let control = lines.windows(9).filter(|w| w == b"\"control\"").count();
    let bucket = Bucket::new();
    let ended = bucket.run_with("append --encoding hex t/0", &lines);
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stderr, format!("kfs: {control} control records were passed over; --raw keeps them\n"));
    let left = bucket.run("cat t/0 --format jsonl").ok().lines().count();
    let all = lines.iter().filter(|b| **b == b'\n').count();
    assert_eq!(left, all - control);
}

#[test]
fn wrong_input_is_named_by_its_line_and_what_came_before_is_kept() {
    let bucket = Bucket::new();
    let input = b"{\"value\": \"good\"}\n\n{\"vlaue\": \"misspelt\"}\n{\"value\": \"never read\"}\n";
    let message = bucket.run_with("append t/0", input).failed(2);
    assert!(message.contains("line 3 of the input: unknown field `vlaue`"), "{message}");
    assert!(message.contains("\nhint: "), "{message}");
    assert!(message.contains("durable before that: 1 offset, the last is 0"), "{message}");
    assert_eq!(bucket.run("cat t/0").ok(), "good\n");
}

#[test]
fn raw_input_that_is_no_batch_is_named_by_its_position() {
    let case = cases().into_iter().find(|case| case.ends_with("plain")).unwrap();
    let file = file_of(&case, "kfs");
    let raw = run(["cat", "--format", "raw", "--count", "20", file.to_str().unwrap()]).ok_bytes();
    let bucket = Bucket::new();

    let message = bucket.run_with("append --raw t/0", &raw[..raw.len() - 1]).failed(2);
    assert!(message.contains("the input ends"), "{message}");

    let mut flipped = raw.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let message = bucket.run_with("append --raw t/1", &flipped).failed(2);
    assert!(message.contains("batch CRC"), "{message}");

    let message =
        bucket.run_with("append --raw t/2", b"this is text and not a record batch, though it is long enough").failed(2);
    assert!(message.contains("no record batch at byte"), "{message}");
}

#[test]
fn a_line_by_line_writer_learns_of_each_line() {
    let bucket = Bucket::new();
    // The interval would never come: that somebody waits presses for the flush.
    let mut command = bucket.kfs("append --lines --report t/0 --flush-interval 1h");
    let mut child = Killed(command.stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap());
    let mut stdin = child.0.stdin.take().unwrap();
    let mut report = BufReader::new(child.0.stdout.take().unwrap());
    for offset in 0..5 {
        writeln!(stdin, "line {offset}").unwrap();
        let mut line = String::new();
        report.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{{\"base_offset\": {offset}, \"last_offset\": {offset}}}\n"));
    }
    drop(stdin);
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn start_offsets_are_agreed_on() {
    let bucket = Bucket::new();
    bucket.run("create t/0 --start-offset 5000").ok();
    bucket.run("create t/0 --start-offset 5000").ok();
    let message = bucket.run("create t/0 --start-offset 7").failed(4);
    assert!(message.starts_with("kfs: conflict: "), "{message}");
    assert_eq!(bucket.run("cat t/0").ok(), "");
    let message = bucket.run_with("append --lines t/0 --start-offset 7", b"x\n").failed(4);
    assert!(message.contains("conflict"), "{message}");
    assert_eq!(
        bucket.run_with("append --lines --report t/0", b"x\n").ok(),
        "{\"base_offset\": 5000, \"last_offset\": 5000}\n"
    );
}

#[test]
fn a_higher_leader_epoch_fences() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0 --leader-epoch 5 --name old", b"x\n").ok();
    let message = bucket.run_with("append --lines t/0 --leader-epoch 4", b"y\n").failed(4);
    assert!(message.starts_with("kfs: fenced: "), "{message}");
    bucket.run_with("append --lines t/0 --leader-epoch 5", b"z\n").ok();
    assert_eq!(bucket.run("cat t/0").ok(), "x\nz\n");
}

#[test]
fn a_time_index_is_written_when_asked_for() {
    let bucket = Bucket::new();
    bucket.run_with("append t/0 --time-index", RECORDS.as_bytes()).ok();
    let files = bucket.files("t/0", "kfst");
    assert_eq!(files.len(), 1);
    let shown: Value = serde_json::from_str(&run(["inspect", "--json", files[0].to_str().unwrap()]).ok()).unwrap();
    assert_eq!((&shown["min_ts"], &shown["max_ts"]), (&(-1).into(), &1_767_225_600_002_i64.into()));
}
