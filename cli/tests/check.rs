//! What `kfs append --raw` asks of batches, and that nothing is acked that `kfs cat` then refuses.
//! The batches under `cases/` were seen in the wild.

mod common;

use std::path::Path;

use common::Bucket;

fn case(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name).with_extension("bin");
    path.display().to_string()
}

fn append(bucket: &Bucket, check: &str, name: &str) -> common::Ended {
    bucket.run(&format!("append --raw --check {check} t/0 {}", case(name)))
}

#[test]
fn records_that_can_not_be_decoded_are_refused_with_their_place_in_the_input() {
    for check in ["produce", "decode"] {
        let bucket = Bucket::new();
        let message = append(&bucket, check, "corrupt-error-without-key").failed(2);
        assert!(message.contains("the record batch at byte 0 of the input is refused: at byte 61"), "{message}");
        assert!(message.contains("snappy"), "{message}");
        assert!(!message.contains("repair"), "{message}");
    }
    append(&Bucket::new(), "crc", "corrupt-error-without-key").ok();
}

#[test]
fn the_place_counts_from_the_start_of_the_input_and_what_comes_before_is_kept() {
    let bucket = Bucket::new();
    let good = std::fs::read(case("max-timestamp-unset")).unwrap();
    let bad = std::fs::read(case("corrupt-error-without-key")).unwrap();
    let message = bucket.run_with("append --raw t/0", &[good.clone(), bad].concat()).failed(2);
    let place = good.len();
    assert!(message.contains(&format!("the record batch at byte {place} of the input")), "{message}");
    assert!(message.contains(&format!("at byte {}: found a broken snappy", place + 61)), "{message}");
    assert!(message.contains("durable before that: 3 offsets"), "{message}");
    assert_eq!(bucket.run("cat t/0").ok(), "v0\nv1\nv2\n");
}

#[test]
fn offsets_that_do_not_count_up_are_refused_of_a_producer() {
    let message = append(&Bucket::new(), "produce", "duplicate-record-offsets").failed(2);
    assert!(message.contains("found offset delta 0 in record 1 of 2, expected 1"), "{message}");
    assert!(message.contains("--check decode"), "{message}");
}

#[test]
fn a_max_timestamp_that_is_unset_is_set_right_of_a_producer_and_kept_in_a_copy() {
    for (check, same) in [("produce", false), ("decode", true), ("crc", true)] {
        let bucket = Bucket::new();
        append(&bucket, check, "max-timestamp-unset").ok();
        let stored = bucket.run("cat --format raw t/0").ok_bytes();
        let sent = std::fs::read(case("max-timestamp-unset")).unwrap();
        assert_eq!(stored == sent, same, "{check}");
        if !same {
            // Its records are at 1700000000000 and up to 2 s later.
            assert_eq!(stored[35..43], 1_700_000_002_000_i64.to_be_bytes());
            assert_eq!(stored[43..], sent[43..], "the rest is as it was");
        }
    }
}

#[test]
fn a_line_that_cat_would_refuse_by_default_is_refused_by_append() {
    let line = vec![b'a'; 128 << 20];
    let bucket = Bucket::new();
    let message = bucket.run_with("append --lines --codec zstd t/0", &line).failed(2);
    assert!(message.contains("not stored"), "{message}");
    assert!(message.contains("134217728"), "{message}");
    assert!(!message.contains("repair"), "{message}");
}

#[test]
fn lines_in_large_compressed_batches_are_read_back_whole() {
    let bucket = Bucket::new();
    // 150 MB that compress to little, in batches of up to 256 MiB.
    let line = [vec![b'a'; 999], vec![b'\n']].concat();
    let settings = "--codec lz4 --acks buffered --flush-interval 1h --batch-bytes 256MiB --flush-bytes 400MiB \
                    --buffer-bytes 900MiB";
    bucket.run_with(&format!("append --lines {settings} t/0"), &line.repeat(150_000)).ok();
    let read = bucket.run("cat t/0").ok_bytes();
    assert_eq!((read.len(), read.iter().filter(|byte| **byte == b'\n').count()), (150_000_000, 150_000));
}

#[test]
fn verify_names_offsets_that_do_not_follow_each_other_and_headers_that_name_other_times() {
    for (name, kind) in [("duplicate-record-offsets", "records"), ("max-timestamp-unset", "max_timestamp")] {
        let bucket = Bucket::new();
        append(&bucket, "decode", name).ok();
        let ended = bucket.run("verify --json t/0");
        assert_eq!(ended.code, Some(1), "{name}: {}", ended.stderr);
        let found = ended.text();
        assert!(found.contains(&format!("\"kind\":\"{kind}\"")), "{name}: {found}");
    }
}

#[test]
fn records_are_found_by_time_though_their_batch_names_no_max_timestamp() {
    let bucket = Bucket::new();
    append(&bucket, "decode", "max-timestamp-unset").ok();
    let counts = ["1600000000000", "1700000000000", "1700000001000"]
        .map(|time| bucket.run(&format!("cat --from-time {time} t/0")).ok().lines().count());
    assert_eq!(counts, [3, 3, 2]);
}

#[test]
fn the_preset_for_kafscale_keeps_segments_below_what_a_consumer_fetches() {
    let bucket = Bucket::new();
    let line = [vec![b'a'; 999], vec![b'\n']].concat();
    bucket.run_with("append --lines --preset kafscale --acks buffered t/0", &line.repeat(5_000)).ok();
    let sizes: Vec<_> = bucket.files("t/0", "kfs").iter().map(|file| file.metadata().unwrap().len()).collect();
    assert!(sizes.len() >= 5 && sizes.iter().all(|size| *size < 1 << 20), "{sizes:?}");
    let message = bucket.run("append --raw --preset kafscale --flush-bytes 8MiB t/0").failed(2);
    assert!(message.contains("cannot be used with"), "{message}");
    let long = vec![b'a'; 1 << 20];
    let message = bucket.run_with("append --lines --preset kafscale t/0", &long).failed(2);
    assert!(message.contains("not stored"), "{message}");
}

#[test]
fn decode_takes_offsets_that_repeat_within_a_batch_and_verify_then_names_them() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0", b"a\nb\n").ok();
    let mut batch = bucket.run("cat t/0 --format raw").ok_bytes();
    // The offset delta of the second record, as a zigzag varint.
    assert_eq!(std::mem::replace(&mut batch[72], 0), 2);
    let crc = kfs_core::format::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    bucket.run_with("append --raw --check produce t/1", &batch).failed(2);
    bucket.run_with("append --raw t/1", &batch).ok();
    assert_eq!(bucket.run("cat t/1").ok(), "a\nb\n");
    let ended = bucket.run("verify t/1");
    let findings = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(findings.contains("error: ") && findings.contains("found offset 0 in record 1 of 2"), "{findings}");
    ended.failed(1);
}
