//! `claim.json`: the mark by which a writer asks a busy owner for the partition.
//!
//! It decides nothing. Whoever creates a segment owns its slot; the marker only makes an owner pause, so that a
//! claimant gets a slot at all. So whatever can't be read means nothing.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{JsonObject, Malformed};

const VERSION: u64 = 1;

/// What `claim.json` says, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClaimMarker {
    version: u64,
    /// 32 hex digits, random for each marker that is written. An owner yields once to each.
    pub claim_id: String,
    /// The claimant's name for people, or empty.
    pub name: String,
    /// The claimant's leader epoch; -1 for none.
    pub leader_epoch: i32,
    /// How many claims of an equal epoch came before this one, each within ten minutes of the last.
    pub turn: u64,
    /// When it was written, Unix milliseconds by the claimant's clock.
    pub claimed_ms: i64,
}

impl ClaimMarker {
    /// `claim.json` is never larger, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// A marker to write. `claim_id` is 32 hex digits.
    pub fn new(claim_id: impl Into<String>, name: &str, leader_epoch: Option<i32>, turn: u64, claimed_ms: i64) -> Self {
        ClaimMarker {
            version: VERSION,
            claim_id: claim_id.into(),
            name: name.into(),
            leader_epoch: leader_epoch.unwrap_or(-1),
            turn,
            claimed_ms,
        }
    }

    /// Reads the object; unknown members are ignored.
    ///
    /// # Errors
    /// [`Malformed`] says why it means nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > Self::MAX_LEN {
            return Err(Malformed::new(Self::MAX_LEN as u64, format!("{} bytes", bytes.len()), "at most 4096"));
        }
        let JsonObject(marker): JsonObject<Self> = serde_json::from_slice(bytes).map_err(|error| {
            let position = error.column().saturating_sub(1) as u64;
            Malformed::new(position, error.to_string(), "the JSON object of claim.json")
        })?;
        if marker.version != VERSION {
            return Err(Malformed::unsupported(0, format!("claim.json version {}", marker.version), "version 1"));
        }
        if marker.claim_id.len() != 32 || !marker.claim_id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Malformed::new(0, format!("claim_id {:?}", marker.claim_id), "32 hex digits"));
        }
        if marker.leader_epoch < -1 {
            return Err(Malformed::new(0, format!("leader_epoch {}", marker.leader_epoch), "-1 or more"));
        }
        Ok(marker)
    }

    /// The object's bytes.
    pub fn encode(&self) -> Bytes {
        // Strings and numbers can always be written.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests;
