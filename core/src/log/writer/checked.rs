//! What appends bring: batches that are checked before they are let in, and records that are put into batches.

use bytes::Bytes;

use super::options::WriterOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Batch, BatchBuilder, BatchOptions, CrcCheck, MAX_SEGMENT_LEN, Malformed, NewRecord, batches};

/// The batches of one append. Most bring one, which then needs no vector.
pub(super) enum CheckedBatches {
    One(Batch),
    Many(Vec<Batch>),
}

impl CheckedBatches {
    pub(super) fn as_slice(&self) -> &[Batch] {
        match self {
            CheckedBatches::One(batch) => std::slice::from_ref(batch),
            CheckedBatches::Many(batches) => batches,
        }
    }
}

/// CheckedBatches as bytes, checked as the options ask.
pub(super) fn check_batches(bytes: Bytes, options: &WriterOptions) -> Result<CheckedBatches> {
    check_len(bytes.len(), options)?;
    let check = |batch, at: u64| {
        let checked = options.batch_check.check_from(batch, options.log_append_time);
        checked.map_err(|malformed| refused(&malformed.offset_position(at)))
    };
    let bytes = match Batch::whole(bytes, CrcCheck::Verify) {
        Ok(batch) => return check(batch, 0).map(CheckedBatches::One),
        Err(bytes) => bytes,
    };
    let (mut checked, mut at) = (Vec::new(), 0_u64);
    for batch in batches(&bytes, CrcCheck::Verify) {
        let batch = batch.map_err(|malformed| refused(&malformed))?;
        let len = batch.bytes().len() as u64;
        checked.push(check(batch, at)?);
        at += len;
    }
    all_in_one(checked)
}

/// CheckedBatches that somebody has checked before.
pub(super) fn take_batches(batches: Vec<Batch>, options: &WriterOptions) -> Result<(CheckedBatches, usize)> {
    let bytes = batches.iter().map(|batch| batch.bytes().len()).sum();
    check_len(bytes, options)?;
    Ok((all_in_one(batches)?, bytes))
}

/// Whether an append of these bytes fits a segment.
pub(super) fn check_len(bytes: usize, options: &WriterOptions) -> Result<()> {
    let most = options.max_append();
    if bytes > most {
        return Err(too_large(&format!("{bytes} bytes of batches in one append, {most} fit a segment")));
    }
    Ok(())
}

/// CheckedBatches that fit a segment together, as far as their records go.
fn all_in_one(batches: Vec<Batch>) -> Result<CheckedBatches> {
    if batches.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "an append needs at least one batch"));
    }
    let records: i64 = batches.iter().map(|batch| i64::from(batch.header().record_count)).sum();
    if i32::try_from(records).is_err() {
        return Err(too_large(&format!("{records} records in one append, 2^31-1 fit a segment")));
    }
    Ok(CheckedBatches::Many(batches))
}

/// The position counts from the start of what was appended.
#[cold]
fn refused(malformed: &Malformed) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("a record batch was refused: {malformed}")).at(malformed.position())
}

/// The bytes that they take at most, but for the headers of batches. Whether they fit this writer's segments
/// is found when they are in batches.
pub(super) fn check_records(records: &[NewRecord<'_>]) -> Result<usize> {
    if records.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "an append needs at least one record"));
    }
    let bytes = NewRecord::encoded_bounds(records);
    if bytes as u64 > MAX_SEGMENT_LEN {
        return Err(too_large(&format!("{bytes} bytes of records in one append, no segment holds them")));
    }
    Ok(bytes)
}

pub(super) fn too_large(what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, what).with_hint("split it into several appends")
}

/// Records of one append in batches.
pub(super) struct Built {
    pub(super) closed: Vec<Batch>,
    pub(super) open: Box<BatchBuilder>,
    pub(super) records: usize,
}

pub(super) fn new_batch(options: &WriterOptions) -> Box<BatchBuilder> {
    Box::new(BatchBuilder::new(BatchOptions::default().compression(options.compression)))
}

/// Records in batches of up to `batch_bytes`; the last is left open. All of them fit one segment.
pub(super) fn batch_up(
    records: &[NewRecord<'_>],
    options: &WriterOptions,
    finish: impl Fn(&mut BatchBuilder) -> Result<Batch>,
) -> Result<Built> {
    let mut open = new_batch(options);
    let (mut closed, mut bytes) = (Vec::new(), 0_usize);
    for record in records {
        let full = open.encoded_len().saturating_add(record.encoded_bound()) > options.max_batch();
        if (full && !open.is_empty()) || !open.push(record)? {
            let batch = finish(&mut open)?;
            bytes += batch.bytes().len();
            closed.push(batch);
            if !open.push(record)? {
                return Err(too_large("a record does not fit a batch of its own"));
            }
        }
        check_len(bytes.saturating_add(open.finished_bound()), options)?;
    }
    Ok(Built { closed, open, records: records.len() })
}
