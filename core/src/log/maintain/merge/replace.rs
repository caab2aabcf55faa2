//! Putting a merged segment in the place of the first one of its run.

use std::sync::Arc;

use object_store::PutPayload;

use super::super::store_time::BOUND;
use super::gather::RunBuilder;
use super::sidecars::{Sidecars, write_beside};
use crate::error::{Error, ErrorKind, Result};
use crate::format::BuiltSegment;
use crate::log::identity::random_id;
use crate::log::retry::{Retry, patiently};
use crate::log::state::PartitionState;
use crate::log::writer::bounded;
use crate::store::{Identity, ReadRange, Replaced, Version, may_pass};

/// How it ended.
pub(super) enum Placing {
    /// The segment is in place, with what stands beside it.
    Done { bytes: u64 },
    /// Somebody else changed the first segment, or it took too long.
    GivenUp,
}

/// What is at the key, after a PUT whose end is not known.
enum There {
    Ours(Version),
    /// What was to be replaced.
    Old,
    Other,
}

/// Replaces the first segment of a run.
///
/// 1. The PUT names the version that was read, so that it does nothing once somebody else has changed the segment.
/// 2. It is sent only while the listing that led to it is younger than the bound, by both clocks. The partition may have been
///    deleted since, and copied back: a copy has the same bytes, and on S3 the same ETag.
/// 3. After a reply that was lost, and after one that says *changed*, the object is read: it may be this merge's own work.
///    The same PUT is sent again only where the old version is still there.
/// 4. What stands beside the segment is written after it. Until then the old index leads readers to the first batches, from
///    where they go on.
pub(super) async fn put_merged(state: &Arc<PartitionState>, gathering: RunBuilder) -> Result<Placing> {
    let RunBuilder { base, replaces, seen, builder, segments, .. } = gathering;
    let (built, key) = (builder.finish()?, state.id.segment_key(base));
    let (runtime, store) = (state.runtime(), state.writes());
    let name = random_id(runtime)?.to_string();
    let identity = Identity::none().with_merged(Some(name.clone()));
    let payload: PutPayload = built.chunks.iter().cloned().collect();
    let mut retry = Retry::begin(&state.retries, runtime, "replacing a segment by a merged one");
    let version = loop {
        if seen.is_past(BOUND, &**runtime.clock()) {
            return Ok(Placing::GivenUp);
        }
        let replace = store.replace_if(&key, payload.clone(), &identity, &replaces);
        let failure = match bounded(runtime, built.size, replace).await {
            Ok(Replaced::Yes(version)) => break version,
            Ok(Replaced::Refused(error)) if !may_pass(&error) => return Err(error),
            Ok(Replaced::SyncFailed { error, .. }) => return Err(error),
            Ok(Replaced::Refused(error) | Replaced::Unknown(error)) | Err(error) => error.with_key(&*key),
            Ok(Replaced::Changed | Replaced::NotFound) => {
                Error::new(ErrorKind::Conflict, "the store says that the segment changed, and it did not")
                    .with_key(&*key)
            }
        };
        match look(state, &key, &name, &built, &replaces).await? {
            There::Ours(version) => break version,
            There::Old if !may_pass(&failure) && failure.kind() != ErrorKind::Conflict => return Err(failure),
            There::Old => retry.after(failure).await,
            There::Other => return Ok(Placing::GivenUp),
        }
    };
    retry.done();
    state.observer().segments_merged(&state.id, &key, segments, built.size);
    let sidecars = Sidecars { index: built.index.clone(), times: built.time_index };
    write_beside(state, base, &sidecars, &version).await?;
    Ok(Placing::Done { bytes: built.size })
}

/// Whose work is at the key. A directory keeps no metadata, so there the bytes tell.
async fn look(
    state: &Arc<PartitionState>,
    key: &str,
    name: &str,
    built: &BuiltSegment,
    replaces: &Version,
) -> Result<There> {
    let (store, runtime) = (state.store(), state.runtime());
    let head = patiently(&state.retries, runtime, "looking for a merged segment", || store.head(key)).await;
    let head = match head {
        Ok(head) => head,
        Err(gone) if gone.kind() == ErrorKind::NotFound => return Ok(There::Other),
        Err(error) => return Err(error),
    };
    if let Some(merged) = &head.identity.kfsmerged {
        return Ok(if merged == name { There::Ours(head.info.version) } else { There::Other });
    }
    if head.info.version.same_as(replaces) {
        return Ok(There::Old);
    }
    if head.info.size != built.size {
        return Ok(There::Other);
    }
    let found = match state.get(key, ReadRange::Whole, Some(&head.info.version)).await {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => return Ok(There::Other),
        Err(error) => return Err(error),
    };
    let mut rest = &found.bytes[..];
    let same = built.chunks.iter().all(|chunk| match rest.split_at_checked(chunk.len()) {
        Some((first, after)) if first == &chunk[..] => {
            rest = after;
            true
        }
        _ => false,
    });
    Ok(if same && rest.is_empty() { There::Ours(found.info.version) } else { There::Other })
}
