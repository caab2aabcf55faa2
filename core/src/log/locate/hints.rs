//! What the log's manifest is good for: a place to list from, near the goal of a look.
//!
//! The keys that are listed there are the truth, whatever the manifest says. If they show that it is of no use, the look goes on as
//! if there were none, and it is not asked again. So a manifest that is stale or broken costs its GET and one LIST.

use super::NEIGHBOURS;
use super::aim::Aim;
use super::locator::{Hinted, Locator};
use crate::error::Result;
use crate::format::LogManifest;
use crate::mutant::mutant;
use crate::store::{ReadRange, may_pass};

impl Locator<'_> {
    /// Asks the manifest, once for each look that has seen the log's start and that one page does not end.
    pub(super) async fn ask_manifest(&mut self, aim: &mut Aim) -> Result<Hinted> {
        if aim.low.is_none() || aim.is_near() || std::mem::replace(&mut self.has_asked, true) {
            return Ok(Hinted::Nothing);
        }
        self.read_manifest().await;
        let (manifest, named) = self.state.with_catalog(|catalog| {
            let named = self.most_named.and_then(|most| catalog.hinted(aim.high, most));
            (catalog.manifest(), named)
        });
        let Some(manifest) = manifest else { return Ok(Hinted::Nothing) };
        if named.is_some() {
            return Ok(Hinted::Named);
        }
        match place_near(&manifest, aim.high).filter(|after| aim.low.is_some_and(|low| *after > low)) {
            Some(after) => self.jump(aim, after, &manifest).await,
            None => Ok(Hinted::Nothing),
        }
    }

    /// Lists the page above a place that the manifest names.
    async fn jump(&mut self, aim: &mut Aim, after: i64, manifest: &LogManifest) -> Result<Hinted> {
        let (spent, before) = (self.spent, aim.clone());
        let mut page = self.page(after).await?;
        if mutant!(TrustManifestTail) && aim.is_newest() {
            let last = manifest.base(manifest.len().saturating_sub(1));
            page.segments.retain(|segment| Some(segment.base) <= last);
            page.to_end = true;
        }
        // It is paid for apart: the bounds of the look hold without it.
        self.spent = spent;
        if self.take(aim, after, &page) {
            return Ok(Hinted::Found);
        }
        // An offset may lie far beyond all that the manifest names, and is then found by what the log's start tells. The tail is
        // nearer by all that was passed over.
        let is_nearer = aim.low > before.low;
        if !is_nearer {
            self.state.with_catalog(|catalog| catalog.drop_hints());
        }
        if !(is_nearer && aim.is_newest()) {
            *aim = before;
        }
        Ok(Hinted::Nothing)
    }

    /// Reads the manifest that was listed, unless that was done: one GET. A store that does not give it is asked once: all goes on
    /// without.
    async fn read_manifest(&self) {
        let Some((listed, most)) = self.state.with_catalog(|catalog| catalog.manifest_to_read()) else { return };
        let most = ReadRange::AtMost(u64::try_from(most).unwrap_or(u64::MAX));
        let read = match self.store.get(&self.state.id.log_manifest_key(), most, None).await {
            Ok(found) => LogManifest::parse(&found.bytes).ok(),
            Err(failed) if may_pass(&failed) => return,
            Err(_) => None,
        };
        let is_over = self.state.with_catalog(|catalog| {
            catalog.hold_manifest(&listed, read);
            catalog.is_over()
        });
        if is_over {
            self.state.bucket.shed_catalogs();
        }
    }
}

/// Above which base to list, so that a page shows the segment with the greatest base at or below the goal: a little below it,
/// because neighbours may have been merged.
pub(super) fn place_near(manifest: &LogManifest, goal: i64) -> Option<i64> {
    let at = manifest.at_most(goal)?;
    let is_dense = |number: &usize| manifest.base(*number).is_some_and(|base| base >= manifest.dense_from());
    // Of those before, too few are named to begin further below.
    let from = (at.saturating_sub(NEIGHBOURS)..at).find(is_dense).unwrap_or(at);
    manifest.base(from)?.checked_sub(1)
}
