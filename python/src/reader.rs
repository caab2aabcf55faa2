//! The reader and what it fetches.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use kfs_core::{FetchOptions, FetchRecords, StreamRecord};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyType};

use crate::buffer::view;
use crate::errors::exception;
use crate::fork::Owned;
use crate::wait::wait;

#[pyclass(frozen, module = "kfs")]
pub(crate) struct Reader(Owned<kfs_core::Reader>);

impl Reader {
    pub(crate) fn new(reader: kfs_core::Reader) -> Self {
        Reader(Owned::new(reader))
    }
}

#[pymethods]
impl Reader {
    #[pyo3(signature = (offset, max_bytes=1 << 20, *, include_buffered=false, timeout=None))]
    fn fetch(
        &self,
        py: Python<'_>,
        offset: i64,
        max_bytes: usize,
        include_buffered: bool,
        timeout: Option<f64>,
    ) -> PyResult<Fetch> {
        let reader = self.0.get(py)?;
        let options = FetchOptions::new(max_bytes).include_buffered(include_buffered);
        let fetch = wait(py, timeout, |wait| wait.on_log(reader, reader.fetch_with(offset, options)))?;
        Ok(Fetch { fetch: Owned::new(fetch) })
    }
}

#[pyclass(frozen, module = "kfs")]
pub(crate) struct Fetch {
    fetch: Owned<kfs_core::Fetch>,
}

#[pymethods]
impl Fetch {
    #[getter]
    fn chunks<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyMemoryView>>> {
        self.fetch.get(py)?.chunks.iter().map(|chunk| view(py, chunk)).collect()
    }

    #[getter]
    fn next_offset(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.fetch.get(py)?.next_offset)
    }

    #[getter]
    fn high_watermark(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.fetch.get(py)?.high_watermark)
    }

    #[getter]
    fn log_start(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.fetch.get(py)?.log_start)
    }

    #[getter]
    fn hole(&self, py: Python<'_>) -> PyResult<Option<(i64, i64)>> {
        Ok(self.fetch.get(py)?.hole().map(|hole| (hole.from, hole.to)))
    }

    fn records(&self, py: Python<'_>) -> PyResult<Records> {
        let records = self.fetch.get(py)?.records();
        let class = py.import("kfs._types")?.getattr("StoredRecord")?.cast_into::<PyType>()?;
        let decoding = Decoding { records, decoded: VecDeque::new(), failed: None };
        Ok(Records { decoding: Owned::new(Mutex::new(decoding)), class: class.unbind() })
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.fetch.get(py)?.bytes())
    }

    fn __bool__(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(!self.fetch.get(py)?.is_empty())
    }
}

/// Records that are decoded some at a time, with the interpreter released.
const AT_A_TIME: usize = 256;

/// The iterator over a fetch's records. Of its batches one is decompressed at a time.
#[pyclass(frozen, module = "kfs")]
pub(crate) struct Records {
    decoding: Owned<Mutex<Decoding>>,
    class: Py<PyType>,
}

struct Decoding {
    records: FetchRecords,
    decoded: VecDeque<StreamRecord>,
    /// What ended the decoding; it is raised after the records before it.
    failed: Option<kfs_core::Error>,
}

impl Decoding {
    fn next(&mut self) -> Option<kfs_core::Result<StreamRecord>> {
        if self.decoded.is_empty() && self.failed.is_none() {
            for record in self.records.by_ref().take(AT_A_TIME) {
                match record {
                    Ok(record) => self.decoded.push_back(record),
                    Err(error) => {
                        self.failed = Some(error);
                        break;
                    }
                }
            }
        }
        self.decoded.pop_front().map(Ok).or_else(|| self.failed.take().map(Err))
    }
}

#[pymethods]
impl Records {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let decoding = self.decoding.get(py)?;
        // To decompress a batch takes a while; other threads run meanwhile. Signals are looked for by the
        // interpreter between two records.
        let next = py.detach(|| decoding.lock().unwrap_or_else(PoisonError::into_inner).next());
        let Some(record) = next.transpose().map_err(|error| exception(py, &error))? else { return Ok(None) };
        let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
        let headers: Vec<_> = record.headers().map(|header| (bytes(header.key), header.value.map(bytes))).collect();
        let (key, value) = (record.key().map(bytes), record.value().map(bytes));
        Ok(Some(self.class.bind(py).call1((record.offset(), record.timestamp_ms(), key, value, headers))?))
    }
}
