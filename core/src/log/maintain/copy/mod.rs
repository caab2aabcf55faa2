//! Copying a log into another partition, of the same bucket or of another one.

mod job;
mod plan;
mod source;
mod target;
mod walk;

use std::sync::Arc;
use std::time::Duration;

pub use self::plan::{CopyOptions, CopyPlan, CopyReport};

pub(super) use self::job::forget_copy;
pub(super) use self::source::read_listed;

use self::job::CopyJob;
use self::plan::CopyWatcher;
use self::walk::Copying;
use super::store_time::{GRACE, StoreTime};
use crate::error::{Error, ErrorKind, Result};
use crate::log::deletion::{Deletion, DeletionStage};
use crate::log::identity::read_log_json;
use crate::log::partition::Partition;
use crate::log::reader::refresh_range;
use crate::log::state::PartitionState;

impl Partition {
    /// Says what copying this partition's log into another partition will do, of this bucket or of another one. Writes nothing.
    ///
    /// The requests are, of the source, those of [`refresh`](Self::refresh), a GET of `log.json` and a LIST for each 500
    /// segments; of the target a GET, and those of [`refresh`](Self::refresh).
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Invalid input for options that make no sense; out of range for offsets that the source does not have; conflict for a
    /// target that has a log which is no such copy, and for one that was begun with other options; not found for a source that
    /// was never made; unsupported where a [`LogSource`](crate::LogSource) holds a log; what the stores answer.
    pub async fn plan_copy(&self, target: &Partition, options: &CopyOptions) -> Result<CopyPlan> {
        options.check()?;
        let (source, target, options) = (self.state().clone(), target.state().clone(), options.clone());
        let look = async move { Ok(look(&source, &target, &options).await?.plan) };
        self.state().runtime().ask(look).await
    }

    /// Copies this partition's log into another partition, by the options of the plan. Where an earlier call was interrupted,
    /// copying goes on: no segment is copied twice.
    ///
    /// Offsets, batches and their bytes stay as they are. The copy is a log of its own, with a `log_id` of its own, and its
    /// segments carry `kfscopied`. The CRCs of all that is read are checked. Segments are put in the order of their offsets,
    /// each after its indexes, so that what is there of the copy can be read at any time. Nobody else may write to the
    /// target meanwhile.
    ///
    /// The requests are those of the plan and, for each segment, a GET of the source and 2 or 3 PUTs. Segments are read
    /// ahead, 32 MiB of them at a time, or one that is larger.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// As [`plan_copy`](Self::plan_copy); corrupt for a segment that can't be read; conflict where somebody else writes to the
    /// target; unavailable where the source changes faster than it can be read. What was copied stays.
    pub async fn copy(&self, target: &Partition, plan: &CopyPlan) -> Result<CopyReport> {
        self.copy_with(target, plan, |_| ()).await
    }

    /// As [`copy`](Self::copy), and tells what was copied so far, after each segment. `told` must not block.
    ///
    /// # Errors
    /// As [`copy`](Self::copy).
    pub async fn copy_with(
        &self,
        target: &Partition,
        plan: &CopyPlan,
        told: impl Fn(&CopyReport) + Send + Sync + 'static,
    ) -> Result<CopyReport> {
        let (source, target, options) = (self.state().clone(), target.state().clone(), plan.options.clone());
        self.state().runtime().run(async move { carry_out(source, target, &options, &told).await }).await
    }
}

/// What there is to do, and the copy that was begun.
struct LookAtCopy {
    plan: CopyPlan,
    job: CopyJob,
    was_begun: bool,
}

async fn look(source: &Arc<PartitionState>, target: &Arc<PartitionState>, options: &CopyOptions) -> Result<LookAtCopy> {
    source.check_has_segments()?;
    target.check_has_segments()?;
    let range = refresh_range(source).await?;
    let (start, end) = (range.log_start, range.high_watermark);
    let from = options.from.unwrap_or(start);
    if !(start..=end).contains(&from) {
        let message =
            format!("a copy of {} can't start at {from}: its log has the offsets {start} to {end}", source.id);
        return Err(Error::new(ErrorKind::OutOfRange, message).with_log_range(start, end));
    }
    let to = options.to.unwrap_or(end).min(end);
    let log_id = match read_log_json(source, source.store()).await {
        Ok((identity, _)) => identity.log_id,
        // KafScale's logs have none.
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let job = CopyJob::new(target, &source.id, &log_id, options)?;
    let begun = CopyJob::find(target).await?;
    let there = match refresh_range(target).await {
        Ok(range) => Some(range.high_watermark),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let was_begun = begun.is_some();
    let job = match begun {
        Some(begun) => {
            begun.check_same(&target.id, &job)?;
            begun
        }
        None if there.is_some() => {
            let message = format!("{} has a log already, which is no copy of {}", target.id, source.id);
            return Err(Error::new(ErrorKind::Conflict, message).with_hint("copy into a partition that has no log"));
        }
        None => job,
    };
    if there.is_none() {
        refuse_deleted(target, target.now_ms()).await?;
    }
    let next = there.unwrap_or(from);
    let (mut segments, mut bytes) = (0_u64, 0_u64);
    if next < to {
        let mut pages = Partition::new(source.clone()).segments(next..to);
        while let Some(page) = pages.next_page().await? {
            segments = segments.saturating_add(page.len() as u64);
            bytes = page.iter().fold(bytes, |sum, info| sum.saturating_add(info.size));
        }
    }
    let (source, target, options) = (source.id.clone(), target.id.clone(), options.clone());
    let plan = CopyPlan { source, target, options, from, next, to, segments, bytes };
    Ok(LookAtCopy { plan, job, was_begun })
}

/// Refuses to copy into a partition that was deleted a short while ago. Equal bytes have equal ETags, so a merge that was on its
/// way then could take the copy for what it read (`kfs-model`, `CopyWithinGrace`).
async fn refuse_deleted(target: &PartitionState, now_ms: i64) -> Result<()> {
    let Some(found) = Deletion::find(target).await? else { return Ok(()) };
    let key = Deletion::key(&target.id);
    if found.deletion.stage != DeletionStage::Ended {
        let message = format!("{} is being deleted, and that has not ended", target.id);
        return Err(Error::new(ErrorKind::Conflict, message)
            .with_hint(format!("`kfs delete {}` goes on with it", target.id))
            .with_key(key));
    }
    let age = Duration::from_millis(u64::try_from(now_ms.saturating_sub(found.modified_ms)).unwrap_or(0));
    if age >= GRACE {
        return Ok(());
    }
    let minutes = GRACE.saturating_sub(age).as_secs().div_ceil(60);
    let message = format!(
        "{} was deleted less than a day ago, and a merge that was on its way then might write into a copy",
        target.id
    );
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let hint = format!(
        "copy into another partition, or into this one in {hours} h {minutes} min; delete that object if no other maintenance was at work"
    );
    Err(Error::new(ErrorKind::Conflict, message).with_hint(hint).with_key(key))
}

async fn carry_out(
    source: Arc<PartitionState>,
    target: Arc<PartitionState>,
    options: &CopyOptions,
    told: CopyWatcher<'_>,
) -> Result<CopyReport> {
    target.bucket.fork.check()?;
    target.allow_writing().await?;
    let LookAtCopy { plan, job, was_begun } = look(&source, &target, options).await?;
    let job = if was_begun {
        job
    } else {
        if Deletion::find(&target).await?.is_some() {
            let time = StoreTime::ask(&target).await?;
            refuse_deleted(&target, time.now_ms(target.runtime().clock().elapsed())).await?;
        }
        let there = job.begin(&target).await?;
        there.check_same(&target.id, &job)?;
        there
    };
    let report = CopyReport {
        source: source.id.clone(),
        target: target.id.clone(),
        segments: 0,
        bytes: 0,
        next: plan.next,
        holes: 0,
    };
    let CopyOptions { segment_size, before_time, .. } = *options;
    let (from, to) = (plan.from, plan.to);
    let mut copying =
        Copying { source, target, job, segment_size, before_time, to, report, growing: None, interval: None, told };
    copying.begin_log(from).await?;
    copying.run().await?;
    Ok(copying.report)
}
