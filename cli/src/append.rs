//! `kfs append`: records from a file or standard input into a partition.

mod pace;
mod report;
mod signals;
mod tally;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use indicatif::ProgressBar;
use kfs_core::format::PartitionId;
use kfs_core::{Append, BucketOptions, Error, ErrorKind, Interest, Writer};

use self::pace::Pace;
use self::report::{Range, Reporter};
use self::signals::{Asked, Signals};
use self::tally::Tally;
use crate::args::{Acks, AppendArgs};
use crate::context::{Context, no_progress};
use crate::failure::{Failure, Outcome, usage};
use crate::input::{self, Chunk, Content, Found, Input, Origin};
use crate::output;
use crate::portion::Portion;

/// How long an append that is to end at once waits to learn what became of its requests, and again for the
/// last lines of its report.
const AT_ONCE: Duration = Duration::from_millis(500);
/// SIGPIPE: what other programs die of when nobody reads their output.
const SIGPIPE: u8 = 13;

pub(crate) async fn run(context: &Context, args: AppendArgs) -> Outcome {
    let id = PartitionId::parse(&args.partition, context.namespace().clone())?;
    if matches!(args.origin(), Origin::Stdin) && output::stdin_is_closed() {
        return Err(usage("standard input is closed", "name a file, feed a pipe, or redirect it from /dev/null"));
    }
    let bucket = context.bucket(BucketOptions::default().buffer_bytes(args.buffer_bytes()))?;
    let partition = bucket.partition_of(id);
    let mut signals = Signals::listen();
    let writer = tokio::select! {
        writer = context.within(partition.writer_with(args.writer_options())) => writer??,
        Asked::ToEnd(signal) | Asked::AtOnce(signal) = signals.next() => {
            let name = signals::name(signal);
            output::note(&format!("{name}: ended before the partition was open: nothing was read, and no record is stored"));
            return Err(Failure::Cut(signal));
        }
    };
    let mut job = Job {
        context,
        writer,
        tally: Arc::new(Tally::default()),
        reporter: args.report.then(Reporter::start),
        progress: match args.origin() {
            Origin::File(path) => output::progress(std::fs::metadata(path).map_or(0, |m| m.len())),
            Origin::Stdin => ProgressBar::hidden(),
        },
        writer_ended: Cell::new(true),
    };
    let mut found = Found::default();
    let fed = job.feed(&args, &mut signals, &mut found).await;
    let ended = job.close(fed, &mut signals).await;
    job.progress.finish_and_clear();
    found.say();
    job.verdict(ended, &signals)
}

struct Job<'a> {
    context: &'a Context,
    writer: Writer,
    tally: Arc<Tally>,
    reporter: Option<Reporter>,
    progress: ProgressBar,
    /// Whether the writer will settle no more appends, once it was closed.
    writer_ended: Cell<bool>,
}

impl Job<'_> {
    /// Appends the input until it ends, or something else does. A signal, or a report that can't be
    /// written, ends the reading; what was read by then is appended still.
    async fn feed(&self, args: &AppendArgs, signals: &mut Signals, found: &mut Found) -> Outcome {
        let input = input::start(args.origin(), args.form());
        let stop = input.stop();
        let unwritten = or_never(self.reporter.as_ref().map(Reporter::unwritten));
        let stalled = self.stalled();
        let appends = self.appends(args, input, found);
        tokio::pin!(unwritten, stalled, appends);
        let mut report_fails = false;
        loop {
            tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::ToEnd(signal) => {
                        say_that_it_ends(signal);
                        stop.stop();
                    }
                    Asked::AtOnce(signal) => return Err(Failure::Cut(signal)),
                },
                error = self.tally.failure() => return Err(error.into()),
                () = &mut unwritten, if !report_fails => {
                    report_fails = true;
                    stop.stop();
                }
                error = &mut stalled => return Err(error.into()),
                fed = &mut appends => return fed,
            }
        }
    }

    async fn appends(&self, args: &AppendArgs, mut input: Input, found: &mut Found) -> Outcome {
        if args.claim {
            self.claim().await;
        }
        let portion = args.portion();
        let mut pace = Pace::new(self.reporter.is_some());
        let mut last: Option<Append> = None;
        loop {
            let chunk = match &last {
                Some(last) if args.acks == Acks::Durable => self.next(&mut input, last, pace.pause()).await,
                _ => input.next().await,
            };
            let pending = last.as_ref().is_some_and(|last| last.outcome().is_none());
            pace.came(self.context.runtime().clock().elapsed(), pending);
            let Some(chunk) = chunk else { return Ok(()) };
            let chunk = chunk?;
            found.add(&chunk.found);
            if let Some(append) = self.append(chunk.content, &portion).await? {
                last = Some(append);
            }
            self.progress.inc(chunk.bytes);
        }
    }

    /// The next chunk. When none comes for `pause`, whoever writes the input may be waiting for the last
    /// append to be durable, so the writer flushes.
    async fn next(&self, input: &mut Input, last: &Append, pause: Duration) -> Option<Result<Chunk, Error>> {
        let next = input.next();
        tokio::pin!(next);
        let at_hand = if pause.is_zero() {
            (&mut next).now_or_never()
        } else {
            self.context.runtime().timeout(pause, &mut next).await
        };
        match at_hand {
            Some(chunk) => chunk,
            None => {
                last.on_settled(Interest::Waits, |_| {});
                next.await
            }
        }
    }

    async fn claim(&self) {
        self.tally.enter(0);
        let claimed = self.writer.claim().await;
        if let (Some(reporter), Ok(offsets)) = (&self.reporter, &claimed) {
            let _ = reporter.sender().send(Range::new(*offsets, true));
        }
        self.tally.settle(0, claimed);
    }

    /// Hands a chunk of the input over, in portions; gives the last one's append.
    async fn append(&self, content: Option<Content>, portion: &Portion) -> Result<Option<Append>, Error> {
        let mut last = None;
        match content {
            None => {}
            Some(Content::Batches(mut all)) => {
                while let Some((batches, records)) = all.next(|parts| portion.take(parts.iter().copied())) {
                    last = Some(self.hand_over(records, self.writer.append_checked(batches)).await?);
                }
            }
            Some(Content::Records(records)) => {
                let headers = records.headers();
                let all = records.as_new(&headers, self.context.now_ms());
                let mut left = all.as_slice();
                while !left.is_empty() {
                    let (next, rest) = portion.of_records(left);
                    left = rest;
                    last = Some(self.hand_over(next.len() as u64, self.writer.append(next)).await?);
                }
            }
        }
        Ok(last)
    }

    async fn hand_over(
        &self,
        records: u64,
        admission: impl Future<Output = Result<Append, Error>>,
    ) -> Result<Append, Error> {
        self.tally.enter(records);
        let append = match admission.await {
            Ok(append) => append,
            Err(error) => {
                self.tally.settle(records, Err(error.clone()));
                return Err(error);
            }
        };
        let (tally, report) = (self.tally.clone(), self.reporter.as_ref().map(Reporter::sender));
        append.on_settled(Interest::Observes, move |settled| {
            if let (Some(report), Ok(offsets)) = (report, &settled) {
                // In the order of the appends: a flush settles them so, and flushes follow each other.
                let _ = report.send(Range::new(*offsets, false));
            }
            tally.settle(records, settled);
        });
        Ok(append)
    }

    /// Flushes what was read, however the reading ended, and writes the report to its end.
    async fn close(&mut self, fed: Outcome, signals: &mut Signals) -> Outcome {
        let flushed = match fed {
            Err(Failure::Error(error)) if error.kind() == ErrorKind::TimedOut => Err(self.abandon(error).await),
            Err(Failure::Cut(signal)) => self.cut(signal).await,
            fed => fed.and(self.flush(signals).await),
        };
        let reported = match self.reporter.take() {
            Some(reporter) => self.report(reporter, &flushed, signals).await,
            None => Ok(()),
        };
        flushed.and(reported)
    }

    /// As long as flushes land, the end may take its time.
    async fn flush(&self, signals: &mut Signals) -> Outcome {
        let (closed, stalled) = (self.writer.close(None), self.stalled());
        tokio::pin!(closed, stalled);
        loop {
            tokio::select! {
                closed = &mut closed => return Ok(closed?),
                asked = signals.next() => match asked {
                    Asked::ToEnd(signal) => say_that_it_ends(signal),
                    Asked::AtOnce(signal) => return self.cut(signal).await,
                },
                error = &mut stalled => return Err(self.abandon(error).await),
            }
        }
    }

    /// Ends the retries: each append learns what is known of it.
    async fn abandon(&self, error: Error) -> Failure {
        let closed = self.writer.close(Some(Duration::ZERO)).await;
        let stored = closed.err().and_then(|e| e.stored());
        stored.map_or(error.clone(), |stored| error.with_stored(stored)).into()
    }

    /// The same at once, for a second signal.
    async fn cut(&self, signal: u8) -> Outcome {
        let closed = self.writer.close(Some(Duration::ZERO));
        let ended = self.context.runtime().timeout(AT_ONCE, closed).await.is_some();
        self.writer_ended.set(ended);
        Err(Failure::Cut(signal))
    }

    /// Waits until the report is written.
    async fn report(&self, reporter: Reporter, flushed: &Outcome, signals: &mut Signals) -> Outcome {
        let unread = || output::note("the report was not written to its end, for nobody reads it");
        let written = reporter.end();
        if let Err(Failure::Cut(_)) = flushed {
            return self.context.runtime().timeout(AT_ONCE, written).await.unwrap_or_else(|| {
                unread();
                Ok(())
            });
        }
        tokio::pin!(written);
        loop {
            tokio::select! {
                written = &mut written => return written,
                asked = signals.next() => match asked {
                    Asked::ToEnd(signal) => say_that_it_ends(signal),
                    Asked::AtOnce(signal) => {
                        unread();
                        return Err(Failure::Cut(signal));
                    }
                },
            }
        }
    }

    /// How the run ended. Whatever went wrong, it says what is durable.
    fn verdict(&self, ended: Outcome, signals: &Signals) -> Outcome {
        let ended = match ended {
            // The first failure says more than what follows from it.
            Ok(()) => self.tally.first_error().map_or(Ok(()), |error| Err(error.into())),
            ended => ended,
        };
        match &ended {
            Ok(()) => return signals.first().map_or(Ok(()), |signal| Err(Failure::Signal(signal))),
            Err(Failure::Cut(signal)) => output::note(&format!("{}: ended at once", signals::name(*signal))),
            Err(Failure::BrokenPipe) => output::note("nobody reads the report any more"),
            Err(_) => {}
        }
        self.tally.say(self.writer_ended.get());
        match ended {
            Err(Failure::BrokenPipe) => Err(Failure::Signal(SIGPIPE)),
            ended => ended,
        }
    }

    /// Waits until a flush has been on its way for as long as patience lasts.
    fn stalled(&self) -> impl Future<Output = Error> + 'static {
        let (patience, writer) = (self.context.patience(), self.writer.clone());
        let clock = self.context.runtime().clock().clone();
        async move {
            let Some(limit) = patience else { return std::future::pending().await };
            loop {
                // A flush that begins meanwhile is met when it has lasted for no longer than that.
                let status = writer.status();
                let lasting = status.flushing_for.unwrap_or_default();
                if lasting >= limit {
                    return no_progress(limit, status.trouble);
                }
                clock.sleep(limit.saturating_sub(lasting)).await;
            }
        }
    }
}

fn say_that_it_ends(signal: u8) {
    let name = signals::name(signal);
    output::note(&format!(
        "{name}: the reading has ended, what was read is being flushed; a second signal ends that at once"
    ));
}

async fn or_never(event: Option<impl Future<Output = ()>>) {
    match event {
        Some(event) => event.await,
        None => std::future::pending().await,
    }
}
