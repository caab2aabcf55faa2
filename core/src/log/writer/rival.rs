//! The segment that another writer put into the slot.

use super::options::WriterOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{CrcCheck, PartitionId, Segment};
use crate::mutant::mutant;
use crate::store::{Fetched, ObjectInfo};

pub(super) struct Rival {
    key: String,
    who: Option<String>,
    /// `None` for a merged segment: what follows it must be found anew.
    pub(super) found: Option<Found>,
}

pub(super) struct Found {
    pub(super) segment: Segment,
    pub(super) info: ObjectInfo,
}

impl Rival {
    /// Reads the slot's object: whole, checked, and of its own key (else it is corrupt).
    pub(super) fn parse(id: &PartitionId, base: i64, fetched: Fetched) -> Result<Self> {
        let key = id.segment_key(base);
        let segment = check_segment(&key, base, &fetched)?;
        let who = fetched.identity.kfsname.or(fetched.identity.kfsid);
        Ok(Rival { key, who, found: Some(Found { segment, info: fetched.info }) })
    }

    pub(super) fn merged(key: &str) -> Self {
        Rival { key: key.into(), who: None, found: None }
    }

    pub(super) fn fenced(&self) -> Error {
        let mut message = String::from("another writer's segment is in the slot");
        if let Some(found) = &self.found {
            message = format!("{message} (written at {} ms)", found.info.modified_ms);
        }
        let error = Error::new(ErrorKind::Fenced, message)
            .with_key(&*self.key)
            .with_hint("another writer owns the partition now; open again only if this one should");
        match &self.who {
            Some(who) => error.with_winner(&**who),
            None => error,
        }
    }

    /// A higher leader epoch in the newest segment fences, whatever the policy.
    pub(super) fn check_epoch(&self, options: &WriterOptions) -> Result<()> {
        match &self.found {
            Some(found) => check_epoch(&self.key, &found.segment, options).map_err(|error| match &self.who {
                Some(who) => error.with_winner(&**who),
                None => error,
            }),
            None => Ok(()),
        }
    }
}

/// A segment object whole: every check that format.md knows, and the key's offset is the header's.
pub(super) fn check_segment(key: &str, base: i64, fetched: &Fetched) -> Result<Segment> {
    let segment = Segment::parse(&fetched.bytes, CrcCheck::Verify).map_err(|malformed| malformed.into_error(key))?;
    let found = segment.header().base_offset;
    if found != base {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("the header's base offset is {found}, the key says {base}"),
        )
        .with_key(key)
        .at(8));
    }
    Ok(segment)
}

pub(super) fn check_epoch(key: &str, segment: &Segment, options: &WriterOptions) -> Result<()> {
    let Some(ours) = options.leader_epoch else { return Ok(()) };
    let highest = segment.batches().map(|b| b.batch.header().leader_epoch).max().unwrap_or(-1);
    if highest <= ours || mutant!(IgnoreLeaderEpoch) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Fenced, format!("the log holds leader epoch {highest}, this writer has {ours}"))
        .with_key(key)
        .with_hint("a newer leader owns the partition"))
}
