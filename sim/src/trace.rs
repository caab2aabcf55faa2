//! What happened, in order: hashed always, kept as text when asked for.

use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

struct TraceState {
    hash: u64,
    lines: u64,
    text: Option<String>,
}

/// The trace of one simulation. Two runs of a seed have the same hash.
pub(crate) struct Trace(Mutex<TraceState>);

impl Trace {
    /// An empty one; with `keep` it can be printed.
    pub(crate) fn new(keep: bool) -> Self {
        Trace(Mutex::new(TraceState { hash: 0xcbf2_9ce4_8422_2325, lines: 0, text: keep.then(String::new) }))
    }

    fn lock(&self) -> MutexGuard<'_, TraceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line.
    pub(crate) fn note(&self, line: fmt::Arguments<'_>) {
        let mut state = self.lock();
        state.lines += 1;
        let mut hashed = Hashed(state.hash);
        let _ = hashed.write_fmt(line);
        let _ = hashed.write_char('\n');
        state.hash = hashed.0;
        if let Some(text) = &mut state.text {
            let _ = writeln!(text, "{line}");
        }
    }

    /// Hash and number of the lines so far.
    pub(crate) fn hash(&self) -> (u64, u64) {
        let state = self.lock();
        (state.hash, state.lines)
    }

    /// The lines, where they were kept.
    pub(crate) fn text(&self) -> String {
        self.lock().text.clone().unwrap_or_default()
    }
}

/// FNV-1a over what is written.
struct Hashed(u64);

impl Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
