//! `kfs append`: records from a file or standard input into a partition.

mod report;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use kfs_core::format::PartitionId;
use kfs_core::{Append, BucketOptions, Error, ErrorKind, Writer};

use self::report::{Range, Reporter};
use self::tally::Tally;
use crate::args::{Acks, AppendArgs};
use crate::context::{Context, no_progress};
use crate::failure::{Failure, Outcome};
use crate::input::{self, Chunk, Content, Origin};
use crate::output;

/// When nothing came for so long, the input pauses. Shorter ones are those of a busy pipe: to flush
/// at each would make many small segments.
const PAUSE: Duration = Duration::from_millis(10);
/// SIGPIPE: what other programs die of when nobody reads their output.
const SIGPIPE: u8 = 13;

pub(crate) async fn run(context: &Context, args: AppendArgs) -> Outcome {
    let id = PartitionId::parse(&args.partition, context.namespace().clone())?;
    let bucket = context.bucket(BucketOptions::default().buffer_bytes(args.buffer_bytes()))?;
    let partition = bucket.partition_of(id);
    let writer = context.within(partition.writer(args.writer_options())).await??;
    let mut job = Job {
        context,
        // The store is quiet until a flush is due.
        patience: context.patience().map(|limit| limit.saturating_add(args.flush_interval())),
        writer,
        tally: Arc::new(Tally::default()),
        reporter: args.report.then(Reporter::start),
        progress: match args.origin() {
            Origin::File(path) => output::progress(std::fs::metadata(path).map_or(0, |m| m.len())),
            Origin::Stdin => ProgressBar::hidden(),
        },
        control_skipped: 0,
    };
    let fed = job.feed(&args).await;
    job.close(fed).await
}

struct Job<'a> {
    context: &'a Context,
    patience: Option<Duration>,
    writer: Writer,
    tally: Arc<Tally>,
    reporter: Option<Reporter>,
    progress: ProgressBar,
    control_skipped: u64,
}

impl Job<'_> {
    /// Appends the input, until it ends or something else does.
    async fn feed(&mut self, args: &AppendArgs) -> Outcome {
        let unread = self.reporter.as_ref().map(Reporter::unread);
        let (stalled, tally) = (self.stalled(), self.tally.clone());
        tokio::select! {
            biased;
            signal = signal() => Err(Failure::Signal(signal)),
            error = tally.failure() => Err(error.into()),
            () = or_never(unread) => Err(Failure::Signal(SIGPIPE)),
            error = stalled => Err(error.into()),
            fed = self.appends(args) => fed,
        }
    }

    async fn appends(&mut self, args: &AppendArgs) -> Outcome {
        if args.claim {
            self.tally.enter();
            let claimed = self.writer.claim().await;
            self.tally.settle(claimed.clone());
            if let (Some(reporter), Ok(offsets)) = (&self.reporter, claimed) {
                let _ = reporter.sender().send(Range::new(offsets, true));
            }
        }
        let mut chunks = input::start(args.origin(), args.form());
        let mut last: Option<Append> = None;
        loop {
            let chunk = match &last {
                Some(last) if args.acks == Acks::Durable => {
                    let next = chunks.recv();
                    tokio::pin!(next);
                    match self.context.runtime().timeout(PAUSE, &mut next).await {
                        Some(chunk) => chunk,
                        None => {
                            // Who writes the input may be waiting for this to be durable.
                            last.on_settled(true, |_| {});
                            next.await
                        }
                    }
                }
                _ => chunks.recv().await,
            };
            let Some(chunk) = chunk else { return Ok(()) };
            let chunk = chunk?;
            self.control_skipped += chunk.control_skipped;
            let bytes = chunk.bytes;
            if let Some(append) = self.append(chunk).await? {
                last = Some(append);
            }
            self.progress.inc(bytes);
        }
    }

    async fn append(&self, chunk: Chunk) -> Result<Option<Append>, Error> {
        let admission = match chunk.content {
            None => return Ok(None),
            Some(Content::Batches(batches)) => self.writer.append(batches),
            Some(Content::Records(records)) => {
                let headers = records.headers();
                self.writer.append_records(&records.as_new(&headers, self.context.now_ms()))
            }
        };
        let append = admission.await?;
        self.tally.enter();
        let (tally, report) = (self.tally.clone(), self.reporter.as_ref().map(Reporter::sender));
        append.on_settled(false, move |settled| {
            if let (Some(report), Ok(offsets)) = (report, &settled) {
                // In the order of the appends: a flush settles them so, and flushes follow each other.
                let _ = report.send(Range::new(*offsets, false));
            }
            tally.settle(settled);
        });
        Ok(Some(append))
    }

    /// Flushes what was read, however the reading ended, and says how all of it went.
    async fn close(mut self, fed: Outcome) -> Outcome {
        let ended = match fed {
            Err(Failure::Error(error)) if error.kind() == ErrorKind::TimedOut => self.abandon(error).await,
            fed => said(fed, self.flush().await),
        };
        if let Some(reporter) = self.reporter.take() {
            tokio::select! {
                _ = reporter.end() => {}
                signal = signal() => return Err(Failure::Signal(signal)),
            }
        }
        self.progress.finish_and_clear();
        if self.control_skipped > 0 {
            output::note(&format!("{} control records were passed over; --raw keeps them", self.control_skipped));
        }
        let ended = said(ended, self.tally.first_error().map_or(Ok(()), |error| Err(error.into())));
        if let (Err(Failure::Error(_)), Some(durable)) = (&ended, self.tally.durable()) {
            output::note(&format!("durable before that: {} offsets, the last is {}", durable.offsets, durable.last));
        }
        ended
    }

    /// As long as flushes land, the end may take its time.
    async fn flush(&self) -> Outcome {
        tokio::select! {
            closed = self.writer.close(None) => Ok(closed?),
            signal = signal() => Err(Failure::Signal(signal)),
            error = self.stalled() => self.abandon(error).await,
        }
    }

    /// Ends the retries: each append learns what is known of it.
    async fn abandon(&self, error: Error) -> Outcome {
        let closed = self.writer.close(Some(Duration::ZERO)).await;
        let stored = closed.err().and_then(|e| e.stored());
        Err(stored.map_or(error.clone(), |stored| error.with_stored(stored)).into())
    }

    /// Waits until appends are pending and none has settled for as long as patience lasts.
    fn stalled(&self) -> impl Future<Output = Error> + 'static {
        let (patience, tally, clock) = (self.patience, self.tally.clone(), self.context.runtime().clock().clone());
        async move {
            let Some(limit) = patience else { return std::future::pending().await };
            loop {
                let before = tally.settled_while_pending();
                clock.sleep(limit).await;
                if before.is_some() && tally.settled_while_pending() == before {
                    return no_progress(limit);
                }
            }
        }
    }
}

/// What is said of two endings: the first that is an error. A signal says that all is durable, so it
/// gives way.
fn said(first: Outcome, second: Outcome) -> Outcome {
    match (first, second) {
        (Err(Failure::Signal(_)), Err(second)) => Err(second),
        (first, second) => first.and(second),
    }
}

async fn or_never(event: Option<impl Future<Output = ()>>) {
    match event {
        Some(event) => event.await,
        None => std::future::pending().await,
    }
}

/// Waits for Ctrl-C, or SIGTERM where there is one; gives its number.
async fn signal() -> u8 {
    const SIGINT: u8 = 2;
    let interrupted = async {
        match tokio::signal::ctrl_c().await {
            Ok(()) => SIGINT,
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(unix)]
    {
        const SIGTERM: u8 = 15;
        let terminated = async {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(mut signals) => match signals.recv().await {
                    Some(()) => SIGTERM,
                    None => std::future::pending().await,
                },
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = interrupted => signal,
            signal = terminated => signal,
        }
    }
    #[cfg(not(unix))]
    interrupted.await
}
