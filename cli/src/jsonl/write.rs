//! Writing a record as a line.

use kfs_core::format::Record;
use kfs_core::text::acts_on_a_terminal;

use crate::encoding::{Encoding, encode_hex};

/// Adds the record's line, newline included.
pub(crate) fn write_line(record: &Record<'_>, control: bool, encoding: Encoding, out: &mut Vec<u8>) {
    out.extend_from_slice(
        format!("{{\"offset\": {}, \"timestamp_ms\": {}", record.offset, record.timestamp).as_bytes(),
    );
    out.extend_from_slice(b", \"key\": ");
    nullable(record.key, encoding, out);
    out.extend_from_slice(b", \"value\": ");
    nullable(record.value, encoding, out);
    out.extend_from_slice(b", \"headers\": [");
    for (i, header) in record.headers().enumerate() {
        out.extend_from_slice(if i == 0 { b"[" } else { b", [" });
        text(header.key, out);
        out.extend_from_slice(b", ");
        nullable(header.value, encoding, out);
        out.push(b']');
    }
    out.extend_from_slice(if control { b"], \"control\": true}\n" } else { b"]}\n" });
}

fn nullable(bytes: Option<&[u8]>, encoding: Encoding, out: &mut Vec<u8>) {
    match bytes {
        None => out.extend_from_slice(b"null"),
        Some(bytes) if encoding == Encoding::Utf8 => text(bytes, out),
        Some(bytes) => {
            out.push(b'"');
            encoding.encode(bytes, out);
            out.push(b'"');
        }
    }
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        out.extend_from_slice(b"{\"hex\": \"");
        encode_hex(bytes, out);
        out.extend_from_slice(b"\"}");
        return;
    };
    out.push(b'"');
    let mut plain = text;
    while let Some(at) = plain.find(|c: char| c == '"' || c == '\\' || acts_on_a_terminal(c)) {
        let (before, rest) = plain.split_at_checked(at).unwrap_or((plain, ""));
        out.extend_from_slice(before.as_bytes());
        let mut chars = rest.chars();
        match chars.next() {
            Some('"') => out.extend_from_slice(b"\\\""),
            Some('\\') => out.extend_from_slice(b"\\\\"),
            Some('\n') => out.extend_from_slice(b"\\n"),
            Some('\r') => out.extend_from_slice(b"\\r"),
            Some('\t') => out.extend_from_slice(b"\\t"),
            Some('\u{8}') => out.extend_from_slice(b"\\b"),
            Some('\u{c}') => out.extend_from_slice(b"\\f"),
            Some(other) => out.extend_from_slice(format!("\\u{:04x}", u32::from(other)).as_bytes()),
            None => {}
        }
        plain = chars.as_str();
    }
    out.extend_from_slice(plain.as_bytes());
    out.push(b'"');
}
