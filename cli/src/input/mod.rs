//! What `append` reads: records as lines, or raw batches, in chunks.
//!
//! A thread of its own reads and parses, for standard input can block for ever. It hands chunks
//! over a short channel, so that what is read ahead is bounded.

mod batches;
mod chunks;
mod found;
mod lines;
mod records;
mod stop;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use kfs_core::Error;
use kfs_core::format::BatchCheck;
use tokio::sync::mpsc;

use self::stop::Watched;
use crate::encoding::Encoding;
use crate::failure;

pub(crate) use batches::Batches;
pub(crate) use found::Found;
pub(crate) use records::Records;
pub(crate) use stop::Stop;

/// Chunks read ahead of the writer.
const AHEAD: usize = 2;

/// Where input comes from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Stdin,
    File(PathBuf),
}

/// How input is to be understood.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// A JSON object a line.
    Json(Encoding),
    /// A line is a value; `verbatim` with all of it but the newline.
    Lines { verbatim: bool },
    /// Record batches back to back, checked so.
    Raw(BatchCheck),
}

/// What is to be appended.
#[derive(Debug)]
pub(crate) enum Content {
    Records(Records),
    /// Checked batches.
    Batches(Batches),
}

/// A part of the input.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// `None` when the bytes held no record.
    pub(crate) content: Option<Content>,
    /// Bytes of input that it came from.
    pub(crate) bytes: u64,
    /// What is to be said of them.
    pub(crate) found: Found,
}

/// The input as it is read.
pub(crate) struct Input {
    chunks: mpsc::Receiver<Result<Chunk, Error>>,
    stop: Arc<Stop>,
}

/// Starts to read.
pub(crate) fn start(origin: Origin, form: Form) -> Input {
    let (send, chunks) = mpsc::channel(AHEAD);
    let stop = Arc::new(Stop::default());
    let watch = stop.clone();
    crate::context::thread(move || {
        // A panic would look like the end of the input.
        let ended = failure::caught(|| match &origin {
            Origin::Stdin => read(Watched::new(std::io::stdin().lock(), &watch), form, &send),
            // To open a pipe waits until somebody opens it for writing.
            Origin::File(path) => match watch.while_waiting(|| File::open(path)).flatten() {
                Ok(file) => read(Watched::new(file, &watch), form, &send),
                Err(error) => Err(failure::file(path, error)),
            },
        });
        let ended = ended.and_then(|read| read);
        if let Err(error) = ended
            && !watch.has_cut()
        {
            let _ = send.blocking_send(Err(error));
        }
    });
    Input { chunks, stop }
}

impl Input {
    /// Ends the reading when it is asked to.
    pub(crate) fn stop(&self) -> Arc<Stop> {
        self.stop.clone()
    }

    /// The next chunk; `None` at the end of the input, after an error, and when the reading was stopped and
    /// all that was read by then was given. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Result<Chunk, Error>> {
        loop {
            let changed = self.stop.changed();
            if self.stop.is_asked_for() {
                // Asked before the channel is looked into: a reader that waits has handed over all it had.
                let waits = self.stop.reader_waits();
                match self.chunks.try_recv() {
                    Ok(chunk) => return Some(chunk),
                    Err(mpsc::error::TryRecvError::Empty) if !waits => {}
                    Err(_) => return None,
                }
            }
            tokio::select! {
                chunk = self.chunks.recv() => return chunk,
                () = changed => {}
            }
        }
    }
}

type Sender = mpsc::Sender<Result<Chunk, Error>>;

fn read(input: impl Read, form: Form, send: &Sender) -> Result<(), Error> {
    match form {
        Form::Json(encoding) => lines::read_json(input, encoding, send),
        Form::Lines { verbatim } => lines::read_lines(input, verbatim, send),
        Form::Raw(check) => batches::read(input, check, send),
    }
}

/// Hands a chunk over; `false` when nobody wants more.
fn hand_over(send: &Sender, chunk: Chunk) -> bool {
    send.blocking_send(Ok(chunk)).is_ok()
}
