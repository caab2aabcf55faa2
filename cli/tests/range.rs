//! `kfs cat`: where it stops, and partitions that are made while it waits.

mod common;

use std::io::{BufRead, BufReader, Read};

use common::{Bucket, Killed, filled, numbers};

#[test]
fn the_end_of_a_range_is_given_as_its_start_is() {
    let bucket = filled(5);
    let file = bucket.files("t/0", "kfs").remove(1);
    for (arguments, expected) in [
        ("--to latest", 0..50),
        ("--to earliest", 0..0),
        ("--to -5", 0..45),
        ("--from -10 --to -5", 40..45),
        ("--from 3 --to -500", 0..0),
        ("--to-time 1001234", 0..13),
        ("--from 10 --to-time 1970-01-01T00:16:42.500Z", 10..25),
        ("--from-time 1001000 --to-time 1002000", 10..20),
        ("--from-time 1001000 --to -35", 10..15),
        ("--from 30 --to-time 1001000", 0..0),
        ("--to-time 2100-01-01T00:00:00Z", 0..50),
    ] {
        assert_eq!(bucket.run(&format!("cat t/0 {arguments}")).ok(), numbers(expected), "{arguments}");
    }
    for (arguments, expected) in [
        ("--to latest", 10..20),
        ("--to earliest", 0..0),
        ("--to -5", 10..15),
        ("--to 12", 10..12),
        ("--from-time 1001200 --to-time 1001500", 12..15),
    ] {
        assert_eq!(bucket.run(&format!("cat {} {arguments}", file.display())).ok(), numbers(expected), "{arguments}");
    }
    for arguments in ["--to 5 --to-time 7", "--to yesterday", "--to-time yesterday"] {
        bucket.run(&format!("cat t/0 {arguments}")).failed(2);
    }
}

#[test]
fn raw_batches_that_hold_a_record_before_the_time_are_written_whole() {
    let bucket = filled(3);
    for (arguments, expected) in [
        ("--to-time 1001000", 0..10),
        ("--to-time 1001001", 0..20),
        ("--from-time 1001000 --to-time 1002000", 10..20),
        ("--from 15 --to-time 1001500", 0..0),
        ("--to -15", 0..20),
    ] {
        let raw = bucket.run(&format!("cat t/0 --format raw {arguments}")).ok_bytes();
        let copy = Bucket::new();
        copy.run("create t/0").ok();
        copy.run_with("append --raw t/0", &raw).ok();
        assert_eq!(copy.run("cat t/0").ok(), numbers(expected), "{arguments}");
    }
}

/// A follower of a partition that does not exist yet, after it said so.
fn waiting(bucket: &Bucket, arguments: &str) -> Killed {
    let mut child = Killed(bucket.kfs(&format!("cat t/0 --follow {arguments}")).spawn().unwrap());
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert_eq!(line, "kfs: waiting for partition t/0, which does not exist yet\n");
    child
}

#[test]
fn follow_waits_for_a_partition_that_is_not_made_yet() {
    for arguments in ["", "--from latest", "--from -1", "--from-time 5", "--from 100"] {
        let bucket = Bucket::new();
        let mut child = waiting(&bucket, &format!("{arguments} --count 3"));
        bucket.run("create t/0 --start-offset 100").ok();
        bucket.run_with("append t/0", b"{\"value\": \"a\", \"timestamp_ms\": 5}\n").ok();
        bucket.run_with("append --lines t/0", b"b\nc\nnot asked for\n").ok();
        let mut text = String::new();
        child.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "a\nb\nc\n", "{arguments}");
        assert_eq!(child.0.wait().unwrap().code(), Some(0), "{arguments}");
    }
    // Without --follow it is an error still.
    Bucket::new().run("cat t/0").failed(3);
}

#[test]
fn follow_ends_at_the_first_record_of_a_time() {
    let bucket = filled(1);
    let mut child = Killed(bucket.kfs("cat t/0 --follow --from 9 --to-time 2000000").spawn().unwrap());
    let mut out = BufReader::new(child.0.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "9\n");
    bucket.run_with("append t/0", b"{\"value\": \"x\", \"timestamp_ms\": 1999999}\n{\"timestamp_ms\": 2000000}\n").ok();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "x\n");
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}
