//! The one error of the crate.

pub(crate) mod causes;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::text::{counted, into_printable, offset_range, printable};

/// What went wrong, as far as a caller must know to act on it.
///
/// The longest pause that is waited because a store asks for one.
pub(crate) const LONGEST_STORE_PAUSE: Duration = Duration::from_secs(300);

/// The numbers are fixed: faces in other languages use them as codes. New kinds may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum ErrorKind {
    /// The partition, segment or bucket does not exist. Create it, or check the name.
    NotFound = 1,
    /// The store refused the credentials or the action. Fix the permission; nothing was changed.
    PermissionDenied = 2,
    /// The caller's input can't be stored or understood. Fix it; nothing was changed.
    InvalidInput = 3,
    /// The offset is outside the log; [`Error::log_range`] says what the log holds.
    OutOfRange = 4,
    /// Another start offset was fixed before, or another exclusive writer is open in this process.
    Conflict = 5,
    /// Another writer owns the partition now. Open again only if this process should own it.
    Fenced = 6,
    /// Stored bytes are not what they must be. [`Error::key`] and [`Error::position`] say where.
    Corrupt = 7,
    /// The store can't be reached or is overloaded. Try again.
    Unavailable = 8,
    /// A deadline passed. The work may still complete.
    TimedOut = 9,
    /// The buffer is full. Wait for durability of what is in it, then try again.
    Full = 10,
    /// The store or the format version lacks something that is needed.
    Unsupported = 11,
    /// The handle was closed.
    Closed = 12,
    /// A fault of this library. Please report it.
    Internal = 13,
}

impl ErrorKind {
    /// The kind's name in lower case, as messages and the command print it.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "not found",
            ErrorKind::PermissionDenied => "permission denied",
            ErrorKind::InvalidInput => "invalid input",
            ErrorKind::OutOfRange => "offset out of range",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Fenced => "fenced",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::TimedOut => "timed out",
            ErrorKind::Full => "full",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Closed => "closed",
            ErrorKind::Internal => "internal error",
        }
    }

    /// Whether the same call may succeed later without a change by the caller.
    pub fn is_retriable(self) -> bool {
        matches!(self, ErrorKind::Unavailable | ErrorKind::TimedOut | ErrorKind::Full)
    }
}

/// What is known of a failed append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stored {
    /// No request that carried it was or can become visible: it may be appended again elsewhere.
    Not,
    /// A request that carried it may have been, or may yet be, applied: look at the log before
    /// appending it again.
    Perhaps,
}

/// An error with its place: which object, where in it, and what to do.
///
/// `{}` prints the error alone, `{:#}` prints it with all its causes on one line: for logs and
/// messages. Cloning is cheap; all waiters of a failed flush get the same error. No message holds
/// a credential. Text from outside (a server's words, names, keys) is escaped in all its parts, so that it can be
/// printed as it is: see [`printable`].
#[derive(Clone)]
pub struct Error(Arc<ErrorDetails>);

#[derive(Clone)]
struct ErrorDetails {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    key: Option<String>,
    position: Option<u64>,
    offsets: Option<(i64, i64)>,
    log_range: Option<(i64, i64)>,
    next_readable: Option<i64>,
    winner: Option<String>,
    stored: Option<Stored>,
    contended: bool,
    from_store: bool,
    request_id: Option<String>,
    client_request_id: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind with a message for the reader.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Arc::new(ErrorDetails {
            kind,
            message: into_printable(message.into()),
            hint: None,
            key: None,
            position: None,
            offsets: None,
            log_range: None,
            next_readable: None,
            winner: None,
            stored: None,
            contended: false,
            from_store: false,
            request_id: None,
            client_request_id: None,
            retry_after: None,
            source: None,
        }))
    }

    /// A writer lost so many slots in a row that it gives up.
    pub(crate) fn contended(losses: u32) -> Self {
        let message = format!("contended: other writers of this partition won {} in a row", counted(losses, "slot"));
        Error::new(ErrorKind::Unavailable, message)
            .with_hint(
                "stop the other writer, or take the partition over from it: open a new writer with a higher leader \
                 epoch, or claim the partition first",
            )
            .edit(|e| e.contended = true)
    }

    /// The kind: decides what a caller does.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message without place and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, when that is more than the kind says.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The key of the object it is about.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// The byte position in that object.
    pub fn position(&self) -> Option<u64> {
        self.0.position
    }

    /// First and last offset that the broken bytes cover, where known.
    pub fn offsets(&self) -> Option<(i64, i64)> {
        self.0.offsets
    }

    /// For [`ErrorKind::OutOfRange`]: log start offset and log end offset (one past the last).
    pub fn log_range(&self) -> Option<(i64, i64)> {
        self.0.log_range
    }

    /// For [`ErrorKind::Corrupt`]: the next offset that can be read.
    pub fn next_readable_offset(&self) -> Option<i64> {
        self.0.next_readable
    }

    /// For [`ErrorKind::Fenced`]: who won, where the store told.
    pub fn winner(&self) -> Option<&str> {
        self.0.winner.as_deref()
    }

    /// For a failed append: whether its bytes may be in the log.
    pub fn stored(&self) -> Option<Stored> {
        self.0.stored
    }

    /// For [`ErrorKind::Unavailable`]: whether other writers of the partition were in the way, and not the store.
    /// The writer is over; a new one may win.
    pub fn is_contended(&self) -> bool {
        self.0.contended
    }

    /// Whether a store refused a request so. Of an invalid input that means that the store does not take what
    /// libkfs sends, or was asked at the wrong address; of an unsupported one, that this store lacks what is needed.
    pub fn is_from_store(&self) -> bool {
        self.0.from_store
    }

    /// What the store called the request that it refused (S3's `x-amz-request-id`), of this error or of its cause. Those who
    /// run the store can look the request up by it.
    pub fn request_id(&self) -> Option<&str> {
        causes::chain(Some(self)).find_map(|cause| cause.downcast_ref::<Error>()?.0.request_id.as_deref())
    }

    /// What libkfs called the try that failed, a UUID of its own that it sent with the request: of this error or of its cause.
    /// Logs of a proxy or of the store hold it, also where no answer came back. `None` where nothing was sent, and on Azure
    /// with an account key, whose signature leaves no room for it.
    pub fn client_request_id(&self) -> Option<&str> {
        causes::chain(Some(self)).find_map(|cause| cause.downcast_ref::<Error>()?.0.client_request_id.as_deref())
    }

    /// How long the store asked to wait before the next try, in the header `Retry-After` of an answer with the status 408,
    /// 429 or 503: of this error or of its cause. The library waits that long before it tries again, but never longer than
    /// 5 minutes.
    pub fn retry_after(&self) -> Option<Duration> {
        causes::chain(Some(self)).find_map(|cause| cause.downcast_ref::<Error>()?.0.retry_after)
    }

    /// Whether the same call may succeed later without a change by the caller.
    pub fn is_retriable(&self) -> bool {
        self.0.kind.is_retriable()
    }

    fn edit(mut self, change: impl FnOnce(&mut ErrorDetails)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The same error with another kind.
    #[must_use]
    pub fn with_kind(self, kind: ErrorKind) -> Self {
        self.edit(|e| e.kind = kind)
    }

    /// A store refused a request so.
    #[must_use]
    pub(crate) fn of_the_store(self) -> Self {
        self.edit(|e| e.from_store = true)
    }

    /// Adds what the store called the request.
    #[must_use]
    pub(crate) fn with_request_id(self, id: impl Into<String>) -> Self {
        self.edit(|e| e.request_id = Some(into_printable(id.into())))
    }

    /// Adds what we called the request.
    #[must_use]
    pub(crate) fn with_client_request_id(self, id: impl Into<String>) -> Self {
        self.edit(|e| e.client_request_id = Some(into_printable(id.into())))
    }

    /// Adds how long the store asked to wait before the next try.
    #[must_use]
    pub(crate) fn with_retry_after(self, pause: Duration) -> Self {
        self.edit(|e| e.retry_after = Some(pause))
    }

    /// The same error with another message.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        self.edit(|e| e.message = into_printable(message.into()))
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        self.edit(|e| e.hint = Some(into_printable(hint.into())))
    }

    /// Adds the object's key.
    #[must_use]
    pub fn with_key(self, key: impl Into<String>) -> Self {
        self.edit(|e| e.key = Some(into_printable(key.into())))
    }

    /// Adds the byte position in the object.
    #[must_use]
    pub fn at(self, position: u64) -> Self {
        self.edit(|e| e.position = Some(position))
    }

    /// Adds the offsets that are affected, first and last.
    #[must_use]
    pub fn with_offsets(self, first: i64, last: i64) -> Self {
        self.edit(|e| e.offsets = Some((first, last)))
    }

    /// Adds the log's range: log start offset, log end offset.
    #[must_use]
    pub fn with_log_range(self, start: i64, end: i64) -> Self {
        self.edit(|e| e.log_range = Some((start, end)))
    }

    /// Adds the next offset that can be read.
    #[must_use]
    pub fn with_next_readable(self, offset: i64) -> Self {
        self.edit(|e| e.next_readable = Some(offset))
    }

    /// Adds who won the slot.
    #[must_use]
    pub fn with_winner(self, winner: impl Into<String>) -> Self {
        self.edit(|e| e.winner = Some(into_printable(winner.into())))
    }

    /// Adds what is known of the append.
    #[must_use]
    pub fn with_stored(self, stored: Stored) -> Self {
        self.edit(|e| e.stored = Some(stored))
    }

    /// Adds the failure that led to this one: as its source, at the end of its message, and with its
    /// hint, which helps more than what this one would say.
    #[must_use]
    pub fn because_of(self, cause: Error) -> Self {
        self.edit(|e| {
            e.message = format!("{}: {cause:#}", e.message);
            e.hint = cause.hint().map(str::to_owned).or(e.hint.take());
            e.from_store |= cause.is_from_store();
            e.source = Some(Arc::new(cause));
        })
    }

    /// Adds the cause. One whose text, or that of a cause beneath it, would reach a terminal raw is kept as
    /// escaped text only.
    #[must_use]
    pub fn with_source(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        let source: Arc<dyn std::error::Error + Send + Sync> = match EscapedCause::of(&source) {
            Some(escaped) => Arc::new(escaped),
            None => Arc::new(source),
        };
        self.edit(|e| e.source = Some(source))
    }
}

/// What is kept of a chain of causes whose text can't be printed as it is.
#[derive(Debug)]
struct EscapedCause {
    text: String,
    source: Option<Box<EscapedCause>>,
}

impl EscapedCause {
    /// `None` where every text of the chain is printable already.
    fn of(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let texts: Vec<String> = std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string).collect();
        if texts.iter().all(|text| matches!(printable(text), std::borrow::Cow::Borrowed(_))) {
            return None;
        }
        let link =
            |source, text| Some(EscapedCause { text: into_printable(text), source: Option::map(source, Box::new) });
        texts.into_iter().rev().fold(None, link)
    }
}

impl fmt::Display for EscapedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for EscapedCause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.write_str(&causes::line(self));
        }
        let e = &*self.0;
        write!(f, "{}: {}", e.kind.name(), e.message)?;
        if let Some(key) = &e.key {
            write!(f, " [{key}")?;
            if let Some(position) = e.position {
                write!(f, " at byte {position}")?;
            }
            write!(f, "]")?;
        }
        if let Some((first, last)) = e.offsets {
            write!(f, " ({})", offset_range(first, last))?;
        }
        if let Some((start, end)) = e.log_range {
            write!(f, " (the log starts at {start} and ends before {end})")?;
        }
        if let Some(next) = e.next_readable {
            write!(f, " (next readable offset {next})")?;
        }
        if let Some(winner) = &e.winner {
            write!(f, " (won by {winner})")?;
        }
        if let Some(id) = &e.request_id {
            write!(f, " (request id {id})")?;
        }
        if let Some(id) = &e.client_request_id {
            write!(f, " (client request id {id})")?;
        }
        if let Some(pause) = e.retry_after.filter(|pause| !pause.is_zero()) {
            write!(f, " (the store asks for a pause of {pause:?}")?;
            f.write_str(if pause > LONGEST_STORE_PAUSE { ", and is asked again after 300s)" } else { ")" })?;
        }
        match e.stored {
            Some(Stored::Not) => write!(f, "; not stored")?,
            Some(Stored::Perhaps) => write!(f, "; perhaps stored")?,
            None => {}
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self:#}")?;
        if let Some(hint) = self.hint() {
            write!(f, "; hint: {hint}")?;
        }
        write!(f, ")")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;

    use super::*;

    const HOSTILE: &str = "x\u{1b}[2J\r\n\u{9b}31m\u{7f}";
    const ESCAPED: &str = "x\\u{1b}[2J\\r\\n\\u{9b}31m\\u{7f}";

    /// An error of another crate.
    #[derive(Debug)]
    struct Foreign(Option<Box<Foreign>>);

    impl fmt::Display for Foreign {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(if self.0.is_some() { "outer" } else { HOSTILE })
        }
    }

    impl std::error::Error for Foreign {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.0.as_deref().map(|source| source as _)
        }
    }

    #[test]
    fn no_part_of_an_error_reaches_a_terminal_raw() {
        let error = Error::new(ErrorKind::PermissionDenied, HOSTILE)
            .with_hint(HOSTILE)
            .with_key(HOSTILE)
            .with_winner(HOSTILE)
            .with_source(Foreign(Some(Box::new(Foreign(None)))));
        assert_eq!((error.message(), error.key(), error.hint()), (ESCAPED, Some(ESCAPED), Some(ESCAPED)));
        assert_eq!(error.winner(), Some(ESCAPED));
        let outer = error.source().unwrap();
        let inner = outer.source().unwrap();
        assert_eq!((outer.to_string(), inner.to_string()), ("outer".into(), ESCAPED.into()));
        assert!(inner.source().is_none());
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(|c: char| c.is_control()), "{shown:?}");
    }

    #[test]
    fn the_cause_of_an_error_keeps_its_type_where_its_text_is_printable() {
        let error = Error::new(ErrorKind::Unavailable, "away").with_source(io::Error::other("refused"));
        assert!(error.source().is_some_and(|cause| cause.is::<io::Error>()));
    }
}
