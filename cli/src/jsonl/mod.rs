//! Records as lines of JSON, both ways.
//!
//! A line is written as Python's `json.dumps(…, ensure_ascii=False)` writes it, but that what a terminal would
//! act on is escaped (DEL, C1 and the like; Python escapes C0 alone): `, ` and `: `
//! between, members in the order offset, timestamp_ms, key, value, headers, and `"control": true`
//! for what a control batch holds. With `--encoding hex` that is a line of the vectors' files.
//!
//! Names of headers are text in every encoding. Bytes that should be UTF-8 and are not stand as
//! `{"hex": "…"}` in place of a string, so that nothing is lost on the way through.

mod read;
mod write;

pub(crate) use read::parse_line;
pub(crate) use write::write_object;

#[cfg(test)]
mod tests;
