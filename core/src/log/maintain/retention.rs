//! Retention: what is too old or too much, and so where the log is to start.

use std::sync::Arc;
use std::time::Duration;

use super::entries::SegmentPages;
use super::log_start::{LogStartPlan, RetentionLimit};
use super::store_time::StoreTime;
use crate::error::{Error, ErrorKind, Result};
use crate::format::Limits;
use crate::log::partition::Partition;
use crate::log::reader::{GreatestTimestamps, refresh_range};
use crate::log::state::PartitionState;
use crate::setters::setters;

/// From here on a difference between the store's clock and this machine's keeps anything from being found too old.
const CLOCKS_MS: u64 = 5 * 60 * 1000;
/// How often the log is looked at whose segments go meanwhile.
const LOOKS: usize = 8;

/// What to keep of a log. Each limit says where the log may start at the earliest, and the greatest of these offsets is where
/// it starts, as in Kafka. Start from `RetentionPolicy::default()`, which keeps all.
///
/// The newest segment stays, whatever the limits say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetentionPolicy {
    /// Segments go from the oldest up while the greatest timestamp of their records is longer ago than this, by the store's
    /// clock: Kafka's `retention.ms`. Where a segment's records have no timestamp, the time counts when the store last
    /// modified it.
    pub max_age: Option<Duration>,
    /// Segments go from the oldest up while the others have at least so many bytes: Kafka's `retention.bytes`. Their indexes do
    /// not count.
    pub max_bytes: Option<u64>,
    /// The first offset to keep, in the middle of a segment too. The high watermark, if that is less.
    pub start_offset: Option<i64>,
}

impl RetentionPolicy {
    setters! { max_age: some Duration, max_bytes: some u64, start_offset: some i64 }

    fn check(&self) -> Result<()> {
        match self.start_offset {
            Some(..0) => Err(Error::new(ErrorKind::InvalidInput, "a log can't start below offset 0")),
            _ => Ok(()),
        }
    }
}

impl Partition {
    /// Says what the policy's limits remove: the plan is one for [`set_log_start`](Self::set_log_start), which does it.
    ///
    /// With [`max_age`](RetentionPolicy::max_age) an object is put and deleted, to ask the store for its time. The requests
    /// are those of [`refresh`](Self::refresh), 3 to ask for the time, a LIST for each 1,000 keys of what goes (with
    /// [`max_bytes`](RetentionPolicy::max_bytes) of the whole log), and a GET of each segment that is too old, and of the first
    /// one that is not. With time indexes it is a GET more for each of these, and that last one is not read.
    ///
    /// Dropping the future ends the wait; the work goes on to its end.
    ///
    /// # Errors
    /// Invalid input for a policy that makes no sense; not found for a partition that was never made; corrupt or
    /// unsupported for a segment whose age can't be read; unavailable where the clocks of store and machine differ by 5 minutes, and where the
    /// log changes faster than it can be looked at; unsupported where a [`LogSource`](crate::LogSource) holds the log, and
    /// where the store does not say when an object was last modified; what the store answers.
    pub async fn plan_retention(&self, policy: &RetentionPolicy) -> Result<LogStartPlan> {
        policy.check()?;
        let (state, policy) = (self.state().clone(), policy.clone());
        self.state().runtime().run(async move { plan(&state, &policy).await }).await
    }
}

async fn plan(state: &Arc<PartitionState>, policy: &RetentionPolicy) -> Result<LogStartPlan> {
    state.bucket.fork.check()?;
    state.check_has_segments()?;
    let oldest_ms = match policy.max_age {
        Some(max_age) => Some(oldest_ms(state, max_age).await?),
        None => None,
    };
    for _ in 0..LOOKS {
        if let Some(plan) = look(state, policy, oldest_ms).await? {
            return Ok(plan);
        }
    }
    let message = format!("segments of {} were removed during each of {LOOKS} looks at its log", state.id);
    Err(Error::new(ErrorKind::Unavailable, message).with_hint("does another maintenance run? try again later"))
}

/// What is of an earlier time is too old.
async fn oldest_ms(state: &Arc<PartitionState>, max_age: Duration) -> Result<i64> {
    state.allow_writing().await?;
    let time = StoreTime::ask(state).await?;
    let (clock, own) = (state.runtime().clock(), state.now_ms());
    let now = time.now_ms(clock.elapsed());
    if now.abs_diff(own) >= CLOCKS_MS {
        let seconds = now.abs_diff(own) / 1000;
        let message = format!("the store's clock and this machine's differ by {seconds} s, so no age can be told");
        return Err(
            Error::new(ErrorKind::Unavailable, message).with_hint("set the clock that is wrong, by NTP for one")
        );
    }
    Ok(now.saturating_sub(i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX)))
}

/// One look at the log. `None` where a segment went meanwhile.
async fn look(
    state: &Arc<PartitionState>,
    policy: &RetentionPolicy,
    oldest_ms: Option<i64>,
) -> Result<Option<LogStartPlan>> {
    let range = refresh_range(state).await?;
    let (log_start, high_watermark) = (range.log_start, range.high_watermark);
    let by_offset = policy.start_offset.map(|offset| offset.min(high_watermark));
    let mut ages = oldest_ms.map(|oldest_ms| Ages::new(oldest_ms, log_start));
    let (mut pages, mut segments) = (SegmentPages::of(state), Vec::new());
    // As much of the log as is needed: with a limit of bytes all of it.
    while let Some(page) = pages.next(state).await? {
        segments.extend(page.into_iter().map(|segment| {
            let (size, modified_ms) = (segment.object.size, segment.object.modified_ms);
            Weight { base: segment.base, size, modified_ms }
        }));
        if let Some(ages) = &mut ages
            && !ages.go_on(state, &segments).await?
        {
            return Ok(None);
        }
        let is_beyond = |offset: i64| segments.last().is_some_and(|last: &Weight| last.base > offset);
        let rest_is_young = ages.as_ref().is_none_or(|ages| ages.ended);
        if policy.max_bytes.is_none() && rest_is_young && is_beyond(by_offset.unwrap_or(log_start).max(log_start)) {
            break;
        }
    }
    let by_age = ages.and_then(|ages| segments.get(ages.old)).map(|first| first.base);
    let by_bytes = policy.max_bytes.and_then(|max| first_within(&segments, max, log_start));
    let limits =
        [(by_age, RetentionLimit::Age), (by_bytes, RetentionLimit::Bytes), (by_offset, RetentionLimit::Offset)];
    let (mut new_log_start, mut limit) = (log_start, None);
    for (offset, of) in limits {
        if let Some(offset) = offset.filter(|offset| *offset > new_log_start) {
            (new_log_start, limit) = (offset, Some(of));
        }
    }
    let below = ended(&segments).take_while(|(_, next)| *next <= new_log_start);
    let (count, bytes) = below.fold((0_u64, 0_u64), |(count, bytes), (segment, _)| {
        (count.saturating_add(1), bytes.saturating_add(segment.size))
    });
    let partition = state.id.clone();
    Ok(Some(LogStartPlan { partition, log_start, new_log_start, high_watermark, segments: count, bytes, limit }))
}

/// What limits count of a segment. There may be millions of them.
#[derive(Clone, Copy)]
struct Weight {
    base: i64,
    size: u64,
    modified_ms: i64,
}

/// Each segment whose successor was listed too, with that one's base. So the newest is never among them.
fn ended(segments: &[Weight]) -> impl Iterator<Item = (&Weight, i64)> {
    segments.iter().zip(segments.iter().skip(1)).map(|(segment, next)| (segment, next.base))
}

/// The base of the first segment that stays, where the oldest go while the others have at least so many bytes. What lies below
/// the log start does not count. `None` where all stay.
fn first_within(segments: &[Weight], max_bytes: u64, log_start: i64) -> Option<i64> {
    let gone = ended(segments).take_while(|(_, next)| *next <= log_start).count();
    let live = segments.get(gone..).unwrap_or_default();
    let mut rest = live.iter().fold(0_u64, |sum, segment| sum.saturating_add(segment.size));
    let mut first = None;
    for (segment, next) in ended(live) {
        rest = rest.saturating_sub(segment.size);
        if rest < max_bytes {
            break;
        }
        first = Some(next);
    }
    first
}

/// Finds out how many of the first segments are too old.
struct Ages {
    oldest_ms: i64,
    log_start: i64,
    greatest: GreatestTimestamps,
    /// So many of the first segments are too old, or lie below the log start.
    old: usize,
    /// The one after them is not.
    ended: bool,
}

impl Ages {
    fn new(oldest_ms: i64, log_start: i64) -> Self {
        let greatest = GreatestTimestamps::new(Limits::default());
        Ages { oldest_ms, log_start, greatest, old: 0, ended: false }
    }

    /// Looks at the segments that were listed since. `false` where one of them is gone.
    async fn go_on(&mut self, state: &PartitionState, segments: &[Weight]) -> Result<bool> {
        // The newest has no successor, and stays.
        while !self.ended
            && let Some([segment, Weight { base: next, .. }]) = segments.get(self.old..).and_then(<[_]>::first_chunk)
        {
            let next = *next;
            if next > self.log_start {
                // A time index that is wrong may keep a segment, and never removes one.
                let told = self.greatest.told(state, segment.base, next).await?;
                if told.is_some_and(|told| told >= self.oldest_ms) {
                    self.ended = true;
                    break;
                }
                let greatest = match self.greatest.read(state, segment.base).await {
                    Ok(greatest) => greatest.filter(|timestamp| *timestamp >= 0),
                    Err(gone) if gone.kind() == ErrorKind::NotFound => return Ok(false),
                    Err(error) => return Err(error),
                };
                if greatest.unwrap_or(segment.modified_ms) >= self.oldest_ms {
                    self.ended = true;
                    break;
                }
            }
            self.old = self.old.saturating_add(1);
        }
        Ok(true)
    }
}
