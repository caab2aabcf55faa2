//! Before the first write: one check for each bucket and process, which all that write there share.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, Shared, select};
use tokio::sync::{oneshot, watch};

use super::probe::Causes;
use super::report::{Preflight, PreflightCheck, PreflightVerdict};
use crate::error::{Error, ErrorKind, Result};
use crate::fork::ForkGuard;
use crate::runtime::Runtime;
use crate::store::{Fingerprint, Store};
#[cfg(feature = "_http")]
use crate::store::{StoreInner, StoreOptions, config::Settings};

/// What stands before the first write to a bucket.
pub(in crate::store) struct WriteGate {
    bucket: BucketKey,
    checks: bool,
    single_writer: bool,
    /// This handle's bucket was checked, and is fit.
    passed: AtomicBool,
    /// What the check found wrong with replacing an object by its version.
    cannot_replace: OnceLock<String>,
}

/// Which bucket, by whose credentials. Secrets are in it as a hash with a random key of this process.
#[derive(Clone, PartialEq, Eq, Hash)]
struct BucketKey {
    url: String,
    settings: Fingerprint,
}

impl WriteGate {
    #[cfg(feature = "_http")]
    fn new(url: &str, settings: &Settings, options: &StoreOptions) -> Self {
        WriteGate {
            bucket: BucketKey { url: url.to_string(), settings: settings.fingerprint_without(&[]) },
            checks: options.preflight,
            single_writer: options.single_writer,
            passed: AtomicBool::new(false),
            cannot_replace: OnceLock::new(),
        }
    }
}

#[cfg(feature = "_http")]
impl StoreInner {
    /// Has the store checked before the first write as the options say, where it is reached over the network.
    pub(in crate::store) fn check_before_writes(&mut self, settings: &Settings, options: &StoreOptions) {
        if self.client.once.is_none() {
            return;
        }
        let gate = WriteGate::new(&self.url, settings, options);
        // Unchecked, nothing finds out whether a plain create is needed.
        self.creates_plainly = AtomicBool::new(gate.single_writer && !gate.checks);
        self.gate = Some(gate);
    }
}

impl Store {
    /// Allows writing to the bucket, after a check of it where it needs one. Handles that ask at the same time share one
    /// check. What a check found is remembered for the process; a check that a failed request ended is not.
    ///
    /// `tell` is told why it waits. Dropping the future ends the wait only.
    ///
    /// # Errors
    /// What failed, what it costs and what to do: *unsupported* for a store that does not do what a log needs, else
    /// that of the request that failed. *Unavailable* and *timed out* may pass.
    pub(crate) async fn allow_writing(&self, runtime: &Runtime, tell: &(dyn Fn(Error) + Sync)) -> Result<()> {
        self.inner.fork.check()?;
        let Some(gate) = self.inner.gate.as_ref().filter(|gate| gate.checks) else { return Ok(()) };
        if gate.passed.load(Ordering::Acquire) {
            return Ok(());
        }
        let report = ProcessRuns::here().check(self, &gate.bucket, runtime, tell).await?;
        if report.verdict(PreflightCheck::SuffixGet) == PreflightVerdict::Warning {
            self.inner.client.lacks_suffix_ranges.store(true, Ordering::Relaxed);
        }
        let borne = Some(PreflightCheck::CreateIfAbsent).filter(|_| gate.single_writer && report.is_conclusive());
        if let Some(failure) = report.failure_but_of(borne) {
            return Err(failure);
        }
        if report.verdict(PreflightCheck::CreateIfAbsent) == PreflightVerdict::Failed {
            self.inner.creates_plainly.store(true, Ordering::Relaxed);
        }
        let replace = report.step(PreflightCheck::ConditionalReplace);
        if let Some(step) = replace.filter(|step| step.verdict != PreflightVerdict::Fine) {
            // Another handle's check may have told it already.
            gate.cannot_replace.get_or_init(|| step.found.clone());
        }
        gate.passed.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether objects can be replaced here by their version, as far as the check of the bucket told; ask
    /// [`allow_writing`](Self::allow_writing) first. A store that ignores the condition would overwrite what others wrote.
    ///
    /// # Errors
    /// Unsupported, with what the check found.
    pub(crate) fn check_replaces(&self) -> Result<()> {
        match self.inner.gate.as_ref().and_then(|gate| gate.cannot_replace.get()) {
            Some(found) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("merging needs a store that replaces an object by its version, and this one does not: {found}"),
            )
            .with_hint("logs can be written and read here without merging")),
            None => Ok(()),
        }
    }
}

/// What a process knows of its buckets. A forked child has none of the tasks of its parent, and a thread of the parent may
/// have held the lock. So the child leaves both alone and has a state of its own.
struct ProcessRuns {
    guard: ForkGuard,
    runs: Mutex<Runs>,
    child: OnceLock<Box<ProcessRuns>>,
}

#[derive(Default)]
struct Runs {
    next: u64,
    by_bucket: HashMap<BucketKey, BucketRun>,
}

enum BucketRun {
    Under { number: u64, end: Shared<oneshot::Receiver<RunEnd>>, causes: watch::Receiver<Option<Error>> },
    Done(Arc<Preflight>),
}

type RunEnd = Result<Arc<Preflight>>;

/// How long a writer waits for a check that another one began. That one's runtime may stand still: then the writer checks
/// the bucket itself.
const PATIENCE: Duration = Duration::from_secs(60);

static ROOT: OnceLock<ProcessRuns> = OnceLock::new();

impl ProcessRuns {
    fn new() -> Self {
        ProcessRuns { guard: ForkGuard::here(), runs: Mutex::default(), child: OnceLock::new() }
    }

    /// The state of this process.
    fn here() -> &'static Self {
        let mut state = ROOT.get_or_init(Self::new);
        while state.guard.is_forked() {
            state = state.child.get_or_init(|| Box::new(Self::new()));
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a check found, unless a failed request ended it. Tells whether it is remembered.
    fn remember(&self, bucket: &BucketKey, end: &RunEnd) -> bool {
        let found = end.as_ref().ok().filter(|report| report.is_conclusive());
        if let Some(report) = found {
            self.lock().by_bucket.insert(bucket.clone(), BucketRun::Done(report.clone()));
        }
        found.is_some()
    }

    /// What is known of the bucket, or what a check finds: one that runs already, or a new one.
    async fn check(
        &'static self,
        store: &Store,
        bucket: &BucketKey,
        runtime: &Runtime,
        tell: &(dyn Fn(Error) + Sync),
    ) -> RunEnd {
        let (under, why, begun) = {
            let mut runs = self.lock();
            match runs.by_bucket.get(bucket) {
                Some(BucketRun::Done(report)) => return Ok(report.clone()),
                Some(BucketRun::Under { end, causes, .. }) => (end.clone(), causes.clone(), None),
                None => {
                    let number = runs.next;
                    runs.next = number.wrapping_add(1);
                    let (send, receive) = oneshot::channel();
                    let end = receive.shared();
                    let (causes, why) = watch::channel(None);
                    let under = BucketRun::Under { number, end: end.clone(), causes: why.clone() };
                    runs.by_bucket.insert(bucket.clone(), under);
                    let task = RunTask { runs: self, bucket: bucket.clone(), number, send: Some(send) };
                    (end, why, Some((task, causes)))
                }
            }
        };
        let under = match begun {
            Some((task, causes)) => {
                // Outside the lock: a runtime may run the task at once.
                let (store, on) = (store.clone(), runtime.clone());
                runtime.spawn(async move { task.end(run(&store, &on, causes).await) });
                told(under, why, tell).await
            }
            None => match runtime.timeout(PATIENCE, told(under, why, tell)).await {
                Some(under) => under,
                None => {
                    let (causes, why) = watch::channel(None);
                    let end = told(Box::pin(run(store, runtime, causes)), why, tell).await;
                    self.remember(bucket, &end);
                    return end;
                }
            },
        };
        under.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Unavailable,
                "the check of the bucket was given up with the runtime that it ran on",
            ))
        })
    }
}

/// Waits for the end of a check, and tells meanwhile why it takes so long.
async fn told<T>(
    mut under: impl Future<Output = T> + Unpin,
    mut causes: watch::Receiver<Option<Error>>,
    tell: &(dyn Fn(Error) + Sync),
) -> T {
    loop {
        let changed = {
            let changed = std::pin::pin!(causes.changed());
            match select(&mut under, changed).await {
                Either::Left((end, _)) => return end,
                Either::Right((changed, _)) => changed,
            }
        };
        if changed.is_err() {
            return under.await;
        }
        let cause = causes.borrow_and_update().clone();
        if let Some(cause) = cause {
            tell(cause);
        }
    }
}

async fn run(store: &Store, runtime: &Runtime, causes: Causes) -> RunEnd {
    let report = store.preflight_for_writing(runtime, causes).await?;
    store.observer.bucket_checked(&report.url, report.requests.total(), &report.lacking());
    if !report.left.is_empty() {
        store.observer.check_left(&report.url, &report.left.join(" "));
    }
    Ok(Arc::new(report))
}

/// A check that runs. When it ends, and when it is dropped before that, later writers begin another one, unless the end
/// is remembered.
struct RunTask {
    runs: &'static ProcessRuns,
    bucket: BucketKey,
    number: u64,
    send: Option<oneshot::Sender<RunEnd>>,
}

impl RunTask {
    fn end(mut self, end: RunEnd) {
        if !self.runs.remember(&self.bucket, &end) {
            self.forget();
        }
        if let Some(send) = self.send.take() {
            // Nobody may wait any more.
            let _unwanted = send.send(end);
        }
    }

    fn forget(&self) {
        let mut runs = self.runs.lock();
        if let Some(BucketRun::Under { number, .. }) = runs.by_bucket.get(&self.bucket)
            && *number == self.number
        {
            runs.by_bucket.remove(&self.bucket);
        }
    }
}

impl Drop for RunTask {
    fn drop(&mut self) {
        if self.send.is_some() && !self.runs.guard.is_forked() {
            self.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_check_is_told_why_and_gets_its_end() {
        let (causes, why) = watch::channel(None);
        let (end, ended) = oneshot::channel();
        let heard = Mutex::new(Vec::new());
        let tell = |cause: Error| heard.lock().unwrap().push(cause.message().to_string());
        let mut waits = std::pin::pin!(told(ended, why, &tell));
        let mut poll = async || poll_fn(|context| Poll::Ready(waits.as_mut().poll(context).is_ready())).await;
        assert!(!poll().await);
        for cause in ["SlowDown", "ServerBusy"] {
            causes.send_replace(Some(Error::new(ErrorKind::Unavailable, cause)));
            assert!(!poll().await);
        }
        drop(causes);
        assert!(!poll().await, "the check has not ended yet");
        end.send(7).unwrap();
        assert!(poll().await);
        assert_eq!(*heard.lock().unwrap(), ["SlowDown", "ServerBusy"]);
        // An end counts though nothing was told.
        let (_causes, why) = watch::channel(None);
        assert_eq!(told(std::future::ready(3), why, &|_| ()).await, 3);
        let (causes, why) = watch::channel(None::<Error>);
        drop(causes);
        let never = told(pending::<()>(), why, &|_| ());
        assert!(futures_util::FutureExt::now_or_never(Box::pin(never)).is_none());
    }
}
