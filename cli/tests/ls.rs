//! `kfs ls`: topics, partitions, segments, as tables and as JSON.

mod common;

use common::{Bucket, broken_newest, cases, file_of, member, run};
use serde_json::{Value, json};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn filled() -> Bucket {
    let bucket = Bucket::new();
    bucket.run_with("append --lines orders/0 --start-offset 5 --time-index", b"a\nb\n").ok();
    bucket.run_with("append --lines orders/0", b"c\nd\ne\n").ok();
    bucket.run_with("append --lines orders/11", b"x\n").ok();
    bucket.run("create payments/0 --start-offset 7").ok();
    bucket
}

#[test]
fn topics_and_partitions_are_listed() {
    let bucket = filled();
    assert_eq!(
        lines(&bucket.run("ls --json").ok()),
        [json!({"topic": "orders", "partitions": 2}), json!({"topic": "payments", "partitions": 1})]
    );
    assert_eq!(bucket.run("ls").ok(), "topic     partitions\norders             2\npayments           1\n");
    assert_eq!(
        lines(&bucket.run("ls orders --json").ok()),
        [
            json!({"topic": "orders", "partition": 0, "log_start": 5, "high_watermark": 10}),
            json!({"topic": "orders", "partition": 11, "log_start": 0, "high_watermark": 1}),
        ]
    );
    assert_eq!(
        bucket.run("ls payments").ok(),
        "partition   log start  high watermark\npayments/0          7               7\n"
    );
    bucket.run("ls nothing").failed(3);
    assert_eq!(bucket.run("ls --namespace other").ok(), "");
}

#[test]
fn segments_are_listed_with_offsets_sizes_and_times() {
    let bucket = filled();
    let files = bucket.files("orders/0", "kfs");
    let size = |path: &std::path::Path| std::fs::metadata(path).unwrap().len();
    let shown = lines(&bucket.run("ls orders/0 --json").ok());
    assert_eq!(shown.len(), 2);
    for (shown, (file, base, last, time_index)) in
        shown.iter().zip([(&files[0], 5, 6, json!(40)), (&files[1], 7, 9, Value::Null)])
    {
        assert_eq!(shown["key"], format!("default/orders/0/segment-{base:020}.kfs"));
        assert_eq!((&shown["base_offset"], &shown["last_offset"]), (&json!(base), &json!(last)));
        assert_eq!(shown["bytes"], size(file));
        assert_eq!(shown["index_bytes"], size(&file.with_extension("index")));
        assert_eq!(shown["time_index_bytes"], time_index);
        assert!(shown["modified_ms"].as_i64().unwrap() > 1_700_000_000_000);
    }
    let table = bucket.run("ls orders/0").ok();
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert_eq!(rows[0][..2], ["base", "offset"]);
    assert_eq!((rows[1][0], rows[1][1]), ("5", "6"));
    assert_eq!((rows[2][0], rows[2][1]), ("7", "9"));

    assert_eq!(lines(&bucket.run("ls orders/0 --json --from 7").ok()).len(), 1);
    assert_eq!(lines(&bucket.run("ls orders/0 --json --to 7").ok()).len(), 1);
    assert_eq!(lines(&bucket.run("ls orders/0 --json --from 6 --to 8").ok()).len(), 2);
    assert_eq!(bucket.run("ls payments/0").ok(), "", "it is empty, and it is there");
    bucket.run("ls orders --from 7").failed(2);
}

#[test]
fn a_newest_segment_whose_end_can_not_be_read_is_named() {
    for (what, bytes) in broken_newest() {
        let bucket = filled();
        let newest = bucket.files("orders/0", "kfs").remove(1);
        std::fs::write(newest, bytes).unwrap();
        for arguments in ["ls orders/0", "ls orders/0 --json", "ls orders/0 --from 7"] {
            let ended = bucket.run(arguments);
            let shown = String::from_utf8_lossy(&ended.stdout).into_owned();
            let last = shown.lines().last().unwrap();
            assert!(last.contains('7') && (last.contains(" - ") || last.contains("\"last_offset\":null")), "{shown}");
            let message = ended.failed(1);
            assert!(message.starts_with("kfs: partition orders/0: corrupt: found "), "{what}: {message}");
            assert!(message.contains("expected") && message.contains("segment-00000000000000000007.kfs"), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        // What is not listed is not looked at.
        assert_eq!(lines(&bucket.run("ls orders/0 --json --to 7").ok()).len(), 1);
    }
}

#[test]
fn a_segments_file_is_listed() {
    for case in cases() {
        let file = file_of(&case, "kfs");
        let shown = lines(&run(["ls", "--json", file.to_str().unwrap()]).ok());
        assert_eq!(shown.len(), 1);
        for (field, name) in [
            ("base_offset", "base_offset"),
            ("last_offset", "last_offset"),
            ("bytes", "segment_bytes"),
            ("index_bytes", "index_bytes"),
        ] {
            assert_eq!(shown[0][field], member(&case, name), "{} {field}", case.display());
        }
    }
}

#[test]
fn many_segments_and_foreign_objects_make_one_list() {
    let bucket = Bucket::new();
    // A segment a record: more than a page of a listing holds.
    for line in 0..700 {
        let directory = bucket.path().join("default/t/0");
        if line == 0 {
            bucket.run_with("append --lines t/0", b"0\n").ok();
            std::fs::write(directory.join("segment-7.kfs"), "not padded").unwrap();
            std::fs::write(directory.join("zz"), "foreign").unwrap();
            continue;
        }
        let mut segment = std::fs::read(directory.join("segment-00000000000000000000.kfs")).unwrap();
        segment[8..16].copy_from_slice(&i64::to_be_bytes(line));
        std::fs::write(directory.join(format!("segment-{line:020}.kfs")), &segment).unwrap();
    }
    let shown = lines(&bucket.run("ls t/0 --json").ok());
    assert_eq!(shown.len(), 700);
    assert!((0..).zip(&shown).all(|(n, row)| row["base_offset"] == n));
    assert_eq!(bucket.run("ls t/0").ok().lines().count(), 701);
}
