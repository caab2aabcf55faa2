//! What an append carries, and what of it can be found in the log.

use bytes::Bytes;
use kfs_core::StreamRecord;
use kfs_core::format::{Batch, Limits};

/// A record as the log holds it. A batch without records, such as a claim's, gives one image without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Its offset; of an empty batch the last.
    pub(crate) offset: i64,
    /// Its timestamp, Unix milliseconds; of an empty batch 0.
    pub(crate) timestamp: i64,
    /// Its key.
    pub(crate) key: Option<Bytes>,
    /// Its value; `None` of an empty batch.
    pub(crate) value: Option<Bytes>,
}

impl Image {
    /// The images of a batch.
    pub(crate) fn of(batch: &Batch) -> Result<Vec<Image>, String> {
        if batch.header().record_count == 0 {
            return Ok(vec![Image { offset: batch.last_offset(), timestamp: 0, key: None, value: None }]);
        }
        let records = batch.records(&Limits::default()).map_err(|e| e.to_string())?;
        let images = records.iter().map(|record| {
            let record = record.map_err(|e| e.to_string())?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            Ok(Image { offset: record.offset, timestamp: record.timestamp_ms, key, value })
        });
        images.collect()
    }

    /// The image of a record that a stream gave.
    pub(crate) fn of_record(record: &StreamRecord) -> Image {
        let (key, value) = (record.key_bytes().cloned(), record.value_bytes().cloned());
        Image { offset: record.offset(), timestamp: record.timestamp_ms(), key, value }
    }

    /// The payload's number and the place in it, as [`value`] wrote them.
    pub(crate) fn payload(&self) -> Option<(usize, usize)> {
        let text = std::str::from_utf8(self.value.as_deref()?).ok()?;
        let mut parts = text.splitn(3, ':');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

/// A record's value that tells whose it is.
pub(crate) fn value(payload: usize, place: usize, filler: usize) -> Vec<u8> {
    let mut value = format!("{payload}:{place}:").into_bytes();
    value.resize(value.len() + filler, b'a' + (payload % 26) as u8);
    value
}

/// What was appended.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Whole batches: they keep all bytes but base offset and leader epoch.
    Batches(Vec<Batch>),
    /// Records: offsets count from 0.
    Records(Vec<Image>),
    /// The empty batch of a claim.
    Claim,
}

impl Content {
    /// Offsets that it takes.
    pub(crate) fn count(&self) -> i64 {
        match self {
            Content::Batches(batches) => batches.iter().map(|b| i64::from(b.header().last_offset_delta) + 1).sum(),
            Content::Records(records) => records.len() as i64,
            Content::Claim => 1,
        }
    }

    /// Whether these batches of the log, which cover `base` on, hold it there.
    pub(crate) fn is_at(&self, base: i64, found: &[&Batch], epoch: Option<i32>) -> Result<(), String> {
        let epoch_is_right = |batch: &Batch, own: i32| batch.header().leader_epoch == epoch.unwrap_or(own);
        match self {
            Content::Batches(batches) => {
                let mut next = base;
                for (at, batch) in batches.iter().enumerate() {
                    let Some(stored) = found.get(at) else { return Err(format!("batch {at} is missing")) };
                    if stored.base_offset() != next {
                        return Err(format!("batch {at} is at {}, not at {next}", stored.base_offset()));
                    }
                    if stored.bytes()[16..] != batch.bytes()[16..] || stored.bytes()[8..12] != batch.bytes()[8..12] {
                        return Err(format!("batch {at} has other bytes"));
                    }
                    if !epoch_is_right(stored, batch.header().leader_epoch) {
                        return Err(format!("batch {at} has leader epoch {}", stored.header().leader_epoch));
                    }
                    next = stored.next_offset();
                }
                Ok(())
            }
            Content::Records(records) => {
                let mut images = Vec::new();
                for batch in found {
                    if !epoch_is_right(batch, -1) {
                        return Err(format!("a batch has leader epoch {}", batch.header().leader_epoch));
                    }
                    images.extend(Image::of(batch)?);
                }
                let end = base + self.count();
                images.retain(|image| (base..end).contains(&image.offset));
                let expected = records.iter().map(|image| Image { offset: base + image.offset, ..image.clone() });
                if expected.eq(images.iter().cloned()) {
                    return Ok(());
                }
                Err(format!("its records are not there: {images:?}"))
            }
            Content::Claim => match found {
                [batch] if batch.header().record_count == 0 && batch.base_offset() == base => Ok(()),
                _ => Err("the claim's batch is not there".into()),
            },
        }
    }
}
