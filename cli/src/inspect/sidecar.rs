//! Indexes and `log.json`, field by field.

use bytes::Bytes;
use kfs_core::format::{LogIdentity, Malformed, SparseIndex, TimeIndex};
use serde_json::{Value, json};

use super::fields::Cursor;
use crate::failure::Outcome;
use crate::output::Out;
use crate::times;

/// Entries that are shown unless all are asked for.
const ENTRIES: usize = 20;

/// What a sidecar holds, for people and as JSON.
#[derive(Debug)]
pub(super) struct Sidecar {
    sections: Vec<super::fields::Section>,
    lines: Vec<String>,
    json: Value,
    problem: Option<Malformed>,
}

pub(super) fn index(bytes: &Bytes, all: bool) -> Sidecar {
    let mut cursor = Cursor::new("header", bytes, 0);
    cursor.magic("magic");
    cursor.u16("version");
    cursor.i32("entry_count");
    cursor.i32("interval");
    cursor.u16("reserved");
    let parsed = SparseIndex::parse(bytes);
    let mut lines = Vec::new();
    let mut json = json!({ "header": cursor.section.json() });
    if let (Ok(index), Some(json)) = (&parsed, json.as_object_mut()) {
        lines.push(format!("{} entries", index.len()));
        lines.push(format!("{:>20}  {:>12}", "offset", "position"));
        let shown = if all { index.len() } else { ENTRIES };
        lines.extend(index.entries().take(shown).map(|e| format!("{:>20}  {:>12}", e.offset, e.position)));
        if let Some(more) = index.len().checked_sub(shown).filter(|more| *more > 0) {
            lines.push(format!("… and {more} more; --all shows them"));
        }
        let entries: Vec<_> = index.entries().map(|e| json!({ "offset": e.offset, "position": e.position })).collect();
        json.insert("entries".into(), json!(entries));
    }
    Sidecar { sections: vec![cursor.section], lines, json, problem: parsed.err() }
}

pub(super) fn time_index(bytes: &Bytes) -> Sidecar {
    let mut cursor = Cursor::new("time index", bytes, 0);
    cursor.magic("magic");
    cursor.u32("version");
    for name in ["min_ts", "max_ts"] {
        if let Some(ms) = cursor.i64(name) {
            cursor.note(times::show(ms));
        }
    }
    cursor.i64("min_offset");
    cursor.i64("max_offset");
    let json = json!(cursor.section.json());
    Sidecar { sections: vec![cursor.section], lines: Vec::new(), json, problem: TimeIndex::parse(bytes).err() }
}

pub(super) fn log_json(bytes: &Bytes) -> Sidecar {
    let parsed = LogIdentity::parse(bytes);
    let (mut lines, mut json) = (Vec::new(), json!({}));
    if let Ok(identity) = &parsed {
        lines.push(format!("log_id        {}", identity.log_id));
        lines.push(format!("start_offset  {}", identity.start_offset));
        lines.push(format!("created_ms    {}  ({})", identity.created_ms, times::show(identity.created_ms)));
        json = json!({
            "log_id": identity.log_id, "start_offset": identity.start_offset, "created_ms": identity.created_ms,
        });
    }
    Sidecar { sections: Vec::new(), lines, json, problem: parsed.err() }
}

impl Sidecar {
    pub(super) fn is_sound(&self) -> bool {
        self.problem.is_none()
    }

    pub(super) fn json(self) -> Value {
        let mut json = self.json;
        if let Some(map) = json.as_object_mut() {
            map.insert("problem".into(), json!(self.problem.as_ref().map(ToString::to_string)));
        }
        json
    }

    pub(super) fn print(&self, out: &mut Out) -> Outcome {
        for section in &self.sections {
            section.print(out)?;
        }
        for line in &self.lines {
            out.line(line)?;
        }
        match &self.problem {
            Some(problem) => out.line(&format!("problem: {problem}")),
            None => Ok(()),
        }
    }
}
