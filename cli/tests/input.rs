//! What `kfs append` makes of its input: text of other systems, foreign JSON, files of a broker, small settings.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::{Bucket, Ended, Killed, cases, file_of, run};
use serde_json::Value;

/// What it said on stderr, after it ended well.
#[track_caller]
fn said(ended: Ended) -> String {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn a_json_array_is_no_record() {
    let bucket = Bucket::new();
    for (line, found) in [
        (r#"["k","v",[["h","1"]],5,77,false]"#, "found an array, expected an object"),
        (r#"["k","v"]"#, "found an array, expected an object"),
        ("[]", "found an array, expected an object"),
        (r#"{"value": ["x"]}"#, "expected a string, or"),
        (r#"{"value": {"hex": ["00"]}}"#, "expected a string"),
        (r#"{"headers": [{"name": "value"}]}"#, "expected a tuple of size 2"),
        ("7", "expected an object"),
    ] {
        let message = bucket.run_with("append t/0", format!("{line}\n").as_bytes()).failed(2);
        assert!(message.contains("line 1 of the input: ") && message.contains(found), "{line}: {message}");
        assert!(!message.contains("struct"), "{line}: {message}");
    }
    bucket.run("create t/0").ok();
    assert_eq!(bucket.run("cat t/0").ok(), "");
}

#[test]
fn a_log_json_that_is_an_array_is_corrupt() {
    let bucket = Bucket::new();
    bucket.run("create t/0").ok();
    let file = bucket.path().join("default/t/0/log.json");
    std::fs::write(&file, r#"[1, "00000000000000000000000000000000", "0", 1767225600000]"#).unwrap();
    let message = bucket.run("cat t/0").failed(1);
    assert!(message.contains("found an array, expected an object") && message.contains("log.json"), "{message}");
}

#[test]
fn text_of_windows_gives_the_same_records() {
    let bucket = Bucket::new();
    let input = b"\xef\xbb\xbffirst\r\n\r\nin\rside\r\nlf\nlast\r";
    bucket.run_with("append --lines t/0", input).ok();
    assert_eq!(bucket.run("cat t/0").ok(), "first\n\nin\rside\nlf\nlast\r\n");
    bucket.run_with("append --lines --verbatim t/1", input).ok();
    assert_eq!(bucket.run("cat t/1").ok_bytes(), [&input[..], b"\n"].concat());
    // A mark elsewhere than at the beginning is data.
    bucket.run_with("append --lines t/2", b"a\n\xef\xbb\xbfb\n").ok();
    assert_eq!(bucket.run("cat t/2").ok(), "a\n\u{feff}b\n");

    bucket.run_with("append t/3", b"\xef\xbb\xbf{\"value\": \"x\"}\r\n{\"value\": \"y\"}\r\n").ok();
    assert_eq!(bucket.run("cat t/3").ok(), "x\ny\n");
    let message = bucket.run_with("append t/4", b"\xff\xfe{\0\"\0").failed(2);
    assert!(message.contains("UTF-16"), "{message}");
    let message = bucket.run_with("append --lines t/4", b"\xff\xfea\0\n\0").failed(2);
    assert!(message.contains("UTF-16") && message.contains("iconv"), "{message}");
    bucket.run_with("append --lines --verbatim t/6", b"\xff\xfea\0\n\0").ok();
    bucket.run_with("append --verbatim t/5", b"").failed(2);
}

/// Batches of one record each, their base offsets as given.
fn batches(offsets: &[i64]) -> Vec<u8> {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0", b"x\n").ok();
    let batch = bucket.run("cat t/0 --format raw").ok_bytes();
    let at = |offset: &i64| [&offset.to_be_bytes()[..], &batch[8..]].concat();
    offsets.iter().flat_map(at).collect()
}

#[test]
fn zeros_after_the_last_batch_are_taken_for_the_end_and_named() {
    let bucket = Bucket::new();
    let batch = batches(&[0]);
    let len = batch.len();
    for (partition, zeros) in [("t/0", 1), ("t/1", 16), ("t/2", 4096), ("t/3", 1 << 20)] {
        let input = [&batch[..], &vec![0; zeros]].concat();
        let message = said(bucket.run_with(&format!("append --raw {partition}"), &input));
        let expected = format!(
            "kfs: the input ends with {}, from byte {len} on: a preallocated file; ",
            if zeros == 1 { "1 zero".to_string() } else { format!("{zeros} zeros") }
        );
        assert!(message.starts_with(&expected), "{message}");
        assert_eq!(bucket.run(&format!("cat {partition}")).ok(), "x\n");
    }
    // Nothing but zeros is as empty as nothing.
    said(bucket.run_with("append --raw t/4", &[0; 100]));
    // Zeros with something behind them are no end.
    for zeros in [20, 4096, 1 << 20] {
        let input = [&batch[..], &vec![0; zeros], &batch[..]].concat();
        let message = bucket.run_with("append --raw t/5", &input).failed(2);
        let expected = format!("no record batch at byte {len}: found {zeros} zeros", zeros = zeros + 11);
        assert!(message.contains(&expected), "{expected}: {message}");
    }
}

#[test]
fn a_preallocated_file_is_inspected_up_to_its_zeros() {
    let bucket = Bucket::new();
    let file = bucket.path().join("00000000000000000000.log");
    let batches = batches(&[0, 1]);
    std::fs::write(&file, [&batches[..], &[0; 5000]].concat()).unwrap();
    let path = file.to_str().unwrap();
    let expected = format!("5000 zeros from byte {} to the end: a preallocated file\n", batches.len());
    assert!(run(["inspect", path]).ok().ends_with(&expected));
    let json: Value = serde_json::from_str(&run(["inspect", "--json", path]).ok()).unwrap();
    assert_eq!((&json["zeros_at_the_end"], &json["batches"][1]["base_offset"]), (&5000.into(), &1.into()));
    std::fs::write(&file, [&batches[..], &[0; 5000], b"x"].concat()).unwrap();
    run(["inspect", path]).failed(1);
}

#[test]
fn a_wrong_byte_of_raw_input_is_named_by_its_position() {
    let bucket = Bucket::new();
    let batch = batches(&[0, 1]);
    let len = batch.len() / 2;
    for (at, named) in [(8, 8), (16, 16), (17, 17), (22, 21), (23, 23), (57, 57)] {
        let mut wrong = batch.clone();
        wrong[len + at] ^= 0xff;
        let message = bucket.run_with("append --raw t/0", &wrong).failed(2);
        assert!(message.contains(&format!("no record batch at byte {}: ", len + named)), "{at}: {message}");
    }
}

#[test]
fn a_raw_copy_that_closes_holes_says_so() {
    let bucket = Bucket::new();
    let message = said(bucket.run_with("append --raw t/0", &batches(&[5, 6, 10, 11, 20])));
    assert_eq!(
        message,
        "kfs: 2 holes in the input's offsets were closed, 11 offsets in all: records after them have other offsets now\n"
    );
    // What producers send starts each time at 0, and a log may go back where two were joined.
    for offsets in [&[0, 0, 0][..], &[7, 8, 3, 4], &[5, 6, 7]] {
        assert_eq!(said(bucket.run_with("append --raw t/1", &batches(offsets))), "");
    }
}

/// Bytes of each segment.
fn sizes(bucket: &Bucket, partition: &str) -> Vec<u64> {
    bucket.files(partition, "kfs").iter().map(|file| std::fs::metadata(file).unwrap().len()).collect()
}

#[test]
fn segments_and_batches_keep_to_small_settings() {
    let bucket = Bucket::new();
    let input: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    let settings = "--batch-bytes 2KiB --flush-bytes 64KiB --buffer-bytes 128KiB";
    bucket.run_with(&format!("append --lines {settings} t/0"), input.as_bytes()).ok();
    let json: String = (1..=100_000).map(|n| format!("{{\"value\": \"{n}\"}}\n")).collect();
    bucket.run_with(&format!("append {settings} t/1"), json.as_bytes()).ok();
    let raw = bucket.run("cat --format raw t/0").ok_bytes();
    bucket.run_with("append --raw --flush-bytes 64KiB --buffer-bytes 128KiB t/2", &raw).ok();
    for partition in ["t/0", "t/1", "t/2"] {
        let sizes = sizes(&bucket, partition);
        assert!(sizes.len() > 10 && sizes.iter().all(|size| *size <= (64 << 10) + 48), "{partition}: {sizes:?}");
        let batches = bucket.run(&format!("inspect --json {}", bucket.files(partition, "kfs")[1].display())).ok();
        let batches: Value = serde_json::from_str(&batches).unwrap();
        assert!(batches["batches"].as_array().unwrap().iter().all(|b| b["bytes"].as_u64().unwrap() <= 2 << 10));
    }
    assert_eq!(bucket.run("cat t/0").ok(), input);
    assert_eq!(bucket.run("cat t/2").ok(), input);
}

#[test]
fn records_and_batches_that_start_a_flush_are_counted_within_a_read() {
    for settings in ["--flush-records 100", "--flush-batches 3 --batch-bytes 512"] {
        let bucket = Bucket::new();
        let mut command =
            bucket.kfs(&format!("append --lines --report t/0 --acks buffered --flush-interval 1h {settings}"));
        let mut child = Killed(command.stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap());
        let mut stdin = child.0.stdin.take().unwrap();
        // One read, and input that goes on.
        stdin.write_all("a line of input\n".repeat(1000).as_bytes()).unwrap();
        let mut report = BufReader::new(child.0.stdout.take().unwrap());
        let mut line = String::new();
        report.read_line(&mut line).unwrap();
        // It came while the input goes on, so the count started the flush. How much more the flush took along depends
        // on who was faster.
        let first: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(first["base_offset"], 0, "{settings}: {line}");
        drop(stdin);
        assert_eq!(child.0.wait().unwrap().code(), Some(0));
        assert_eq!(bucket.run("cat t/0").ok().lines().count(), 1000);
    }
}

#[test]
fn a_compacted_log_is_copied_with_a_word_about_its_holes() {
    let case = cases().into_iter().find(|case| case.ends_with("java-compacted")).unwrap();
    let raw = run(["cat", "--format", "raw", file_of(&case, "kfs").to_str().unwrap()]).ok_bytes();
    let bucket = Bucket::new();
    let message = said(bucket.run_with("append --raw t/0", &raw));
    assert!(message.contains("holes in the input's offsets were closed") || message.contains("1 hole in"), "{message}");
}
