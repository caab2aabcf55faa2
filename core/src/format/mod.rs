//! Bytes only.
