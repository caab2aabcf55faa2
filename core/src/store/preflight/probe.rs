//! The requests of one check: their names, their time limits, what they took, and the end of all that they made.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::watch;

use super::report::{Preflight, PreflightCheck, PreflightStep, PreflightVerdict};
use super::{MOST_PREFLIGHT_REQUESTS, PREFLIGHT_PREFIX, PreflightOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Runtime;
use crate::store::{Fetched, Identity, ObjectInfo, ReadRange, Store, pause_after};
use crate::text::counted;

/// The longest time that deleting what was made takes after the check's own time has run out.
const CLEANING: Duration = Duration::from_secs(2);

/// The pause after the first answer that the store has too much to do. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// No step is made again where the whole check would need more requests than this. Some of those that it may send are left to
/// the steps that ask once more by themselves.
const MOST_WITH_REPEATS: u64 = MOST_PREFLIGHT_REQUESTS - 4;
/// What it does, for events.
const CHECKING: &str = "checking the bucket";

/// Whether the store says that it has too much to do.
pub(super) fn is_throttled(error: &Error) -> bool {
    const CODES: [&str; 5] = ["SlowDown", "ServerBusy", "TooManyRequests", "429 Too Many", "503 Service"];
    error.retry_after().is_some()
        || error.kind() == ErrorKind::Unavailable && CODES.iter().any(|code| error.message().contains(code))
}

/// Why a check waits.
pub(super) type Causes = watch::Sender<Option<Error>>;

/// A check that runs.
pub(super) struct Probe<'a> {
    /// It counts the requests of this check alone.
    pub(super) store: Store,
    runtime: &'a Runtime,
    options: &'a PreflightOptions,
    began: Duration,
    /// 32 hexadecimal digits, random for each check.
    run: String,
    /// What may be in the bucket because of this check.
    made: Vec<String>,
    puts: Vec<Duration>,
    gets: Vec<Duration>,
    steps: Vec<PreflightStep>,
    stopped_by: Option<(PreflightCheck, Error)>,
    /// Told why it waits, by a check that goes on after a pause where the store has too much to do. `None` for one that does not.
    causes: Option<Causes>,
    /// How often it did.
    pauses: u32,
    /// The objects of the rounds of the race that have ended well.
    pub(super) raced: Vec<ObjectInfo>,
}

impl<'a> Probe<'a> {
    pub(super) fn begin(store: Store, runtime: &'a Runtime, options: &'a PreflightOptions) -> Result<Self> {
        let mut random = [0_u8; 16];
        runtime.entropy().fill(&mut random)?;
        Ok(Probe {
            store,
            runtime,
            options,
            began: runtime.clock().elapsed(),
            run: format!("{:032x}", u128::from_be_bytes(random)),
            made: Vec::new(),
            puts: Vec::new(),
            gets: Vec::new(),
            steps: Vec::new(),
            stopped_by: None,
            causes: None,
            pauses: 0,
            raced: Vec::new(),
        })
    }

    /// The same check, which goes on after a pause where the store has too much to do.
    pub(super) fn patient(mut self, causes: Causes) -> Self {
        self.causes = Some(causes);
        self
    }

    /// How often it has paused.
    pub(super) fn pauses(&self) -> u32 {
        self.pauses
    }

    /// After a step that a failed request ended: waits, and gives whether the step is to be made again.
    pub(super) async fn goes_on(&mut self) -> bool {
        let Some((check, error)) = self.stopped_by.clone() else { return false };
        if !self.waits_out(check, &error).await {
            return false;
        }
        self.steps.retain(|step| step.check != check);
        self.stopped_by = None;
        true
    }

    /// Waits where the store has too much to do, if time and requests are left. Gives whether it waited.
    pub(super) async fn waits_out(&mut self, check: PreflightCheck, error: &Error) -> bool {
        let sent = self.store.requests().total();
        if self.causes.is_none() || !is_throttled(error) || sent.saturating_add(self.needs(check)) > MOST_WITH_REPEATS {
            return false;
        }
        let full = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(self.pauses).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
        let pause = pause_after(error, full, &**self.runtime.entropy());
        let spent = self.runtime.clock().elapsed().saturating_sub(self.began);
        if pause >= self.options.timeout.saturating_sub(spent) {
            return false;
        }
        self.pauses = self.pauses.saturating_add(1);
        if let Some(causes) = &self.causes {
            causes.send_replace(Some(error.clone()));
        }
        self.store.observer.retry(None, (CHECKING, self.began), (self.pauses, pause), error, false);
        self.runtime.clock().sleep(pause).await;
        true
    }

    /// How many requests the rest of a check needs, from this step on.
    fn needs(&self, check: PreflightCheck) -> u64 {
        // The race has three rounds of 9 requests, the replace 4, the listing 1, the deletes 4, and the last listing 1.
        const AFTER_RACE: u64 = 10;
        const ROUND: u64 = 9;
        let raced = u64::try_from(self.raced.len()).unwrap_or(u64::MAX);
        let race = ROUND.saturating_mul(3_u64.saturating_sub(raced)).saturating_add(AFTER_RACE);
        match check {
            PreflightCheck::List => race.saturating_add(6),
            PreflightCheck::Put => race.saturating_add(5),
            PreflightCheck::Get | PreflightCheck::Clock => race.saturating_add(4),
            PreflightCheck::Metadata => race.saturating_add(3),
            PreflightCheck::RangedGet => race.saturating_add(2),
            PreflightCheck::SuffixGet => race.saturating_add(1),
            PreflightCheck::CreateIfAbsent => race,
            PreflightCheck::ConditionalReplace => AFTER_RACE.saturating_add(1),
            PreflightCheck::ListAfterPut => 6,
            PreflightCheck::Delete => 5,
            _ => 1,
        }
    }

    /// What the names of this check's objects begin with.
    pub(super) fn prefix(&self) -> String {
        format!("{PREFLIGHT_PREFIX}{}-", self.run)
    }

    /// The name of an object that is about to be made. It is deleted at the end.
    pub(super) fn will_make(&mut self, name: &str) -> String {
        let key = format!("{}{name}", self.prefix());
        if !self.made.contains(&key) {
            self.made.push(key.clone());
        }
        key
    }

    /// An object was certainly not made.
    pub(super) fn was_not_made(&mut self, key: &str) {
        self.made.retain(|made| made != key);
    }

    /// The identity of a writer of this check, as those of writers of a log are.
    pub(super) fn identity(&self, number: usize) -> Identity {
        Identity::of(format!("{}.{number}", self.run))
    }

    /// A body that is like no other one, in each part of it.
    pub(super) fn body(&self, name: &str, length: usize) -> Bytes {
        let line = format!("{name} of the check {}\n", self.run);
        line.bytes().cycle().take(length).collect::<Vec<u8>>().into()
    }

    /// The wall clock, in Unix milliseconds.
    pub(super) fn wall_ms(&self) -> i64 {
        self.runtime.clock().wall_ms()
    }

    /// Waits for a request, within its time limit and that of the whole check.
    pub(super) async fn ask<T>(&self, request: impl Future<Output = T>) -> Result<T> {
        let whole = self.options.timeout;
        let left = whole.saturating_sub(self.runtime.clock().elapsed().saturating_sub(self.began));
        let limit = self.options.request_timeout.min(left);
        let late = |message: String| Error::new(ErrorKind::TimedOut, message);
        let too_slow = || {
            let done = counted(self.store.requests().done, "request");
            late(format!("the check took longer than {whole:?}, in which the store did {done}"))
                .with_hint("the store answers, but slowly: is it far away, or has it too much to do?")
        };
        if limit.is_zero() {
            return Err(too_slow());
        }
        let answered = self.runtime.timeout(limit, request).await;
        match answered {
            Some(answered) => Ok(answered),
            None if limit < self.options.request_timeout && self.store.requests().done > 0 => Err(too_slow()),
            None => Err(late(format!("the store did not answer within {limit:.1?}"))),
        }
    }

    /// The same for a request that is a result itself; it also gives what the request took.
    async fn timed<T>(&self, request: impl Future<Output = Result<T>>) -> (Duration, Result<T>) {
        let began = self.runtime.clock().elapsed();
        let answered = self.ask(request).await.and_then(|answered| answered);
        (self.runtime.clock().elapsed().saturating_sub(began), answered)
    }

    /// Sends a PUT. What an answered one took is remembered.
    pub(super) async fn put<T>(&mut self, put: impl Future<Output = Result<T>>) -> Result<T> {
        let (took, answered) = self.timed(put).await;
        if answered.is_ok() {
            self.puts.push(took);
        }
        answered
    }

    /// Sends PUTs at the same time.
    pub(super) async fn put_together<T>(&mut self, puts: Vec<impl Future<Output = T>>) -> Vec<Result<T>> {
        let answered = join_all(puts.into_iter().map(|put| self.timed(async { Ok(put.await) }))).await;
        let (took, answered): (Vec<_>, Vec<_>) = answered.into_iter().unzip();
        self.puts.extend(took.iter().zip(&answered).filter(|(_, answer)| answer.is_ok()).map(|(took, _)| *took));
        answered
    }

    /// Sends a GET.
    pub(super) async fn get(&mut self, key: &str, range: ReadRange) -> Result<Fetched> {
        let (took, answered) = self.timed(self.store.get(key, range, None)).await;
        if answered.is_ok() {
            self.gets.push(took);
        }
        answered
    }

    /// This check's objects that a listing shows.
    pub(super) async fn list(&self) -> Result<Vec<ObjectInfo>> {
        let prefix = self.prefix();
        let page = self.ask(self.store.list_page(&prefix, None, 100)).await??;
        Ok(page.objects)
    }

    /// Deletes what was made, each object with one request. What could not be deleted is still known as made.
    pub(super) async fn delete_made(&mut self) -> Result<()> {
        let deleted = join_all(self.made.iter().map(|key| self.ask(self.store.delete(key)))).await;
        self.forget_deleted(deleted.into_iter().map(|deleted| deleted.and_then(|deleted| deleted)).collect())
    }

    /// Deletes what is left, as far as the requests that a check may send allow. What fails is left.
    pub(super) async fn clean_up(&mut self) {
        let sent = self.store.requests().total();
        let most = usize::try_from(MOST_PREFLIGHT_REQUESTS.saturating_sub(sent)).unwrap_or(0);
        let limit = self.options.request_timeout.min(CLEANING);
        let deletes = self.made.iter().take(most).map(|key| self.runtime.timeout(limit, self.store.delete(key)));
        let late = || Error::new(ErrorKind::TimedOut, "the store did not answer");
        let deleted = join_all(deletes).await;
        let deleted = deleted.into_iter().map(|deleted| deleted.unwrap_or_else(|| Err(late()))).collect();
        // What is left is in the report.
        let _left = self.forget_deleted(deleted);
    }

    /// Gives the first failure, if there is one.
    fn forget_deleted(&mut self, deleted: Vec<Result<()>>) -> Result<()> {
        let failed: Vec<bool> = deleted.iter().map(Result::is_err).collect();
        let mut failed = failed.into_iter();
        self.made.retain(|_| failed.next().unwrap_or(true));
        deleted.into_iter().collect()
    }

    pub(super) fn fine(&mut self, check: PreflightCheck, found: impl Into<String>) {
        self.note(check, PreflightVerdict::Fine, found.into(), None);
    }

    pub(super) fn warn(&mut self, check: PreflightCheck, found: impl Into<String>, cost: &str) {
        self.note(check, PreflightVerdict::Warning, found.into(), Some(cost));
    }

    pub(super) fn fail(&mut self, check: PreflightCheck, found: impl Into<String>, cost: &str) {
        self.note(check, PreflightVerdict::Failed, found.into(), Some(cost));
    }

    /// A request failed, so that nothing more can be found out.
    pub(super) fn stop(&mut self, check: PreflightCheck, error: Error) {
        self.note(check, PreflightVerdict::Failed, format!("{error:#}"), None);
        self.stopped_by.get_or_insert((check, error));
    }

    /// The answer of a request that must be answered.
    pub(super) fn must<T>(&mut self, check: PreflightCheck, answered: Result<T>) -> Option<T> {
        answered.map_err(|error| self.stop(check, error)).ok()
    }

    fn note(&mut self, check: PreflightCheck, verdict: PreflightVerdict, found: String, cost: Option<&str>) {
        self.steps.push(PreflightStep { check, verdict, found, cost: cost.map(str::to_string) });
    }

    /// What was found, with a step for each check.
    pub(super) fn into_report(mut self, has_replica: bool) -> Preflight {
        if let (Some(put), Some(get)) = (median(&mut self.puts), median(&mut self.gets)) {
            let (puts, gets) = (self.puts.len(), self.gets.len());
            self.fine(
                PreflightCheck::Latency,
                format!("{} for a PUT, {} for a GET (medians of {puts} and {gets})", show(put), show(get)),
            );
        }
        let found = |check| self.steps.iter().find(|step| step.check == check).cloned();
        let not_tried =
            |check| PreflightStep { check, verdict: PreflightVerdict::NotTried, found: String::new(), cost: None };
        let checks = PreflightCheck::ALL.into_iter().filter(|check| has_replica || !check.is_of_replica());
        let steps: Vec<_> = checks.map(|check| found(check).unwrap_or_else(|| not_tried(check))).collect();
        let prefix = &self.store.inner.prefix;
        let left = self.made.iter().map(|key| format!("{prefix}{key}")).collect();
        Preflight {
            url: self.store.url().to_string(),
            steps,
            requests: self.store.requests(),
            left,
            stopped_by: self.stopped_by,
        }
    }
}

fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn show(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
