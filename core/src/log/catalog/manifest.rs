//! What the log's manifest says. It is a hint: it stands beside what is known, and never becomes part of it.

use std::sync::Arc;

use super::Catalog;
use super::entry::{KnownManifest, NamedSegment};
use crate::format::{LogManifest, NamedVersion};
use crate::store::Version;

/// A manifest of fewer segments saves nothing: two pages show as many.
const LEAST_SEGMENTS: usize = 1000;

impl Catalog {
    /// A listing of the log's start showed this manifest, or none.
    pub(crate) fn set_manifest_listed(&mut self, listed: Option<Version>) {
        let known = &self.manifest;
        if listed.as_ref().zip(known.listed.as_ref()).is_some_and(|(one, two)| one.same_as(two)) {
            return;
        }
        self.manifest = KnownManifest { listed, ..KnownManifest::default() };
        self.count();
    }

    /// The manifest, if it was read and is of use.
    pub(crate) fn manifest(&self) -> Option<Arc<LogManifest>> {
        self.manifest.held.clone()
    }

    /// The version of the manifest to read, and the most bytes it may have; `None` where there is none that is worth it.
    pub(crate) fn manifest_to_read(&self) -> Option<(Version, usize)> {
        let most = self.share.most_of_manifest();
        let listed = self.manifest.listed.as_ref().filter(|_| !self.manifest.tried)?;
        let fits = LogManifest::least_len(LEAST_SEGMENTS)..=u64::try_from(most).unwrap_or(u64::MAX);
        fits.contains(&listed.size()).then(|| (listed.clone(), most))
    }

    /// The manifest of this version was read: `None` if it can't be used. One of another log than the one that is known is not held.
    pub(crate) fn hold_manifest(&mut self, of: &Version, read: Option<LogManifest>) {
        // The log may have been made again since, or another manifest listed.
        if !self.manifest.listed.as_ref().is_some_and(|listed| listed.same_as(of)) {
            return;
        }
        let is_of_this_log = |manifest: &LogManifest| {
            let has_log_json = self.start.is_some_and(|start| start.has_log_json);
            match (manifest.log_json(), self.log.as_ref().filter(|_| has_log_json)) {
                (Some(named), Some(log)) => version_of(named).same_as(&log.version),
                (named, known) => named.is_none() && known.is_none() && !has_log_json,
            }
        };
        self.manifest.held = read.filter(|manifest| !manifest.is_empty() && is_of_this_log(manifest)).map(Arc::new);
        self.manifest.tried = true;
        self.count();
    }

    /// The manifest named what is not there. It is not asked again.
    pub(crate) fn drop_hints(&mut self) {
        (self.manifest.held, self.manifest.tried) = (None, true);
        self.count();
    }

    /// The segment of at most so many bytes that holds an offset, if the manifest is right: it names all segments from there on, and
    /// one after it. It may have been replaced or removed since. So it is read by its version or not at all.
    pub(crate) fn hinted(&self, offset: i64, most: u64) -> Option<NamedSegment> {
        let manifest = self.manifest.held.as_ref()?;
        let at = manifest.at_most(offset)?;
        let base = manifest.base(at).filter(|base| *base >= manifest.dense_from())?;
        let named = manifest.version(at).filter(|named| !named.e_tag.is_empty() && named.size <= most)?;
        let next = manifest.base(at.checked_add(1)?)?;
        Some(NamedSegment { base, version: version_of(named), next })
    }
}

fn version_of(named: NamedVersion<'_>) -> Version {
    let e_tag = Some(named.e_tag).filter(|e_tag| !e_tag.is_empty());
    Version::new(e_tag, named.size, Some(named.modified_ms))
}
