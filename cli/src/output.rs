//! The one place that prints.

mod closed;
mod table;

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use kfs_core::text::{acts_on_a_terminal, printable};
use serde_json::Value;

use crate::failure::{Failure, Outcome};

pub(crate) use self::closed::{is_closed, stdin_is_closed};
pub(crate) use self::table::Table;

static NO_BARS: AtomicBool = AtomicBool::new(false);

/// What is said of a standard output that was closed when the process started.
pub(crate) const CLOSED: &str = "standard output is closed";

/// Where text goes that may be too large to be held whole.
pub(crate) trait Sink {
    /// Takes the next bytes.
    fn bytes(&mut self, bytes: &[u8]) -> Outcome;
}

#[cfg(test)]
impl Sink for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Standard output, buffered.
pub(crate) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    pub(crate) fn new() -> Self {
        Out(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    }

    /// Writes a line. What is not fit for a terminal in it is escaped: names and messages come from outside.
    pub(crate) fn line(&mut self, text: &str) -> Outcome {
        self.bytes(printable(text).as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes a JSON value on a line of its own.
    pub(crate) fn json(&mut self, value: &Value) -> Outcome {
        self.bytes(json(value).as_bytes())?;
        self.bytes(b"\n")
    }

    /// Hands on what is buffered.
    pub(crate) fn flush(&mut self) -> Outcome {
        self.0.flush().map_err(unwritten)
    }
}

/// Prints help, or the version, as clap has made it.
pub(crate) fn help(text: &clap::Error) -> Outcome {
    if is_closed() {
        return Err(Failure::Unwritten(CLOSED.to_string()));
    }
    text.print().and_then(|()| io::stdout().flush()).map_err(unwritten)
}

impl Sink for Out {
    fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        if is_closed() {
            return Err(Failure::Unwritten(CLOSED.to_string()));
        }
        self.0.write_all(bytes).map_err(unwritten)
    }
}

fn unwritten(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::BrokenPipe;
    }
    Failure::Unwritten(error.to_string())
}

/// An error on stderr: one line, and a line that says what to do.
pub(crate) fn complain(message: &str, hint: &str) {
    note(message);
    to_stderr(&format!("hint: {}\n", printable(hint)));
}

/// A remark on stderr.
pub(crate) fn note(message: &str) {
    to_stderr(&format!("kfs: {}\n", printable(message)));
}

/// Lines on stderr, each escaped as a message is.
pub(crate) fn text_on_stderr(text: &str) {
    to_stderr(&text.lines().map(|line| format!("{}\n", printable(line))).collect::<String>());
}

fn to_stderr(text: &str) {
    // One write a line, so that lines of processes that share a stderr don't mix. A closed stderr
    // is nobody's loss.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Standard error for lines that are whole and fit for a terminal.
#[derive(Debug)]
pub(crate) struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // As for all that goes there: a closed stderr is nobody's loss.
        let _ = io::stderr().lock().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Draws no more bars: lines of another kind would break them.
pub(crate) fn draw_no_bars() {
    NO_BARS.store(true, Ordering::Relaxed);
}

fn draws_bars() -> bool {
    io::stderr().is_terminal() && !NO_BARS.load(Ordering::Relaxed)
}

/// Whether standard error is a terminal that is to show colours.
pub(crate) fn is_colourful() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// A JSON value as text that is fit for a terminal.
pub(crate) fn json(value: &Value) -> String {
    let text = value.to_string();
    match printable(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(_) => {
            let mut escaped = String::with_capacity(text.len());
            for c in text.chars() {
                push_json(c, &mut escaped);
            }
            escaped
        }
    }
}

/// Adds a character of a JSON string, escaped as JSON has it where it is not fit for a terminal.
fn push_json(c: char, text: &mut String) {
    if acts_on_a_terminal(c) {
        text.push_str(&format!("\\u{:04x}", u32::from(c)));
    } else {
        text.push(c);
    }
}

/// Writes the text of a record for a terminal: newlines and tabs are kept, all else that a terminal would act
/// on is escaped, and so are bytes that are not UTF-8.
pub(crate) fn escape_for_terminal(bytes: &[u8], out: &mut impl Sink) -> Outcome {
    for chunk in bytes.utf8_chunks() {
        for piece in chunk.valid().split_inclusive(['\n', '\t']) {
            let text = piece.trim_end_matches(['\n', '\t']);
            out.bytes(printable(text).as_bytes())?;
            out.bytes(piece.get(text.len()..).unwrap_or_default().as_bytes())?;
        }
        for byte in chunk.invalid() {
            out.bytes(format!("\\x{byte:02x}").as_bytes())?;
        }
    }
    Ok(())
}

/// A bar for long work on a known number of bytes, drawn on stderr where that is a terminal.
pub(crate) fn progress(bytes: u64) -> ProgressBar {
    if !draws_bars() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// A bar for long work on a known number of things, drawn on stderr where that is a terminal.
pub(crate) fn count(number: u64, things: &'static str) -> ProgressBar {
    if !draws_bars() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(number).with_message(things);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// A sign of life for long work whose end is not known; its message says how far it came.
pub(crate) fn spinner() -> ProgressBar {
    if !draws_bars() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left_in_a_value_or_in_json() {
        let mut shown = Vec::new();
        escape_for_terminal("a\tb\n\n\u{1b}[2J\r\u{7f}\u{9b}31m zwölf \u{202e}x".as_bytes(), &mut shown).unwrap();
        escape_for_terminal(b"\xff\x9b\\", &mut shown).unwrap();
        let expected = "a\tb\n\n\\u{1b}[2J\\r\\u{7f}\\u{9b}31m zwölf \\u{202e}x\\xff\\x9b\\";
        assert_eq!(String::from_utf8(shown).unwrap(), expected);

        let value = Value::from("\u{1b}[2J\u{7f}\u{9b}31m zwölf \u{2028}\n");
        let text = json(&value);
        assert_eq!(text, r#""\u001b[2J\u007f\u009b31m zwölf \u2028\n""#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
