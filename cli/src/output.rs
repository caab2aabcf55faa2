//! The one place that prints.

mod table;

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::failure::{Failure, Outcome};

pub(crate) use self::table::Table;

/// Standard output, buffered.
pub(crate) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    pub(crate) fn new() -> Self {
        Out(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.0.write_all(bytes).map_err(unwritten)
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: &str) -> Outcome {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes a JSON value on a line of its own.
    pub(crate) fn json(&mut self, value: &Value) -> Outcome {
        self.line(&value.to_string())
    }

    /// Hands on what is buffered.
    pub(crate) fn flush(&mut self) -> Outcome {
        self.0.flush().map_err(unwritten)
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
    to_stderr(&format!("hint: {hint}\n"));
}

/// A remark on stderr.
pub(crate) fn note(message: &str) {
    to_stderr(&format!("kfs: {message}\n"));
}

fn to_stderr(text: &str) {
    // One write a line, so that lines of processes that share a stderr don't mix. A closed stderr
    // is nobody's loss.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// A bar for long work on so many bytes, drawn on stderr where that is a terminal.
pub(crate) fn progress(bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// A sign of life for long work whose end is not known; its message says how far it came.
pub(crate) fn spinner() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}
