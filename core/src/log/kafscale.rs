//! The variables by which KafScale's brokers are tuned.

use std::time::Duration;

use super::options::BucketOptions;
use super::reader::ReaderOptions;
use super::writer::WriterOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{MAX_SEGMENT_LEN, Namespace};

const CACHE_BYTES: Variable = Variable { name: "KAFSCALE_CACHE_BYTES", default: 33_554_432, least: 0, most: 1 << 40 };
const READAHEAD_SEGMENTS: Variable = Variable { name: "KAFSCALE_READAHEAD_SEGMENTS", default: 2, least: 0, most: 31 };
const SEGMENT_BYTES: Variable =
    Variable { name: "KAFSCALE_SEGMENT_BYTES", default: 4_194_304, least: 4096, most: MAX_SEGMENT_LEN };
const FLUSH_INTERVAL_MS: Variable =
    Variable { name: "KAFSCALE_FLUSH_INTERVAL_MS", default: 500, least: 0, most: 86_400_000 };
const NAMESPACE: &str = "KAFSCALE_S3_NAMESPACE";

/// A variable that is a whole number.
struct Variable {
    name: &'static str,
    /// KafScale's own.
    default: u64,
    least: u64,
    most: u64,
}

/// How KafScale's variables tune a broker, for a program that is to be tuned by the same ones. Nothing reads them unless the
/// program asks for it here. `docs/kafscale.md` lists them.
///
/// A variable that is not set has KafScale's default, not that of libkfs.
///
/// ```
/// use kfs_core::{BucketOptions, KafscaleTuning, ReaderOptions, WriterOptions};
///
/// let tuning = KafscaleTuning::from_variables([("KAFSCALE_SEGMENT_BYTES", "1000000")])?;
/// assert_eq!(tuning.writer_options(WriterOptions::default()).flush_bytes, 1_000_000);
/// assert_eq!(tuning.bucket_options(BucketOptions::default()).cache_bytes, 33_554_432);
///
/// let error = KafscaleTuning::from_variables([("KAFSCALE_CACHE_BYTES", "32MB")]).unwrap_err();
/// assert!(error.message().starts_with("KAFSCALE_CACHE_BYTES can't be used"));
/// # Ok::<(), kfs_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KafscaleTuning {
    /// `KAFSCALE_CACHE_BYTES`: [`BucketOptions::cache_bytes`]. 0 to 2^40, default 33,554,432.
    pub cache_bytes: usize,
    /// `KAFSCALE_READAHEAD_SEGMENTS`: [`ReaderOptions::segments_ahead`]. 0 to 31, default 2.
    pub readahead_segments: usize,
    /// `KAFSCALE_SEGMENT_BYTES`: a broker begins a new segment at this many bytes, so it is
    /// [`WriterOptions::flush_bytes`]. 4,096 to 2^31-1, default 4,194,304.
    pub segment_bytes: usize,
    /// `KAFSCALE_FLUSH_INTERVAL_MS`: [`WriterOptions::flush_interval`]. 0 ms to a day, default 500 ms.
    pub flush_interval: Duration,
    /// `KAFSCALE_S3_NAMESPACE`: [`BucketOptions::namespace`]. The default is `default`.
    pub namespace: Namespace,
}

impl KafscaleTuning {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// `InvalidInput` for a value that can't be read or is out of range. It names the variable.
    pub fn from_environment() -> Result<Self> {
        let names = [CACHE_BYTES.name, READAHEAD_SEGMENTS.name, SEGMENT_BYTES.name, FLUSH_INTERVAL_MS.name, NAMESPACE];
        let set = names.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        // What is no UTF-8 is no value of any of them, and is refused as such.
        Self::from_variables(set.map(|(name, value)| (name, value.to_string_lossy().into_owned())))
    }

    /// Reads these variables, of which others than KafScale's are passed over.
    ///
    /// # Errors
    /// As [`from_environment`](Self::from_environment).
    pub fn from_variables<N: AsRef<str>, V: AsRef<str>>(variables: impl IntoIterator<Item = (N, V)>) -> Result<Self> {
        let set: Vec<(N, V)> = variables.into_iter().collect();
        let text = |name: &str| set.iter().find(|(of, _)| of.as_ref() == name).map(|(_, value)| value.as_ref());
        let size = |variable: &Variable| {
            variable.read(text(variable.name)).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
        };
        Ok(KafscaleTuning {
            cache_bytes: size(&CACHE_BYTES)?,
            readahead_segments: size(&READAHEAD_SEGMENTS)?,
            segment_bytes: size(&SEGMENT_BYTES)?,
            flush_interval: Duration::from_millis(FLUSH_INTERVAL_MS.read(text(FLUSH_INTERVAL_MS.name))?),
            namespace: match text(NAMESPACE) {
                Some(name) => Namespace::new(name).map_err(|error| {
                    let message = format!("{NAMESPACE} can't be used: {}", error.message());
                    error.with_message(message)
                })?,
                None => Namespace::default(),
            },
        })
    }

    /// These options with the cache and the namespace that are set.
    #[must_use]
    pub fn bucket_options(&self, base: BucketOptions) -> BucketOptions {
        base.cache_bytes(self.cache_bytes).namespace(self.namespace.clone())
    }

    /// These options with the segments that are to be read ahead.
    #[must_use]
    pub fn reader_options(&self, base: ReaderOptions) -> ReaderOptions {
        base.segments_ahead(self.readahead_segments)
    }

    /// These options with the size of segments and the time between flushes that are set.
    #[must_use]
    pub fn writer_options(&self, base: WriterOptions) -> WriterOptions {
        base.flush_bytes(self.segment_bytes).flush_interval(self.flush_interval)
    }
}

impl Variable {
    fn read(&self, text: Option<&str>) -> Result<u64> {
        let Some(text) = text else { return Ok(self.default) };
        let number = text.parse().ok().filter(|number| (self.least..=self.most).contains(number));
        number.ok_or_else(|| {
            let Variable { name, default, least, most } = self;
            let message = format!("{name} can't be used: expected a whole number from {least} to {most}");
            Error::new(ErrorKind::InvalidInput, message).with_hint(format!("without it {default} counts"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_as_kafscale_has_it() {
        let tuning = KafscaleTuning::from_variables([("KAFSCALE_ETCD_USERNAME", "x")]).unwrap();
        let expected = KafscaleTuning {
            cache_bytes: 33_554_432,
            readahead_segments: 2,
            segment_bytes: 4_194_304,
            flush_interval: Duration::from_millis(500),
            namespace: Namespace::default(),
        };
        assert_eq!(tuning, expected);
    }

    #[test]
    fn each_variable_is_an_option() {
        let tuning = KafscaleTuning::from_variables([
            ("KAFSCALE_CACHE_BYTES", "0"),
            ("KAFSCALE_READAHEAD_SEGMENTS", "31"),
            ("KAFSCALE_SEGMENT_BYTES", "4096"),
            ("KAFSCALE_FLUSH_INTERVAL_MS", "7"),
            ("KAFSCALE_S3_NAMESPACE", "prod"),
        ])
        .unwrap();
        let bucket = tuning.bucket_options(BucketOptions::default());
        assert_eq!((bucket.cache_bytes, bucket.namespace.as_str()), (0, "prod"));
        bucket.check().unwrap();
        assert_eq!(tuning.reader_options(ReaderOptions::default()).segments_ahead, 31);
        let writer = tuning.writer_options(WriterOptions::default());
        assert_eq!((writer.flush_bytes, writer.flush_interval), (4096, Duration::from_millis(7)));
        writer.check().unwrap();
    }

    #[test]
    fn what_can_not_be_read_is_refused_with_its_name_and_its_limits() {
        for (name, wrong, expected) in [
            ("KAFSCALE_CACHE_BYTES", "32MB", "expected a whole number from 0 to 1099511627776"),
            ("KAFSCALE_CACHE_BYTES", "1099511627777", "expected a whole number from 0 to 1099511627776"),
            ("KAFSCALE_READAHEAD_SEGMENTS", "32", "expected a whole number from 0 to 31"),
            ("KAFSCALE_SEGMENT_BYTES", "4095", "expected a whole number from 4096 to 2147483647"),
            ("KAFSCALE_FLUSH_INTERVAL_MS", "-1", "expected a whole number from 0 to 86400000"),
            ("KAFSCALE_FLUSH_INTERVAL_MS", "", "expected a whole number from 0 to 86400000"),
            ("KAFSCALE_S3_NAMESPACE", "a/b", ""),
        ] {
            let error = KafscaleTuning::from_variables([(name, wrong)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.message().starts_with(&format!("{name} can't be used: {expected}")), "{error}");
        }
    }
}
