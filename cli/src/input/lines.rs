//! Lines: values as they are, or JSON objects.

use std::io::Read;

use kfs_core::{Error, ErrorKind};

use super::chunks::Buffer;
use super::{Chunk, Content, Found, Records, Sender, hand_over};
use crate::encoding::Encoding;
use crate::jsonl;

/// A longer line is refused: without a bound, input without a newline would fill the memory.
const LONGEST_LINE: usize = 256 << 20;

/// What Windows puts before text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Values, a line each. A newline is not part of a value; unless `verbatim` asks for them, the carriage
/// return before it and a byte order mark before all are not either.
pub(super) fn read_lines(input: impl Read, verbatim: bool, send: &Sender) -> Result<(), Error> {
    each_chunk(input, |first_line, bytes| {
        if first_line == 1
            && !verbatim
            && let Some(error) = utf16(&bytes)
        {
            return Err(error);
        }
        let read = bytes.len() as u64;
        let marked = first_line == 1 && !verbatim && bytes.starts_with(BYTE_ORDER_MARK);
        let mut from = if marked { BYTE_ORDER_MARK.len() } else { 0 };
        let mut spans = Vec::new();
        for line in bytes.get(from..).unwrap_or_default().split_inclusive(|b| *b == b'\n') {
            let end = match line {
                [.., b'\r', b'\n'] if !verbatim => 2,
                [.., b'\n'] => 1,
                _ => 0,
            };
            spans.push(from..from + line.len() - end);
            from += line.len();
        }
        let content = (!spans.is_empty()).then(|| Content::Records(Records::of_values(bytes, spans)));
        Ok(hand_over(send, Chunk { content, bytes: read, ..Chunk::default() }))
    })
}

/// JSON objects, a line each. Empty lines are passed over, and a byte order mark before all.
pub(super) fn read_json(input: impl Read, encoding: Encoding, send: &Sender) -> Result<(), Error> {
    each_chunk(input, |first_line, bytes| {
        let mut records = Records::default();
        let mut found = Found::default();
        let mut failed = None;
        let mut text = bytes.as_slice();
        if first_line == 1 {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
            failed = utf16(text);
        }
        for (number, line) in (first_line..).zip(text.split(|b| *b == b'\n')) {
            if failed.is_some() {
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            match jsonl::parse_line(line, encoding, &mut records) {
                Ok(true) => {}
                Ok(false) => found.control_skipped += 1,
                Err(what) => {
                    let error = Error::new(ErrorKind::InvalidInput, format!("line {number} of the input: {what}"));
                    failed = Some(error.with_hint(
                        "a line is {\"key\": …, \"value\": …, \"headers\": [[name, value], …], \"timestamp_ms\": …}, \
                         each member optional; --lines takes lines as values",
                    ));
                }
            }
        }
        let content = (!records.is_empty()).then_some(Content::Records(records));
        let wanted = hand_over(send, Chunk { content, bytes: bytes.len() as u64, found });
        failed.map_or(Ok(wanted), Err)
    })
}

/// What is wrong with text that begins with the byte order mark of UTF-16.
fn utf16(text: &[u8]) -> Option<Error> {
    (text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff")).then(|| {
        Error::new(ErrorKind::InvalidInput, "the input begins with the byte order mark of UTF-16, expected UTF-8")
            .with_hint("convert it first, as with iconv -f UTF-16 -t UTF-8")
    })
}

/// Calls `take` with whole lines and the number of their first, until it wants no more.
fn each_chunk(input: impl Read, mut take: impl FnMut(u64, Vec<u8>) -> Result<bool, Error>) -> Result<(), Error> {
    let mut buffer = Buffer::new(input);
    let mut line = 1;
    let mut searched = 0;
    loop {
        buffer.more()?;
        let fresh = buffer.bytes().get(searched..).unwrap_or_default();
        let whole = match fresh.iter().rposition(|b| *b == b'\n') {
            Some(at) => searched + at + 1,
            None if buffer.ended() => buffer.bytes().len(),
            None => 0,
        };
        if whole > 0 {
            let bytes = buffer.take(whole);
            let lines = bytes.iter().filter(|b| **b == b'\n').count();
            if !take(line, bytes)? {
                return Ok(());
            }
            line += lines as u64;
        }
        searched = buffer.bytes().len();
        if buffer.ended() {
            // A last line without a newline is one too.
            let bytes = buffer.take(searched);
            if !bytes.is_empty() {
                take(line, bytes)?;
            }
            return Ok(());
        }
        if searched > LONGEST_LINE {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("line {line} of the input is longer than 256 MiB"),
            )
            .with_hint("a record a line; is this text?"));
        }
    }
}
