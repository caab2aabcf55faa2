//! Indexes and `log.json`, field by field.

use bytes::Bytes;
use kfs_core::format::{LogIdentity, Malformed, SparseIndex, TimeIndex};
use kfs_core::text::counted;
use serde_json::{Value, json};

use super::fields::Cursor;
use super::json_object::JsonObject;
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
    /// An index, and how many of its entries are printed; it may have millions.
    index: Option<(SparseIndex, usize)>,
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
    let json = json!({ "header": cursor.section.json() });
    let (index, problem) = match parsed {
        Ok(index) => {
            let shown = if all { index.len() } else { ENTRIES };
            (Some((index, shown)), None)
        }
        Err(malformed) => (None, Some(malformed)),
    };
    Sidecar { sections: vec![cursor.section], lines: Vec::new(), json, index, problem }
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
    Sidecar {
        sections: vec![cursor.section],
        lines: Vec::new(),
        json,
        index: None,
        problem: TimeIndex::parse(bytes).err(),
    }
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
    Sidecar { sections: Vec::new(), lines, json, index: None, problem: parsed.err() }
}

impl Sidecar {
    pub(super) fn is_sound(&self) -> bool {
        self.problem.is_none()
    }

    /// Writes the members of a JSON object, entry by entry.
    pub(super) fn write_json(&self, object: &mut JsonObject<'_>) -> Outcome {
        object.members(&self.json)?;
        if let Some((index, _)) = &self.index {
            let entries = index.entries().map(|e| json!({ "offset": e.offset, "position": e.position }));
            object.array("entries", entries)?;
        }
        object.member("problem", &json!(self.problem.as_ref().map(ToString::to_string)))
    }

    pub(super) fn print(&self, out: &mut Out) -> Outcome {
        for section in &self.sections {
            section.print(out)?;
        }
        for line in &self.lines {
            out.line(line)?;
        }
        if let Some((index, shown)) = &self.index {
            entries(index, *shown, out)?;
        }
        match &self.problem {
            Some(problem) => out.line(&format!("problem: {problem}")),
            None => Ok(()),
        }
    }
}

fn entries(index: &SparseIndex, shown: usize, out: &mut Out) -> Outcome {
    out.line(&counted(index.len(), "entry"))?;
    out.line(&format!("{:>20}  {:>12}", "offset", "position"))?;
    for entry in index.entries().take(shown) {
        out.line(&format!("{:>20}  {:>12}", entry.offset, entry.position))?;
    }
    match index.len().checked_sub(shown).filter(|more| *more > 0) {
        Some(more) => out.line(&format!("… and {more} more; --all shows them")),
        None => Ok(()),
    }
}
