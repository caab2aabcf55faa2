//! What is written about a partition that is being deleted, or that was deleted a short while ago.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::identity::read_log_json;
use super::state::PartitionState;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{JsonObject, Malformed, PartitionId};
use crate::store::ReadRange;

/// The object is never larger than this, in bytes.
const MAX_LEN: u64 = 4096;
const VERSION: u64 = 1;

/// How far a deletion has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeletionStage {
    /// It was claimed, and segments go.
    Begun,
    /// No segment is left. Of this one the time counts when it was written.
    Emptied,
    /// Nothing is left of the log. Of this one too.
    Ended,
}

impl DeletionStage {
    const NAMES: [(Self, &'static str); 3] =
        [(Self::Begun, "begun"), (Self::Emptied, "emptied"), (Self::Ended, "ended")];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(stage, _)| *stage == self).map_or("", |(_, name)| name)
    }
}

/// Stands at `{namespace}/.kfs-deleted/{topic}/{partition}` from the beginning of a deletion on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deletion {
    /// The `log_id` of the log. Empty where it has none, as KafScale's logs.
    pub(crate) log_id: String,
    /// The base offset of the segment by which the deletion displaced other writers. `None` where it did not.
    pub(crate) claim: Option<i64>,
    /// One past the last offset that is deleted. `None` where the log's end could not be read.
    pub(crate) end: Option<i64>,
    pub(crate) stage: DeletionStage,
}

/// A [`Deletion`] as it was found.
#[derive(Debug)]
pub(crate) struct FoundDeletion {
    pub(crate) deletion: Deletion,
    /// When the store last modified it, in Unix milliseconds.
    pub(crate) modified_ms: i64,
}

#[derive(Deserialize)]
struct DeletionFields {
    version: u64,
    log_id: String,
    /// Text, for JSON's numbers hold no 63 bits.
    claim: Option<String>,
    end: Option<String>,
    stage: String,
}

impl Deletion {
    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let broken = |error: serde_json::Error| {
            let position = error.column().saturating_sub(1) as u64;
            Malformed::new(position, format!("{error}"), "the JSON object of a deletion")
        };
        let JsonObject(fields): JsonObject<DeletionFields> = serde_json::from_slice(bytes).map_err(broken)?;
        if fields.version != VERSION {
            return Err(Malformed::unsupported(0, format!("version {} of a deletion", fields.version), "version 1"));
        }
        let offset = |text: Option<String>| match text.map(|text| (text.parse::<i64>(), text)) {
            None => Ok(None),
            Some((Ok(offset), _)) if offset >= 0 => Ok(Some(offset)),
            Some((_, text)) => Err(Malformed::new(0, format!("the offset {text:?}"), "decimal digits")),
        };
        let (claim, end) = (offset(fields.claim)?, offset(fields.end)?);
        let stage = DeletionStage::NAMES.iter().find(|(_, name)| *name == fields.stage);
        match stage {
            Some((stage, _)) => Ok(Deletion { log_id: fields.log_id, claim, end, stage: *stage }),
            None => Err(Malformed::new(0, format!("the stage {:?}", fields.stage), "begun, emptied or ended")),
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let Deletion { log_id, claim, end, stage } = self;
        let text = |offset: &Option<i64>| offset.map(|offset| offset.to_string());
        let value = json!({
            "version": VERSION, "log_id": log_id, "claim": text(claim), "end": text(end), "stage": stage.name(),
        });
        Bytes::from(value.to_string())
    }

    /// The object's key.
    pub(crate) fn key(id: &PartitionId) -> String {
        format!("{}/.kfs-deleted/{}/{}", id.namespace(), id.topic(), id.partition())
    }

    /// What is written about the partition's deletion, whichever log it was of: one GET.
    pub(crate) async fn find(state: &PartitionState) -> Result<Option<FoundDeletion>> {
        let key = Self::key(&state.id);
        match state.get(&key, ReadRange::AtMost(MAX_LEN), None).await {
            Ok(found) => {
                let deletion = Self::parse(&found.bytes).map_err(|malformed| malformed.into_error(&key))?;
                Ok(Some(FoundDeletion { deletion, modified_ms: found.info.modified_ms }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The deletion of the log that the partition holds now, or held last, if it has not ended: up to two GETs.
    pub(crate) async fn under_way(state: &PartitionState) -> Result<Option<FoundDeletion>> {
        let Some(found) = Self::find(state).await? else { return Ok(None) };
        if found.deletion.stage == DeletionStage::Ended {
            return Ok(None);
        }
        // Without `log.json` nothing tells whose the marker is. Then what is left is the old log's.
        let is_same = log_id(state).await?.is_none_or(|log_id| log_id == found.deletion.log_id);
        Ok(Some(found).filter(|_| is_same))
    }

    /// Refuses to write where nothing but log start marks is left of a log, because it is being deleted. Whoever began to write
    /// there would lose what it appended when the rest goes (`kfs-model`, `OpenWithinDeletion`).
    ///
    /// # Errors
    /// Conflict; what the store answers.
    pub(crate) async fn refuse(state: &PartitionState) -> Result<()> {
        match Self::under_way(state).await? {
            None => Ok(()),
            Some(_) => {
                let message = format!("{} is being deleted, and that has not ended", state.id);
                Err(Error::new(ErrorKind::Conflict, message)
                    .with_key(Self::key(&state.id))
                    .with_hint(format!("`kfs delete {}` goes on with it, 6 minutes after its last step", state.id)))
            }
        }
    }
}

/// The `log_id` of the log that the partition holds. `None` without `log.json`.
pub(crate) async fn log_id(state: &PartitionState) -> Result<Option<String>> {
    match read_log_json(state, state.store()).await {
        Ok((identity, _)) => Ok(Some(identity.log_id)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
