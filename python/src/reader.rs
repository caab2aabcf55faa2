//! The reader and what it fetches.

use kfs_core::format::Limits;
use kfs_core::{FetchOptions, blocking};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::buffer::view;
use crate::errors::exception;
use crate::fork::Owned;
use crate::wait::wait;

#[pyclass(frozen, module = "kfs")]
pub(crate) struct Reader(Owned<blocking::Reader>);

impl Reader {
    pub(crate) fn new(reader: blocking::Reader) -> Self {
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
        let fetch = wait(py, timeout, |wait| reader.fetch_with(offset, options, wait))?;
        Ok(Fetch { fetch: Owned::new(fetch), offset })
    }
}

#[pyclass(frozen, module = "kfs")]
pub(crate) struct Fetch {
    fetch: Owned<kfs_core::Fetch>,
    /// What was asked for.
    offset: i64,
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
        Ok(self.fetch.get(py)?.hole.map(|hole| (hole.from, hole.to)))
    }

    fn records<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let class = py.import("kfs._types")?.getattr("StoredRecord")?;
        let broken = |malformed: kfs_core::format::Malformed| exception(py, &malformed.into());
        let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
        let mut found = Vec::new();
        let fetch = self.fetch.get(py)?;
        let from = self.offset.max(fetch.log_start);
        for batch in fetch.batches() {
            let batch = batch.map_err(broken)?;
            if batch.header().attributes.is_control() {
                continue;
            }
            for record in &batch.records(&Limits::default()).map_err(broken)? {
                let record = record.map_err(broken)?;
                if record.offset < from {
                    continue;
                }
                let mut headers = Vec::new();
                for header in record.headers() {
                    headers.push((bytes(header.key), header.value.map(bytes)));
                }
                let (key, value) = (record.key.map(bytes), record.value.map(bytes));
                found.push(class.call1((record.offset, record.timestamp, key, value, headers))?);
            }
        }
        Ok(found)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.fetch.get(py)?.bytes())
    }

    fn __bool__(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(!self.fetch.get(py)?.is_empty())
    }
}
