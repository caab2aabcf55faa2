//! An object of the store, and how the store describes it.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectMeta};

/// An object, as it is until it is replaced.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// Its user metadata.
    pub(crate) attributes: Attributes,
    /// Its ETag: a number that no other state of any object has.
    pub(crate) e_tag: u64,
    /// When it was put, Unix milliseconds.
    pub(crate) modified_ms: i64,
}

impl Object {
    /// A value of its user metadata.
    pub(crate) fn metadata(&self, name: &'static str) -> Option<String> {
        self.attributes.get(&Attribute::Metadata(name.into())).map(|value| value.to_string())
    }

    /// What a listing and a read say of it.
    pub(crate) fn meta(&self, key: &str) -> ObjectMeta {
        let modified = UNIX_EPOCH + Duration::from_millis(u64::try_from(self.modified_ms).unwrap_or_default());
        ObjectMeta {
            location: Path::from(key),
            last_modified: modified.into(),
            size: self.bytes.len() as u64,
            e_tag: Some(quoted(self.e_tag)),
            version: None,
        }
    }
}

/// An ETag as a store writes it.
pub(crate) fn quoted(e_tag: u64) -> String {
    format!("\"{e_tag}\"")
}
