//! The look at the tail: one LIST from the last segment that this writer knows, or from the start of
//! a log that had none (docs/design.md, "The stale writer").

use super::commit::Chain;
use super::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectName, PartitionId};
use crate::store::{ObjectInfo, Version};

/// Keys asked for at a time: the previous segment and its sidecars, our slot and its own, and some junk.
const PAGE: usize = 32;

/// What follows the last segment that is known.
pub(super) enum Look {
    /// It is there, unchanged, with nothing after it. (Of a log without a segment, here and below: `log.json` is.)
    Clear,
    /// It is there, unchanged; the next slot is taken; `alone`: nothing comes after that.
    Next { version: Version, alone: bool },
    /// It is gone or changed, or the log went on elsewhere.
    Moved(Error),
}

pub(super) async fn look(env: &Env<'_>, chain: &Chain, slot: i64) -> Result<Look> {
    let previous = chain.previous.as_ref();
    let id = env.id();
    let prefix = id.prefix();
    // `segment-{base}` sorts directly before the segment's own objects.
    let mut after = previous.map(|p| format!("{prefix}segment-{:020}", p.base));
    let (mut log_json, mut segments) = (None, Vec::<(i64, ObjectInfo)>::new());
    let wanted = if previous.is_some() { 3 } else { 2 };
    loop {
        let page = env.store().list_page(&prefix, after.as_deref(), PAGE).await?;
        after = page.objects.last().map(|o| o.key.clone()).or(after);
        for object in page.objects {
            let name = object.key.strip_prefix(&prefix).and_then(ObjectName::parse);
            match name {
                Some(ObjectName::Segment(base)) => segments.push((base, object)),
                Some(ObjectName::LogStart(mark)) if previous.is_none() && mark > slot => {
                    return Ok(Look::Moved(moved(id, slot, "the log start was moved past it")));
                }
                Some(ObjectName::LogJson) => log_json = Some(object.version),
                _ => {}
            }
        }
        if page.complete || segments.len() >= wanted {
            break;
        }
    }
    let mut segments = segments.into_iter();
    let is = |found: Option<Version>, known: &Version| found.is_some_and(|found| found.same_as(known));
    let changed = match (previous, &chain.log_json) {
        (Some(previous), _) => {
            let found = segments.next().filter(|(base, _)| *base == previous.base);
            (!is(found.map(|(_, found)| found.version), &previous.version))
                .then_some("the segment before it is gone or was changed")
        }
        // The partition may have been deleted and made again with another start.
        (None, Some(known)) => (!is(log_json, known)).then_some("log.json is gone or another"),
        (None, None) => None,
    };
    if let Some(why) = changed {
        return Ok(Look::Moved(moved(id, slot, why)));
    }
    Ok(match (segments.next(), segments.next()) {
        (None, _) => Look::Clear,
        (Some((base, found)), rest) if base == slot => Look::Next { version: found.version, alone: rest.is_none() },
        (Some((base, _)), _) => Look::Moved(moved(id, slot, &format!("the log goes on at {base}"))),
    })
}

pub(super) fn moved(id: &PartitionId, slot: i64, why: &str) -> Error {
    Error::new(ErrorKind::Fenced, format!("the log is not as this writer left it before offset {slot}: {why}"))
        .with_key(id.segment_key(slot))
        .with_hint("another writer or maintenance moved the log; open again if this process should own it")
}
