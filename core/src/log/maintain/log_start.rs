//! Moving the log's start, which Kafka calls DeleteRecords.

use std::fmt;
use std::sync::Arc;

use object_store::PutPayload;

use super::entries::count_below;
use super::removal::remove_below_mark;
use super::store_time::StoreTime;
use crate::error::{Error, ErrorKind, Result};
use crate::format::PartitionId;
use crate::log::locate::look_at_log;
use crate::log::partition::Partition;
use crate::log::reader::refresh_range;
use crate::log::retry::Retry;
use crate::log::state::PartitionState;
use crate::log::writer::bounded;
use crate::mutant::mutant;
use crate::store::{Created, Identity, may_pass};
use crate::text::counted;

/// What limits a log, in a [`RetentionPolicy`](super::RetentionPolicy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetentionLimit {
    /// The age of its records.
    Age,
    /// Its bytes.
    Bytes,
    /// The first offset to keep.
    Offset,
}

impl RetentionLimit {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            RetentionLimit::Age => "age",
            RetentionLimit::Bytes => "bytes",
            RetentionLimit::Offset => "offset",
        }
    }
}

/// What [`Partition::set_log_start`] will do. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogStartPlan {
    /// The partition.
    pub partition: PartitionId,
    /// Where the log starts now.
    pub log_start: i64,
    /// Where it will start. Nothing below is served any more.
    pub new_log_start: i64,
    /// One past the last durable offset.
    pub high_watermark: i64,
    /// Segments that lie wholly below the new start, as far as their keys tell. The newest segment is never among them.
    pub segments: u64,
    /// Their bytes, without those of their indexes.
    pub bytes: u64,
    /// The limit of a [`RetentionPolicy`](super::RetentionPolicy) that moves the log start. `None` where the caller named the
    /// offset, and where nothing moves.
    pub limit: Option<RetentionLimit>,
}

impl fmt::Display for LogStartPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogStartPlan { partition, log_start, new_log_start, segments, bytes, .. } = self;
        match new_log_start > log_start {
            true => {
                write!(f, "{partition}: the log start moves from {log_start} to {new_log_start}")?;
                if let Some(limit) = self.limit {
                    write!(f, " by the limit of {}", limit.name())?;
                }
            }
            false => write!(f, "{partition}: the log start stays at {log_start}")?,
        }
        let lie = if *segments == 1 { "lies" } else { "lie" };
        write!(f, ", and {} with {bytes} bytes {lie} below it", counted(*segments, "segment"))
    }
}

/// What [`Partition::set_log_start`] did. It prints as a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogStartReport {
    /// The partition.
    pub partition: PartitionId,
    /// Where the log starts now.
    pub log_start: i64,
    /// Segments that were removed.
    pub segments: u64,
    /// Their bytes, without those of their indexes.
    pub bytes: u64,
    /// Removal ended early, at a segment that is younger than 6 minutes. It is no longer served; a later call removes it.
    pub spared: bool,
}

impl fmt::Display for LogStartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogStartReport { partition, log_start, segments, bytes, spared } = self;
        let were = if *segments == 1 { "was" } else { "were" };
        let segments = counted(*segments, "segment");
        write!(f, "{partition}: the log starts at {log_start}, and {segments} with {bytes} bytes {were} removed")?;
        match spared {
            true => f.write_str("; segments that are younger than 6 minutes wait for a later call"),
            false => Ok(()),
        }
    }
}

impl Partition {
    /// Says what moving the log's start to this offset will do. Writes nothing. `-1` stands for the high watermark, as in
    /// Kafka's DeleteRecords. An offset below the log's start moves nothing, and what lies below the start is removed.
    ///
    /// The requests are those of [`refresh`](Self::refresh), and a LIST for each 1,000 keys below the offset.
    ///
    /// Dropping the future ends the wait. A request that is under way may go on for 30 s.
    ///
    /// # Errors
    /// Out of range for an offset above the high watermark; not found for a partition that was never made; unsupported where a
    /// [`LogSource`](crate::LogSource) holds the log; what the store answers.
    pub async fn plan_log_start(&self, offset: i64) -> Result<LogStartPlan> {
        let partition = self.clone();
        self.state().runtime().ask(async move { partition.find_log_start(offset).await }).await
    }

    /// Moves the log's start, then removes the segments that lie wholly below it, strictly from the oldest up. The newest
    /// segment stays, and segments that are younger than 6 minutes are spared. Safe at any time, whoever else appends, reads
    /// or maintains; after an interruption a new plan goes on where it stopped.
    ///
    /// The requests are 3 to ask the store for its time, PUT and HEAD of the mark, and for each segment a GET of 16 bytes and 3
    /// DELETEs.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// Out of range when the log ends below the plan's offset by now; unsupported where the store does not say when an object
    /// was last modified; what the store answers. The start may have been moved then; nothing is removed before that was
    /// read back.
    pub async fn set_log_start(&self, plan: &LogStartPlan) -> Result<LogStartReport> {
        let (partition, offset) = (self.clone(), plan.new_log_start);
        self.state().runtime().run(async move { partition.move_log_start(offset).await }).await
    }

    async fn find_log_start(&self, offset: i64) -> Result<LogStartPlan> {
        let state = self.state();
        let (new_log_start, log_start, high_watermark) = check_offset(state, offset).await?;
        let (segments, bytes) = count_below(state, new_log_start).await?;
        let partition = state.id.clone();
        Ok(LogStartPlan { partition, log_start, new_log_start, high_watermark, segments, bytes, limit: None })
    }

    async fn move_log_start(&self, offset: i64) -> Result<LogStartReport> {
        let state = self.state();
        state.bucket.fork.check()?;
        state.allow_writing().await?;
        let (offset, log_start, high_watermark) = check_offset(state, offset).await?;
        if offset > log_start {
            if !mutant!(RemoveBeforeMark) {
                put_mark(state, offset).await?;
            }
            // Readers of this process learn of it at once.
            state.watermarks.learn(Some(offset), high_watermark, state.now_ms());
            look_at_log(state).await?;
        }
        let time = StoreTime::ask(state).await?;
        let removed = remove_below_mark(state, &time).await?;
        if removed.segments > 0 {
            look_at_log(state).await?;
        }
        let (segments, bytes, spared) = (removed.segments, removed.bytes, removed.spared);
        Ok(LogStartReport { partition: state.id.clone(), log_start: offset, segments, bytes, spared })
    }
}

/// The offset at which the log is to start, where it starts now, and where it ends: read from the store at this moment.
async fn check_offset(state: &Arc<PartitionState>, offset: i64) -> Result<(i64, i64, i64)> {
    state.check_has_segments()?;
    let range = refresh_range(state).await?;
    let (start, end) = (range.log_start, range.high_watermark);
    match offset {
        -1 => Ok((end, start, end)),
        ..-1 => Err(Error::new(ErrorKind::InvalidInput, format!("{offset} is no offset"))
            .with_hint("an offset is at least 0; -1 stands for the high watermark")),
        _ if offset > end => {
            let message = format!("the log of {} can't start at {offset}: it ends at {end}", state.id);
            Err(Error::new(ErrorKind::OutOfRange, message).with_log_range(start, end))
        }
        _ => Ok((offset.max(start), start, end)),
    }
}

/// Creates the mark, and reads it back: some stores answer a conflict and keep nothing.
pub(super) async fn put_mark(state: &Arc<PartitionState>, offset: i64) -> Result<()> {
    let (store, key) = (state.writes(), state.id.log_start_key(offset));
    let mut retry = Retry::begin(&state.retries, state.runtime(), "moving the log start");
    loop {
        let created = bounded(state.runtime(), 0, store.create(&key, PutPayload::new(), &Identity::none())).await;
        let mut failure = match created.unwrap_or_else(Created::Unknown) {
            Created::Yes(_) | Created::Exists => None,
            Created::SyncFailed { error, .. } => return Err(error),
            Created::Refused(error) if !may_pass(&error) => return Err(error),
            Created::Refused(error) | Created::Unknown(error) => Some(error),
        };
        match store.head(&key).await {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if let Some(failure) = failure.take_if(|failure| !may_pass(failure)) {
                    return Err(failure);
                }
                let kept_nothing = "the store answered that the log start mark is there, and it is not";
                let kept_nothing = || Error::new(ErrorKind::Unavailable, kept_nothing).with_key(&*key);
                retry.after(failure.unwrap_or_else(kept_nothing)).await;
            }
            Err(error) if may_pass(&error) => retry.after(error).await,
            Err(error) => return Err(error),
        }
    }
    retry.done();
    store.settle(&key).await
}
