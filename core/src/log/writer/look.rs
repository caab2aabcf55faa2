//! The look at the tail: one LIST from the last segment that this writer knows.

use super::commit::Previous;
use super::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectName, PartitionId};
use crate::store::{ObjectInfo, Version};

/// Keys asked for at a time: the previous segment and its sidecars, our slot and its own, and some junk.
const PAGE: usize = 32;

/// What follows the last segment that is known.
pub(super) enum Look {
    /// It is there, unchanged, with nothing after it.
    Clear,
    /// It is there, unchanged; the next slot is taken; `alone`: nothing comes after that.
    Next { version: Version, alone: bool },
    /// It is gone or changed, or the log went on elsewhere.
    Moved(Error),
}

pub(super) async fn look(env: &Env<'_>, previous: Option<&Previous>, slot: i64) -> Result<Look> {
    let id = env.id();
    let prefix = id.prefix();
    // `segment-{base}` sorts directly before the segment's own objects.
    let mut after = previous.map(|p| format!("{prefix}segment-{:020}", p.base));
    let mut segments: Vec<(i64, ObjectInfo)> = Vec::new();
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
                _ => {}
            }
        }
        if page.complete || segments.len() >= wanted {
            break;
        }
    }
    let mut segments = segments.into_iter();
    if let Some(previous) = previous {
        let unchanged = segments
            .next()
            .is_some_and(|(base, found)| base == previous.base && found.version.same_as(&previous.version));
        if !unchanged {
            return Ok(Look::Moved(moved(id, slot, "the segment before it is gone or was changed")));
        }
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
