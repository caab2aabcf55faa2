//! `log.json`: a log's identity and where it starts.

use bytes::Bytes;
use serde::Deserialize;

use super::{JsonObject, MAX_OFFSET, Malformed};
use crate::error::{Error, ErrorKind, Result};

/// `log.json` is never larger than this, in bytes.
pub(crate) const MAX_LOG_JSON_LEN: usize = 4096;
const VERSION: u64 = 1;

/// What `log.json` says, version 1. Whoever creates it first decides for all writers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LogIdentity {
    /// 32 lower-case hex digits, random.
    pub log_id: String,
    /// The log's first offset, 0 to 2^63-2.
    pub start_offset: i64,
    /// When it was created, Unix milliseconds.
    pub created_ms: i64,
}

#[derive(Deserialize)]
struct Json {
    log_id: String,
    /// Text, for JSON's numbers hold no 63 bits.
    start_offset: String,
    created_ms: i64,
}

#[derive(Deserialize)]
struct FormatVersion {
    version: u64,
}

impl LogIdentity {
    /// An identity to write.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an id of another form and for a start offset outside 0 to
    /// 2^63-2.
    pub fn new(log_id: impl Into<String>, start_offset: i64, created_ms: i64) -> Result<Self> {
        let log_id = log_id.into();
        if !is_log_id(&log_id) {
            return Err(Error::new(ErrorKind::InvalidInput, "a log id is not 32 lower-case hex digits"));
        }
        if !(0..=MAX_OFFSET).contains(&start_offset) {
            return Err(Error::new(ErrorKind::InvalidInput, format!("a log can't start at offset {start_offset}"))
                .with_hint(format!("offsets go from 0 to {MAX_OFFSET}")));
        }
        Ok(LogIdentity { log_id, start_offset, created_ms })
    }

    /// Reads the object; unknown members are ignored.
    ///
    /// # Errors
    /// [`Malformed`], *unsupported* for another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_LOG_JSON_LEN {
            return Err(Malformed::new(MAX_LOG_JSON_LEN as u64, format!("{} bytes", bytes.len()), "at most 4096"));
        }
        let broken = |error: serde_json::Error| {
            // Lines are of no use to who looks for a byte; log.json has one.
            let position = error.column().saturating_sub(1) as u64;
            Malformed::new(position, format!("{error}"), "the JSON object of log.json")
        };
        let JsonObject(FormatVersion { version }) = serde_json::from_slice(bytes).map_err(broken)?;
        if version != VERSION {
            return Err(Malformed::unsupported(0, format!("log.json version {version}"), "version 1"));
        }
        let JsonObject(json): JsonObject<Json> = serde_json::from_slice(bytes).map_err(broken)?;
        if !is_log_id(&json.log_id) {
            return Err(Malformed::new(0, format!("log_id {:?}", json.log_id), "32 lower-case hex digits"));
        }
        let decimal = json.start_offset.bytes().all(|b| b.is_ascii_digit());
        let start_offset = json.start_offset.parse().ok().filter(|start| decimal && *start <= MAX_OFFSET);
        let Some(start_offset) = start_offset else {
            let found = format!("start_offset {:?}", json.start_offset);
            return Err(Malformed::new(0, found, format!("decimal digits, 0 to {MAX_OFFSET}")));
        };
        Ok(LogIdentity { log_id: json.log_id, start_offset, created_ms: json.created_ms })
    }

    /// The object's bytes.
    pub fn encode(&self) -> Bytes {
        let Self { log_id, start_offset, created_ms } = self;
        // Of these fields none needs escaping.
        Bytes::from(format!(
            r#"{{"version": 1, "log_id": "{log_id}", "start_offset": "{start_offset}", "created_ms": {created_ms}}}"#
        ))
    }
}

fn is_log_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
