//! Fetching committed batches (docs/design.md, "Reading committed records").

use std::sync::Arc;

use super::answer::Fetch;
use super::core::ReaderCore;
use super::job::{FetchJob, FetchStep};
use super::options::FetchOptions;
use super::transactions::Transactions;
use crate::error::{ErrorKind, Result};
use crate::log::progress::Progress;
use crate::runtime::BoxFuture;

/// How batches are read, committed or not.
pub(super) type ReadBatches = fn(Arc<ReaderCore>, i64, FetchOptions) -> BoxFuture<Result<Fetch>>;

/// Reads batches, committed or not, and asks the store, or the source that holds the log, whenever that is needed.
pub(super) fn read_batches(core: Arc<ReaderCore>, offset: i64, options: FetchOptions) -> BoxFuture<Result<Fetch>> {
    Box::pin(async move {
        if let Some(source) = &core.state.source {
            return core.fetch_from(source, offset, options).await;
        }
        let mut job = FetchJob::new(offset, options);
        match core.advance(&mut job)? {
            FetchStep::Done => Ok(core.answer(job)),
            FetchStep::Need(need) => core.finish(job, need).await,
        }
    })
}

/// Reads committed batches.
///
/// # Errors
/// As reading batches; corrupt when a marker is lost; unsupported when there are too many transactions.
pub(super) async fn read_committed(
    core: Arc<ReaderCore>,
    offset: i64,
    options: FetchOptions,
    read: ReadBatches,
) -> Result<Fetch> {
    // A fetch at the same time begins with no knowledge.
    let transactions = std::mem::take(&mut *core.transactions());
    // What is not durable is not committed.
    let options = options.include_buffered(false);
    let mut committed = CommittedRead { core: &core, options, read, transactions };
    let fetched = committed.run(offset).await;
    let transactions = committed.transactions;
    *core.transactions() = transactions;
    fetched
}

struct CommittedRead<'a> {
    core: &'a Arc<ReaderCore>,
    options: FetchOptions,
    read: ReadBatches,
    transactions: Transactions,
}

impl CommittedRead<'_> {
    async fn run(&mut self, offset: i64) -> Result<Fetch> {
        let mut at = offset;
        let mut progress = Progress::new(offset);
        // What was left out so far, with holes and skipped bytes on the way.
        let mut passed: Option<Fetch> = None;
        loop {
            progress.step(at, &self.core.state.id)?;
            self.transactions.go_to(at, self.core.state.generation());
            if self.transactions.first_open() == Some(at) {
                if self.look_ahead(at).await? {
                    continue;
                }
                let withheld = self.core.answer(FetchJob::new(at, FetchOptions::new(0)));
                return Ok(self.answer(passed, withheld));
            }
            let mut fetch = (self.read)(self.core.clone(), at, self.options).await?;
            let is_end = fetch.is_empty();
            let taken = self.transactions.take_in(&fetch, &self.core.state.id, &self.core.options);
            self.transactions.leave_committed(&mut fetch, at)?;
            let came_further = fetch.next_offset > at;
            if is_end || !fetch.is_empty() {
                // Where something stops the reader further on, the next fetch says so.
                return if is_end {
                    taken.map(|()| self.answer(passed, fetch))
                } else {
                    Ok(self.answer(passed, fetch))
                };
            }
            if !came_further && self.transactions.first_open() != Some(at) {
                taken?;
            }
            at = fetch.next_offset;
            passed = Some(joined(passed, fetch));
        }
    }

    /// Looks at the headers of further batches until the transaction ends that is open at `at`. `false` if the log
    /// ends first.
    async fn look_ahead(&mut self, at: i64) -> Result<bool> {
        let scout = self.core.scout();
        let options = FetchOptions::new(scout.options.block_bytes).eager();
        loop {
            let from = self.transactions.looked_to();
            let fetch = match (self.read)(scout.clone(), from, options).await {
                Err(error) if error.kind() == ErrorKind::OutOfRange => {
                    // The log was cut off beyond `at`. Its error names the offset that the caller asked for.
                    (self.read)(self.core.clone(), at, self.options).await?;
                    return Err(error);
                }
                fetch => fetch?,
            };
            let taken = self.transactions.take_in(&fetch, &scout.state.id, &scout.options);
            if self.transactions.first_open() != Some(at) {
                return Ok(true);
            }
            taken?;
            if self.transactions.looked_to() == from {
                return Ok(false);
            }
        }
    }

    fn answer(&mut self, passed: Option<Fetch>, fetch: Fetch) -> Fetch {
        let mut answer = joined(passed, fetch);
        let untold = self.transactions.take_untold();
        if !untold.is_empty() {
            answer.details_mut().skipped.extend(untold);
        }
        answer
    }
}

fn joined(before: Option<Fetch>, fetch: Fetch) -> Fetch {
    match before {
        Some(mut before) => {
            before.append(fetch);
            before
        }
        None => fetch,
    }
}
