//! `kfs inspect`: every field of every kind of object, sound or broken.

mod common;

use std::path::PathBuf;

use common::{Bucket, cases, file_of, member, run};
use serde_json::{Value, json};

fn case(name: &str) -> PathBuf {
    cases().into_iter().find(|case| case.ends_with(name)).unwrap()
}

fn inspected(path: &std::path::Path, more: &[&str]) -> Value {
    let arguments = ["inspect", "--json", path.to_str().unwrap()].into_iter().chain(more.iter().copied());
    serde_json::from_str(&run(arguments).ok()).unwrap()
}

#[test]
fn a_segment_shows_header_batches_and_footer() {
    for case in cases() {
        let file = file_of(&case, "kfs");
        let shown = inspected(&file, &[]);
        assert_eq!(shown["kind"], "segment");
        assert_eq!(shown["bytes"], member(&case, "segment_bytes"));
        let header = &shown["header"];
        assert_eq!((&header["magic"], &header["version"], &header["flags"]), (&json!("KAFS"), &json!(1), &json!(0)));
        for (field, member_name) in
            [("base_offset", "base_offset"), ("message_count", "message_count"), ("created_ms", "created_ms")]
        {
            assert_eq!(header[field], member(&case, member_name), "{} {field}", case.display());
        }
        assert_eq!(shown["footer"]["last_offset"], member(&case, "last_offset"));
        assert_eq!(shown["footer"]["magic"], "END!");
        assert_eq!(shown["problem"], Value::Null);
        let batches = shown["batches"].as_array().unwrap();
        assert_eq!(batches.len() as u64, member(&case, "batches").as_u64().unwrap());
        assert!(batches.iter().all(|batch| batch["crc_holds"] == true && batch["magic"] == 2));
    }
}

#[test]
fn an_index_shows_its_entries() {
    for case in cases() {
        let shown = inspected(&file_of(&case, "index"), &[]);
        let header = &shown["header"];
        assert_eq!(header["interval"], member(&case, "index_interval_messages"));
        assert_eq!(header["entry_count"], shown["entries"].as_array().unwrap().len());
        assert_eq!(shown["entries"][0], json!({"offset": member(&case, "base_offset"), "position": 32}));
    }
}

#[test]
fn a_batch_shows_every_field_and_its_records() {
    let case = case("java-transactions");
    let file = file_of(&case, "kfs");
    let batch = inspected(&file, &["--offset", "9045", "--encoding", "hex"]);
    for (field, value) in [
        ("position", json!(5143)),
        ("bytes", json!(78)),
        ("base_offset", json!(9045)),
        ("batch_length", json!(66)),
        ("partition_leader_epoch", json!(5)),
        ("magic", json!(2)),
        ("crc", json!("5234c507")),
        ("attributes", json!(48)),
        ("last_offset_delta", json!(0)),
        ("base_timestamp", json!(1_784_549_935_145_i64)),
        ("max_timestamp", json!(1_784_549_935_145_i64)),
        ("producer_id", json!(7_000_000_000_i64)),
        ("producer_epoch", json!(1)),
        ("base_sequence", json!(-1)),
        ("record_count", json!(1)),
        ("codec", json!("none")),
        ("flags", json!(["transactional", "control"])),
    ] {
        assert_eq!(batch[field], value, "{field}");
    }
    let records = std::fs::read_to_string(case.join("records.jsonl")).unwrap();
    let expected = records.lines().find(|line| line.starts_with("{\"offset\": 9045,")).unwrap();
    assert_eq!(batch["records"][0], serde_json::from_str::<Value>(expected).unwrap());

    let text = run(["inspect", file.to_str().unwrap(), "--offset", "9045", "--encoding", "hex"]).ok();
    assert!(text.contains("5186  producer_id              7000000000"), "{text}");
    assert!(text.contains(expected), "{text}");
}

#[test]
fn keys_and_partitions_of_the_bucket_are_shown_too() {
    let bucket = Bucket::new();
    bucket.run_with("append --lines t/0 --time-index --start-offset 3", b"a\nb\n").ok();
    let show = |arguments: &str| -> Value {
        serde_json::from_str(&bucket.run(&format!("inspect --json {arguments}")).ok()).unwrap()
    };
    assert_eq!(show("default/t/0/log.json")["start_offset"], 3);
    assert_eq!(show("default/t/0/segment-00000000000000000003.kfs")["header"]["message_count"], 2);
    assert_eq!(show("default/t/0/segment-00000000000000000003.index")["header"]["entry_count"], 1);
    assert_eq!(show("default/t/0/segment-00000000000000000003.kfst")["max_offset"], 4);
    assert_eq!(show("t/0 --offset 4")["records"][1]["value"], "b");
    bucket.run("inspect t/0 --offset 5").failed(3);

    let batches = bucket.path().join("batches.bin");
    std::fs::write(&batches, bucket.run("cat t/0 --format raw").ok_bytes()).unwrap();
    assert_eq!(show(batches.to_str().unwrap())["kind"], "batches");
}

#[test]
fn what_is_broken_is_shown_as_far_as_it_goes() {
    let sound = std::fs::read(file_of(&case("plain"), "kfs")).unwrap();
    let bucket = Bucket::new();
    let file = bucket.path().join("broken.kfs");
    let path = file.to_str().unwrap();
    let show = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let ended = run(["inspect", "--json", path]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
        let shown: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(run(["inspect", path, "--all"]).code, Some(1));
        shown
    };
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        bytes
    };
    let all = show(&flipped(0))["batches"].as_array().unwrap().len();
    assert_eq!(all as u64, member(&case("plain"), "batches").as_u64().unwrap());

    let shown = show(&flipped(120));
    assert_eq!(shown["batches"][0]["crc_holds"], false);
    assert_eq!(shown["batches"][1]["crc_holds"], true);
    assert!(shown["problem"].as_str().unwrap().contains("batch CRC"));

    let shown = show(&sound[..sound.len() / 2]);
    assert!(!shown["batches"].as_array().unwrap().is_empty());
    assert!(shown["problem"].is_string());

    for len in [0, 5, 33, 60, sound.len() - 1] {
        assert!(show(&sound[..len])["problem"].is_string(), "{len} bytes");
    }
}
