//! The program that a simulated process runs: it opens writers, appends, waits, closes.

mod appending;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use kfs_core::format::{Batch, BatchCheck, Codec};
use kfs_core::runtime::Clock;
use kfs_core::testing::Prng;
use kfs_core::{Append, ErrorKind, Interest, OnConflict, Result, Writer, WriterOptions};

use self::appending::settled;
use crate::config::pick;
use crate::host::Host;
use crate::oracle::{Content, Outcome, brief};
use crate::reading::Reading;

/// The longest that it waits for anything but a close.
const PATIENCE: Duration = Duration::from_secs(600);

/// No outage lasts as long, nor what it leaves to be done.
pub(crate) const PAST_OUTAGES: Duration = Duration::from_secs(24 * 3_600);

/// A writer that is open, and what was appended to it lately.
struct Held {
    number: usize,
    writer: Writer,
    appends: Vec<(usize, Append)>,
}

/// The program of one life.
pub(crate) struct App {
    host: Arc<Host>,
    prng: Prng,
    writers: Vec<Held>,
    reading: Reading,
    /// A payload that others append too.
    shared: Option<(usize, Vec<Batch>)>,
    /// The writer of a partition that refuses every put, and what it was given.
    stuck: Option<(Writer, Vec<Append>)>,
    /// It opens no writer.
    only_reads: bool,
}

impl App {
    /// For a process.
    pub(crate) fn new(host: Arc<Host>, mut prng: Prng, only_reads: bool) -> Self {
        let reading = Reading::new(host.clone(), prng.fork());
        App { host, prng, writers: Vec::new(), reading, shared: None, stuck: None, only_reads }
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.prng.one_in(n)
    }

    fn note(&self, line: std::fmt::Arguments<'_>) {
        self.host.world.note(format_args!("p{} {line}", self.host.number));
    }

    /// Does a number of things, then closes what it holds.
    pub(crate) async fn run(mut self) {
        if self.host.world.config.stuck && !self.only_reads {
            self.get_stuck().await;
        }
        for _ in 0..self.host.world.config.steps {
            self.think().await;
            if self.only_reads || self.one_in(4) {
                self.read().await;
                continue;
            }
            if self.writers.is_empty() || (self.writers.len() < 3 && self.one_in(12)) {
                self.open().await;
                continue;
            }
            let at = self.prng.below(self.writers.len() as u64) as usize;
            match self.prng.below(21) {
                0..=6 => self.burst(at).await,
                7..=9 => self.wait(at).await,
                10 => self.flush(at).await,
                11 | 12 => self.claim(at).await,
                13 => self.close(at).await,
                14 => drop(self.writers.remove(at)),
                15 => self.host.lie(&mut self.prng),
                16 => self.suspend(at),
                17 => self.busy(at).await,
                _ => self.watch(at),
            }
            self.forget_the_dead();
        }
        self.finish().await;
    }

    /// Fills a partition that nothing can be written to with as much as it takes, and waits for that.
    async fn get_stuck(&mut self) {
        let partition = self.host.bucket.partition("stuck", 0).expect("a good name");
        let options = WriterOptions::default().on_conflict(OnConflict::Rebase);
        let Some(Ok(writer)) = self.limited(PATIENCE, partition.writer_with(options)).await else { return };
        let mut appends = Vec::new();
        for _ in 0..100 {
            let bytes = self.stuck_bytes();
            match writer.try_append_batches(bytes) {
                Ok(append) => appends.push(append),
                Err(_full) => break,
            }
        }
        if let Some(append) = appends.last() {
            append.on_settled(Interest::Waits, |_| {});
        }
        self.note(format_args!("{} appends are stuck", appends.len()));
        self.stuck = Some((writer, appends));
    }

    async fn read(&mut self) {
        let host = self.host.clone();
        let patience = if host.world.config.outage { PAST_OUTAGES } else { 6 * PATIENCE };
        if limited(&host, patience, self.reading.step()).await.is_none() {
            host.world.fail("a read takes for ever".into());
        }
    }

    fn timestamp(&mut self) -> i64 {
        let world = &self.host.world;
        let ms = if world.config.ordered { world.clock.elapsed().as_millis() as u64 } else { self.prng.below(100_000) };
        crate::clock::BEGIN_MS + ms as i64
    }

    async fn think(&mut self) {
        let sleepy = self.host.world.config.sleepy;
        let ms = match self.prng.below(24) {
            0..=9 => 0,
            10..=15 => self.prng.below(100),
            16..=19 => self.prng.below(10_000),
            20 | 21 => self.prng.below(150_000),
            _ if self.host.world.config.drowsy => self.prng.below(1_200_000),
            _ if !sleepy => self.prng.below(1_000),
            22 => self.prng.below(3_600_000),
            _ => self.prng.below(2 * 86_400_000),
        };
        if ms > 0 {
            self.host.clock.sleep(Duration::from_millis(ms)).await;
        }
    }

    /// The machine sleeps; often in the midst of an append.
    fn suspend(&mut self, at: usize) {
        let config = self.host.world.config.clone();
        let longest: u64 = if config.sleepy { 2 * 86_400_000 } else { 120_000 };
        let bits = 1 + self.prng.below(u64::from(64 - longest.leading_zeros()));
        let mut time = Duration::from_millis(self.prng.below(1 << bits));
        if config.drowsy {
            time = config.grace * 2 + Duration::from_millis(self.prng.below(3_600_000));
        }
        // What lands later than the grace may land in the midst of a merged segment: that is ruled out. Below the
        // log's start it does no harm.
        let may_be_late = !config.merges || time < config.grace / 2;
        let with_its_wire = may_be_late && self.one_in(2);
        if config.drowsy || self.one_in(2) {
            self.host.suspend_at_next_segment(time, with_its_wire);
            self.append_batches(at);
            self.writers[at].writer.flush().now_or_never();
        } else {
            self.host.suspend(time, with_its_wire);
        }
    }

    fn options(&mut self, number: usize, policy: OnConflict, epoch: Option<i32>) -> WriterOptions {
        let large = self.host.world.config.large;
        let prng = &mut self.prng;
        let codec = pick(prng, &[Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd]);
        let bytes = if large { [1, 20_000, 20_000, 8 << 20] } else { [1, 200, 1_000, 8 << 20] };
        let mut options = WriterOptions::default()
            .on_conflict(policy)
            .flush_bytes(pick(prng, &bytes))
            .flush_records(pick(prng, &[1, 5, u64::MAX]))
            .flush_batches(pick(prng, &[3, usize::MAX]))
            .flush_interval(Duration::from_millis(pick(prng, &[1, 250, 5_000])))
            .linger(Duration::from_millis(pick(prng, &[0, 0, 5, 100])))
            .batch_bytes(pick(prng, &[100, 400, 64 << 10]))
            .compression(codec)
            .index_interval(pick(prng, &[1, 2, 3, 5, 100]))
            .time_index(prng.one_in(4))
            .stale_after(self.host.stale_after)
            // Some are what compaction leaves, which no producer sends.
            .batch_check(BatchCheck::Decode)
            .name(format!("w{number}"));
        if let Some(start) = pick(prng, &self.host.world.config.starts) {
            options = options.start_offset(start);
        }
        match epoch {
            Some(epoch) => options.leader_epoch(epoch),
            None => options,
        }
    }

    async fn open(&mut self) {
        let config = &self.host.world.config;
        let policy = pick(&mut self.prng, &config.policies);
        let epoch = config.epochs.then(|| self.prng.below(4) as i32);
        let most_losses = pick(&mut self.prng, &[1, 2, 5, 64]);
        let number = self.host.world.oracle().open(policy, epoch, most_losses);
        let options = self.options(number, policy, epoch).most_losses(most_losses);
        self.note(format_args!("opens writer {number}: {policy:?}, epoch {epoch:?}, {options:?}"));
        let partition = self.host.bucket.partition("t", 0).expect("a good name");
        let patience = if self.host.world.config.outage { PAST_OUTAGES } else { PATIENCE };
        let opened = self.limited(patience, partition.writer_with(options)).await;
        match opened {
            Some(Ok(writer)) => {
                self.note(format_args!("writer {number} is open, watermarks {:?}", partition.watermarks()));
                self.writers.push(Held { number, writer, appends: Vec::new() });
            }
            Some(Err(error)) => self.note(format_args!("writer {number} does not open: {}", brief(&error))),
            None => self.host.world.fail(format!("writer {number} neither opens nor fails")),
        }
    }

    async fn limited<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        limited(&self.host, limit, work).await
    }

    async fn wait(&mut self, at: usize) {
        let Some((number, append)) = self.writers[at].appends.last().cloned() else { return };
        let mut limit = Duration::from_millis(pick(&mut self.prng, &[1, 500, 60_000, 600_000]));
        let patient = self.host.world.config.outage && self.one_in(2);
        if patient {
            limit = PAST_OUTAGES;
        }
        let ended = self.limited(limit, append.durable()).await;
        if patient && ended.is_none() {
            self.host.world.fail(format!("append {number} is not settled long after the store recovered"));
        }
        self.note(format_args!(
            "waited for append {number}: {}",
            if ended.is_some() { "it is settled" } else { "in vain" }
        ));
        if ended.is_some() && self.host.world.oracle().outcome(number) == Outcome::Pending {
            self.host.world.fail(format!("append {number} is settled for one and not for the other"));
        }
    }

    async fn flush(&mut self, at: usize) {
        let writer = self.writers[at].writer.clone();
        let pending: Vec<usize> = self.writers[at].appends.iter().map(|(number, _)| *number).collect();
        let flushed = self.limited(PATIENCE, writer.flush()).await;
        self.note(format_args!("flushed writer {}: {}", self.writers[at].number, said(&flushed)));
        if matches!(flushed, Some(Ok(()))) {
            let oracle = self.host.world.oracle();
            let open = pending.iter().find(|number| oracle.outcome(**number) == Outcome::Pending).copied();
            drop(oracle);
            if let Some(open) = open {
                self.host.world.fail(format!("a flush returned, and append {open} is not settled"));
            }
        }
    }

    async fn claim(&mut self, at: usize) {
        let number = self.begin(at, None, Content::Claim);
        let claimed = self.writers[at].writer.claim();
        let host = self.host.clone();
        // A claim gives no handle: its future tells.
        let done = Arc::new(tokio::sync::Notify::new());
        let tell = done.clone();
        self.host.runtime.spawn(async move {
            let result = claimed.await;
            settled(&host, number, result);
            tell.notify_one();
        });
        self.limited(Duration::from_secs(120), done.notified()).await;
    }

    async fn close(&mut self, at: usize) {
        let held = self.writers.remove(at);
        let deadline = Duration::from_millis(pick(&mut self.prng, &[0, 100, 30_000, 600_000]));
        let closed = self.limited(deadline + PATIENCE, held.writer.close(Some(deadline))).await;
        self.note(format_args!("closed writer {} within {deadline:?}: {}", held.number, said(&closed)));
        self.closed(&held, &closed);
    }

    fn closed(&self, held: &Held, closed: &Option<Result<()>>) {
        let oracle = self.host.world.oracle();
        let open = held.appends.iter().find(|(number, _)| oracle.outcome(*number) == Outcome::Pending);
        let open = open.map(|(number, _)| *number);
        drop(oracle);
        let fail = |what: String| self.host.world.fail(format!("writer {}: {what}", held.number));
        match (closed, open) {
            (None, _) => fail("its close does not end".into()),
            (Some(_), Some(open)) => fail(format!("it is closed, and append {open} is not settled")),
            _ => {}
        }
    }

    /// Looks at what is said to be final.
    fn watch(&mut self, at: usize) {
        for (number, append) in &self.writers[at].appends {
            if let Some(offsets) = append.final_offsets() {
                self.host.world.judge(|oracle| oracle.promised(*number, offsets));
            }
        }
    }

    fn forget_the_dead(&mut self) {
        let oracle = self.host.world.oracle();
        for held in &mut self.writers {
            held.appends.retain(|(number, _)| oracle.outcome(*number) == Outcome::Pending);
        }
        drop(oracle);
        if self.prng.one_in(2) {
            self.writers.retain(|held| held.writer.failure().is_none());
        }
    }

    async fn finish(mut self) {
        if let Some((_, stuck)) = &self.stuck
            && stuck.iter().any(|append| matches!(append.outcome(), Some(Ok(_))))
        {
            self.host.world.fail("an append is durable where nothing can be written".into());
        }
        if self.one_in(3) {
            let closed = self.limited(2 * PATIENCE, self.host.bucket.close(PATIENCE)).await;
            self.note(format_args!("closed the bucket: {}", said(&closed)));
            for held in &self.writers {
                self.closed(held, &closed);
            }
        }
        while !self.writers.is_empty() {
            self.close(0).await;
        }
    }
}

/// Waits so long for something; `None` when the time ran out.
async fn limited<T>(host: &Host, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    futures_util::pin_mut!(work);
    let mut before = None;
    loop {
        let suspensions = host.suspensions();
        let ended = host.runtime.timeout(limit, work.as_mut()).await;
        // Who was suspended has not waited, nor who was when it began.
        if ended.is_some() || (before == Some(suspensions) && suspensions == host.suspensions()) {
            return ended;
        }
        before = Some(suspensions);
    }
}

fn said(result: &Option<Result<()>>) -> String {
    match result {
        None => "no end".into(),
        Some(Ok(())) => "done".into(),
        Some(Err(error)) if error.kind() == ErrorKind::Fenced => "fenced".into(),
        Some(Err(error)) => error.kind().name().into(),
    }
}
