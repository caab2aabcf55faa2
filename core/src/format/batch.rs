//! A record batch as a view over bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::batch_header::{BATCH_HEADER_LEN, BatchHeader, CRC_FROM, MAX_OFFSET, PATCHED_LEN};
use super::{CrcCheck, Limits, Malformed, Records, crc};
use crate::error::{Error, ErrorKind, Result};

/// One whole record batch: its bytes, shared and not copied, and its header.
///
/// Cloning counts a reference. Control bits, producer fields, unknown attribute bits and offset gaps
/// stay as they are: only base offset and leader epoch ever change, by [`Batch::with_base_offset`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
    header: BatchHeader,
}

impl Batch {
    /// Reads the batch that starts at byte `at`, header checks and CRC included. Records are not
    /// decoded; bytes after the batch are not looked at.
    ///
    /// # Errors
    /// [`Malformed`] with a position from the start of `bytes`, when the batch is not wholly there
    /// too.
    pub fn parse(bytes: &Bytes, at: usize, check: CrcCheck) -> Result<Batch, Malformed> {
        let rest = bytes.get(at..).unwrap_or_default();
        let header = BatchHeader::parse(rest).map_err(|e| e.offset_position(at as u64))?;
        let end = at.saturating_add(header.total_len());
        if end > bytes.len() {
            return Err(Malformed::new(
                at as u64 + 8,
                format!("a batch of {} bytes where {} are left", header.total_len(), rest.len()),
                "a whole batch",
            ));
        }
        let batch = Batch { bytes: bytes.slice(at..end), header };
        if check == CrcCheck::Verify {
            batch.check_crc().map_err(|e| e.offset_position(at as u64))?;
        }
        Ok(batch)
    }

    /// The batch that `bytes` are, which it takes: no reference is counted. What is not one good
    /// batch, and nothing else, is given back; [`batches`] says why.
    pub(crate) fn whole(bytes: Bytes, check: CrcCheck) -> Result<Batch, Bytes> {
        match BatchHeader::parse(&bytes) {
            Ok(header) if header.total_len() == bytes.len() => {
                let batch = Batch { bytes, header };
                let good = check != CrcCheck::Verify || batch.check_crc().is_ok();
                if good { Ok(batch) } else { Err(batch.bytes) }
            }
            _ => Err(bytes),
        }
    }

    /// Compares the CRC with the bytes.
    ///
    /// # Errors
    /// [`Malformed`] with a position from the batch's start.
    pub fn check_crc(&self) -> Result<(), Malformed> {
        self.header.check_crc(crc::crc32c(self.covered()))
    }

    /// A batch of bytes made by this library.
    pub(super) fn from_parts(bytes: Bytes, header: BatchHeader) -> Batch {
        Batch { bytes, header }
    }

    /// The bytes that the CRC covers.
    pub(super) fn covered(&self) -> &[u8] {
        self.bytes.get(CRC_FROM..).unwrap_or_default()
    }

    /// The bytes before those, with another base offset and perhaps leader epoch.
    pub(super) fn patched_prefix(&self, base_offset: i64, leader_epoch: Option<i32>) -> [u8; PATCHED_LEN] {
        let mut prefix = [0; PATCHED_LEN];
        let mut out = &mut prefix[..];
        out.put_i64(base_offset);
        out.put_i32(self.header.batch_length);
        out.put_i32(leader_epoch.unwrap_or(self.header.leader_epoch));
        prefix
    }

    /// The whole batch as it is stored.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The header's fields.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The first offset.
    pub fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// The last offset, of a removed record too.
    pub fn last_offset(&self) -> i64 {
        self.header.last_offset()
    }

    /// The offset that follows.
    pub fn next_offset(&self) -> i64 {
        self.header.next_offset()
    }

    /// The same batch at another offset, with another leader epoch when one is given. Copies the
    /// bytes when that changes anything, and only then; the CRC does not cover these fields.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the offset is negative or the batch would end beyond
    /// 2^63-2.
    pub fn with_base_offset(&self, base_offset: i64, leader_epoch: Option<i32>) -> Result<Batch> {
        check_range(base_offset, self.header.last_offset_delta)?;
        let mut header = self.header;
        header.base_offset = base_offset;
        header.leader_epoch = leader_epoch.unwrap_or(header.leader_epoch);
        if header == self.header {
            return Ok(self.clone());
        }
        let mut bytes = BytesMut::with_capacity(self.bytes.len());
        bytes.put_slice(&self.patched_prefix(base_offset, leader_epoch));
        bytes.put_slice(self.bytes.get(PATCHED_LEN..).unwrap_or_default());
        Ok(Batch { bytes: bytes.freeze(), header })
    }

    /// The same batch with another greatest timestamp, and the CRC that goes with it. Records are not
    /// read: the CRC follows from the old one. The bytes are changed in place if nobody else holds them,
    /// and copied otherwise.
    pub(super) fn with_max_timestamp(self, max_timestamp: i64) -> Batch {
        let Batch { bytes, mut header } = self;
        let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let covered_header = |bytes: &[u8]| crc::crc32c(bytes.get(CRC_FROM..BATCH_HEADER_LEN).unwrap_or_default());
        let before = covered_header(&bytes);
        header.max_timestamp = max_timestamp;
        header.write(&mut bytes);
        // A CRC is linear: what the headers differ by, moved past the records, is what the CRCs differ by.
        let records_len = bytes.len().saturating_sub(BATCH_HEADER_LEN) as u64;
        header.crc = crc::combine(before ^ covered_header(&bytes), header.crc, records_len);
        header.write(&mut bytes);
        Batch { bytes: bytes.freeze(), header }
    }

    /// The records, decompressed within the limit where they are compressed. Those of an
    /// uncompressed batch borrow the batch's own bytes.
    ///
    /// # Errors
    /// [`Malformed`] with a position from the batch's start: the records part can't be decompressed,
    /// or not within the limit.
    pub fn records(&self, limits: &Limits) -> Result<Records, Malformed> {
        Records::of(&self.header, &self.bytes.slice(BATCH_HEADER_LEN.min(self.bytes.len())..), limits)
    }
}

/// Whether a batch may stand at an offset.
pub(super) fn check_range(base_offset: i64, last_offset_delta: i32) -> Result<()> {
    if base_offset >= 0 && base_offset < MAX_OFFSET - i64::from(last_offset_delta) {
        return Ok(());
    }
    let batch = format!("a batch of last offset delta {last_offset_delta}");
    Err(if base_offset < 0 {
        Error::new(ErrorKind::InvalidInput, format!("{batch} can't stand at offset {base_offset}"))
            .with_hint("the offsets of a log begin at 0")
    } else {
        let message = format!("the log is full: {batch} has no room at offset {base_offset}");
        Error::new(ErrorKind::InvalidInput, message)
            .with_hint(format!("the greatest offset of a record is {}; write to another partition", MAX_OFFSET - 1))
    })
}

/// The batches that stand back to back in `bytes`, each checked as by [`Batch::parse`].
///
/// Ends after an error. Positions count from the start of `bytes`.
pub fn batches(bytes: &Bytes, check: CrcCheck) -> Batches {
    Batches { bytes: bytes.clone(), at: 0, check }
}

/// The batches from position `at` on, by their headers alone: where each begins, and its header. Ends before the first
/// whose header can't be read, or that is not wholly there.
pub(crate) fn batch_headers(bytes: &[u8], mut at: usize) -> impl Iterator<Item = (usize, BatchHeader)> {
    std::iter::from_fn(move || {
        let header = BatchHeader::parse(bytes.get(at..)?).ok()?;
        let end = at.checked_add(header.total_len()).filter(|end| *end <= bytes.len())?;
        Some((std::mem::replace(&mut at, end), header))
    })
}

/// Iterator over batches that stand back to back; see [`batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    bytes: Bytes,
    at: usize,
    check: CrcCheck,
}

impl Batches {
    /// The batches from position `at` on.
    pub(crate) fn starting_at(bytes: &Bytes, at: usize, check: CrcCheck) -> Self {
        Batches { bytes: bytes.clone(), at, check }
    }

    /// Where the next batch starts.
    pub fn position(&self) -> usize {
        self.at
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let batch = Batch::parse(&self.bytes, self.at, self.check);
        match &batch {
            Ok(batch) => self.at += batch.bytes.len(),
            Err(_) => self.at = self.bytes.len(),
        }
        Some(batch)
    }
}

impl std::iter::FusedIterator for Batches {}

#[cfg(test)]
mod tests;
