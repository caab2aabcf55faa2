//! The bucket and its partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use kfs_core::blocking;
use kfs_core::format::{BatchCheck, Codec, Limits, Namespace};
use kfs_core::store::{StoreConfig, StoreOptions};
use kfs_core::{BucketOptions, Isolation, OnConflict, OnCorrupt, ReaderOptions, WriterOptions};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::credentials::Callable;
use crate::errors::{exception, invalid};
use crate::fork::Owned;
use crate::reader::Reader;
use crate::wait::{leave, seconds, wait};
use crate::writer::Writer;

#[pyfunction]
#[pyo3(signature = (
    url=None, *, config=None, settings=None, environment=true, credentials=None, namespace="default", buffer_bytes=None,
    cache_bytes=None, map=true, file_mode=0o600, dir_mode=0o700, preflight=true, single_writer=false
))]
#[allow(clippy::too_many_arguments, reason = "keyword arguments are Python's option structs")]
pub(crate) fn open(
    py: Python<'_>,
    url: Option<&str>,
    config: Option<&Bound<'_, PyAny>>,
    settings: Option<BTreeMap<String, String>>,
    environment: bool,
    credentials: Option<Py<PyAny>>,
    namespace: &str,
    buffer_bytes: Option<usize>,
    cache_bytes: Option<usize>,
    map: bool,
    file_mode: u32,
    dir_mode: u32,
    preflight: bool,
    single_writer: bool,
) -> PyResult<Bucket> {
    let document = match (url, config) {
        (Some(_), None) => None,
        (None, Some(config)) => Some(document(config)?),
        (None, None) => return Err(invalid(py, "neither url nor config says which bucket".into())),
        (Some(_), Some(_)) => return Err(invalid(py, "url and config both say which bucket: give one".into())),
    };
    let opened = Namespace::new(namespace).and_then(|namespace| {
        let mut store = StoreOptions::default()
            .environment(environment)
            .map(map)
            .file_mode(file_mode)
            .dir_mode(dir_mode)
            .preflight(preflight)
            .single_writer(single_writer);
        for (name, value) in settings.unwrap_or_default() {
            store = store.config(name, value);
        }
        if let Some(callable) = credentials {
            store = store.credentials(Arc::new(Callable(callable)));
        }
        let mut options = BucketOptions::default().namespace(namespace).store(store);
        if let Some(bytes) = buffer_bytes {
            options = options.buffer_bytes(bytes);
        }
        if let Some(bytes) = cache_bytes {
            options = options.cache_bytes(bytes);
        }
        let config = match (&document, url) {
            (Some(document), _) => StoreConfig::from_document(document)?,
            (None, url) => StoreConfig::from_url(url.unwrap_or_default())?,
        };
        kfs_core::Bucket::open_config(&config, blocking::on_shared_runtime(options)?)
    });
    opened.map(|bucket| Bucket(Owned::new(bucket))).map_err(|error| exception(py, &error))
}

/// The text of a document: the text itself, or JSON of what is not one.
fn document(config: &Bound<'_, PyAny>) -> PyResult<String> {
    match config.cast::<PyString>() {
        Ok(text) => text.extract(),
        Err(_) => config.py().import("json")?.getattr("dumps")?.call1((config,))?.extract(),
    }
}

#[pyfunction]
pub(crate) fn runtime_threads(py: Python<'_>, threads: usize) -> PyResult<()> {
    blocking::runtime_threads(threads).map_err(|error| exception(py, &error))
}

#[pyclass(frozen, module = "kfs")]
pub(crate) struct Bucket(Owned<kfs_core::Bucket>);

#[pymethods]
impl Bucket {
    #[getter]
    fn url(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.0.get(py)?.store().url().to_owned())
    }

    fn partition(&self, py: Python<'_>, topic: &str, partition: i32) -> PyResult<Partition> {
        let made = self.0.get(py)?.partition(topic, partition);
        made.map(|partition| Partition(Owned::new(partition))).map_err(|error| exception(py, &error))
    }

    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let bucket = self.0.get(py)?;
        wait(py, timeout, |wait| wait.close_bucket(bucket))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        leave(kind, |timeout| self.close(py, timeout))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<kfs.Bucket {}>", self.url(py)?))
    }
}

#[pyclass(frozen, module = "kfs")]
pub(crate) struct Partition(Owned<kfs_core::Partition>);

#[pymethods]
impl Partition {
    #[getter]
    fn topic(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.0.get(py)?.id().topic().to_string())
    }

    #[getter]
    fn number(&self, py: Python<'_>) -> PyResult<i32> {
        Ok(self.0.get(py)?.id().partition())
    }

    #[pyo3(signature = (
        *, preset=None, on_conflict="takeover", start_offset=None, leader_epoch=None, flush_bytes=None, flush_interval=None,
        linger=None, compression="none", check="produce", log_append_time=false, name=None, timeout=None
    ))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments are Python's option structs")]
    fn writer(
        &self,
        py: Python<'_>,
        preset: Option<&str>,
        on_conflict: &str,
        start_offset: Option<i64>,
        leader_epoch: Option<i32>,
        flush_bytes: Option<usize>,
        flush_interval: Option<f64>,
        linger: Option<f64>,
        compression: &str,
        check: &str,
        log_append_time: bool,
        name: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Writer> {
        let mut options = preset_options(py, preset)?
            .on_conflict(policy(py, on_conflict)?)
            .compression(codec(py, compression)?)
            .batch_check(batch_check(py, check)?)
            .log_append_time(log_append_time);
        options.start_offset = start_offset;
        options.leader_epoch = leader_epoch;
        options.name = name;
        if let Some(bytes) = flush_bytes {
            options = options.flush_bytes(bytes);
        }
        if let Some(interval) = flush_interval {
            options = options.flush_interval(seconds(py, "flush_interval", interval)?);
        }
        if let Some(linger) = linger {
            options = options.linger(seconds(py, "linger", linger)?);
        }
        let partition = self.0.get(py)?;
        wait(py, timeout, |wait| wait.on_log(partition, partition.writer_with(options))).map(Writer::new)
    }

    #[pyo3(signature = (*, skip_corrupt=false, wait_for_partition=false, max_decompressed=None, isolation="read_uncommitted"))]
    fn reader(
        &self,
        py: Python<'_>,
        skip_corrupt: bool,
        wait_for_partition: bool,
        max_decompressed: Option<usize>,
        isolation: &str,
    ) -> PyResult<Reader> {
        let on_corrupt = if skip_corrupt { OnCorrupt::Skip } else { OnCorrupt::Stop };
        let mut options = ReaderOptions::default()
            .on_corrupt(on_corrupt)
            .wait_for_partition(wait_for_partition)
            .isolation(level(py, isolation)?);
        if let Some(bytes) = max_decompressed {
            options = options.limits(Limits::default().max_decompressed_batch(bytes));
        }
        Ok(Reader::new(self.0.get(py)?.reader_with(options)))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<kfs.Partition {}>", self.0.get(py)?.id()))
    }
}

fn policy(py: Python<'_>, name: &str) -> PyResult<OnConflict> {
    match name {
        "takeover" => Ok(OnConflict::Takeover),
        "fence" => Ok(OnConflict::Fence),
        "rebase" => Ok(OnConflict::Rebase),
        other => Err(invalid(py, format!("on_conflict is {other:?}, not \"takeover\", \"fence\" or \"rebase\""))),
    }
}

fn level(py: Python<'_>, name: &str) -> PyResult<Isolation> {
    match name {
        "read_uncommitted" => Ok(Isolation::ReadUncommitted),
        "read_committed" => Ok(Isolation::ReadCommitted),
        other => Err(invalid(py, format!("isolation is {other:?}, not \"read_uncommitted\" or \"read_committed\""))),
    }
}

fn preset_options(py: Python<'_>, name: Option<&str>) -> PyResult<WriterOptions> {
    match name {
        None => Ok(WriterOptions::default()),
        Some("kafscale") => Ok(WriterOptions::for_kafscale()),
        Some(other) => Err(invalid(py, format!("preset is {other:?}, not None or \"kafscale\""))),
    }
}

fn batch_check(py: Python<'_>, name: &str) -> PyResult<BatchCheck> {
    match name {
        "produce" => Ok(BatchCheck::Produce),
        "decode" => Ok(BatchCheck::Decode),
        "crc" => Ok(BatchCheck::Crc),
        other => Err(invalid(py, format!("check is {other:?}, not \"produce\", \"decode\" or \"crc\""))),
    }
}

fn codec(py: Python<'_>, name: &str) -> PyResult<Codec> {
    match name {
        "none" => Ok(Codec::None),
        "gzip" => Ok(Codec::Gzip),
        "snappy" => Ok(Codec::Snappy),
        "lz4" => Ok(Codec::Lz4),
        "zstd" => Ok(Codec::Zstd),
        other => Err(invalid(
            py,
            format!("compression is {other:?}, not \"none\", \"gzip\", \"snappy\", \"lz4\" or \"zstd\""),
        )),
    }
}
