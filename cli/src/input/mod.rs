//! What `append` reads: records as lines, or raw batches, in chunks.
//!
//! A thread of its own reads and parses, for standard input can block for ever. It hands chunks
//! over a short channel, so that what is read ahead is bounded.

mod batches;
mod chunks;
mod lines;
mod records;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use kfs_core::Error;
use tokio::sync::mpsc;

use crate::encoding::Encoding;
use crate::failure;

pub(crate) use records::Records;

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
    /// A line is a value.
    Lines,
    /// Record batches back to back.
    Raw,
}

/// What is appended at once: all of it gets into one segment.
#[derive(Debug)]
pub(crate) enum Content {
    Records(Records),
    /// Whole batches, their CRCs checked.
    Batches(Bytes),
}

/// A part of the input.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// `None` when the bytes held no record.
    pub(crate) content: Option<Content>,
    /// Bytes of input that it came from.
    pub(crate) bytes: u64,
    /// Control records that were passed over.
    pub(crate) control_skipped: u64,
}

/// Starts to read. The channel closes at the end of the input, after an error too.
pub(crate) fn start(origin: Origin, form: Form) -> mpsc::Receiver<Result<Chunk, Error>> {
    let (send, receive) = mpsc::channel(AHEAD);
    let read = move || {
        let ended = match &origin {
            Origin::Stdin => read(std::io::stdin().lock(), form, &send),
            Origin::File(path) => match File::open(path) {
                Ok(file) => read(file, form, &send),
                Err(error) => Err(failure::file(path, error)),
            },
        };
        if let Err(error) = ended {
            let _ = send.blocking_send(Err(error));
        }
    };
    crate::context::thread(read);
    receive
}

type Sender = mpsc::Sender<Result<Chunk, Error>>;

fn read(input: impl Read, form: Form, send: &Sender) -> Result<(), Error> {
    match form {
        Form::Json(encoding) => lines::read_json(input, encoding, send),
        Form::Lines => lines::read_lines(input, send),
        Form::Raw => batches::read(input, send),
    }
}

/// Hands a chunk over; `false` when nobody wants more.
fn hand_over(send: &Sender, chunk: Chunk) -> bool {
    send.blocking_send(Ok(chunk)).is_ok()
}
