//! The object by which a copy that was interrupted goes on, and by which one with other settings is refused.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::super::requests::{Objects, remove};
use super::plan::CopyOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{JsonObject, Malformed, PartitionId};
use crate::log::identity::random_id;
use crate::log::state::PartitionState;
use crate::store::ReadRange;

/// The object is never larger than this, in bytes.
const MAX_LEN: u64 = 16 << 10;
const VERSION: u64 = 1;

/// What a copy into a partition was begun with. It stands at `.kfs-jobs/copy/{namespace}/{topic}/{partition}.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CopyJob {
    /// 32 hex digits, random. The segments that are copied carry it as `kfscopied`.
    pub(super) id: String,
    /// The source, as `namespace/topic/partition`.
    source: String,
    /// The `log_id` of the source. Empty where it has none, as KafScale's logs.
    log_id: String,
    options: CopyOptions,
}

#[derive(Deserialize)]
struct JobFields {
    version: u64,
    id: String,
    source: String,
    log_id: String,
    /// Text, for JSON's numbers hold no 63 bits.
    from: Option<String>,
    to: Option<String>,
    before_time: Option<i64>,
    segment_size: Option<u64>,
}

impl CopyJob {
    pub(super) fn new(
        state: &PartitionState,
        source: &PartitionId,
        log_id: &str,
        options: &CopyOptions,
    ) -> Result<Self> {
        let id = random_id(state.runtime())?;
        Ok(CopyJob { id, source: full_name(source), log_id: log_id.to_owned(), options: options.clone() })
    }

    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let broken = |error: serde_json::Error| {
            Malformed::new(error.column().saturating_sub(1) as u64, format!("{error}"), "the JSON object of a copy")
        };
        let JsonObject(fields): JsonObject<JobFields> = serde_json::from_slice(bytes).map_err(broken)?;
        if fields.version != VERSION {
            return Err(Malformed::unsupported(0, format!("version {} of a copy", fields.version), "version 1"));
        }
        let offset = |text: Option<String>| match text.map(|text| text.parse::<i64>()) {
            None => Ok(None),
            Some(Ok(offset)) if offset >= 0 => Ok(Some(offset)),
            Some(_) => Err(Malformed::new(0, "an offset that is none".to_owned(), "decimal digits")),
        };
        let (from, to) = (offset(fields.from)?, offset(fields.to)?);
        let options = CopyOptions { from, to, before_time: fields.before_time, segment_size: fields.segment_size };
        Ok(CopyJob { id: fields.id, source: fields.source, log_id: fields.log_id, options })
    }

    fn encode(&self) -> Bytes {
        let CopyJob { id, source, log_id, options: CopyOptions { from, to, before_time, segment_size } } = self;
        let text = |offset: &Option<i64>| offset.map(|offset| offset.to_string());
        let value = json!({
            "version": VERSION, "id": id, "source": source, "log_id": log_id,
            "from": text(from), "to": text(to), "before_time": before_time, "segment_size": segment_size,
        });
        Bytes::from(value.to_string())
    }

    /// The copy into this partition that was begun, if any.
    pub(super) async fn find(target: &PartitionState) -> Result<Option<Self>> {
        let key = job_key(&target.id);
        match target.get(&key, ReadRange::AtMost(MAX_LEN), None).await {
            Ok(found) => Self::parse(&found.bytes).map(Some).map_err(|malformed| malformed.into_error(&key)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Refuses to go on with settings other than those that the copy was begun with.
    pub(super) fn check_same(&self, target: &PartitionId, other: &Self) -> Result<()> {
        let differs = if self.source != other.source {
            format!("of {} and not of {}", self.source, other.source)
        } else if self.log_id != other.log_id {
            format!("of another log at {}: its log_id was {:?} and is {:?}", self.source, self.log_id, other.log_id)
        } else if self.options != other.options {
            format!("with {} and not with {}", self.options, other.options)
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Conflict, format!("a copy into {target} was begun {differs}"))
            .with_hint("go on with those settings, or copy into another partition")
            .with_key(job_key(target)))
    }

    /// Writes it before anything else is written. Answers the one that is there, which may be another program's.
    pub(super) async fn begin(&self, target: &PartitionState) -> Result<Self> {
        let key = job_key(&target.id);
        let there = Objects::of(target).create("beginning a copy", &key, self.encode(), MAX_LEN).await?;
        Self::parse(&there).map_err(|malformed| malformed.into_error(&key))
    }
}

/// The log is deleted, so nothing is left of a copy into it.
pub(in crate::log::maintain) async fn forget_copy(target: &Arc<PartitionState>) -> Result<()> {
    remove(target, "forgetting a copy", &job_key(&target.id)).await
}

fn full_name(id: &PartitionId) -> String {
    format!("{}/{}/{}", id.namespace(), id.topic(), id.partition())
}

fn job_key(target: &PartitionId) -> String {
    format!(".kfs-jobs/copy/{}.json", full_name(target))
}
