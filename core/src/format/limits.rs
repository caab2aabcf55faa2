//! What a reader checks, and how far it goes.

/// Whether CRCs are checked where bytes enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrcCheck {
    /// Compute them and compare.
    Verify,
    /// The caller has checked these very bytes before; lengths and counts are checked all the same.
    AlreadyChecked,
}

/// Bounds on what reading may use.
///
/// ```
/// use kfs_core::format::Limits;
/// let limits = Limits::default().with_max_decompressed_batch(16 << 20);
/// assert_eq!(limits.max_decompressed_batch, 16 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes that the records of one compressed batch may take when decompressed, 128 MiB
    /// by default. A batch beyond it is malformed.
    ///
    /// Kafka's brokers take batches of 1 MiB (`message.max.bytes`), measured compressed; text that
    /// compresses a hundredfold stays below the default. A buffer starts at what as many compressed
    /// bytes may well hold, at most 40 times their number, and grows with what was really
    /// decompressed, at most fourfold at a time and never beyond the limit. So a batch that lies about
    /// its size costs what it holds. Codecs keep less than 1 MiB besides.
    pub max_decompressed_batch: usize,
}

impl Limits {
    /// Sets [`Limits::max_decompressed_batch`], in bytes.
    #[must_use]
    pub fn with_max_decompressed_batch(mut self, bytes: usize) -> Self {
        self.max_decompressed_batch = bytes;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_decompressed_batch: 128 << 20 }
    }
}
