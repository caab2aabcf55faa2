//! The script of a [`FaultStore`](super::FaultStore): which requests, and what becomes of them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::{CopyMode, CopyOptions, GetOptions, GetRange, PutMode, PutOptions, PutPayload};
use tokio::sync::watch;

/// A kind of request to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Op {
    /// A whole object is written, whatever the mode.
    Put,
    /// A write in parts is begun. Its parts are not faulted.
    Multipart,
    /// Bytes of an object are read.
    Get,
    /// Only an object's metadata is read.
    Head,
    /// Keys are listed; the key is the prefix, or the offset key where one is given.
    List,
    /// An object is deleted.
    Delete,
    /// An object is copied; the key is the target's.
    Copy,
}

/// A request as the script sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The kind.
    pub op: Op,
    /// The full key; for a listing what [`Op::List`] says.
    pub key: String,
    /// Bytes carried by a put.
    pub size: Option<u64>,
    /// Whether a put or copy must not replace an existing object.
    pub create: bool,
    /// Whether a put replaces a certain version of an object only.
    pub update: bool,
    /// For a get: the range asked for, as in the HTTP header without its unit, such as `0-15`.
    pub range: Option<String>,
}

impl Request {
    /// A request for a key. It carries no bytes and has no condition.
    pub fn new(op: Op, key: impl Into<String>) -> Self {
        Request { op, key: key.into(), size: None, create: false, update: false, range: None }
    }

    /// A put with these options.
    pub fn put(key: impl Into<String>, payload: &PutPayload, options: &PutOptions) -> Self {
        Request {
            size: u64::try_from(payload.content_length()).ok(),
            create: matches!(options.mode, PutMode::Create),
            update: matches!(options.mode, PutMode::Update(_)),
            ..Request::new(Op::Put, key)
        }
    }

    /// A get or a head with these options.
    pub fn get(key: impl Into<String>, options: &GetOptions) -> Self {
        let range = options.range.as_ref().map(|range| match range {
            GetRange::Bounded(Range { start, end }) => format!("{start}-{}", end.saturating_sub(1)),
            GetRange::Offset(start) => format!("{start}-"),
            GetRange::Suffix(length) => format!("-{length}"),
        });
        Request { range, ..Request::new(if options.head { Op::Head } else { Op::Get }, key) }
    }

    /// A copy to a key with these options.
    pub fn copy(to: impl Into<String>, options: &CopyOptions) -> Self {
        Request { create: matches!(options.mode, CopyMode::Create), ..Request::new(Op::Copy, to) }
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
    /// It is served as usual.
    Pass,
    /// It fails; nothing is applied.
    Fail(Failure),
    /// It is applied, then its reply is lost: the caller gets the failure.
    ActThenFail(Failure),
    /// It answers `AlreadyExists` without acting, whether or not the object is there: what S3's
    /// 409 ConditionalRequestConflict becomes.
    Conflict,
    /// It waits at the gate, then is served. A caller that gives up meanwhile cancels it.
    Hold(Gate),
    /// It is applied, then its reply waits at the gate.
    ActThenHold(Gate),
    /// It is never applied and never answered.
    Hang,
    /// It fails at once and is applied later, by
    /// [`FaultStore::land_late`](super::FaultStore::land_late). Puts, copies and deletes only;
    /// others just fail.
    Late(Failure),
    /// It is never answered, and applied later as [`Action::Late`] is.
    LateAndSilent,
    /// A put loses its attributes on the way in, a get on the way out.
    DropMetadata,
    /// A get answers what this makes of the bytes: a flipped bit, a cut.
    Change(Change),
    /// A get's body breaks off with an error after this many bytes, a listing after this many
    /// entries. What has no more than that is served whole.
    BreakAfter(usize),
}

impl Action {
    /// A get that answers what `change` makes of the bytes.
    pub fn change(change: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) -> Self {
        Action::Change(Change(Arc::new(change)))
    }
}

/// A function over a get's bytes; made by [`Action::change`].
#[derive(Clone)]
pub struct Change(Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>);

impl Change {
    pub(super) fn apply(&self, bytes: Bytes) -> Bytes {
        (self.0)(bytes)
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Change(..)")
    }
}

/// The error that a faulted request answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// A generic error: the connection broke, the server answered 5xx, time ran out.
    Unavailable,
    /// 503 with this pause in the header `Retry-After`.
    SlowDown(Duration),
    /// The client waited in vain.
    TimedOut,
    /// What the local store answers when an fsync fails after a create.
    SyncFailed {
        /// Whether the object had its name by then.
        visible: bool,
    },
    /// 403.
    PermissionDenied,
    /// 401.
    Unauthenticated,
    /// 404.
    NotFound,
    /// 412 as an answer to If-Match.
    Precondition,
    /// 412 as an answer to `If-None-Match: *`.
    AlreadyExists,
    /// The store lacks what was asked for.
    NotSupported,
}

impl Failure {
    /// As object_store tells it of a request for this key.
    pub fn error(self, key: &str) -> object_store::Error {
        let path = key.to_owned();
        let source: Box<dyn std::error::Error + Send + Sync> = format!("injected: {self:?}").into();
        match self {
            Failure::Unavailable => object_store::Error::Generic { store: "FaultStore", source },
            Failure::SlowDown(pause) => {
                let error = crate::Error::new(crate::ErrorKind::Unavailable, "injected: slow down");
                crate::store::StoreFailure::new(crate::store::Effect::Unknown, error.with_retry_after(pause))
                    .into_object_store(key)
            }
            Failure::TimedOut => {
                let source = std::io::Error::new(std::io::ErrorKind::TimedOut, source);
                object_store::Error::Generic { store: "FaultStore", source: Box::new(source) }
            }
            Failure::SyncFailed { visible } => {
                let error = crate::Error::new(crate::ErrorKind::Unavailable, "injected: a failed fsync");
                crate::store::StoreFailure::new(crate::store::Effect::SyncFailed { visible }, error)
                    .into_object_store(key)
            }
            Failure::PermissionDenied => object_store::Error::PermissionDenied { path, source },
            Failure::Unauthenticated => object_store::Error::Unauthenticated { path, source },
            Failure::NotFound => object_store::Error::NotFound { path, source },
            Failure::Precondition => object_store::Error::Precondition { path, source },
            Failure::AlreadyExists => object_store::Error::AlreadyExists { path, source },
            Failure::NotSupported => object_store::Error::NotSupported { source },
        }
    }
}

/// What became of a logged request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Not answered: under way, held, or given up by its caller.
    Unanswered,
    /// Served.
    Done,
    /// The store itself said that the object exists.
    AlreadyExists,
    /// The store itself said that the object does not exist.
    NotFound,
    /// The store's own error of another kind.
    Error(String),
    /// An injected answer; nothing was applied.
    NotApplied,
    /// Handed to the store, then an injected failure.
    ReplyLost,
    /// An injected failure; kept to be applied later.
    Late,
}

impl Outcome {
    /// What a store answered.
    pub fn of<T>(result: &object_store::Result<T>) -> Self {
        match result {
            Ok(_) => Outcome::Done,
            Err(object_store::Error::AlreadyExists { .. }) => Outcome::AlreadyExists,
            Err(object_store::Error::NotFound { .. }) => Outcome::NotFound,
            Err(e) => Outcome::Error(e.to_string()),
        }
    }
}

/// Selects requests by key. A plain string stands for "ends with", so that `.kfs`, a file's name
/// and a full key all do what they seem to.
#[derive(Clone)]
pub struct KeyMatcher {
    text: String,
    test: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl KeyMatcher {
    /// Every key.
    pub fn any() -> Self {
        KeyMatcher { text: "*".into(), test: Arc::new(|_| true) }
    }

    /// Keys that this accepts.
    pub fn matching(test: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        KeyMatcher { text: "(a function)".into(), test: Arc::new(test) }
    }

    /// Keys with this in them.
    pub fn containing(part: impl Into<String>) -> Self {
        let part = part.into();
        KeyMatcher { text: format!("*{part}*"), test: Arc::new(move |key| key.contains(&part)) }
    }

    /// Whether the key is selected.
    pub fn matches(&self, key: &str) -> bool {
        (self.test)(key)
    }
}

impl From<&str> for KeyMatcher {
    fn from(end: &str) -> Self {
        let end = end.to_owned();
        KeyMatcher { text: format!("*{end}"), test: Arc::new(move |key| key.ends_with(&end)) }
    }
}

impl From<String> for KeyMatcher {
    fn from(end: String) -> Self {
        KeyMatcher::from(end.as_str())
    }
}

impl From<&String> for KeyMatcher {
    fn from(end: &String) -> Self {
        KeyMatcher::from(end.as_str())
    }
}

impl fmt::Debug for KeyMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text)
    }
}

/// Where requests wait until the test lets them go. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<GateState>>);

#[derive(Clone, Copy, Debug, Default)]
struct GateState {
    arrived: usize,
    open: bool,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Gate(Arc::new(watch::Sender::new(GateState::default())))
    }

    /// Lets everything through, from now on.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// How many requests have come to the gate, gone ones included.
    pub fn arrivals(&self) -> usize {
        self.0.borrow().arrived
    }

    /// Completes when `count` requests have come to the gate.
    pub async fn arrived(&self, count: usize) {
        // The sender lives in self, so waiting can't fail.
        let _ = self.0.subscribe().wait_for(|state| state.arrived >= count).await;
    }

    pub(crate) async fn pass(&self) {
        self.0.send_modify(|state| state.arrived += 1);
        let _ = self.0.subscribe().wait_for(|state| state.open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Gate::new()
    }
}
