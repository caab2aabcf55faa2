//! The document of a backup: what it holds, and how far it has come.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::sums::Sums;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BackupName, JsonObject, Malformed, Namespace, PartitionId, Topic};

/// The object is never larger than this, in bytes: some 100,000 partitions.
pub(super) const MAX_LEN: u64 = 64 << 20;
const VERSION: u64 = 1;

/// How far a backup has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackupStage {
    /// Its partitions are being copied, or that was interrupted.
    Begun,
    /// All of it is there, and was read back.
    Complete,
    /// It is being removed, or that was interrupted.
    Expiring,
}

impl BackupStage {
    const NAMES: [(Self, &'static str); 3] =
        [(Self::Begun, "begun"), (Self::Complete, "complete"), (Self::Expiring, "expiring")];

    /// Its name: `begun`, `complete` or `expiring`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(stage, _)| *stage == self).map_or("", |(_, name)| name)
    }
}

/// A partition of a backup, and what the backup holds of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackedUpPartition {
    /// The partition that was backed up.
    pub partition: PartitionId,
    /// The `log_id` of its log. Empty where it has none, as KafScale's logs.
    pub log_id: String,
    /// Where the log started.
    pub log_start: i64,
    /// One past the last offset that is backed up.
    pub end: i64,
    /// Its segments.
    pub segments: u64,
    /// Their bytes, without those of their indexes.
    pub bytes: u64,
    /// Their record batches.
    pub batches: u64,
    /// Their records.
    pub records: u64,
    /// The greatest timestamp of the records, in Unix milliseconds. `None` where none has one.
    pub max_timestamp_ms: Option<i64>,
    /// CRC-32C of the bytes of all segments, in the order of their offsets.
    pub crc32c: u32,
}

impl BackedUpPartition {
    pub(super) fn set(&mut self, sums: Sums) {
        let Sums { segments, bytes, batches, records, max_timestamp_ms, crc32c } = sums;
        (self.segments, self.bytes, self.batches, self.records) = (segments, bytes, batches, records);
        (self.max_timestamp_ms, self.crc32c) = (max_timestamp_ms, crc32c);
    }

    pub(super) fn sums(&self) -> Sums {
        Sums {
            segments: self.segments,
            bytes: self.bytes,
            batches: self.batches,
            records: self.records,
            max_timestamp_ms: self.max_timestamp_ms,
            crc32c: self.crc32c,
        }
    }
}

/// What stands at `.kfs-backups/{name}/backup.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BackupDocument {
    pub(super) name: BackupName,
    pub(super) stage: BackupStage,
    /// By the clock of the machine that made it, in Unix milliseconds.
    pub(super) created_ms: i64,
    pub(super) segment_size: Option<u64>,
    pub(super) partitions: Vec<BackedUpPartition>,
}

#[derive(Deserialize)]
struct DocumentFields {
    version: u64,
    stage: String,
    created_ms: i64,
    segment_size: Option<u64>,
    partitions: Vec<PartitionFields>,
}

#[derive(Deserialize)]
struct PartitionFields {
    namespace: String,
    topic: String,
    partition: i32,
    log_id: String,
    /// Text, for JSON's numbers hold no 63 bits.
    log_start: String,
    end: String,
    segments: u64,
    bytes: u64,
    batches: u64,
    records: u64,
    max_timestamp_ms: Option<i64>,
    crc32c: String,
}

impl BackupDocument {
    pub(super) fn key(name: &BackupName) -> String {
        format!("{}backup.json", name.prefix())
    }

    pub(super) fn encode(&self) -> Bytes {
        let partitions = self.partitions.iter().map(|backed| {
            json!({
                "namespace": backed.partition.namespace().as_str(),
                "topic": backed.partition.topic().as_str(),
                "partition": backed.partition.partition(),
                "log_id": backed.log_id,
                "log_start": backed.log_start.to_string(),
                "end": backed.end.to_string(),
                "segments": backed.segments,
                "bytes": backed.bytes,
                "batches": backed.batches,
                "records": backed.records,
                "max_timestamp_ms": backed.max_timestamp_ms,
                "crc32c": format!("{:08x}", backed.crc32c),
            })
        });
        let value = json!({
            "version": VERSION,
            "stage": self.stage.name(),
            "created_ms": self.created_ms,
            "segment_size": self.segment_size,
            "partitions": partitions.collect::<Vec<_>>(),
        });
        Bytes::from(value.to_string())
    }

    /// Reads the document of a backup of this name.
    pub(super) fn parse(name: &BackupName, bytes: &[u8]) -> Result<Self> {
        Self::read(name, bytes).map_err(|malformed| malformed.into_error(&Self::key(name)))
    }

    fn read(name: &BackupName, bytes: &[u8]) -> Result<Self, Malformed> {
        let broken = |error: serde_json::Error| {
            Malformed::new(error.column().saturating_sub(1) as u64, format!("{error}"), "the JSON object of a backup")
        };
        let JsonObject(fields): JsonObject<DocumentFields> = serde_json::from_slice(bytes).map_err(broken)?;
        if fields.version != VERSION {
            return Err(Malformed::unsupported(0, format!("version {} of a backup", fields.version), "version 1"));
        }
        let stage = BackupStage::NAMES.iter().find(|(_, name)| *name == fields.stage);
        let Some((stage, _)) = stage else {
            return Err(Malformed::new(0, format!("the stage {:?}", fields.stage), "begun, complete or expiring"));
        };
        let partitions = fields.partitions.into_iter().map(PartitionFields::read).collect::<Result<_, _>>()?;
        Ok(BackupDocument {
            name: name.clone(),
            stage: *stage,
            created_ms: fields.created_ms,
            segment_size: fields.segment_size,
            partitions,
        })
    }

    /// Refuses to go on with another selection or other options than those that the backup was begun with.
    pub(super) fn check_same(&self, other: &Self) -> Result<()> {
        let names = |document: &Self| document.partitions.iter().map(|p| p.partition.clone()).collect::<Vec<_>>();
        let conflict = |why: String| {
            Err(Error::new(ErrorKind::Conflict, format!("the backup {} {why}", self.name))
                .with_hint("go on as it was begun, or take another name")
                .with_key(Self::key(&self.name)))
        };
        match self.stage {
            BackupStage::Complete => conflict("is there already".to_owned()),
            BackupStage::Expiring => conflict("is being removed".to_owned()),
            BackupStage::Begun if names(self) != names(other) => conflict("was begun of other partitions".to_owned()),
            BackupStage::Begun if self.segment_size != other.segment_size => {
                let size = |document: &Self| match document.segment_size {
                    Some(size) => format!("in segments of {size} bytes"),
                    None => "segment by segment".to_owned(),
                };
                conflict(format!("was begun {}, and not {}", size(self), size(other)))
            }
            BackupStage::Begun => Ok(()),
        }
    }
}

impl PartitionFields {
    fn read(self) -> Result<BackedUpPartition, Malformed> {
        let bad = |what: &str, found: &str| Malformed::new(0, format!("the {what} {found:?}"), "a good one");
        let offset = |text: &str| match text.parse::<i64>() {
            Ok(offset) if offset >= 0 => Ok(offset),
            _ => Err(bad("offset", text)),
        };
        let namespace = Namespace::new(&self.namespace).map_err(|_| bad("namespace", &self.namespace))?;
        let topic = Topic::new(&self.topic).map_err(|_| bad("topic", &self.topic))?;
        let partition = PartitionId::new(namespace, topic, self.partition)
            .map_err(|_| bad("partition", &self.partition.to_string()))?;
        Ok(BackedUpPartition {
            partition,
            log_id: self.log_id,
            log_start: offset(&self.log_start)?,
            end: offset(&self.end)?,
            segments: self.segments,
            bytes: self.bytes,
            batches: self.batches,
            records: self.records,
            max_timestamp_ms: self.max_timestamp_ms,
            crc32c: u32::from_str_radix(&self.crc32c, 16).map_err(|_| bad("CRC-32C", &self.crc32c))?,
        })
    }
}
