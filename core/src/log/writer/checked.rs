//! What appends bring, checked before it is let in.

use bytes::Bytes;

use super::accumulator::batch_up;
use super::options::WriterOptions;
use super::too_large;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Batch, CrcCheck, NewRecord, batches};

/// Bytes of batches that a segment can hold: index positions are i32, header and footer take 48.
const MAX_APPEND: usize = (1 << 31) - 1 - 48;

/// The batches of one append. Most bring one, which then needs no vector.
pub(super) enum Batches {
    One(Batch),
    Many(Vec<Batch>),
}

impl Batches {
    pub(super) fn as_slice(&self) -> &[Batch] {
        match self {
            Batches::One(batch) => std::slice::from_ref(batch),
            Batches::Many(batches) => batches,
        }
    }
}

pub(super) fn check_batches(bytes: Bytes, crc: CrcCheck) -> Result<Batches> {
    if bytes.len() > MAX_APPEND {
        return Err(too_large(&format!("{} bytes in one append, {MAX_APPEND} fit a segment", bytes.len())));
    }
    let bytes = match Batch::whole(bytes, crc) {
        Ok(batch) => return Ok(Batches::One(batch)),
        Err(bytes) => bytes,
    };
    let mut checked = Vec::new();
    let mut records = 0_i64;
    for batch in batches(&bytes, crc) {
        let batch = batch.map_err(|malformed| {
            Error::new(ErrorKind::InvalidInput, format!("not a valid record batch: {malformed}"))
                .at(malformed.position())
        })?;
        records = records.saturating_add(i64::from(batch.header().record_count));
        checked.push(batch);
    }
    if checked.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "an append needs at least one batch"));
    }
    if i32::try_from(records).is_err() {
        return Err(too_large(&format!("{records} records in one append, 2^31-1 fit a segment")));
    }
    Ok(Batches::Many(checked))
}

pub(super) fn check_records(records: &[NewRecord<'_>]) -> Result<usize> {
    if records.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "an append needs at least one record"));
    }
    let bytes = records.iter().map(NewRecord::encoded_bound).fold(0_usize, usize::saturating_add);
    if bytes > MAX_APPEND {
        return Err(too_large(&format!("{bytes} bytes in one append, {MAX_APPEND} fit a segment")));
    }
    Ok(bytes)
}

pub(super) fn build_batches(records: &[NewRecord<'_>], options: &WriterOptions) -> Result<Batches> {
    let (mut closed, mut open) = batch_up(records, options)?;
    closed.push(open.finish(0)?);
    Ok(Batches::Many(closed))
}
