//! Whose answers are read.

/// Whose answers these are. The same status means different things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "each is made by the client of that store, if it is built in"))]
pub(super) enum Dialect {
    S3,
    Azure,
    Gcs,
    /// Those of a client that a caller brought, of a directory, or of memory. Only what an error says tells more.
    #[default]
    Unknown,
}
