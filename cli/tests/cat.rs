//! `kfs cat`: ranges, formats, following, corrupt data.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use common::{Bucket, Killed, cases, file_of, filled, numbers, run};
use serde_json::Value;

#[test]
fn ranges_are_exact_across_segments() {
    let bucket = filled(5);
    for (arguments, expected) in [
        ("", 0..50),
        ("--from 7", 7..50),
        ("--from earliest --to 12", 0..12),
        ("--from 7 --to 23", 7..23),
        ("--from 7 --count 20", 7..27),
        ("--from 7 --to 9 --count 20", 7..9),
        ("--from 48 -n 20", 48..50),
        ("--from -5", 45..50),
        ("--from -500", 0..50),
        ("--from latest", 0..0),
        ("--from 20 --to 20", 0..0),
        ("--count 0", 0..0),
        ("--from-time 1001234", 13..50),
        ("--from-time 1970-01-01T00:16:42.500Z --count 3", 25..28),
        ("--from-time 1", 0..50),
        ("--from-time 2100-01-01T00:00:00Z", 0..0),
    ] {
        assert_eq!(bucket.run(&format!("cat t/0 {arguments}")).ok(), numbers(expected), "{arguments}");
    }
}

#[test]
fn ranges_of_a_file_are_exact_too() {
    let bucket = filled(2);
    let file = bucket.files("t/0", "kfs").remove(1);
    let file = file.display();
    for (arguments, expected) in [
        ("", 10..20),
        ("--from 17", 17..20),
        ("--from -2", 18..20),
        ("--from latest", 0..0),
        ("--from 12 --to 15", 12..15),
        ("--count 3", 10..13),
        ("--from-time 1001350 --count 2", 14..16),
    ] {
        assert_eq!(bucket.run(&format!("cat {file} {arguments}")).ok(), numbers(expected), "{arguments}");
    }
    bucket.run(&format!("cat {file} --follow")).failed(2);
}

#[test]
fn raw_writes_whole_batches() {
    let bucket = filled(3);
    let batch = |arguments: &str| {
        let raw = bucket.run(&format!("cat t/0 --format raw {arguments}")).ok_bytes();
        let copy = Bucket::new();
        copy.run_with("append --raw t/0", &raw).ok();
        copy.run("cat t/0").ok()
    };
    assert_eq!(batch(""), numbers(0..30));
    assert_eq!(batch("--from 15 --to 16"), numbers(10..20));
    assert_eq!(batch("--count 11"), numbers(0..20));
}

#[test]
fn control_records_are_shown_in_jsonl_and_left_out_of_text() {
    let case = cases().into_iter().find(|case| case.ends_with("java-transactions")).unwrap();
    let file = file_of(&case, "kfs");
    let path = file.to_str().unwrap();
    let expected = std::fs::read_to_string(case.join("records.jsonl")).unwrap();
    let data: Vec<_> = expected.lines().filter(|line| !line.ends_with("\"control\": true}")).collect();
    let printed = run(["cat", path, "--format", "jsonl", "--encoding", "hex", "--no-control"]).ok();
    assert!(printed.lines().eq(data.iter().copied()));
    let text = run(["cat", path, "--encoding", "hex"]).ok();
    assert_eq!(text.lines().count(), data.len());
}

#[test]
fn follow_prints_what_is_appended_later() {
    let bucket = filled(1);
    let mut command = bucket.kfs("cat t/0 --follow --from 8 --count 4");
    let mut child = Killed(command.stderr(Stdio::inherit()).spawn().unwrap());
    let mut out = BufReader::new(child.0.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line
    };
    assert_eq!((next(), next()), ("8\n".to_string(), "9\n".to_string()));
    bucket.run_with("append --lines t/0", b"later\n").ok();
    assert_eq!(next(), "later\n");
    bucket.run_with("append --lines t/0", b"last\nnot asked for\n").ok();
    assert_eq!((next(), next()), ("last\n".to_string(), String::new()));
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let bucket = Bucket::new();
    let input = "a line of some length, so that no pipe takes all of them\n".repeat(20_000);
    bucket.run_with("append --lines t/0", input.as_bytes()).ok();
    let mut child = Killed(bucket.kfs("cat t/0").spawn().unwrap());
    let mut out = child.0.stdout.take().unwrap();
    out.read_exact(&mut [0; 100]).unwrap();
    drop(out);
    let mut message = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert_eq!((child.0.wait().unwrap().code(), message.as_str()), (Some(0), ""));
}

#[test]
fn corrupt_data_ends_it_or_is_skipped_and_said() {
    let bucket = filled(3);
    let file = bucket.files("t/0", "kfs").remove(1);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::remove_file(&file).unwrap();
    std::fs::File::create(&file).unwrap().write_all(&bytes).unwrap();

    let ended = bucket.run("cat t/0");
    assert_eq!(ended.code, Some(1));
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), numbers(0..10));
    let key = "default/t/0/segment-00000000000000000010.kfs";
    assert!(ended.stderr.starts_with("kfs: corrupt: ") && ended.stderr.contains(key), "{}", ended.stderr);
    assert!(ended.stderr.contains("next readable offset 20"), "{}", ended.stderr);

    let ended = bucket.run("cat t/0 --skip-corrupt");
    assert_eq!(ended.code, Some(1));
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), numbers(0..10) + &numbers(20..30));
    assert!(ended.stderr.starts_with("kfs: skipped: ") && ended.stderr.contains(key), "{}", ended.stderr);

    for arguments in ["", "--skip-corrupt"] {
        let message = bucket.run(&format!("cat {} {arguments}", file.display())).failed(1);
        assert!(message.contains("batch CRC") && message.contains("at byte 49"), "{message}");
    }
}

#[test]
fn a_files_footer_is_checked() {
    let bucket = filled(1);
    let file = bucket.files("t/0", "kfs").remove(0);
    let sound = std::fs::read(&file).unwrap();
    let copy = bucket.path().join("copy.kfs");
    for (from_end, what) in [(16, "body CRC"), (12, "last offset"), (1, "magic")] {
        let mut bytes = sound.clone();
        let at = bytes.len() - from_end;
        bytes[at] ^= 1;
        std::fs::write(&copy, &bytes).unwrap();
        let ended = bucket.run(&format!("cat {}", copy.display()));
        assert_eq!(String::from_utf8_lossy(&ended.stdout), numbers(0..10), "{what}");
        let message = ended.failed(1);
        assert!(message.contains(what), "{what}: {message}");
    }
    for len in [0, 20, 40, sound.len() - 17, sound.len() - 1] {
        std::fs::write(&copy, &sound[..len]).unwrap();
        bucket.run(&format!("cat {}", copy.display())).failed(1);
    }
}

#[test]
fn a_record_of_jsonl_has_all_of_it() {
    let bucket = Bucket::new();
    bucket.run_with("append t/0", br#"{"key": "k", "headers": [["a", "b"]]}"#).ok();
    let record: Value = serde_json::from_str(&bucket.run("cat t/0 --format jsonl").ok()).unwrap();
    let members: Vec<_> = record.as_object().unwrap().keys().collect();
    assert_eq!(members, ["headers", "key", "offset", "timestamp_ms", "value"]);
    assert!(record["timestamp_ms"].as_i64().unwrap() > 1_700_000_000_000, "it is now");
}

/// Puts a newest segment of these bytes behind two sound ones of ten records each.
fn with_newest(bytes: &[u8]) -> Bucket {
    let bucket = filled(2);
    let newest = bucket.files("t/0", "kfs")[1].with_file_name(format!("segment-{:020}.kfs", 20));
    std::fs::write(newest, bytes).unwrap();
    bucket
}

#[test]
fn a_newest_segment_without_a_readable_end_hides_nothing_of_what_is_before_it() {
    let whole = std::fs::read(&filled(1).files("t/0", "kfs")[0]).unwrap();
    for bytes in [vec![], vec![0; 48], vec![0; 5000], whole[..40].to_vec()] {
        let bucket = with_newest(&bytes);
        let stopped = bucket.run("cat t/0");
        assert_eq!(String::from_utf8_lossy(&stopped.stdout), numbers(0..20));
        let told = stopped.failed(1);
        assert!(told.contains("corrupt") && told.contains("segment-00000000000000000020.kfs"), "{told}");
        let skipped = bucket.run("cat t/0 --skip-corrupt");
        assert_eq!(String::from_utf8_lossy(&skipped.stdout), numbers(0..20));
        let told = skipped.failed(1);
        assert!(told.contains("skipped:") && told.contains("segment-00000000000000000020.kfs"), "{told}");
        assert_eq!(bucket.run("cat t/0 --to 15").ok(), numbers(0..15), "the end is not needed");
        assert_eq!(bucket.run("cat t/0 --from 5 -n 3").ok(), numbers(5..8));
        assert_eq!(bucket.run("cat t/0 --from-time 1000500 -n 3").ok(), numbers(5..8));
    }
}

#[test]
fn records_that_cannot_be_decoded_are_named_and_nothing_is_promised_that_repair_denies() {
    let bucket = filled(1);
    let mut batch = bucket.run("cat t/0 --format raw").ok_bytes();
    // The first record's length, and the CRC over it: what a careless client sends.
    batch[61] = 0x7e;
    let crc = kfs_core::format::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    let file = bucket.files("t/0", "kfs").remove(0);
    let mut segment = std::fs::read(&file).unwrap();
    let end = segment.len() - 16;
    segment[32..end].copy_from_slice(&batch);
    let body = kfs_core::format::crc32c(&segment[32..end]);
    segment[end..end + 4].copy_from_slice(&body.to_be_bytes());
    std::fs::write(&file, segment).unwrap();
    for target in ["t/0", file.to_str().unwrap()] {
        let told = bucket.run(&format!("cat {target}")).failed(1);
        assert!(told.contains("segment-00000000000000000000.kfs at byte 93]"), "{told}");
        assert!(told.contains("(offsets 0 to 9) (next readable offset 10)"), "{told}");
        assert!(!told.contains("mends"), "{told}");
    }
}

#[test]
fn a_higher_limit_reads_what_decompresses_to_more_than_the_default() {
    let bucket = Bucket::new();
    let line = "a".repeat(1 << 20) + "\n";
    bucket.run_with("append t/0 --lines --codec zstd", line.as_bytes()).ok();
    let told = bucket.run("cat t/0 --max-decompressed 1MiB").failed(1);
    assert!(told.contains("more than 1048576 bytes") && told.contains("--max-decompressed"), "{told}");
    assert!(!told.contains("corrupt"), "{told}");
    assert_eq!(bucket.run("cat t/0 --max-decompressed 2MiB").ok().len(), line.len());
    let file = bucket.files("t/0", "kfs").remove(0);
    let inspect = format!("inspect {} --offset 0", file.display());
    bucket.run(&format!("{inspect} --max-decompressed 1MiB")).failed(1);
    bucket.run(&inspect).ok();
    bucket.run("verify t/0").ok();
}

#[test]
fn read_committed_leaves_out_records_of_aborted_transactions() {
    let case = cases().into_iter().find(|case| case.ends_with("java-transactions")).unwrap();
    let file = file_of(&case, "kfs");
    let path = file.to_str().unwrap();
    let raw = run(["cat", path, "--format", "raw"]).stdout;
    let bucket = Bucket::new();
    bucket.run_with("append --raw t/0", &raw).ok();
    let lines = |level: &str| bucket.run(&format!("cat t/0 --encoding hex --isolation {level}")).ok().lines().count();
    let (all, committed) = (lines("read_uncommitted"), lines("read_committed"));
    assert!(committed > 0 && committed < all, "{committed} of {all}");
    let refused = run(["cat", path, "--isolation", "read_committed"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
}
