//! A fetch under way.

use std::time::Duration;

use super::answer::Hole;
use super::gather::Gather;
use super::options::FetchOptions;
use super::source::Want;
use super::span::BlockSpan;
use super::walk::ReadFault;
use crate::error::{Error, ErrorKind, Result};
use crate::format::PartitionId;
use crate::log::progress::Progress;
use crate::store::Version;

/// How often a fetch, or a search by time, looks again at a log that changes under it.
pub(super) const MAX_LOOKS: u32 = 8;

/// A fetch under way.
#[derive(Debug)]
pub(super) struct FetchJob {
    pub(super) gather: Gather,
    /// The blocks that it reads now.
    pub(super) span: Option<BlockSpan>,
    /// Segments that were read together with the one that was wanted.
    pub(super) ahead: Vec<BlockSpan>,
    /// The offset that it began with.
    pub(super) start: i64,
    /// That is where the reader's last fetch ended.
    pub(super) goes_on: bool,
    /// What it reads is named by the log's manifest alone.
    pub(super) by_hint: bool,
    /// The manifest named what could not be read.
    pub(super) distrusts_hints: bool,
    pub(super) options: FetchOptions,
    pub(super) hole: Option<Hole>,
    pub(super) skipped: Vec<Error>,
    /// The store was asked for the tail, and told what the catalog says.
    pub(super) tail_known: bool,
    /// A fresh look at this offset was taken.
    pub(super) fresh_at: Option<i64>,
    /// Looks at one position.
    pub(super) looks: u32,
    pub(super) looked_at: i64,
    /// It had to list, and how many GETs it sent.
    pub(super) listed: bool,
    pub(super) gets: u32,
    /// How often what it wanted was in the cache.
    pub(super) hits: u64,
    /// The log's end was asked for, to say the range.
    pub(super) end_asked: bool,
    /// When it first asked the store, by the clock's elapsed time.
    pub(super) began: Duration,
    /// Buffered batches were given: nothing that is stored follows them.
    pub(super) beyond_stored: bool,
    /// What comes next is corrupt, and nothing tells where the log can be read again.
    pub(super) stuck: bool,
    /// The segment that was read again from the store itself, because a replica may have given broken bytes.
    pub(super) read_again: Option<i64>,
    /// There is a batch, and it did not fit.
    pub(super) refused: bool,
    progress: Progress,
}

/// What a fetch needs from the store before it can go on.
#[derive(Debug)]
pub(super) enum Need {
    /// Where the offset lies.
    Locate { fresh: bool },
    /// Bytes of a segment.
    Load { base: i64, version: Version, want: Want },
    /// Whether a segment's body is as it was written.
    Confirm(BlockSpan),
    /// Whether the log goes on after its known end.
    Tail { end: i64 },
    /// Where the log ends, to say its range.
    End,
    /// Where an empty log starts.
    LogJson,
    /// Where a broken segment can be read again.
    Resume { span: BlockSpan, fault: ReadFault, next: Option<i64> },
}

/// Where a fetch stands.
#[derive(Debug)]
pub(super) enum FetchStep {
    Done,
    Need(Need),
}

impl FetchJob {
    pub(super) fn new(offset: i64, options: FetchOptions) -> Self {
        FetchJob {
            gather: Gather::new(offset, options.max_bytes, options.whole_first),
            span: None,
            ahead: Vec::new(),
            start: offset,
            goes_on: false,
            by_hint: false,
            distrusts_hints: false,
            options,
            hole: None,
            skipped: Vec::new(),
            tail_known: false,
            fresh_at: None,
            looks: 0,
            looked_at: offset,
            listed: false,
            gets: 0,
            hits: 0,
            end_asked: false,
            began: Duration::ZERO,
            beyond_stored: false,
            stuck: false,
            read_again: None,
            refused: false,
            progress: Progress::new(offset),
        }
    }

    /// The fetch takes one more step: it must come further, or end (invariant 6).
    pub(super) fn step(&mut self, id: &PartitionId) -> Result<()> {
        self.progress.step(self.gather.position(), id)
    }

    /// Whether what was found is given now, though more could be read.
    pub(super) fn gives_now(&self) -> bool {
        !self.gather.is_empty() && (self.options.eager || self.is_spent())
    }

    pub(super) fn position(&self) -> i64 {
        self.gather.position()
    }

    /// Whether it has used up the requests of a cold fetch (docs/design.md, "Request budget").
    fn is_spent(&self) -> bool {
        self.listed && self.gets >= 2
    }

    pub(super) fn count_look(&mut self, id: &PartitionId) -> Result<()> {
        if self.looked_at != self.position() {
            (self.looked_at, self.looks) = (self.position(), 0);
        }
        self.looks += 1;
        if self.looks <= MAX_LOOKS {
            return Ok(());
        }
        Err(changes_too_fast(id))
    }
}

/// The error of reading that looked at a log again and again, and found it changed each time.
pub(super) fn changes_too_fast(id: &PartitionId) -> Error {
    Error::new(ErrorKind::Unavailable, format!("partition {id} changes faster than it can be read"))
}
