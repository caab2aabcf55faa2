//! Our decoder against the `kafka-protocol` crate's.
//!
//! Where both read a batch, offsets, timestamps, keys, values and headers are equal, but for two
//! things that the peer leaves out: it gives LogAppendTime records their own timestamps, and keeps
//! of headers with one name the last value, at the first one's place.
//!
//! Uncompressed, the peer reads all that we read, unless a header's name is not UTF-8. What only it
//! reads is listed in [`ONLY_THEIRS`]. Its codecs may refuse what ours take (several gzip members,
//! xerial headers of other versions, skippable LZ4 frames, a compressed batch left empty); so a
//! compressed batch that we read is compared once more with its records stored plainly.
//!
//! The peer panics on sums beyond 64 bits and takes memory by counts that it did not check, and its
//! codecs know no bound. It is not asked then: see [`Walk::survives`].

use bytes::Bytes;
use kafka_protocol::records as theirs;
use kfs_core::format::{BATCH_HEADER_LEN, Batch, Codec, CrcCheck, Malformed, Records};

use crate::{limits, seal};

/// What we refuse and the peer reads: words of our error, and why. Also integers that are longer
/// than their type, of which the peer drops what is too much.
pub const ONLY_THEIRS: [(&str, &str); 6] = [
    ("a last offset delta of", "the peer does not look at it"),
    ("a record count of", "the peer does not compare it with the last offset delta"),
    ("found base offset", "the peer takes negative offsets, and ones beyond the end of a log"),
    ("an offset delta outside the batch", "the peer takes negative ones, and ones beyond the batch's last"),
    ("bytes after its headers", "the peer skips what a record holds after its headers"),
    ("bytes after it", "the peer skips what follows the last record"),
];

/// One batch: as it is, and with its length and CRC put right.
pub fn differential(data: &[u8]) {
    compare(&Bytes::copy_from_slice(data));
    if data.len() >= BATCH_HEADER_LEN {
        compare(&seal(data.to_vec()));
    }
}

fn compare(bytes: &Bytes) {
    match ours(bytes) {
        Ok((batch, records)) => accepted(&batch, &records),
        Err(error) => refused(bytes, &error.to_string()),
    }
}

fn ours(bytes: &Bytes) -> Result<(Batch, Records), Malformed> {
    let batch = Batch::parse(bytes, 0, CrcCheck::Verify)?;
    let records = batch.records(&limits())?;
    records.iter().try_for_each(|record| record.map(drop))?;
    Ok((batch, records))
}

fn ask(bytes: &Bytes) -> Option<Vec<theirs::Record>> {
    theirs::RecordBatchDecoder::decode(&mut bytes.clone()).ok().map(|set| set.records)
}

fn accepted(batch: &Batch, records: &Records) {
    let walk = Walk::over(batch.bytes(), records.bytes());
    assert!(!walk.overlong, "an integer longer than its type was read");
    if !walk.survives {
        return;
    }
    if batch.header().attributes.codec() != Some(Codec::None)
        && let Some(theirs) = ask(batch.bytes())
    {
        assert_same(batch, records, &theirs);
    }
    let mut plain = [&batch.bytes()[..BATCH_HEADER_LEN], &records.bytes()[..]].concat();
    plain[22] &= !7;
    match ask(&seal(plain)) {
        Some(theirs) => assert_same(batch, records, &theirs),
        None => assert!(
            records.iter().flatten().any(|r| r.headers().any(|h| std::str::from_utf8(h.key).is_err())),
            "only we read this, and all header names are UTF-8"
        ),
    }
}

fn assert_same(batch: &Batch, records: &Records, theirs: &[theirs::Record]) {
    assert_eq!(records.iter().count(), theirs.len());
    for (our, their) in records.iter().zip(theirs) {
        let our = our.expect("it was read before");
        assert_eq!(our.offset, their.offset);
        if !batch.header().attributes.is_log_append_time() {
            assert_eq!(our.timestamp_ms, their.timestamp);
        }
        assert_eq!(our.key, their.key.as_deref());
        assert_eq!(our.value, their.value.as_deref());
        let mut headers: Vec<(&[u8], Option<&[u8]>)> = Vec::new();
        for header in our.headers() {
            match headers.iter_mut().find(|(key, _)| *key == header.key) {
                Some((_, value)) => *value = header.value,
                None => headers.push((header.key, header.value)),
            }
        }
        let theirs = their.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref()));
        assert!(headers.into_iter().eq(theirs), "headers differ at offset {}", our.offset);
    }
}

fn refused(bytes: &Bytes, error: &str) {
    let walk = Walk::of(bytes);
    if walk.survives && !walk.overlong && ask(bytes).is_some() {
        let documented = ONLY_THEIRS.iter().any(|(words, _)| error.contains(words));
        assert!(documented, "only the peer reads this; our error is: {error}");
    }
}

/// What the peer will meet.
struct Walk {
    /// Whether it comes through without a panic and without gigabytes.
    survives: bool,
    /// Whether an integer is longer than its type.
    overlong: bool,
}

/// Where the peer gives up, in order or not.
enum Stop {
    Refuses,
    Dies,
}

impl Walk {
    fn of(bytes: &Bytes) -> Walk {
        let early = Walk { survives: true, overlong: false };
        if bytes.len() < BATCH_HEADER_LEN {
            return early;
        }
        let length = i32::from_be_bytes(bytes[8..12].try_into().expect("4 bytes"));
        let end = usize::try_from(length).map_or(usize::MAX, |length| length + 12);
        if end < BATCH_HEADER_LEN || end > bytes.len() {
            return early;
        }
        if bytes[22] & 7 == 0 {
            return Walk::over(bytes, &bytes[BATCH_HEADER_LEN..end]);
        }
        // Of what our codecs refuse, the peer's may make anything.
        match Batch::parse(bytes, 0, CrcCheck::AlreadyChecked).and_then(|batch| batch.records(&limits())) {
            Ok(records) => Walk::over(bytes, records.bytes()),
            Err(_) => Walk { survives: false, overlong: false },
        }
    }

    /// Over records that follow a whole header.
    fn over(header: &[u8], records: &[u8]) -> Walk {
        let i64_at = |at: usize| i64::from_be_bytes(header[at..at + 8].try_into().expect("8 bytes"));
        let count = i32::from_be_bytes(header[57..61].try_into().expect("4 bytes"));
        let mut walk = Walk { survives: count <= 1 << 18, overlong: false };
        let mut rest = records;
        for _ in 0..count {
            match walk.record(&mut rest, i64_at(0), i64_at(27)) {
                Ok(()) => {}
                Err(Stop::Refuses) => break,
                Err(Stop::Dies) => {
                    walk.survives = false;
                    break;
                }
            }
        }
        walk
    }

    fn record(&mut self, rest: &mut &[u8], base_offset: i64, base_timestamp: i64) -> Result<(), Stop> {
        let len = self.varint(rest)?;
        let mut body = take(rest, len)?;
        take(&mut body, 1)?;
        let timestamp_delta = self.varlong(&mut body, 10)?;
        let offset_delta = self.varint(&mut body)?;
        if base_timestamp.checked_add(timestamp_delta).is_none() || base_offset.checked_add(offset_delta).is_none() {
            return Err(Stop::Dies);
        }
        self.nullable(&mut body)?;
        self.nullable(&mut body)?;
        let headers = self.varint(&mut body)?;
        if headers > body.len() as i64 {
            return Err(Stop::Dies);
        }
        for _ in 0..headers {
            let len = self.varint(&mut body)?;
            take(&mut body, len)?;
            self.nullable(&mut body)?;
        }
        Ok(())
    }

    fn nullable(&mut self, rest: &mut &[u8]) -> Result<(), Stop> {
        match self.varint(rest)? {
            -1 => Ok(()),
            len => take(rest, len).map(drop),
        }
    }

    fn varint(&mut self, rest: &mut &[u8]) -> Result<i64, Stop> {
        // Of 35 bits the peer keeps 32: their sign extension is of no account.
        let long = self.varlong(rest, 5)?;
        self.overlong |= i32::try_from(long).is_err();
        Ok(i64::from(long as i32))
    }

    /// Stops after `max` bytes, as the peer does, even when the last says that more follow.
    fn varlong(&mut self, rest: &mut &[u8], max: usize) -> Result<i64, Stop> {
        let mut value = 0u128;
        for at in 0..max {
            let byte = take(rest, 1)?[0];
            value |= u128::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                break;
            }
            self.overlong |= at + 1 == max;
        }
        self.overlong |= value > u128::from(u64::MAX);
        Ok((value as u64 >> 1) as i64 ^ -((value & 1) as i64))
    }
}

fn take<'a>(rest: &mut &'a [u8], len: impl TryInto<usize>) -> Result<&'a [u8], Stop> {
    let (taken, left) = len.try_into().ok().and_then(|len| rest.split_at_checked(len)).ok_or(Stop::Refuses)?;
    *rest = left;
    Ok(taken)
}
