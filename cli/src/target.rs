//! What a name on the command line means.

use std::path::{Path, PathBuf};

use kfs_core::format::{Namespace, PartitionId};

use crate::failure::{Outcome, usage};

/// A partition of the bucket, or a segment's file.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Partition(PartitionId),
    File(PathBuf),
}

impl Target {
    /// A name that ends in `.kfs` is a path: no partition is called so.
    pub(crate) fn parse(text: &str, namespace: &Namespace) -> Outcome<Self> {
        if text.ends_with(".kfs") || (is_path(text) && !Path::new(text).is_file()) {
            return Ok(Target::File(PathBuf::from(text)));
        }
        if Path::new(text).is_file() {
            return Err(usage(
                format!("{text} is a file, but not called .kfs"),
                "name a partition as topic/partition, or a segment's file; `kfs inspect` takes any file",
            ));
        }
        Ok(Target::Partition(PartitionId::parse(text, namespace.clone())?))
    }
}

/// Whether a name can only be meant as a path: no partition and no key begins so.
pub(crate) fn is_path(text: &str) -> bool {
    ["./", "../", "/"].iter().any(|start| text.starts_with(start))
}
