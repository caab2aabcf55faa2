//! Puts and deletes that are sent again until the store answers.

use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;

use crate::error::Result;
use crate::log::retry::patiently;
use crate::log::state::PartitionState;
use crate::log::writer::bounded;

/// Puts an object, whatever is there. `doing` says in logs and errors what it is for.
pub(super) async fn put(state: &Arc<PartitionState>, doing: &'static str, key: &str, bytes: Bytes) -> Result<()> {
    let (runtime, size) = (state.runtime(), bytes.len() as u64);
    let put = || async {
        let put = state.writes().put(key, PutPayload::from_bytes(bytes.clone()));
        bounded(runtime, size, put).await?.map(drop)
    };
    patiently(&state.retries, runtime, doing, put).await
}

/// Deletes an object, which may be gone already. `doing` says in logs and errors what it is for.
pub(super) async fn remove(state: &Arc<PartitionState>, doing: &'static str, key: &str) -> Result<()> {
    let delete = || async { bounded(state.runtime(), 0, state.writes().delete(key)).await? };
    patiently(&state.retries, state.runtime(), doing, delete).await
}
