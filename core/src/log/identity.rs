//! Which log a partition holds. A partition can be deleted and made again: then its offsets mean other
//! records, and a reader of the old log must be told, not led on.

use super::catalog::KnownLog;
use super::state::PartitionState;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{LogIdentity, MAX_LOG_JSON_LEN, PartitionId};
use crate::runtime::Runtime;
use crate::store::{ReadRange, StoreReader, Version};

/// Reads `log.json`: one GET.
///
/// # Errors
/// Not found; corrupt; what the store answers.
pub(crate) async fn read_log_json(state: &PartitionState, store: &StoreReader) -> Result<(LogIdentity, Version)> {
    let key = state.id.log_json_key();
    let fetched = state.get_through(store, &key, ReadRange::AtMost(MAX_LOG_JSON_LEN as u64), None).await?;
    let identity = LogIdentity::parse(&fetched.bytes).map_err(|e| e.into_error(&key))?;
    Ok((identity, fetched.info.version))
}

/// A listing showed this version of `log.json`. It costs a request only where another version was there
/// before: then the log's id says whether this is another log.
pub(crate) async fn saw_log_json(state: &PartitionState, store: &StoreReader, version: Version) -> Result<()> {
    match state.with_catalog(|catalog| catalog.log()) {
        None => state.with_catalog(|catalog| catalog.set_log(KnownLog { version, id: None })),
        Some(known) if known.version.same_as(&version) => {}
        Some(_) => confirm_log(state, store).await?,
    }
    Ok(())
}

/// Asks whether the partition still holds the log that is known, where one is known: one GET. If it does
/// not, what is known is forgotten, and the partition's generation moves on.
///
/// # Errors
/// What the store answers. A `log.json` that is gone or can't be read tells nothing.
pub(crate) async fn confirm_log(state: &PartitionState, store: &StoreReader) -> Result<()> {
    let Some(known) = state.with_catalog(|catalog| catalog.log()) else { return Ok(()) };
    let (identity, version) = match read_log_json(state, store).await {
        Ok(read) => read,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Unsupported) => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    // A bucket that was restored from a copy has another version of the same log.
    let same = match &known.id {
        Some(id) => *id == identity.log_id,
        None => known.version.same_as(&version),
    };
    if !same {
        state.forget_log();
    }
    state.with_catalog(|catalog| catalog.set_log(KnownLog { version, id: Some(identity.log_id) }));
    Ok(())
}

/// The error for a reader of a log that is gone.
pub(crate) fn another_log(id: &PartitionId) -> Error {
    let message = format!("the log that was read is gone: partition {id} was deleted and made again");
    Error::new(ErrorKind::NotFound, message)
        .with_key(id.log_json_key())
        .with_hint("its offsets now mean other records; read it from its start if those are wanted")
}

/// The error for a partition with neither `log.json` nor a segment.
pub(crate) fn not_found(id: &PartitionId) -> Error {
    Error::new(ErrorKind::NotFound, format!("partition {id} has neither log.json nor a segment"))
        .with_hint("check topic, partition and namespace; the first append or `create` makes it")
}

/// A new id of a log, a writer or a claim: 16 random bytes as 32 hex digits.
///
/// # Errors
/// When the system's generator fails.
pub(crate) fn random_id(runtime: &Runtime) -> Result<String> {
    let mut bytes = [0_u8; 16];
    runtime.entropy().fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
