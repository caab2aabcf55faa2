//! Lines: values as they are, or JSON objects.

use std::io::Read;

use kfs_core::{Error, ErrorKind};

use super::chunks::Buffer;
use super::{Chunk, Content, Records, Sender, hand_over};
use crate::encoding::Encoding;
use crate::jsonl;

/// A longer line is refused: without a bound, input without a newline would fill the memory.
const LONGEST_LINE: usize = 256 << 20;

/// Values, a line each. The newline is not part of a value; a carriage return is.
pub(super) fn read_lines(input: impl Read, send: &Sender) -> Result<(), Error> {
    each_chunk(input, |_, bytes| {
        let read = bytes.len() as u64;
        let mut spans = Vec::new();
        let mut from = 0;
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            let end = from + line.len();
            spans.push(from..end - usize::from(line.ends_with(b"\n")));
            from = end;
        }
        let content = Some(Content::Records(Records::of_values(bytes, spans)));
        Ok(hand_over(send, Chunk { content, bytes: read, control_skipped: 0 }))
    })
}

/// JSON objects, a line each. Empty lines are passed over.
pub(super) fn read_json(input: impl Read, encoding: Encoding, send: &Sender) -> Result<(), Error> {
    each_chunk(input, |first_line, bytes| {
        let mut records = Records::default();
        let mut control_skipped = 0;
        let mut failed = None;
        for (number, line) in (first_line..).zip(bytes.split(|b| *b == b'\n')) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match jsonl::parse_line(line, encoding, &mut records) {
                Ok(true) => {}
                Ok(false) => control_skipped += 1,
                Err(what) => {
                    let error = Error::new(ErrorKind::InvalidInput, format!("line {number} of the input: {what}"));
                    failed = Some(error.with_hint(
                        "a line is {\"key\": …, \"value\": …, \"headers\": [[name, value], …], \"timestamp_ms\": …}, \
                         each member optional; --lines takes lines as values",
                    ));
                    break;
                }
            }
        }
        let content = (!records.is_empty()).then_some(Content::Records(records));
        let wanted = hand_over(send, Chunk { content, bytes: bytes.len() as u64, control_skipped });
        failed.map_or(Ok(wanted), Err)
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
