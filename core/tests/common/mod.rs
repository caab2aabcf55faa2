//! The vectors, and what tests of the formats share.
#![allow(dead_code, reason = "each test uses some of it")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kfs_core::format::{BatchAt, CrcCheck, Limits, Malformed, Segment};

/// One segment of `tests/vectors` with what is said of it.
pub(crate) struct Vector {
    /// Its folder or, for the tiny ones, its file stem, from `tests/vectors`.
    pub(crate) name: String,
    /// The base offset that its file name says; the tiny ones have none.
    pub(crate) base_in_name: Option<i64>,
    pub(crate) segment: Bytes,
    pub(crate) index: Bytes,
    /// `case.json`; the tiny ones have none.
    pub(crate) case: Option<serde_json::Value>,
    /// `records.jsonl`, where there is one.
    pub(crate) records: Option<String>,
}

impl Vector {
    pub(crate) fn parsed(&self) -> Segment {
        Segment::parse(&self.segment, CrcCheck::Verify).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    pub(crate) fn number(&self, field: &str) -> Option<i64> {
        self.case.as_ref().map(|case| case[field].as_i64().unwrap_or_else(|| panic!("{}: {field}", self.name)))
    }

    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.case.as_ref().map(|case| case[field].as_str().unwrap_or_else(|| panic!("{}: {field}", self.name)))
    }
}

/// All vectors, in the order of their names.
pub(crate) fn vectors() -> Vec<Vector> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let mut segments = Vec::new();
    find_segments(&root, &mut segments);
    segments.sort();
    segments.iter().map(|path| load(&root, path)).collect()
}

fn find_segments(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_segments(&path, found);
        } else if path.extension().is_some_and(|e| e == "kfs") {
            found.push(path);
        }
    }
}

fn load(root: &Path, path: &Path) -> Vector {
    let folder = path.parent().unwrap();
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let base_in_name = stem.strip_prefix("segment-").map(|base| base.parse().unwrap());
    let named = if base_in_name.is_some() { folder.to_owned() } else { path.with_extension("") };
    Vector {
        name: named.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
        base_in_name,
        segment: fs::read(path).unwrap().into(),
        index: fs::read(path.with_extension("index")).unwrap().into(),
        case: fs::read(folder.join("case.json")).ok().map(|json| serde_json::from_slice(&json).unwrap()),
        records: fs::read_to_string(folder.join("records.jsonl")).ok(),
    }
}

/// Appends a batch's records as lines of `records.jsonl`.
pub(crate) fn write_jsonl(at: &BatchAt, limits: &Limits, out: &mut String) -> Result<(), Malformed> {
    let control = if at.batch.header().attributes.is_control() { ", \"control\": true" } else { "" };
    for record in &at.batch.records(limits)? {
        let record = record?;
        let headers: Vec<String> = record
            .headers()
            .map(|header| {
                let name = serde_json::Value::from(String::from_utf8_lossy(header.key));
                format!("[{name}, {}]", hex_or_null(header.value))
            })
            .collect();
        out.push_str(&format!(
            "{{\"offset\": {}, \"timestamp_ms\": {}, \"key\": {}, \"value\": {}, \"headers\": [{}]{control}}}\n",
            record.offset,
            record.timestamp_ms,
            hex_or_null(record.key),
            hex_or_null(record.value),
            headers.join(", "),
        ));
    }
    Ok(())
}

fn hex_or_null(bytes: Option<&[u8]>) -> String {
    bytes.map_or("null".to_owned(), |bytes| format!("\"{}\"", hex::encode(bytes)))
}
