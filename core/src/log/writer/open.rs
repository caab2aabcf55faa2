//! Opening to write: find the tail, check it, make its index right (docs/design.md, "Opening").

use std::sync::Arc;

use object_store::PutPayload;

use super::chain::{Chain, ChainStart, Previous};
use super::claims::Claims;
use super::env::bounded;
use super::options::WriterOptions;
use super::pace::Pace;
use super::start::{fixed_start, obey, read};
use super::winner::{check_epoch, check_segment, highest_epoch};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{FOOTER_LEN, MAX_OFFSET, MAX_SEGMENT_LEN, Segment, SegmentFooter, SparseIndex};
use crate::log::deletion::Deletion;
use crate::log::identity::random_id;
use crate::log::locate::{LogEnds, find_tail, segment_before};
use crate::log::seen::Seen;
use crate::log::state::PartitionState;
use crate::mutant::mutant;
use crate::store::{Fetched, ReadRange, StoreReader, Version};

/// The most segments that begin inside one another and are followed back; more of them are no accident.
const MOST_GHOSTS: usize = 16;

/// The most offsets that a writer covers with empty batches to reach the greatest log start mark. A mark that is further
/// away is no mark of this log.
const MOST_COVERED: i64 = 1 << 40;
/// How often a writer that opens below the mark finds the end of the log again, because another one was faster.
const MOST_OPENINGS: u32 = 4;

/// Where the log ends, checked.
pub(super) struct CheckedTail {
    pub(super) start: ChainStart,
    pub(super) next: i64,
    pub(super) previous: Option<Previous>,
    pub(super) log_json: Option<Version>,
    /// The version of `log.json`, if there is one.
    pub(super) log: Option<Version>,
    pub(super) seen: Seen,
    /// The greatest log start mark, if it lies above the next slot.
    mark_above: Option<i64>,
}

impl CheckedTail {
    /// Where the log goes on for a writer that is open already.
    ///
    /// # Errors
    /// Corrupt when the greatest log start mark lies above that: nothing that is appended below it could be read.
    pub(super) fn not_below_a_mark(self, state: &PartitionState) -> Result<Self> {
        match self.mark_above {
            Some(mark) => Err(mark_too_high(state, mark, self.next)),
            None => Ok(self),
        }
    }
}

/// The chain of a writer that is opened now.
///
/// A log can end below its greatest log start mark: its last segments were lost, or set aside. Nothing that is appended there
/// could be read, so the writer first commits empty batches up to the mark. If another writer is faster, it looks again.
pub(super) async fn open_chain(state: &Arc<PartitionState>, options: &WriterOptions) -> Result<Chain> {
    let mut openings = 0_u32;
    loop {
        let found = Box::pin(find(state, state.store(), options)).await?;
        let mark = found.mark_above;
        let mut chain = chain_after(state, found)?;
        let Some(mark) = mark else { return Ok(chain) };
        openings = openings.saturating_add(1);
        match Box::pin(chain.cover_up_to(state, options, mark)).await {
            Ok(()) => return Ok(chain),
            Err(error) if error.kind() == ErrorKind::Fenced && openings < MOST_OPENINGS => {}
            Err(error) => return Err(error),
        }
    }
}

fn chain_after(state: &PartitionState, found: CheckedTail) -> Result<Chain> {
    let claims = Claims::opened_after(found.previous.as_ref().and_then(|previous| previous.version.modified_ms()));
    Ok(Chain {
        writer_id: random_id(state.runtime())?,
        flush_number: 0,
        tries: 0,
        start: found.start,
        next: found.next,
        previous: found.previous,
        log_json: found.log_json,
        seen: found.seen,
        log: found.log,
        confirmed: found.seen,
        committed: false,
        pace: Pace::default(),
        claims,
    })
}

/// Finds the end of the log and checks its newest segment whole, within the bound that this handle of the store
/// keeps: an opening is a read, and a commit that lost its place is not.
pub(super) async fn find(
    state: &Arc<PartitionState>,
    store: &StoreReader,
    options: &WriterOptions,
) -> Result<CheckedTail> {
    let mut tries = 0;
    loop {
        // The tail is as old as the request that showed it.
        let seen = Seen::now(&**state.runtime().clock());
        let tail = find_tail(state, store).await?;
        let Some(newest) = &tail.newest else { return find_empty(state, store, options, &tail, seen).await };
        // A start offset is only a condition here: the log has one already.
        if options.start_offset.is_some() {
            let first = tail.first.as_ref().map(|s| s.base);
            let fixed = fixed_start(state, store, tail.log_json.is_some(), first).await?;
            obey(&state.id, options.start_offset, fixed.unwrap_or(newest.base))?;
        }
        // The newest segment is read whole, for its last bytes decide the next slot. At the same time the segment before it
        // is asked whether it reaches into the newest.
        let adopted = adopt(state, store, options, newest.base, mends_index_at_open());
        let (adopted, fault) =
            futures_util::future::join(adopted, refuse_overlap(state, store, newest.base, tail.log_start_mark)).await;
        match adopted.and_then(|adopted| fault.map(|()| adopted)) {
            Ok(Adopted { next, version, leader_epoch, .. }) => {
                let mark_above = mark_above(state, tail.log_start_mark, next)?;
                state.with_catalog(|catalog| catalog.set_end(newest.base, next));
                // What was learned is worth keeping for readers in this process.
                if mark_above.is_none() {
                    let log_start = tail.log_start_mark.max(tail.first.map(|s| s.base));
                    state.watermarks.learn(log_start, next, state.now_ms());
                }
                let previous = Previous { base: newest.base, version, leader_epoch };
                return Ok(CheckedTail {
                    start: ChainStart::Fixed,
                    next,
                    previous: Some(previous),
                    log_json: None,
                    log: tail.log_json,
                    seen,
                    mark_above,
                });
            }
            // It vanished between the listing and the read: the partition is being deleted or retained.
            Err(error) if error.kind() == ErrorKind::NotFound && tries < 3 => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Whether the index of the newest segment is repaired.
fn mends_index_at_open() -> bool {
    !mutant!(SkipIndexAtOpen)
}

async fn find_empty(
    state: &PartitionState,
    store: &StoreReader,
    options: &WriterOptions,
    tail: &LogEnds,
    seen: Seen,
) -> Result<CheckedTail> {
    let identity = if tail.log_json.is_some() { read(state, store).await? } else { None };
    let mark = tail.log_start_mark;
    if mark.is_some() {
        Deletion::refuse(state).await?;
    }
    if let Some(mark) = mark.filter(|mark| *mark >= MAX_OFFSET) {
        return Err(mark_too_high(state, mark, MAX_OFFSET - 1));
    }
    let (start, next, log_json) = match identity {
        Some((identity, version)) => {
            obey(&state.id, options.start_offset, identity.start_offset)?;
            let next = identity.start_offset.max(mark.unwrap_or(0));
            state.watermarks.learn(Some(next), next, state.now_ms());
            (ChainStart::Fixed, next, Some(version))
        }
        None => {
            let asked = options.start_offset;
            (ChainStart::Open { asked, mark }, asked.or(mark).unwrap_or(0).max(mark.unwrap_or(0)), None)
        }
    };
    Ok(CheckedTail { start, next, previous: None, log: log_json.clone(), log_json, seen, mark_above: None })
}

/// The greatest log start mark, if it lies above the offset at which the log goes on.
///
/// # Errors
/// Corrupt when it lies so far above that it can't be a mark of this log.
fn mark_above(state: &PartitionState, mark: Option<i64>, next: i64) -> Result<Option<i64>> {
    match mark.filter(|mark| *mark > next) {
        Some(mark) if mark.saturating_sub(next) > MOST_COVERED || mark >= MAX_OFFSET => {
            Err(mark_too_high(state, mark, next))
        }
        above => Ok(above),
    }
}

/// The error for a log start mark above the offset at which the log goes on: nothing that is appended below the mark
/// could be read.
fn mark_too_high(state: &PartitionState, mark: i64, next: i64) -> Error {
    let message = format!("the log start mark is {mark}, and the log goes on at {next} at most");
    Error::new(ErrorKind::Corrupt, message)
        .with_key(state.id.log_start_key(mark))
        .with_hint("readers serve nothing below the mark; remove that object if it was not set on purpose")
}

/// The error for a newest segment that begins inside one before it. The offsets from there on may have been acked in
/// the earlier one, and a writer that went on at the end of the newest would give them out again. Such a segment was
/// copied there, or comes from a log that was deleted and made again.
async fn refuse_overlap(state: &PartitionState, store: &StoreReader, newest: i64, mark: Option<i64>) -> Result<()> {
    let Some((before, last)) = covered_by(state, store, newest, mark).await? else { return Ok(()) };
    let key = state.id.segment_key(newest);
    let message = format!("the newest segment begins inside {before}, which holds the offsets up to {last}");
    let hint = format!(
        "nothing is appended while it is there; `kfs verify {}` compares the two, `kfs repair --set-aside {key}` moves \
         it away",
        state.id
    );
    Err(Error::new(ErrorKind::Corrupt, message).with_key(key).with_hint(hint))
}

/// The key and the last offset of an earlier segment that holds the offset `base` too, at which a segment begins.
///
/// Usually there is no such segment, and one GET tells: of the footer of the segment before `base`.
///
/// If that segment does reach `base`, it may itself be a ghost. A writer that slept leaves ghosts only in slots that were
/// taken before and freed since. Retention frees slots below the log start mark, so a segment that begins there does not
/// count. Merging frees slots inside the merged segment, so a segment that begins inside the one before it does not count
/// either, and that one is looked at in its place.
pub(crate) async fn covered_by(
    state: &PartitionState,
    store: &StoreReader,
    base: i64,
    mark: Option<i64>,
) -> Result<Option<(String, i64)>> {
    let (mut at, mut covers) = (base, None);
    for _ in 0..MOST_GHOSTS {
        let before = segment_before(state, store, at).await?;
        let Some(before) = before.filter(|before| mark.is_none_or(|mark| before.base >= mark)) else { break };
        let Some(last) = last_beyond(state, store, before.base, at).await? else { break };
        covers = (last >= base).then(|| (state.id.segment_key(before.base), last));
        at = before.base;
    }
    Ok(covers)
}

/// The last offset of a segment, if it is `next` or beyond it. A footer has no checksum, so one that says so is believed
/// only if the whole segment agrees. A segment that can't be read says nothing here: its readers find it.
async fn last_beyond(state: &PartitionState, store: &StoreReader, base: i64, next: i64) -> Result<Option<i64>> {
    let key = state.id.segment_key(base);
    let read = |range| state.get_through(store, &key, range, None);
    let Some(end) = if_readable(read(ReadRange::Suffix(FOOTER_LEN as u64)).await)? else { return Ok(None) };
    if !SegmentFooter::parse(&end.bytes).is_ok_and(|footer| footer.last_offset >= next) {
        return Ok(None);
    }
    let Some(whole) = if_readable(read(ReadRange::AtMost(MAX_SEGMENT_LEN)).await)? else { return Ok(None) };
    let last = check_segment(&key, base, &whole).map(|segment| segment.next_offset().saturating_sub(1));
    Ok(last.ok().filter(|last| *last >= next))
}

/// What was read, unless it is gone or is no segment.
fn if_readable(read: Result<Fetched>) -> Result<Option<Fetched>> {
    match read {
        Ok(fetched) => Ok(Some(fetched)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A segment that is followed: another writer's, or the newest when a writer opens.
pub(super) struct Adopted {
    pub(super) next: i64,
    pub(super) version: Version,
    /// It is a merged one.
    pub(super) merged: bool,
    /// The highest in it, -1 for none.
    pub(super) leader_epoch: i32,
}

/// Reads a segment whole, with its index beside it: the CRC, the batches, the key, the footer, for sixteen
/// unprotected bytes decide the next slot; its leader epoch; and its index, which is repaired if `mends`.
pub(super) async fn adopt(
    state: &PartitionState,
    store: &StoreReader,
    options: &WriterOptions,
    base: i64,
    mends: bool,
) -> Result<Adopted> {
    let (key, index_key) = (state.id.segment_key(base), state.id.index_key(base));
    let segment = state.get_through(store, &key, ReadRange::AtMost(MAX_SEGMENT_LEN), None);
    let most = ReadRange::AtMost(SparseIndex::max_len(MAX_SEGMENT_LEN));
    let index = state.get_through(store, &index_key, most, None);
    let (fetched, index) = futures_util::future::join(segment, index).await;
    let fetched = fetched?;
    let segment = check_segment(&key, base, &fetched)?;
    let leader_epoch = highest_epoch(&segment);
    check_epoch(&key, leader_epoch, &fetched.identity, options)?;
    if mends {
        make_index_right(state, options, &index_key, &segment, index).await?;
    }
    let merged = fetched.identity.kfsmerged.is_some();
    Ok(Adopted { next: segment.next_offset(), version: fetched.info.version, merged, leader_epoch })
}

/// Writes the index of a segment if it is missing or has other bytes than the rebuild: KafScale can't open a
/// partition with a hole in its indexes.
async fn make_index_right(
    state: &PartitionState,
    options: &WriterOptions,
    key: &str,
    segment: &Segment,
    found: Result<Fetched>,
) -> Result<()> {
    let existing = match found {
        Ok(fetched) => Some(fetched.bytes),
        // An object that is too large to be an index is replaced.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => None,
        Err(error) => return Err(error),
    };
    // Another interval than ours is no fault.
    let interval = existing
        .as_deref()
        .and_then(|bytes| SparseIndex::parse(bytes).ok())
        .map(|index| index.interval())
        .filter(|interval| *interval > 0)
        .unwrap_or(options.index_interval);
    let right = segment.index(interval).encode();
    if existing.as_deref() != Some(&right[..]) {
        let size = right.len() as u64;
        let written = state.commits().put(key, PutPayload::from_bytes(right));
        bounded(state.runtime(), size, written).await.map_err(|late| late.with_key(key))??;
        state.observer().index_repaired(&state.id, key);
    }
    Ok(())
}
