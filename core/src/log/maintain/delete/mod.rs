//! Deleting a partition.

mod report;
mod rest;
mod sweep;

use std::sync::Arc;

pub use self::report::{DeletePlan, DeleteReport};

use self::rest::Rest;
use self::sweep::{Sweep, Swept};
use super::entries::count_all;
use super::log_start::put_mark;
use super::requests::{put, remove};
use super::store_time::{BOUND, StoreTime};
use crate::error::{Error, ErrorKind, Result};
use crate::log::deletion::{Deletion, DeletionStage, FoundDeletion, log_id};
use crate::log::partition::Partition;
use crate::log::reader::refresh_range;
use crate::log::state::PartitionState;
use crate::log::watermarks::Watermarks;
use crate::log::writer::WriterOptions;

impl Partition {
    /// Says what deleting this partition will do. Writes nothing. For `now`, see [`DeletePlan::now`].
    ///
    /// The requests are those of [`refresh`](Self::refresh), 2 GETs, and a LIST for each 1,000 keys of the log.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Not found for a partition that was never made or is deleted; unsupported where a [`LogSource`](crate::LogSource)
    /// holds the log; what the store answers. A log whose end can't be read is an error unless `now` is set.
    pub async fn plan_delete(&self, now: bool) -> Result<DeletePlan> {
        let state = self.state().clone();
        self.state().runtime().ask(async move { find_plan(&state, now).await }).await
    }

    /// Deletes the log, in up to three calls: each says in its report when the next one can go on. After an interruption a new
    /// call goes on where the one before stopped.
    ///
    /// The first call claims the partition, which displaces writers of other processes, and moves the log start to the end: from
    /// then on nothing is read any more. It removes the segments from the oldest up; those that are younger than 6 minutes, and
    /// so the claim's own, wait for the second call. When no segment has been there for 6 minutes, the third call removes
    /// the rest. With [`now`](DeletePlan::now) one call does all of it.
    ///
    /// The object `.kfs-deleted/{topic}/{partition}` in the namespace says how far it has come. It stays, and for a day no copy is
    /// put in the place of the log.
    ///
    /// The requests are a claim's, 3 to ask the store for its time, PUT and HEAD of a mark, a LIST for each 1,000 keys, and
    /// a DELETE for each object.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// Conflict while a writer of this process is open, and where another writer appended since the first call: what it
    /// appended stays, and a new call deletes that too. As [`plan_delete`](Self::plan_delete). What was removed before an
    /// error stays removed.
    pub async fn delete(&self, plan: &DeletePlan) -> Result<DeleteReport> {
        let (partition, now) = (self.clone(), plan.now);
        self.state().runtime().run(async move { carry_out(&partition, now).await }).await
    }
}

/// The range of the log. `None` where only a deletion is left of it, and for `now` where it can't be read.
async fn range(state: &Arc<PartitionState>, begun: bool, now: bool) -> Result<Option<Watermarks>> {
    match refresh_range(state).await {
        Ok(range) => Ok(Some(range)),
        Err(error) if error.kind() == ErrorKind::NotFound && begun => Ok(None),
        Err(error) if error.kind() == ErrorKind::Corrupt && (now || begun) => Ok(None),
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let name = state.id.clone();
            Err(error.with_hint(format!("`kfs delete {name} --now` deletes a log that can't be read")))
        }
        Err(error) => Err(error),
    }
}

async fn find_plan(state: &Arc<PartitionState>, now: bool) -> Result<DeletePlan> {
    state.check_has_segments()?;
    let was_begun = Deletion::under_way(state).await?.is_some();
    let range = range(state, was_begun, now).await?;
    let (segments, bytes) = count_all(state).await?;
    Ok(DeletePlan {
        partition: state.id.clone(),
        log_start: range.map(|range| range.log_start),
        high_watermark: range.map(|range| range.high_watermark),
        segments,
        bytes,
        was_begun,
        now,
    })
}

/// Step by step, each of which the model shows to be needed (`kfs-model`, `maintainers/deletion.rs`):
///
/// 1. A claim displaces all writers, and its segment is the log's newest.
/// 2. A marker tells later calls which claim is the deletion's, and writers that open that it is under way.
/// 3. The log start moves to the end, so that readers are told.
/// 4. The segments go, strictly from the oldest up, the claim's last. One that is younger than the bound stays: a writer
///    that the claim displaced may still want its slot.
/// 5. When none has been there for the bound, `log.json` goes, and the marks. Until then a writer that saw the claim's segment may
///    append after it, and another maintainer may delete what it saw in one of the slots.
async fn carry_out(partition: &Partition, now: bool) -> Result<DeleteReport> {
    let state = partition.state();
    state.bucket.fork.check()?;
    state.check_has_segments()?;
    if state.live_writers().iter().any(|writer| writer.is_live()) {
        let message = format!("{} can't be deleted while a writer of this process is open", state.id);
        return Err(Error::new(ErrorKind::Conflict, message).with_hint("close it first"));
    }
    state.allow_writing().await?;
    let mut report = DeleteReport { partition: state.id.clone(), segments: 0, bytes: 0, foreign: 0, wait: None };
    let deletion = match Deletion::under_way(state).await? {
        Some(found) => found.deletion,
        None => begin(partition, now).await?,
    };
    if let Some(end) = deletion.end {
        put_mark(state, end).await?;
        // Readers of this process learn of it at once.
        state.watermarks.learn(Some(end), end, state.now_ms());
    }
    // What is deleted at once has no age to wait for.
    let (time, up_to) = if now { (None, None) } else { (Some(StoreTime::ask(state).await?), deletion.claim) };
    match Sweep::new(state, time, up_to).run(&mut report).await? {
        Swept::All => {}
        Swept::Young(wait) => {
            report.wait = Some(wait);
            return Ok(report);
        }
        Swept::Beyond(base) => return Err(lives_on(state, base).await?),
    }
    if let Some(time) = &time {
        report.wait = await_bound(state, &deletion, time, report.segments > 0).await?;
        if report.wait.is_some() {
            return Ok(report);
        }
    }
    let rest = Rest::find(state).await?;
    rest.remove(state).await?;
    report.foreign = rest.foreign;
    mark(state, &Deletion { stage: DeletionStage::Ended, ..deletion }).await?;
    state.forget_log();
    Ok(report)
}

/// Displaces the writers, and writes down that the log is being deleted.
async fn begin(partition: &Partition, now: bool) -> Result<Deletion> {
    let state = partition.state();
    let range = range(state, false, now).await?;
    let mut deletion = Deletion {
        log_id: String::new(),
        claim: None,
        end: range.map(|range| range.high_watermark),
        stage: DeletionStage::Begun,
    };
    if !now {
        let epoch = highest_epoch(partition, range.map_or(0, |range| range.high_watermark)).await?;
        let leader_epoch = Some(epoch).filter(|epoch| *epoch >= 0);
        let writer = partition.writer_with(WriterOptions { leader_epoch, ..WriterOptions::default() }).await?;
        let claimed = writer.claim().await?;
        writer.close(None).await?;
        (deletion.claim, deletion.end) = (Some(claimed.base), Some(claimed.last.saturating_add(1)));
    }
    deletion.log_id = log_id(state).await?.unwrap_or_default();
    mark(state, &deletion).await?;
    Ok(deletion)
}

/// The leader epoch of the last batch; -1 where there is none.
async fn highest_epoch(partition: &Partition, high_watermark: i64) -> Result<i32> {
    let Some(last) = high_watermark.checked_sub(1).filter(|last| *last >= 0) else { return Ok(-1) };
    match partition.reader().fetch(last, 1).await {
        Ok(fetched) => {
            let epochs = fetched.batches().flatten().map(|batch| batch.header().leader_epoch);
            Ok(epochs.last().unwrap_or(-1))
        }
        // All records are deleted, or the log is empty.
        Err(error) if error.kind() == ErrorKind::OutOfRange => Ok(-1),
        Err(error) => Err(error),
    }
}

/// No segment is left. How long that has to stay so before the rest goes. `None` if it has been so for the bound.
async fn await_bound(
    state: &Arc<PartitionState>,
    deletion: &Deletion,
    time: &StoreTime,
    removed_some: bool,
) -> Result<Option<std::time::Duration>> {
    let found = Deletion::find(state).await?;
    let emptied = found.filter(|found| found.deletion.stage == DeletionStage::Emptied && !removed_some);
    match emptied {
        Some(FoundDeletion { modified_ms, .. }) => {
            let age = time.since(modified_ms, state.runtime().clock().elapsed());
            Ok(Some(BOUND.saturating_sub(age)).filter(|left| !left.is_zero()))
        }
        None => {
            mark(state, &Deletion { stage: DeletionStage::Emptied, ..deletion.clone() }).await?;
            Ok(Some(BOUND))
        }
    }
}

/// The error where somebody appended after the claim. The log lives on, so the deletion is over.
async fn lives_on(state: &Arc<PartitionState>, base: i64) -> Result<Error> {
    remove(state, "ending a deletion", &Deletion::key(&state.id)).await?;
    let message = format!("a writer appended to {} at {base}, after its deletion began", state.id);
    Ok(Error::new(ErrorKind::Conflict, message).with_key(state.id.segment_key(base)).with_hint(
        "what was there before is deleted, and what it appended stays; delete it again if that is to go, too",
    ))
}

/// Writes down how far the deletion has come.
async fn mark(state: &Arc<PartitionState>, deletion: &Deletion) -> Result<()> {
    put(state, "writing down that a log is deleted", &Deletion::key(&state.id), deletion.encode()).await
}
