//! What a call does with a log, one step after the other: runs of small segments to merge, leftovers to remove.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::entries::ListedSegment;
use super::super::store_time::{BOUND, StoreTime};
use super::policy::MergePolicy;
use super::survey::{Cover, Survey, SurveyEntry};
use crate::error::Result;
use crate::format::{FOOTER_LEN, HEADER_LEN};
use crate::log::state::PartitionState;

/// Bytes of a segment that are no batches.
pub(super) const FRAME_LEN: u64 = (HEADER_LEN + FOOTER_LEN) as u64;

/// Small neighbours that fit into one segment.
#[derive(Clone, Debug, Default)]
pub(super) struct SmallRun {
    pub(super) segments: Vec<ListedSegment>,
    /// Bytes of the segment that they become, if all are what their keys say.
    pub(super) bytes: u64,
}

/// What comes next in a log.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// At least two segments, which together are large enough.
    Merge(SmallRun),
    /// Small segments that are too little together.
    Wait(SmallRun),
    /// The indexes of a merged segment are not right, as far as keys tell.
    Finish(ListedSegment),
    /// What merging left of this segment, as far as keys tell.
    Leftovers(Leftovers),
}

/// Segments that begin inside another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leftovers {
    pub(super) cover: Cover,
    pub(super) segments: u64,
    pub(super) bytes: u64,
}

/// Goes through a log and cuts it into steps.
pub(super) struct Steps<'a> {
    state: &'a Arc<PartitionState>,
    policy: &'a MergePolicy,
    time: &'a StoreTime,
    /// What lies wholly below is left to retention.
    log_start: i64,
    survey: Survey,
    run: SmallRun,
    leftovers: Option<Leftovers>,
    ready: VecDeque<Step>,
    ended: bool,
}

impl<'a> Steps<'a> {
    pub(super) fn of(
        state: &'a Arc<PartitionState>,
        policy: &'a MergePolicy,
        time: &'a StoreTime,
        log_start: i64,
    ) -> Self {
        Steps {
            state,
            policy,
            time,
            log_start,
            survey: Survey::of(state),
            run: SmallRun::default(),
            leftovers: None,
            ready: VecDeque::new(),
            ended: false,
        }
    }

    /// The next step; `None` at the end of the log.
    pub(super) async fn next(&mut self) -> Result<Option<Step>> {
        while self.ready.is_empty() && !self.ended {
            match self.survey.next().await? {
                Some(SurveyEntry::Head(segment, next)) => {
                    self.end_leftovers();
                    self.add_head(segment, next);
                }
                Some(SurveyEntry::Inside(segment, cover)) => {
                    let leftovers = self.leftovers_of(cover);
                    leftovers.segments = leftovers.segments.saturating_add(1);
                    leftovers.bytes = leftovers.bytes.saturating_add(segment.object.size);
                }
                Some(SurveyEntry::Unfinished(segment)) => self.ready.push_back(Step::Finish(segment)),
                Some(SurveyEntry::Strays(cover)) => {
                    let _none = self.leftovers_of(cover);
                }
                // The newest comes last.
                Some(SurveyEntry::Newest) | None => {
                    self.end_leftovers();
                    self.end_run();
                    self.ended = true;
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    fn add_head(&mut self, segment: ListedSegment, next: i64) {
        let batches = segment.object.size.saturating_sub(FRAME_LEN);
        let is_young = self.time.age(&segment.object, self.state.runtime().clock().elapsed()) < BOUND;
        if next <= self.log_start || is_young || segment.object.size >= self.policy.small_size() {
            self.end_run();
            return;
        }
        if self.run.bytes.saturating_add(batches) > self.policy.target_size {
            self.end_run();
        }
        if self.run.segments.is_empty() {
            self.run.bytes = FRAME_LEN;
        }
        self.run.bytes = self.run.bytes.saturating_add(batches);
        self.run.segments.push(segment);
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        match run.segments.len() {
            0 | 1 => {}
            _ if run.bytes < self.policy.least_size() => self.ready.push_back(Step::Wait(run)),
            _ => self.ready.push_back(Step::Merge(run)),
        }
    }

    fn leftovers_of(&mut self, cover: Cover) -> &mut Leftovers {
        if self.leftovers.is_some_and(|leftovers| leftovers.cover != cover) {
            self.end_leftovers();
        }
        self.leftovers.get_or_insert(Leftovers { cover, segments: 0, bytes: 0 })
    }

    fn end_leftovers(&mut self) {
        self.ready.extend(self.leftovers.take().map(Step::Leftovers));
    }
}
