//! Bytes that Python reads where they are.

use std::ffi::c_int;

use bytes::Bytes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyMemoryView};
use pyo3::{PyTypeInfo, ffi};

/// Owns bytes and lends them to views.
#[pyclass(frozen, module = "kfs._kfs")]
struct Chunk(Bytes);

#[pymethods]
impl Chunk {
    #[allow(unsafe_code, reason = "the buffer protocol is C's")]
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let bytes = &slf.get().0;
        let length = isize::try_from(bytes.len()).map_err(|_| PyBufferError::new_err("too long for a buffer"))?;
        // SAFETY: `view` is the interpreter's, to be filled. The bytes are immutable (the last argument but
        // one asks for a read-only view) and live as long as `slf`, which the view holds a reference to.
        let filled =
            unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), bytes.as_ptr().cast_mut().cast(), length, 1, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// A read-only view of these bytes.
pub(crate) fn view<'py>(py: Python<'py>, bytes: &Bytes) -> PyResult<Bound<'py, PyMemoryView>> {
    let chunk = Bound::new(py, Chunk(bytes.clone()))?;
    PyMemoryView::from(chunk.as_any())
}

/// What Python passes as bytes. `bytes` can't change and is not copied; all else is.
pub(crate) fn taken(object: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if PyBytes::is_exact_type_of(object) {
        return Ok(Bytes::from_owner(object.extract::<PyBackedBytes>()?));
    }
    let buffer = PyBuffer::<u8>::get(object)?;
    buffer.to_vec(object.py()).map(Bytes::from)
}
