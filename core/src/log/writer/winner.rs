//! The segment that another writer put into the slot.

use super::options::WriterOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{CrcCheck, FOOTER_LEN, Segment, SegmentFooter};
use crate::mutant::mutant;
use crate::store::{Fetched, Identity};

pub(super) struct Winner {
    key: String,
    who: Option<String>,
    /// It lies in a directory, and was not made by this process.
    is_unnamed: bool,
    /// When it was written, by the store's clock.
    modified_ms: Option<i64>,
    /// It is a merged segment: what follows it must be found as an opening does.
    pub(super) merged: bool,
}

impl Winner {
    /// Of the slot's object, its last bytes at least: they must be a segment's.
    pub(super) fn of(key: &str, fetched: Fetched) -> Result<Self> {
        let footer = fetched.bytes.len().checked_sub(FOOTER_LEN).and_then(|at| fetched.bytes.get(at..));
        SegmentFooter::parse(footer.unwrap_or(&fetched.bytes)).map_err(|malformed| malformed.into_error(key))?;
        let modified_ms = Some(fetched.info.modified_ms);
        let is_unnamed = fetched.identity.kfsid.as_deref().is_some_and(Identity::is_stand_in);
        Ok(Winner { key: key.into(), who: who(&fetched.identity), is_unnamed, modified_ms, merged: false })
    }

    pub(super) fn merged(key: &str) -> Self {
        Winner { key: key.into(), who: None, is_unnamed: false, modified_ms: None, merged: true }
    }

    pub(super) fn fenced(&self) -> Error {
        let mut message = String::from("another writer's segment is in the slot");
        if let Some(modified_ms) = self.modified_ms {
            message = format!("{message} (written at {modified_ms} ms)");
        }
        if self.is_unnamed {
            message.push_str("; a directory does not keep by whom");
        }
        let error = Error::new(ErrorKind::Fenced, message)
            .with_key(&*self.key)
            .with_hint("another writer owns the partition now; open again only if this one should");
        match &self.who {
            Some(who) => error.with_winner(&**who),
            None => error,
        }
    }
}

/// The name, else the id, of the writer that made an object, where the store tells. A directory keeps neither name nor id, and what it
/// answers in place of an id names no writer.
fn who(identity: &Identity) -> Option<String> {
    let id = identity.kfsid.as_deref().filter(|id| !Identity::is_stand_in(id));
    identity.kfsname.clone().or_else(|| id.map(str::to_owned))
}

/// A segment object whole: every check that format.md knows, and the key's offset is the header's.
pub(super) fn check_segment(key: &str, base: i64, fetched: &Fetched) -> Result<Segment> {
    Segment::parse_at(base, &fetched.bytes, CrcCheck::Verify).map_err(|malformed| malformed.into_error(key))
}

/// The highest leader epoch in a segment, -1 for none.
pub(super) fn highest_epoch(segment: &Segment) -> i32 {
    segment.batches().map(|b| b.batch.header().leader_epoch).max().unwrap_or(-1)
}

/// A higher leader epoch in the newest segment fences, whatever the policy (docs/design.md, "Leader epoch").
pub(super) fn check_epoch(key: &str, highest: i32, by: &Identity, options: &WriterOptions) -> Result<()> {
    let Some(ours) = options.leader_epoch else { return Ok(()) };
    if highest <= ours || ignores_leader_epoch() {
        return Ok(());
    }
    let error = Error::new(ErrorKind::Fenced, format!("the log holds leader epoch {highest}, this writer has {ours}"))
        .with_key(key)
        .with_hint("a newer leader owns the partition");
    Err(match who(by) {
        Some(who) => error.with_winner(who),
        None => error,
    })
}

/// `true` only as the mutant.
fn ignores_leader_epoch() -> bool {
    mutant!(IgnoreLeaderEpoch)
}
