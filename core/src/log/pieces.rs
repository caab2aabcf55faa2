//! Reading a segment in pieces, all of one version.

use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::{Stream, stream};

use super::state::PartitionState;
use crate::error::{Error, ErrorKind, Result};
use crate::format::FOOTER_LEN;
use crate::runtime::Running;
use crate::store::{Fetched, ReadRange, Version};
use crate::text::counted;

/// The most bytes that one request asks for. A segment of no more is one GET. So are the segments of a writer that keeps
/// the default `flush_bytes`: they are about half as large.
pub(crate) const PIECE_BYTES: u64 = 16 << 20;

/// How often a piece is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceTries {
    /// Until the store answers: for a look that changes nothing, and that its caller can give up.
    UntilAnswered,
    /// As any request: for work that must not go on long after it was asked for.
    AsAnyRequest,
}

/// An object that is read in pieces. It holds the piece that was read last, so a small object is read once.
///
/// All pieces are of the version that the first one was.
#[derive(Clone)]
pub(crate) struct PieceReader {
    key: String,
    version: Version,
    tries: PieceTries,
    piece: Bytes,
    /// Where the piece begins in the object.
    at: u64,
}

impl PieceReader {
    /// Reads the first piece of whichever version there is: one GET.
    ///
    /// # Errors
    /// Not found; corrupt for an object of more than `most` bytes; what the store answers.
    pub(crate) async fn open(state: &PartitionState, key: &str, most: u64, tries: PieceTries) -> Result<Self> {
        let first = tries.get(state, key, 0..PIECE_BYTES, None).await?;
        let (size, version) = (first.info.size, first.info.version);
        if size > most {
            let message = format!("found an object of {}, expected at most {most}", counted(size, "byte"));
            return Err(Error::new(ErrorKind::Corrupt, message).with_key(key));
        }
        Ok(PieceReader { piece: first.bytes, ..Self::of_version(key, version, tries) })
    }

    /// Reads the same for the version that a listing or a HEAD showed. Asks nothing yet.
    pub(crate) fn of_version(key: &str, version: Version, tries: PieceTries) -> Self {
        PieceReader { key: key.to_owned(), version, tries, piece: Bytes::new(), at: 0 }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// Bytes of the object.
    pub(crate) fn size(&self) -> u64 {
        self.version.size()
    }

    /// The bytes from this place on: at least `least` of them, which are no more than a piece, or as many as the object has.
    /// What is held costs no request, anything else one GET.
    ///
    /// # Errors
    /// Not found and conflict, if the object is gone or another version; what the store answers.
    pub(crate) async fn read(&mut self, state: &PartitionState, from: u64, least: usize) -> Result<Bytes> {
        let end = self.size();
        let least = (least as u64).min(end.saturating_sub(from));
        if let Some(held) = self.held(from).filter(|held| held.len() as u64 >= least) {
            return Ok(held);
        }
        if least == 0 {
            return Ok(Bytes::new());
        }
        // No two pieces are held at a time.
        (self.piece, self.at) = (Bytes::new(), from);
        self.piece = self.get(state, from..end.min(from.saturating_add(PIECE_BYTES))).await?;
        Ok(self.piece.clone())
    }

    /// The last bytes, which hold the footer: one GET unless they are held. The piece that is held stays.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) async fn footer(&self, state: &PartitionState) -> Result<Bytes> {
        let (from, end) = (self.size().saturating_sub(FOOTER_LEN as u64), self.size());
        match self.held(from) {
            Some(held) => Ok(held),
            None if from == end => Ok(Bytes::new()),
            None => self.get(state, from..end).await,
        }
    }

    /// Gives the pieces in their order, from the object's first byte on, to `take`, until that says that it wants no more.
    /// Each is asked for while the one before it is taken, and no more than that is read ahead.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) async fn each(
        &mut self,
        state: &Arc<PartitionState>,
        mut take: impl FnMut(Bytes) -> bool,
    ) -> Result<()> {
        let mut piece = self.read(state, 0, 1).await?;
        loop {
            let next = self.at.saturating_add(piece.len() as u64);
            let ahead = self.ahead(state, next);
            if ahead.is_some() {
                // To take a piece may keep this thread busy, and the request begins on it.
                let_others_go_on().await;
            }
            let wants_more = take(std::mem::take(&mut piece));
            let Some(ahead) = ahead.filter(|_| wants_more) else { return Ok(()) };
            // What comes may take twice its size while it is joined, so nothing else is held meanwhile.
            self.release();
            (self.piece, self.at) = (ahead.await?, next);
            piece = self.piece.clone();
        }
    }

    /// Begins to read the piece that lies there; `None` at the object's end.
    fn ahead(&self, state: &Arc<PartitionState>, from: u64) -> Option<Running<Bytes>> {
        let range = from..self.size().min(from.saturating_add(PIECE_BYTES));
        if range.is_empty() {
            return None;
        }
        let (reader, state) = (PieceReader::of_version(&self.key, self.version.clone(), self.tries), state.clone());
        Some(state.runtime().clone().ask(async move { reader.get(&state, range).await }))
    }

    /// The pieces in their order as a stream. It holds one at a time.
    pub(crate) fn into_stream(self, state: &PartitionState) -> impl Stream<Item = Result<Bytes>> + Send {
        stream::try_unfold((self, 0_u64), move |(mut reader, at)| async move {
            let piece = reader.read(state, at, 1).await?;
            let next = at.saturating_add(piece.len() as u64);
            Ok((!piece.is_empty()).then_some((piece, (reader, next))))
        })
    }

    /// Holds no piece any more.
    pub(crate) fn release(&mut self) {
        self.piece = Bytes::new();
    }

    fn held(&self, from: u64) -> Option<Bytes> {
        let skip = usize::try_from(from.checked_sub(self.at)?).ok()?;
        (skip < self.piece.len()).then(|| self.piece.slice(skip..))
    }

    async fn get(&self, state: &PartitionState, range: Range<u64>) -> Result<Bytes> {
        let wanted = range.end.saturating_sub(range.start);
        let bytes = self.tries.get(state, &self.key, range, Some(&self.version)).await?.bytes;
        if bytes.len() as u64 == wanted {
            return Ok(bytes);
        }
        let message = format!("the store gave {} of {wanted} that it has", counted(bytes.len(), "byte"));
        Err(Error::new(ErrorKind::Unavailable, message).with_key(&*self.key))
    }
}

impl PieceTries {
    /// A log that is read whole must hold up nobody who follows it: the request counts among the cold reads.
    async fn get(
        self,
        state: &PartitionState,
        key: &str,
        range: Range<u64>,
        if_match: Option<&Version>,
    ) -> Result<Fetched> {
        let (cold, range) = (&state.bucket.cold, ReadRange::Range(range));
        match self {
            PieceTries::UntilAnswered => state.get_through(cold, key, range, if_match).await,
            PieceTries::AsAnyRequest => {
                state.check_has_segments()?;
                cold.get(key, range, if_match).await
            }
        }
    }
}

impl fmt::Debug for PieceReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PieceReader({} from {}, {} held)", self.key, self.at, self.piece.len())
    }
}

/// Lets the runtime's other tasks go on, and those that were just started begin.
async fn let_others_go_on() {
    let mut has_waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether so many bytes of two objects are there and the same, each from its place on.
///
/// # Errors
/// As [`PieceReader::read`].
pub(crate) async fn same_bytes(
    state: &PartitionState,
    (one, mut at): (&mut PieceReader, u64),
    (other, mut other_at): (&mut PieceReader, u64),
    mut len: u64,
) -> Result<bool> {
    while len > 0 {
        let bytes = one.read(state, at, 1).await?;
        let other_bytes = other.read(state, other_at, 1).await?;
        let part = bytes.len().min(other_bytes.len()).min(usize::try_from(len).unwrap_or(usize::MAX));
        if part == 0 || bytes.get(..part) != other_bytes.get(..part) {
            return Ok(false);
        }
        let part = part as u64;
        (at, other_at, len) = (at.saturating_add(part), other_at.saturating_add(part), len.saturating_sub(part));
    }
    Ok(true)
}
