//! Putting copied segments into the target's log.

use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;

use super::super::requests::put;
use crate::error::{Error, ErrorKind, Result};
use crate::format::TimeIndex;
use crate::log::retry::{Retry, patiently};
use crate::log::state::PartitionState;
use crate::log::writer::bounded;
use crate::store::{Created, Identity, ReadRange, may_pass};

/// A segment that is ready to be put, with what stands beside it.
pub(super) struct CopiedSegment {
    pub(super) base: i64,
    pub(super) next_offset: i64,
    pub(super) chunks: Vec<Bytes>,
    pub(super) index: Bytes,
    pub(super) times: Option<TimeIndex>,
}

impl CopiedSegment {
    pub(super) fn size(&self) -> u64 {
        self.chunks.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.len() as u64))
    }
}

/// Puts a segment after those before it are in place. Its indexes come first: whoever finds the segment finds them.
///
/// After a reply that was lost, and where the slot is taken, what is there is read: an earlier call of the same copy may have
/// put it.
pub(super) async fn put_copied(target: &Arc<PartitionState>, job: &str, segment: &CopiedSegment) -> Result<()> {
    let (store, runtime, id) = (target.writes(), target.runtime(), &target.id);
    let doing = "writing the index of a copied segment";
    put(target, doing, &id.index_key(segment.base), segment.index.clone()).await?;
    if let Some(times) = &segment.times {
        put(target, doing, &id.time_index_key(segment.base), times.encode()).await?;
    }
    let key = id.segment_key(segment.base);
    let identity = Identity::none().with_copied(Some(job));
    let payload: PutPayload = segment.chunks.iter().cloned().collect();
    let mut retry = Retry::begin(&target.retries, runtime, "copying a segment");
    loop {
        let created = bounded(runtime, segment.size(), store.create(&key, payload.clone(), &identity)).await;
        let failure = match created.unwrap_or_else(Created::Unknown) {
            Created::Yes(_) => break,
            Created::Exists => None,
            Created::SyncFailed { error, .. } => return Err(error),
            Created::Refused(error) if !may_pass(&error) => return Err(error),
            Created::Refused(error) | Created::Unknown(error) => Some(error.with_key(&*key)),
        };
        match (is_there(target, &key, job, segment).await?, failure) {
            (true, _) => {
                store.settle(&key).await?;
                break;
            }
            (false, Some(failure)) if !may_pass(&failure) => return Err(failure),
            (false, Some(failure)) => retry.after(failure).await,
            (false, None) => {
                let message = "the store answered that the segment is there, and it is not";
                retry.after(Error::new(ErrorKind::Unavailable, message).with_key(&*key)).await;
            }
        }
    }
    retry.done();
    Ok(())
}

/// Whether the segment is in place. An error if another one is.
async fn is_there(target: &Arc<PartitionState>, key: &str, job: &str, segment: &CopiedSegment) -> Result<bool> {
    let looking = "looking for a copied segment";
    let head = patiently(&target.retries, target.runtime(), looking, || target.store().head(key)).await;
    let head = match head {
        Ok(head) => head,
        Err(gone) if gone.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let same = match head.identity.kfscopied.as_deref() {
        Some(copied) => copied == job && head.info.size == segment.size(),
        // A directory keeps no metadata.
        None if head.info.size == segment.size() => {
            let found = target.get(key, ReadRange::Whole, Some(&head.info.version)).await?;
            let mut rest = &found.bytes[..];
            segment.chunks.iter().all(|chunk| rest.strip_prefix(&chunk[..]).map(|after| rest = after).is_some())
        }
        None => false,
    };
    if same {
        return Ok(true);
    }
    let message =
        format!("another segment stands at offset {} of {}, into which a log is copied", segment.base, target.id);
    Err(Error::new(ErrorKind::Conflict, message)
        .with_hint("does a writer append to the copy, or another program copy into it? copy into another partition")
        .with_key(key))
}
