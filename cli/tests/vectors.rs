//! Must hold: `kfs cat --format jsonl --encoding hex` prints every vector as its records.jsonl has it.

mod common;

use common::{Bucket, cases, file_of, member, run};
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn cat_of_every_vector_prints_its_records() {
    for case in cases() {
        let file = file_of(&case, "kfs");
        let printed = run(["cat", "--format", "jsonl", "--encoding", "hex", file.to_str().unwrap()]).ok_bytes();
        assert_eq!(member(&case, "records_sha256"), sha256(&printed), "{}", case.display());
        // `large` comes without the file.
        if let Ok(expected) = std::fs::read(case.join("records.jsonl")) {
            assert!(printed == expected, "{} differs from records.jsonl", case.display());
        }
    }
}

#[test]
fn every_vector_reads_the_same_as_the_segment_of_a_partition() {
    let bucket = Bucket::new();
    for (number, case) in cases().iter().enumerate() {
        let directory = bucket.path().join(format!("default/vectors/{number}"));
        std::fs::create_dir_all(&directory).unwrap();
        for extension in ["kfs", "index"] {
            let file = file_of(case, extension);
            std::fs::copy(&file, directory.join(file.file_name().unwrap())).unwrap();
        }
        let printed = bucket.run(&format!("cat vectors/{number} --format jsonl --encoding hex")).ok_bytes();
        assert_eq!(member(case, "records_sha256"), sha256(&printed), "{}", case.display());
    }
}

#[test]
fn a_vectors_batches_go_through_raw_unchanged() {
    for case in cases() {
        let bucket = Bucket::new();
        let file = file_of(&case, "kfs");
        let raw = run(["cat", "--format", "raw", file.to_str().unwrap()]).ok_bytes();
        let segment = std::fs::read(&file).unwrap();
        assert!(raw == segment[32..segment.len() - 16], "{}: raw is the segment's body", case.display());
        let interval = member(&case, "index_interval_messages");
        let start = member(&case, "base_offset");
        // Where batches leave gaps between them, an append renumbers.
        let dense = !case.ends_with("java-compacted") && !case.ends_with("offset-gaps");
        let settings =
            format!("--start-offset {start} --index-interval {interval} --flush-bytes 64MiB --flush-interval 1h");
        let copied = bucket.run_with(&format!("append --raw p/0 {settings}"), &raw);
        assert_eq!(copied.code, Some(0), "{}: {}", case.display(), copied.stderr);
        // Those of offset-gaps lie within a batch.
        let holes = case.ends_with("java-compacted");
        assert_eq!(!copied.stderr.is_empty(), holes, "{}: {}", case.display(), copied.stderr);
        let back = bucket.run("cat p/0 --format raw").ok_bytes();
        assert_eq!(back.len(), raw.len(), "{}", case.display());
        if dense {
            assert!(back == raw, "{}: the batches changed", case.display());
        }
    }
}
