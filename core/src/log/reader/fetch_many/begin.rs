//! Reading one of many partitions: what is in memory at once, else by asking the store.

use std::sync::Arc;
use std::time::Duration;

use super::count::high_watermark;
use super::tail::PollTurn;
use crate::error::Result;
use crate::log::purgatory::TooEarly;
use crate::log::reader::answer::Fetch;
use crate::log::reader::committed::{read_batches, read_committed};
use crate::log::reader::core::ReaderCore;
use crate::log::reader::handle::Reader;
use crate::log::reader::job::{FetchJob, FetchStep, Need};
use crate::log::reader::options::{FetchOptions, Isolation};
use crate::runtime::{BoxFuture, Running};

/// A read that was begun.
pub(super) enum Begun {
    /// Nothing needs to be asked.
    Done(Result<Fetch>),
    Reading(Running<Fetch>),
}

/// Begins to read a partition: `limit` bytes at most, or one batch if that is larger and `whole` is set.
pub(super) fn begin(reader: &Reader, offset: i64, limit: usize, whole: bool) -> Begun {
    let core = reader.0.clone();
    let options = FetchOptions::new(limit);
    let options = if whole { options } else { options.only_what_fits() };
    match core.options.isolation {
        Isolation::ReadUncommitted => begin_batches(&core, offset, options),
        Isolation::ReadCommitted => {
            let runtime = core.state.runtime().clone();
            Begun::Reading(runtime.ask(read_committed(core, offset, options, read_in_turn)))
        }
    }
}

/// Reads batches, committed or not, and asks about the log's end in turn with other fetches.
fn read_in_turn(core: Arc<ReaderCore>, offset: i64, options: FetchOptions) -> BoxFuture<Result<Fetch>> {
    Box::pin(async move {
        match begin_batches(&core, offset, options) {
            Begun::Done(read) => read,
            Begun::Reading(running) => running.await,
        }
    })
}

/// Begins to read batches, committed or not.
fn begin_batches(core: &Arc<ReaderCore>, offset: i64, options: FetchOptions) -> Begun {
    if core.state.source.is_some() {
        return begin_from_source(core.clone(), offset, options);
    }
    let mut job = FetchJob::new(offset, options);
    let need = match core.advance(&mut job) {
        Err(error) => return Begun::Done(Err(error)),
        Ok(FetchStep::Done) => return Begun::Done(Ok(core.answer(job))),
        Ok(FetchStep::Need(need)) => need,
    };
    let runtime = core.state.runtime();
    let mut turn = None;
    if is_at_known_end(core, &job, &need) {
        // All fetches at this end ask in turn, and believe it in between.
        match core.take_turn(runtime.clock().elapsed()) {
            Ok(taken) => turn = Some(taken),
            Err(early) => return believed(core, job, early),
        }
    }
    let began = runtime.clock().elapsed();
    let first = matches!(need, Need::Locate { .. }) && !is_known(core);
    Begun::Reading(
        runtime.ask({
            let core = core.clone();
            async move {
                if first { first_look(core, job, need, began).await } else { read_on(&core, job, need, turn).await }
            }
        }),
    )
}

/// Begins to read batches of a log that a source holds. At the end that is known, fetches ask in turn here, too.
fn begin_from_source(core: Arc<ReaderCore>, offset: i64, options: FetchOptions) -> Begun {
    let runtime = core.state.runtime().clone();
    let mut turn = None;
    if high_watermark(&core) == offset {
        match core.take_turn(runtime.clock().elapsed()) {
            Ok(taken) => turn = Some(taken),
            Err(early) => return believed(&core, FetchJob::new(offset, options), early),
        }
    }
    Begun::Reading(runtime.ask(in_turn(read_batches(core, offset, options), turn)))
}

/// It is too early to ask about the end, so the last answer is believed, with its error if it failed.
fn believed(core: &ReaderCore, job: FetchJob, early: TooEarly) -> Begun {
    Begun::Done(early.failed.map_or_else(|| Ok(core.answer(job)), Err))
}

/// Whether all that a fetch lacks is news of what follows the end that is known.
fn is_at_known_end(core: &ReaderCore, job: &FetchJob, need: &Need) -> bool {
    let exists = || core.state.with_catalog(|catalog| catalog.start().is_some_and(|start| start.exists()));
    matches!(need, Need::Tail { end } if *end == job.position()) && (core.options.wait_for_partition || exists())
}

/// Whether anything is known of the log.
fn is_known(core: &ReaderCore) -> bool {
    core.state.with_catalog(|catalog| catalog.start().is_some())
}

/// Asks the store about a log of which nothing was known when the fetch began. One fetch asks, and the others find what
/// it learned.
async fn first_look(core: Arc<ReaderCore>, mut job: FetchJob, need: Need, began: Duration) -> Result<Fetch> {
    let turn = core.state.first_look.lock().await;
    if !is_known(&core) {
        return read_on(&core, job, need, None).await;
    }
    drop(turn);
    // A look that reached the log's end meanwhile need not be sent again.
    let looked = core.state.with_catalog(|catalog| catalog.looked());
    job.tail_known |= looked.is_some_and(|looked| looked >= began);
    match core.advance(&mut job)? {
        FetchStep::Done => Ok(core.answer(job)),
        FetchStep::Need(need) => read_on(&core, job, need, None).await,
    }
}

/// Asks the store until the fetch is done.
async fn read_on(core: &ReaderCore, job: FetchJob, need: Need, turn: Option<PollTurn>) -> Result<Fetch> {
    in_turn(core.finish(job, need), turn).await
}

/// Gives the turn back when the fetch has ended.
async fn in_turn(fetch: impl Future<Output = Result<Fetch>>, turn: Option<PollTurn>) -> Result<Fetch> {
    let fetched = fetch.await;
    if let Some(turn) = turn {
        turn.end(fetched.as_ref().is_ok_and(|fetch| !fetch.is_empty()));
    }
    fetched
}
