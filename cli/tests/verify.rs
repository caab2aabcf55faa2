//! `kfs verify` finds what is wrong, `kfs repair` says what it will do and does it on request.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Bucket, cases, file_of, member, run};
use serde_json::Value;

/// Three segments of ten records in batches of two or three, the middle one from offset 10 on.
fn filled() -> Bucket {
    let bucket = Bucket::new();
    for segment in 0..3 {
        let lines: String = (segment * 10..segment * 10 + 10)
            .map(|n| format!("{{\"value\": \"record number {n}\", \"timestamp_ms\": {n}}}\n"))
            .collect();
        bucket.run_with("append t/0 --batch-bytes 120 --index-interval 1 --time-index", lines.as_bytes()).ok();
    }
    assert_eq!(bucket.files("t/0", "kfs").len(), 3);
    bucket
}

/// Puts other bytes in a file's place, as a new file: mapped files never change.
fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn flip(path: &Path, at: usize) -> Vec<u8> {
    let sound = std::fs::read(path).unwrap();
    let mut bytes = sound.clone();
    bytes[at] ^= 0x10;
    replace(path, &bytes);
    sound
}

/// Every file of a bucket with its bytes.
fn snapshot(bucket: &Bucket) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![bucket.path().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                files.insert(path, bytes);
            }
        }
    }
    files
}

fn findings(bucket: &Bucket, code: i32) -> (Vec<Value>, Value) {
    let ended = bucket.run("verify t/0 --json");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""));
    let mut lines: Vec<Value> = ended.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap();
    assert_eq!(summary["verified"], "t/0");
    (lines, summary)
}

#[test]
fn a_sound_log_is_said_to_be_sound() {
    let bucket = filled();
    let (found, summary) = findings(&bucket, 0);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!((&summary["segments"], &summary["records"]), (&3.into(), &30.into()));
    assert_eq!((&summary["first_offset"], &summary["last_offset"]), (&0.into(), &29.into()));
    let text = bucket.run("verify t/0").ok();
    assert!(text.starts_with("t/0: 3 segments, ") && text.ends_with("30 records, offsets 0 to 29: sound\n"), "{text}");
    bucket.run("create empty/0").ok();
    bucket.run("verify empty/0 t/0").ok();
}

#[test]
fn every_vector_is_sound() {
    for case in cases() {
        let file = file_of(&case, "kfs");
        let text = run(["verify", "--json", file.to_str().unwrap()]).ok();
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(summary["batches"], member(&case, "batches"));
        assert_eq!(summary["last_offset"], member(&case, "last_offset"));
    }
}

#[test]
fn a_flipped_byte_anywhere_is_found_and_named() {
    let bucket = filled();
    let segment = bucket.files("t/0", "kfs").remove(1);
    let size = std::fs::metadata(&segment).unwrap().len() as usize;
    let key = "default/t/0/segment-00000000000000000010";
    let places = [
        (segment.clone(), 1, "kfs", "segment", "header: magic"),
        (segment.clone(), 15, "kfs", "segment", "header: base offset"),
        (segment.clone(), 19, "kfs", "segment", "header: message count"),
        (segment.clone(), 39, "kfs", "", "batch: base offset, outside its CRC"),
        (segment.clone(), 70, "kfs", "batch", "batch: producer"),
        (segment.clone(), 100, "kfs", "batch", "records"),
        (segment.clone(), size - 20, "kfs", "batch", "the last batch"),
        (segment.clone(), size - 16, "kfs", "segment", "footer: CRC"),
        (segment.clone(), size - 5, "kfs", "segment", "footer: last offset"),
        (segment.clone(), size - 1, "kfs", "segment", "footer: magic"),
        (segment.with_extension("index"), 0, "index", "index_wrong", "index: magic"),
        (segment.with_extension("index"), 9, "index", "index_wrong", "index: count"),
        (segment.with_extension("index"), 13, "index", "index_wrong", "index: interval"),
        (segment.with_extension("index"), 35, "index", "index_wrong", "index: an entry's offset"),
        (segment.with_extension("kfst"), 15, "kfst", "time_index_wrong", "time index: least time"),
    ];
    for (path, at, extension, kind, what) in places {
        let sound = flip(&path, at);
        let (found, summary) = findings(&bucket, 1);
        let named = found.iter().any(|finding| {
            finding["key"] == format!("{key}.{extension}") && (kind.is_empty() || finding["kind"] == kind)
        });
        assert!(named, "{what}: {found:?}");
        let counted = summary["errors"].as_u64().unwrap() + summary["warnings"].as_u64().unwrap();
        assert_eq!(counted, found.iter().filter(|f| f["severity"] != "info").count() as u64);
        let text = bucket.run("verify t/0");
        assert_eq!(text.code, Some(1));
        assert!(text.text().contains(&format!("{key}.{extension}")), "{what}");
        if extension == "kfs" {
            // As a file, with what stands beside it.
            assert_eq!(run(["verify", path.to_str().unwrap()]).code, Some(1), "{what}");
        }
        replace(&path, &sound);
    }
    findings(&bucket, 0);
}

#[test]
fn holes_and_missing_indexes_are_found() {
    let bucket = filled();
    let segment = bucket.files("t/0", "kfs").remove(1);
    std::fs::remove_file(segment.with_extension("index")).unwrap();
    let (found, _) = findings(&bucket, 1);
    assert_eq!((found.len(), &found[0]["kind"]), (1, &"index_missing".into()), "{found:?}");
    std::fs::remove_file(&segment).unwrap();
    let (found, _) = findings(&bucket, 1);
    assert_eq!((found.len(), &found[0]["kind"]), (1, &"hole".into()), "{found:?}");
    assert_eq!(found[0]["offsets"], serde_json::json!([10, 19]));
}

#[test]
fn repair_builds_indexes_but_writes_nothing_unasked() {
    let bucket = filled();
    let sound = snapshot(&bucket);
    assert_eq!(bucket.run("repair t/0").ok(), "t/0: nothing to repair\n");
    let segments = bucket.files("t/0", "kfs");
    std::fs::remove_file(segments[0].with_extension("index")).unwrap();
    // An entry's position: the index can be read, its interval is known.
    flip(&segments[1].with_extension("index"), 27);
    let broken = snapshot(&bucket);

    let said = bucket.run("repair t/0");
    assert_eq!(said.code, Some(1));
    let said = said.text();
    assert!(said.contains("rebuild default/t/0/segment-00000000000000000000.index"), "{said}");
    assert!(said.contains("rebuild default/t/0/segment-00000000000000000010.index"), "{said}");
    assert!(said.ends_with("nothing was written; add --yes to do it\n"), "{said}");
    assert!(snapshot(&bucket) == broken, "a plan wrote something");

    let done = bucket.run("repair t/0 --yes").ok();
    assert!(done.ends_with("rebuilt 2 of 2 indexes\n"), "{done}");
    findings(&bucket, 0);
    // The first index was gone with its interval; it is KafScale's again.
    let (mut before, mut after) = (sound, snapshot(&bucket));
    let rebuilt = segments[0].with_extension("index");
    before.remove(&rebuilt);
    after.remove(&rebuilt);
    assert!(before == after, "the other is what it was, and nothing else changed");
}

#[test]
fn a_broken_segment_in_the_middle_is_set_aside() {
    let bucket = filled();
    let segments = bucket.files("t/0", "kfs");
    flip(&segments[1], 100);
    let broken = snapshot(&bucket);
    let key = "default/t/0/segment-00000000000000000010.kfs";

    let said = bucket.run("repair t/0");
    assert_eq!(said.code, Some(1));
    let said = said.text();
    assert!(said.contains(&format!("not to be repaired: error: {key} at byte")), "{said}");
    assert!(said.contains(&format!("kfs repair --set-aside {key}")), "{said}");

    for arguments in
        [format!("repair --set-aside {key}"), "repair t/0 --set-aside segment-00000000000000000010.kfs".into()]
    {
        let plan = bucket.run(&arguments);
        assert_eq!(plan.code, Some(1));
        let plan = plan.text();
        assert!(plan.contains("offsets 10 to 19 go with it"), "{plan}");
        assert!(plan.contains("the next append gets offset 30"), "{plan}");
        assert!(plan.contains("nothing was written"), "{plan}");
        assert!(snapshot(&bucket) == broken, "a plan wrote something");
    }

    let done = bucket.run(&format!("repair --set-aside {key} --yes")).ok();
    assert!(done.ends_with(&format!("done: {key} is kept as {key}.bad\n")), "{done}");
    let kept = std::fs::read(bucket.path().join(format!("{key}.bad"))).unwrap();
    assert!(kept == broken[&segments[1]], "the copy is what it was");
    for extension in ["kfs", "index", "kfst"] {
        assert!(!segments[1].with_extension(extension).exists(), "{extension}");
    }
    let (found, _) = findings(&bucket, 1);
    assert_eq!((found.len(), &found[0]["kind"]), (1, &"hole".into()));
    let printed = bucket.run("cat t/0");
    assert_eq!(printed.code, Some(0));
    assert!(printed.stderr.contains("not in the log: offsets 10 to 19;"), "{}", printed.stderr);
    assert_eq!(printed.text().lines().count(), 20);
    let report = bucket.run_with("append --lines --report t/0", b"next\n").ok();
    assert_eq!(report, "{\"base_offset\": 30, \"last_offset\": 30}\n");
}

#[test]
fn the_newest_segment_set_aside_gives_its_offsets_to_nobody() {
    let bucket = filled();
    let newest = bucket.files("t/0", "kfs").remove(2);
    let size = std::fs::metadata(&newest).unwrap().len() as usize;
    flip(&newest, size - 1);
    let message = bucket.run_with("append --lines t/0", b"x\n").failed(1);
    assert!(message.contains("corrupt") && message.contains("segment-00000000000000000020.kfs"), "{message}");

    let key = "default/t/0/segment-00000000000000000020.kfs";
    let done = bucket.run(&format!("repair --set-aside {key} --yes")).ok();
    assert!(done.contains("it is the newest segment"), "{done}");
    assert!(done.contains("none of its offsets is given again"), "{done}");
    assert!(done.contains("the next append gets offset 30"), "{done}");
    findings(&bucket, 0);
    let report = bucket.run_with("append --lines --report t/0", b"again\n").ok();
    assert_eq!(report, "{\"base_offset\": 30, \"last_offset\": 30}\n");
    findings(&bucket, 0);
}

#[test]
fn what_is_set_aside_must_be_a_segment_that_is_there() {
    let bucket = filled();
    let message = bucket.run("repair --set-aside default/t/0/segment-00000000000000000000.index").failed(2);
    assert!(message.contains("is not the key of a segment"), "{message}");
    bucket.run("repair t/1 --set-aside default/t/0/segment-00000000000000000000.kfs").failed(2);
    bucket.run("repair --set-aside segment-00000000000000000000.kfs").failed(2);
    bucket.run("repair").failed(2);
    bucket.run("repair --set-aside default/t/0/segment-00000000000000000007.kfs --yes").failed(3);
    findings(&bucket, 0);
}

#[test]
fn a_missing_index_of_the_newest_segment_is_no_fault() {
    // What a crash between the two PUTs of a flush leaves, and what is seen while a flush is under way.
    let bucket = filled();
    let newest = bucket.files("t/0", "kfs").remove(2);
    std::fs::remove_file(newest.with_extension("index")).unwrap();
    let (found, _) = findings(&bucket, 0);
    assert_eq!((&found[0]["kind"], &found[0]["severity"]), (&"index_missing".into(), &"info".into()));
    bucket.run_with("append t/0", b"").ok();
    assert!(newest.with_extension("index").exists(), "who opens the partition to write makes it");
    let (found, _) = findings(&bucket, 0);
    assert!(found.is_empty());
}
