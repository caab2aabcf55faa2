//! The look at the tail: one LIST from the last segment that this writer knows, or from the start of
//! a log that had none (docs/design.md, "The stale writer").

use super::chain::Chain;
use super::env::{Env, LOOKING};
use super::outcome::{Stop, if_there};
use super::slot::Flight;
use crate::error::{Error, ErrorKind, Result, Stored};
use crate::format::{ObjectName, PartitionId};
use crate::log::seen::Seen;
use crate::mutant::mutant;
use crate::store::{ObjectInfo, Version};

/// Keys asked for at a time: the previous segment and its sidecars, our slot and its own, and some junk.
const PAGE: usize = 32;

/// What follows the last segment that is known.
enum LookAnswer {
    /// It is there, unchanged, with nothing after it. (Of a log without a segment, here and below: `log.json` is.)
    Clear,
    /// It is there, unchanged; the next slot is taken; `alone`: nothing comes after that.
    Next { version: Version, alone: bool },
    /// It is gone or changed, or the log went on elsewhere.
    Moved(Error),
}

impl Flight {
    /// The look of a writer that has not seen the tail for longer than the bound. `Some` says that the log went
    /// elsewhere, and that nothing of this flight is in it.
    pub(super) async fn look_before(&mut self, chain: &mut Chain, env: &Env<'_>) -> Result<Option<Error>, Stop> {
        let before = env.now();
        if skips_look_before() {
            chain.saw(before);
            return Ok(None);
        }
        env.state.observer().looks(env.id(), self.slot, LOOKING);
        let gone = match env.patiently(LOOKING, || look(env, chain, self.slot)).await? {
            LookAnswer::Clear => None,
            LookAnswer::Next { alone: true, version } if self.first_try.is_some() => match self.inspect(env).await? {
                Some(winner) => Some(winner.fenced()),
                None if self.segment.as_ref().is_some_and(|ours| ours.same_as(&version)) => None,
                // What was read is not what was listed: the tail was not seen, and is looked at again.
                None => return Ok(None),
            },
            LookAnswer::Next { .. } => Some(moved(env.id(), self.slot, "another writer went on after it")),
            LookAnswer::Moved(error) => Some(error),
        };
        match gone {
            None => chain.saw(before),
            Some(error) => return self.gone(error),
        }
        Ok(None)
    }

    /// The look after a try that took longer than the bound: the first keeps ghosts rare, this keeps acks true.
    pub(super) async fn look_after(&self, chain: &mut Chain, env: &Env<'_>, version: &Version) -> Result<Seen, Stop> {
        let before = env.now();
        if skips_look_after() {
            return Ok(chain.seen);
        }
        env.state.observer().looks(env.id(), self.slot, LOOKING);
        let error = match env.patiently(LOOKING, || look(env, chain, self.slot)).await? {
            // What follows ours already was not there to be seen: the next flight looks again.
            LookAnswer::Next { version: found, alone } if found.same_as(version) => {
                if alone {
                    chain.confirmed = before;
                    return Ok(before);
                }
                return Ok(chain.seen);
            }
            LookAnswer::Clear => moved(env.id(), self.slot, "the segment that was just written is not there"),
            LookAnswer::Next { .. } => moved(env.id(), self.slot, "other bytes are in the slot"),
            LookAnswer::Moved(error) => error,
        };
        Err(Stop::from(error).or_stored(Stored::Perhaps))
    }

    /// Whether the partition holds the log that this writer opened, and not one that was made after it was deleted or
    /// moved away: one request, once per bound. In a directory it is a look at one file, before and after each try. `Some` says
    /// that it is another log, and that nothing of this flight is in it.
    pub(super) async fn confirm_log(&self, chain: &mut Chain, env: &Env<'_>) -> Result<Option<Error>, Stop> {
        let before = env.now();
        let Some(known) = chain.log.as_ref() else { return Ok(None) };
        let key = env.id().log_json_key();
        let found = if_there(env.patiently("confirming the log", || env.store().head(&key)).await)?;
        let why = match found {
            Some(found) if found.info.version.same_as(known) => {
                chain.confirmed = before;
                return Ok(None);
            }
            Some(_) => "log.json is another",
            None => "log.json is gone",
        };
        self.gone(moved(env.id(), self.slot, why))
    }

    /// The log is not as this writer left it. If a try may have landed, that ends the flush: nobody can tell any more.
    fn gone(&self, error: Error) -> Result<Option<Error>, Stop> {
        if self.may_have_landed { Err(error.into()) } else { Ok(Some(error)) }
    }
}

async fn look(env: &Env<'_>, chain: &Chain, slot: i64) -> Result<LookAnswer> {
    // The listing begins at the last segment that is known, so that it shows whether that one is still there, and what
    // follows it. Without a segment it begins at the log's start, where `log.json` and the log start marks are.
    let previous = chain.previous.as_ref();
    let id = env.id();
    let prefix = id.prefix();
    // `segment-{base}` sorts directly before the segment's own objects.
    let mut after = previous.map(|p| format!("{prefix}segment-{:020}", p.base));
    // Enough to know: the previous segment, the one in our slot, and whether another one comes after it.
    let (mut log_json, mut segments) = (None, Vec::<(i64, ObjectInfo)>::new());
    let wanted = if previous.is_some() { 3 } else { 2 };
    loop {
        let page = env.store().list_page(&prefix, after.as_deref(), PAGE).await?;
        after = page.objects.last().map(|o| o.key.clone()).or(after);
        for object in page.objects {
            let name = object.key.strip_prefix(&prefix).and_then(ObjectName::parse);
            match name {
                Some(ObjectName::Segment(base)) => segments.push((base, object)),
                Some(ObjectName::LogStart(mark)) if previous.is_none() && mark > slot => {
                    return Ok(LookAnswer::Moved(moved(id, slot, "the log start was moved past it")));
                }
                Some(ObjectName::LogJson) => log_json = Some(object.version),
                _ => {}
            }
        }
        if page.complete || segments.len() >= wanted {
            break;
        }
    }
    // First, whether this writer's place is still what it was. If the segment before the slot is gone or changed, nothing that
    // comes after it says anything.
    let mut segments = segments.into_iter();
    let is = |found: Option<Version>, known: &Version| found.is_some_and(|found| found.same_as(known));
    let changed = match (previous, &chain.log_json) {
        (Some(previous), _) => {
            let found = segments.next().filter(|(base, _)| *base == previous.base);
            (!is(found.map(|(_, found)| found.version), &previous.version))
                .then_some("the segment before it is gone or was changed")
        }
        // The partition may have been deleted and made again with another start.
        (None, Some(known)) => (!is(log_json, known)).then_some("log.json is gone or another"),
        (None, None) => None,
    };
    if let Some(why) = changed {
        return Ok(LookAnswer::Moved(moved(id, slot, why)));
    }
    // Then, what comes after it.
    Ok(match (segments.next(), segments.next()) {
        (None, _) => LookAnswer::Clear,
        (Some((base, found)), rest) if base == slot => {
            LookAnswer::Next { version: found.version, alone: rest.is_none() }
        }
        (Some((base, _)), _) => LookAnswer::Moved(moved(id, slot, &format!("the log goes on at {base}"))),
    })
}

fn moved(id: &PartitionId, slot: i64, why: &str) -> Error {
    Error::new(ErrorKind::Fenced, format!("the log is not as this writer left it before offset {slot}: {why}"))
        .with_key(id.segment_key(slot))
        .with_hint("another writer or maintenance moved the log; open again if this process should own it")
}

/// `true` only as the mutant.
fn skips_look_before() -> bool {
    mutant!(SkipLookBefore)
}

/// `true` only as the mutant.
fn skips_look_after() -> bool {
    mutant!(SkipLookAfter)
}
