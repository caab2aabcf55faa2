//! The codecs of a batch's records part.

mod gzip;
mod lz4;
mod snappy;
mod spare;
mod zstandard;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::{Limits, Malformed};
use crate::error::{Error, ErrorKind, Result};
use crate::text::counted;

/// How the records part of a batch is compressed; the numbers are the attributes' bits 0 to 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// snappy, in xerial's framing (Java) or as one raw block (franz-go, librdkafka).
    Snappy = 2,
    /// The LZ4 frame format.
    Lz4 = 3,
    /// Zstandard, RFC 8878.
    Zstd = 4,
}

impl Codec {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec of attribute bits; `None` for 5 and above.
    #[inline]
    pub fn from_bits(bits: u8) -> Option<Self> {
        Self::ALL.get(usize::from(bits)).copied()
    }

    /// Kafka's name: `none`, `gzip`, `snappy`, `lz4`, `zstd`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A codec and perhaps a level, for writing.
///
/// ```
/// use kfs_core::format::{Codec, Compression};
/// assert_eq!("zstd:9".parse::<Compression>()?, Compression::from(Codec::Zstd).with_level(9)?);
/// # Ok::<(), kfs_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Compression {
    codec: Codec,
    level: Option<i32>,
}

impl Compression {
    /// No compression: the default, for KafScale's SQL and Iceberg processors read nothing else.
    pub const NONE: Compression = Compression { codec: Codec::None, level: None };

    /// Sets the level: 0 to 9 for gzip, 1 to 22 for zstd. Without one, each codec has its default.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for another level, and for codecs that have none.
    pub fn with_level(self, level: i32) -> Result<Self> {
        let levels = match self.codec {
            Codec::Gzip => 0..=9,
            Codec::Zstd => 1..=22,
            codec => return Err(Error::new(ErrorKind::InvalidInput, format!("the codec {codec} has no levels"))),
        };
        if !levels.contains(&level) {
            return Err(Error::new(ErrorKind::InvalidInput, format!("the codec {} has no level {level}", self.codec))
                .with_hint(format!("levels go from {} to {}", levels.start(), levels.end())));
        }
        Ok(Compression { level: Some(level), ..self })
    }

    /// The codec.
    pub fn codec(self) -> Codec {
        self.codec
    }

    /// The level, where one was given.
    pub fn level(self) -> Option<i32> {
        self.level
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Compression { codec, level: None }
    }
}

/// Reads `codec` or `codec:level`.
impl FromStr for Compression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let Some(codec) = Codec::ALL.into_iter().find(|codec| codec.name() == name) else {
            return Err(Error::new(ErrorKind::InvalidInput, format!("there is no codec {name:?}"))
                .with_hint("use none, gzip, snappy, lz4 or zstd"));
        };
        match level.map(str::parse) {
            None => Ok(codec.into()),
            Some(Ok(level)) => Compression::from(codec).with_level(level),
            Some(Err(_)) => Err(Error::new(ErrorKind::InvalidInput, format!("{text:?} has no whole number as level"))),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "{}:{level}", self.codec),
            None => write!(f, "{}", self.codec),
        }
    }
}

/// Decompresses a whole records part. Positions of errors count from its start.
pub(super) fn decompress(codec: Codec, payload: &Bytes, limits: &Limits) -> Result<Bytes, Malformed> {
    let limit = limits.max_decompressed_batch;
    match codec {
        Codec::None => Ok(payload.clone()),
        Codec::Gzip => gzip::decompress(payload, limit).map(Bytes::from),
        Codec::Snappy => snappy::decompress(payload, limit).map(Bytes::from),
        Codec::Lz4 => lz4::decompress(payload, limit).map(spare::Spare::freeze),
        Codec::Zstd => zstandard::decompress(payload, limit).map(Bytes::from),
    }
}

/// Appends the compressed form of `records`.
pub(super) fn compress(compression: Compression, records: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match compression.codec {
        Codec::None => out.extend_from_slice(records),
        Codec::Gzip => gzip::compress(records, compression.level, out)?,
        Codec::Snappy => snappy::compress(records, out)?,
        Codec::Lz4 => lz4::compress(records, out)?,
        Codec::Zstd => zstandard::compress(records, compression.level, out)?,
    }
    Ok(())
}

#[cold]
fn beyond_limit(position: usize, limit: usize) -> Malformed {
    Malformed::beyond_limit(
        position as u64,
        format!("records that decompress to more than {}", counted(limit, "byte")),
        format!("at most {limit}, the reader's limit"),
    )
}

#[cold]
fn codec_failed(codec: Codec, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, format!("records could not be compressed by {codec}")).with_source(cause)
}

#[cfg(test)]
mod tests;
