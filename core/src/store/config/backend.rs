//! The kinds of stores.

use super::row::SettingsTable;
use super::{azure, common, gcs, s3};

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreBackend {
    /// S3, or a store that speaks its protocol.
    S3,
    /// Azure Blob storage.
    Azure,
    /// Google Cloud Storage.
    Gcs,
    /// A local directory.
    Filesystem,
    /// The process's memory, for tests.
    Memory,
}

impl StoreBackend {
    pub(super) const ALL: [StoreBackend; 5] =
        [StoreBackend::S3, StoreBackend::Azure, StoreBackend::Gcs, StoreBackend::Filesystem, StoreBackend::Memory];

    pub(crate) fn table(self) -> &'static SettingsTable {
        match self {
            StoreBackend::S3 => &s3::S3,
            StoreBackend::Azure => &azure::AZURE,
            StoreBackend::Gcs => &gcs::GCS,
            StoreBackend::Filesystem => &common::FILESYSTEM,
            StoreBackend::Memory => &common::MEMORY,
        }
    }

    /// The kind with this name in a document, in upper or lower case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| {
            let table = backend.table();
            name.eq_ignore_ascii_case(table.backend)
                || table.aliases.iter().any(|alias| name.eq_ignore_ascii_case(alias))
        })
    }
}

impl std::fmt::Display for StoreBackend {
    /// As documents name it: `s3`, `azure`, `gcs`, `filesystem`, `memory`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.table().backend)
    }
}
