//! Writing a record as a JSON object.

use kfs_core::format::Record;
use kfs_core::text::acts_on_a_terminal;

use crate::encoding::{Encoding, encode_hex};
use crate::failure::Outcome;
use crate::output::Sink;

/// Writes the record's object, without a newline after it. A value may be large, so no copy of its text is made.
pub(crate) fn write_object(record: &Record<'_>, control: bool, encoding: Encoding, out: &mut impl Sink) -> Outcome {
    out.bytes(format!("{{\"offset\": {}, \"timestamp_ms\": {}", record.offset, record.timestamp_ms).as_bytes())?;
    out.bytes(b", \"key\": ")?;
    nullable(record.key, encoding, out)?;
    out.bytes(b", \"value\": ")?;
    nullable(record.value, encoding, out)?;
    out.bytes(b", \"headers\": [")?;
    for (i, header) in record.headers().enumerate() {
        out.bytes(if i == 0 { b"[" } else { b", [" })?;
        text(header.key, out)?;
        out.bytes(b", ")?;
        nullable(header.value, encoding, out)?;
        out.bytes(b"]")?;
    }
    out.bytes(if control { b"], \"control\": true}" } else { b"]}" })
}

fn nullable(bytes: Option<&[u8]>, encoding: Encoding, out: &mut impl Sink) -> Outcome {
    match bytes {
        None => out.bytes(b"null"),
        Some(bytes) if encoding == Encoding::Utf8 => text(bytes, out),
        Some(bytes) => {
            out.bytes(b"\"")?;
            encoding.encode(bytes, out)?;
            out.bytes(b"\"")
        }
    }
}

fn text(bytes: &[u8], out: &mut impl Sink) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else {
        out.bytes(b"{\"hex\": \"")?;
        encode_hex(bytes, out)?;
        return out.bytes(b"\"}");
    };
    out.bytes(b"\"")?;
    let mut plain = text;
    while let Some(at) = plain.find(|c: char| c == '"' || c == '\\' || acts_on_a_terminal(c)) {
        let (before, rest) = plain.split_at_checked(at).unwrap_or((plain, ""));
        out.bytes(before.as_bytes())?;
        let mut chars = rest.chars();
        match chars.next() {
            Some('"') => out.bytes(b"\\\"")?,
            Some('\\') => out.bytes(b"\\\\")?,
            Some('\n') => out.bytes(b"\\n")?,
            Some('\r') => out.bytes(b"\\r")?,
            Some('\t') => out.bytes(b"\\t")?,
            Some('\u{8}') => out.bytes(b"\\b")?,
            Some('\u{c}') => out.bytes(b"\\f")?,
            Some(other) => out.bytes(format!("\\u{:04x}", u32::from(other)).as_bytes())?,
            None => {}
        }
        plain = chars.as_str();
    }
    out.bytes(plain.as_bytes())?;
    out.bytes(b"\"")
}
