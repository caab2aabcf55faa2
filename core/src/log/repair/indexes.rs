//! Building indexes again from their segments.

use std::fmt;

use bytes::Bytes;
use object_store::PutPayload;

use crate::error::{ErrorKind, Result};
use crate::format::{DEFAULT_INDEX_INTERVAL, MAX_SEGMENT_LEN, SparseIndex};
use crate::log::partition::Partition;
use crate::log::pieces::{PieceReader, PieceTries};
use crate::log::segment_info::SegmentInfo;
use crate::log::verify::{
    Beside, CheckedSegment, Finding, FindingKind, LOOKS, always_replaced, check_in_pieces, is_listed,
};
use crate::log::writer::bounded;
use crate::store::{ReadRange, StoreReader, Version};

/// One index that is to be written.
#[derive(Clone)]
#[non_exhaustive]
pub struct IndexRepair {
    /// The index's key.
    pub key: String,
    /// What is wrong with it.
    pub finding: Finding,
    /// What will be written.
    pub bytes: Bytes,
    segment_key: String,
    segment: Version,
}

impl fmt::Debug for IndexRepair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexRepair").field("finding", &self.finding).field("bytes", &self.bytes.len()).finish()
    }
}

/// What [`Partition::repair`] will do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RepairPlan {
    /// Indexes that are missing or not their segment's.
    pub indexes: Vec<IndexRepair>,
    /// What is wrong with segments themselves. Only setting a segment aside helps against it.
    pub beyond_repair: Vec<Finding>,
}

impl Partition {
    /// Finds what can be repaired: reads every segment and its index. Writes nothing.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn plan_repair(&self) -> Result<RepairPlan> {
        let partition = self.clone();
        self.state().runtime().ask(async move { partition.find_repairs().await }).await
    }

    /// Writes the indexes of a plan. An index whose segment changed since the plan was made is left
    /// alone. Gives how many were written.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// What the store answers; indexes before the one that failed are written.
    pub async fn repair(&self, plan: &RepairPlan) -> Result<usize> {
        let (state, indexes) = (self.state().clone(), plan.indexes.clone());
        self.state()
            .runtime()
            .run(async move {
                state.allow_writing().await?;
                let mut written = 0_usize;
                for repair in indexes {
                    if is_same(state.store(), &repair.segment_key, &repair.segment).await? {
                        let size = repair.bytes.len() as u64;
                        let put = state.writes().put(&repair.key, PutPayload::from_bytes(repair.bytes));
                        bounded(state.runtime(), size, put).await.map_err(|late| late.with_key(&*repair.key))??;
                        state.observer().index_repaired(&state.id, &repair.key);
                        written = written.saturating_add(1);
                    }
                }
                Ok(written)
            })
            .await
    }

    async fn find_repairs(&self) -> Result<RepairPlan> {
        let (state, mut plan) = (self.state(), RepairPlan::default());
        state.check_has_segments()?;
        let mut segments = self.segments(..);
        let mut interval = DEFAULT_INDEX_INTERVAL;
        while let Some(page) = segments.next_page().await? {
            for info in page.into_iter().filter(|info| info.size <= MAX_SEGMENT_LEN) {
                match self.checked(&info, &mut interval).await {
                    Ok((checked, version)) => plan.add(&info.key, state.id.index_key(info.base), checked, &version),
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        if is_listed(state, &info.key).await? {
                            plan.beyond_repair.push(Finding::listed_alone(&info));
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(plan)
    }

    /// Checks a segment and its index, again from the beginning if it is replaced meanwhile. `interval` is that of the
    /// indexes before it: a log's indexes have one interval, most likely.
    async fn checked(&self, info: &SegmentInfo, interval: &mut i32) -> Result<(CheckedSegment, Version)> {
        let mut looks = LOOKS;
        loop {
            match self.look(info, interval).await {
                Err(replaced) if replaced.kind() == ErrorKind::Conflict => {
                    looks = looks.saturating_sub(1);
                    if looks == 0 {
                        return Err(always_replaced(&info.key, replaced));
                    }
                }
                looked => return looked,
            }
        }
    }

    async fn look(&self, info: &SegmentInfo, interval: &mut i32) -> Result<(CheckedSegment, Version)> {
        let state = self.state();
        let mut reader = PieceReader::open(state, &info.key, MAX_SEGMENT_LEN, PieceTries::UntilAnswered).await?;
        let most = ReadRange::AtMost(SparseIndex::max_len(info.size));
        let index = match state.get(&state.id.index_key(info.base), most, None).await {
            Ok(fetched) => Some(fetched.bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // One that is too large to be an index is wrong, whatever is in it.
            Err(error) if error.kind() == ErrorKind::Corrupt => Some(Bytes::new()),
            Err(error) => return Err(error),
        };
        let mut beside = Beside { index, index_expected: true, ..Beside::default() };
        *interval = beside.stored_interval().filter(|interval| *interval > 0).unwrap_or(*interval);
        beside.rebuild = Some(*interval);
        let checked = check_in_pieces(state, &mut reader, info.base, beside, None).await?;
        Ok((checked, reader.version().clone()))
    }
}

impl RepairPlan {
    fn add(&mut self, segment_key: &str, key: String, checked: CheckedSegment, segment: &Version) {
        let right = checked.rebuilt.map(|index| index.encode());
        for finding in checked.findings {
            match (finding.kind, &right) {
                (FindingKind::IndexMissing | FindingKind::IndexWrong, Some(right)) => {
                    self.indexes.push(IndexRepair {
                        key: key.clone(),
                        finding,
                        bytes: right.clone(),
                        segment_key: segment_key.to_owned(),
                        segment: segment.clone(),
                    });
                }
                (FindingKind::Segment | FindingKind::Batch, _) => self.beyond_repair.push(finding),
                _ => {}
            }
        }
    }
}

/// Whether the object is this version still.
pub(super) async fn is_same(store: &StoreReader, key: &str, version: &Version) -> Result<bool> {
    match store.head(key).await {
        Ok(found) => Ok(found.info.version.same_as(version)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
