//! The writer and its appends.

use kfs_core::Offsets;
use kfs_core::format::{NewHeader, NewRecord};
use kfs_core::runtime::{Clock, SystemClock};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::buffer::taken;
use crate::errors::exception;
use crate::fork::Owned;
use crate::wait::{leave, wait};

#[pyclass(frozen, module = "kfs")]
pub(crate) struct Writer(Owned<kfs_core::Writer>);

impl Writer {
    pub(crate) fn new(writer: kfs_core::Writer) -> Self {
        Writer(Owned::new(writer))
    }
}

#[pymethods]
impl Writer {
    #[pyo3(signature = (batches, *, timeout=None))]
    fn append_batches(&self, py: Python<'_>, batches: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Append> {
        let writer = self.0.get(py)?;
        let batches = taken(batches)?;
        if timeout == Some(0.0) {
            // The batches are checked meanwhile.
            return Append::new(py, py.detach(|| writer.try_append_batches(batches)));
        }
        let appended = wait(py, timeout, |wait| wait.on_admission(writer, writer.append_batches(batches)))?;
        Append::new(py, Ok(appended))
    }

    #[pyo3(signature = (records, *, timeout=None))]
    fn append(&self, py: Python<'_>, records: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Append> {
        let writer = self.0.get(py)?;
        let now = SystemClock.wall_ms();
        let owned = records.try_iter()?.map(|record| Owner::of(&record?, now)).collect::<PyResult<Vec<_>>>()?;
        let headers: Vec<Vec<NewHeader<'_>>> = owned.iter().map(Owner::headers).collect();
        let records: Vec<_> = owned.iter().zip(&headers).map(|(owner, headers)| owner.record(headers)).collect();
        if timeout == Some(0.0) {
            return Append::new(py, py.detach(|| writer.try_append(&records)));
        }
        let appended = wait(py, timeout, |wait| wait.on_admission(writer, writer.append(&records)))?;
        Append::new(py, Ok(appended))
    }

    #[pyo3(signature = (timeout=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let writer = self.0.get(py)?;
        wait(py, timeout, |wait| wait.on_commit(writer, writer.flush()))
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let status = self.0.get(py)?.status();
        let last_error = status.last_error().map(|error| exception(py, error).into_value(py));
        py.import("kfs._types")?.getattr("WriterStatus")?.call1((
            status.phase.name(),
            status.doing,
            status.buffered_bytes,
            status.buffered_records,
            status.flushing_for.map(|time| time.as_secs_f64()),
            status.retrying_for().map(|time| time.as_secs_f64()),
            status.trouble.as_ref().map_or(0, |trouble| trouble.failures),
            last_error,
        ))
    }

    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let writer = self.0.get(py)?;
        wait(py, timeout, |wait| wait.close_writer(writer))
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
        Ok(format!("<kfs.Writer of {}>", self.0.get(py)?.partition_id()))
    }
}

/// A `kfs.Record` with the bytes that it refers to.
struct Owner {
    timestamp_ms: i64,
    key: Option<bytes::Bytes>,
    value: Option<bytes::Bytes>,
    headers: Vec<(bytes::Bytes, Option<bytes::Bytes>)>,
}

impl Owner {
    fn of(record: &Bound<'_, PyAny>, now: i64) -> PyResult<Self> {
        let optional = |object: Bound<'_, PyAny>| if object.is_none() { Ok(None) } else { taken(&object).map(Some) };
        let Ok(found) = record.getattr("headers") else {
            let message = format!(
                "append takes an iterable of kfs.Record, and this holds {}; append_batches takes record batches as bytes",
                record.get_type().name()?
            );
            return Err(PyTypeError::new_err(message));
        };
        let mut headers = Vec::new();
        for header in found.try_iter()? {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = header?.extract()?;
            let name = match name.cast::<PyString>() {
                Ok(text) => bytes::Bytes::from(text.to_str()?.to_owned()),
                Err(_) => taken(&name)?,
            };
            headers.push((name, optional(value)?));
        }
        let timestamp: Option<i64> = record.getattr("timestamp_ms")?.extract()?;
        Ok(Owner {
            timestamp_ms: timestamp.unwrap_or(now),
            key: optional(record.getattr("key")?)?,
            value: optional(record.getattr("value")?)?,
            headers,
        })
    }

    fn headers(&self) -> Vec<NewHeader<'_>> {
        self.headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect()
    }

    fn record<'a>(&'a self, headers: &'a [NewHeader<'a>]) -> NewRecord<'a> {
        let mut record = NewRecord::new(self.timestamp_ms).headers(headers);
        record.key = self.key.as_deref();
        record.value = self.value.as_deref();
        record
    }
}

#[pyclass(frozen, module = "kfs")]
pub(crate) struct Append(Owned<kfs_core::Append>);

impl Append {
    fn new(py: Python<'_>, append: kfs_core::Result<kfs_core::Append>) -> PyResult<Self> {
        append.map(|append| Append(Owned::new(append))).map_err(|error| exception(py, &error))
    }
}

fn offsets(py: Python<'_>, offsets: Offsets) -> PyResult<Bound<'_, PyAny>> {
    py.import("kfs._types")?.getattr("Offsets")?.call1((offsets.base, offsets.last))
}

#[pymethods]
impl Append {
    #[pyo3(signature = (timeout=None))]
    fn durable<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let append = self.0.get(py)?;
        let durable = wait(py, timeout, |wait| wait.on_commit(append, append.durable()))?;
        offsets(py, durable)
    }

    #[getter(offsets)]
    fn final_offsets<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.get(py)?.final_offsets().map(|found| offsets(py, found)).transpose()
    }

    #[getter]
    fn done(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.0.get(py)?.outcome().is_some())
    }
}
