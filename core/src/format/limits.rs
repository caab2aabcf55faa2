//! What a reader checks, and how far it goes.

use crate::setters::setters;

/// Whether CRCs are checked where bytes enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrcCheck {
    /// Compute them and compare.
    Verify,
    /// The caller has checked these very bytes before; lengths and counts are checked all the same.
    AlreadyChecked,
}

/// The most bytes that the records of one batch may take when decompressed, unless a reader raises its
/// limit: 128 MiB. A writer refuses what a reader refuses by default, so both sides take it from here.
///
/// Kafka's brokers take batches of 1 MiB (`message.max.bytes`), measured compressed; text that
/// compresses a hundredfold stays below this.
pub const MAX_DECOMPRESSED_BATCH: usize = 128 << 20;

/// Bounds on what reading may use.
///
/// ```
/// use kfs_core::format::Limits;
/// let limits = Limits::default().max_decompressed_batch(16 << 20);
/// assert_eq!(limits.max_decompressed_batch, 16 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes that the records of one compressed batch may take when decompressed,
    /// [`MAX_DECOMPRESSED_BATCH`] by default. A batch beyond it is not damaged: it gives an error of kind
    /// [`Unsupported`](crate::ErrorKind::Unsupported) that names this limit.
    ///
    /// A buffer starts at what as many compressed bytes may well hold, at most 40 times their number,
    /// and grows with what was really decompressed, at most fourfold at a time and never beyond the
    /// limit. So a batch that lies about its size costs what it holds. Codecs keep less than 1 MiB
    /// besides.
    pub max_decompressed_batch: usize,
}

impl Limits {
    setters! { max_decompressed_batch: usize }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_decompressed_batch: MAX_DECOMPRESSED_BATCH }
    }
}
