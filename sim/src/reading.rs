//! What a simulated program reads, by every path, each held against the oracle.

use std::sync::Arc;
use std::time::Duration;

use kfs_core::runtime::Clock;
use kfs_core::testing::Prng;
use kfs_core::{
    Error, ErrorKind, FetchOptions, Notice, Partition, Reader, ReaderOptions, Result, Severity, VerifyOptions,
};

use crate::clock::{BEGIN_MS, Liar};
use crate::config::pick;
use crate::host::Host;
use crate::oracle::{Image, Oracle, Range, brief};

/// How long a listing may be on its way.
const SLOWEST: Duration = Duration::from_secs(600);

/// The readers of one process.
pub(crate) struct Reading {
    host: Arc<Host>,
    prng: Prng,
    partition: Partition,
    reader: Reader,
}

impl Reading {
    /// In a process.
    pub(crate) fn new(host: Arc<Host>, mut prng: Prng) -> Self {
        let partition = host.bucket.partition("t", 0).expect("a good name");
        let options = ReaderOptions::default()
            .block_bytes(pick(&mut prng, &[1, 300, 1 << 20]))
            .fetch_bytes(pick(&mut prng, &[1, 300, 1 << 20]))
            .wait_for_partition(prng.one_in(3));
        let reader = partition.reader_with(options);
        Reading { host, prng, partition, reader }
    }

    fn note(&self, line: std::fmt::Arguments<'_>) {
        self.host.world.note(format_args!("p{} {line}", self.host.number));
    }

    fn range(&self) -> Range {
        self.host.world.oracle().range()
    }

    /// Reads in one of the ways.
    pub(crate) async fn step(&mut self) {
        match self.prng.below(9) {
            0..=2 => self.fetch().await,
            3 => self.stream().await,
            4 => self.follow(),
            5 => self.times().await,
            6 => self.refresh().await,
            7 => self.repair().await,
            _ => self.host.world.judge(|oracle| oracle.kafscale_reads(&self.host.world.store)),
        }
    }

    /// An offset in the log, at its end, or a little before its start.
    fn offset(&mut self) -> i64 {
        let Range { start, end } = self.range();
        let start = start.unwrap_or(0);
        match self.prng.below(8) {
            0 => (start - 1 - self.prng.below(5) as i64).max(0),
            1 => start,
            2 => end,
            _ => start + self.prng.below((end - start + 1) as u64) as i64,
        }
    }

    /// What may go wrong for a reader: the store may be away, and retention may have passed it.
    fn excuse(&self, what: &str, offset: i64, before: Range, error: &Error) {
        let now = self.range();
        let served = now.start.is_some_and(|start| start <= offset) && offset <= before.end;
        let excused = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::TimedOut | ErrorKind::PermissionDenied => true,
            ErrorKind::OutOfRange => !served,
            ErrorKind::NotFound => before.start.is_none(),
            _ => false,
        };
        self.note(format_args!("{what} at {offset}: {}", brief(error)));
        if !excused {
            self.host.world.fail(format!("{what} at {offset}, of {before:?}: {}", brief(error)));
        }
    }

    async fn refresh(&mut self) {
        let before = self.range();
        match self.partition.refresh().await {
            Ok(watermarks) => {
                let now = self.range();
                self.note(format_args!("refreshed: {} to {}", watermarks.log_start, watermarks.high_watermark));
                let end_is_right = (before.end..=now.end).contains(&watermarks.high_watermark);
                // A writer in this process knows better than the store who is not asked.
                let start_is_right =
                    Some(watermarks.log_start) <= now.start && Some(watermarks.log_start) >= before.start;
                if !end_is_right || !start_is_right {
                    self.host
                        .world
                        .fail(format!("refreshed to {watermarks:?}, the log went from {before:?} to {now:?}"));
                }
            }
            Err(error) => self.excuse("refresh", before.end, before, &error),
        }
    }

    async fn fetch(&mut self) {
        let sure = self.prng.one_in(2);
        if sure {
            self.refresh().await;
        }
        let known = self.partition.watermarks().filter(|_| sure);
        let mut offset = self.offset();
        for _ in 0..=self.prng.below(8) {
            let bytes = pick(&mut self.prng, &[1, 100, 1_000, 1 << 20]);
            let (before, begun) = (self.range(), self.host.world.clock.elapsed());
            let fetched = match self.reader.fetch_with(offset, FetchOptions::new(bytes)).await {
                Ok(fetched) => fetched,
                Err(error) => return self.excuse("fetch", offset, before, &error),
            };
            let mut next = offset;
            if let Some(hole) = fetched.hole() {
                self.host.world.judge(|oracle| oracle.passed_over(hole.from, hole.to));
                next = hole.to;
            }
            for batch in fetched.batches() {
                let Ok(batch) = batch else { return self.host.world.fail("a fetched batch is malformed".into()) };
                self.host.world.judge(|oracle| oracle.read(next, &batch));
                if batch.base_offset() > next {
                    self.host.world.fail(format!("a fetch at {offset} left out {next} to {}", batch.base_offset()));
                }
                next = batch.next_offset();
            }
            if fetched.next_offset != next {
                self.host.world.fail(format!("a fetch at {offset} goes on at {}, not {next}", fetched.next_offset));
            }
            if fetched.is_empty() {
                let known = known.is_some_and(|watermarks| offset < watermarks.high_watermark);
                if known && self.range().start.is_some_and(|s| s <= offset) {
                    self.host.world.fail(format!("a fetch at {offset} is empty, the log is known to go on"));
                }
                return self.end_is_right("fetch", offset, begun);
            }
            if known.is_some_and(|watermarks| offset < watermarks.log_start) {
                self.host.world.fail(format!("a fetch at {offset} gives what lies before {known:?}"));
            }
            self.note(format_args!("fetched {offset} to {next}"));
            offset = next;
        }
    }

    /// A reader that began then was told that the log ends here. A 404 is believed for a minute, a writer
    /// of this process for as long as it may look away.
    fn end_is_right(&self, what: &str, offset: i64, begun: Duration) {
        let bound = self.host.stale_after.max(Duration::from_secs(60)) + SLOWEST;
        let (oracle, host) = (self.host.world.oracle(), &self.host);
        let since = oracle.there_since(offset).filter(|_| oracle.range().start.is_some_and(|start| start <= offset));
        drop(oracle);
        // Whose clock stood still can't know how long it believes.
        if host.clock.liar != Liar::Monotonic && since.is_some_and(|since| begun.saturating_sub(since) > bound) {
            host.world.fail(format!("a {what} of {begun:?} ends at {offset}, the log went on at {since:?}"));
        }
    }

    async fn stream(&mut self) {
        let from = self.offset();
        let (before, now) = (self.range(), self.host.clock.elapsed());
        let begun = self.host.world.clock.elapsed();
        let mut stream = self.reader.records(from);
        let mut check = Following::new(from);
        let error = loop {
            match stream.next().await {
                Ok(Some(record)) => {
                    let image = Image::of_record(&record);
                    self.host.world.judge(|oracle| check.next(oracle, &image));
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        self.note(format_args!("streamed from {from} to {}, since {now:?}", stream.position()));
        self.holes(&stream.take_notices());
        if let Some(error) = error {
            return self.excuse("stream", stream.position(), before, &error);
        }
        self.host.world.judge(|oracle| oracle.gave_none(check.next, stream.position()));
        self.end_is_right("stream", stream.position(), begun);
    }

    fn holes(&self, notices: &[Notice]) {
        for notice in notices {
            match notice {
                Notice::Hole(hole) => self.host.world.judge(|oracle| oracle.passed_over(hole.from, hole.to)),
                other => self.host.world.fail(format!("a stream says {other:?}")),
            }
        }
    }

    /// Follows for a while, beside everything else.
    fn follow(&mut self) {
        let (host, from) = (self.host.clone(), self.offset());
        let mut stream = self.reader.follow_records(from);
        let until = Duration::from_millis(pick(&mut self.prng, &[500, 20_000, 200_000]));
        self.note(format_args!("follows from {from} for {until:?}"));
        let before = self.range();
        let watch = Reading {
            host: host.clone(),
            prng: self.prng.fork(),
            partition: self.partition.clone(),
            reader: self.reader.clone(),
        };
        host.runtime.clone().spawn(async move {
            let mut check = Following::new(from);
            let work = async {
                loop {
                    match stream.next().await {
                        Ok(Some(record)) => {
                            let image = Image::of_record(&record);
                            host.world.judge(|oracle| check.next(oracle, &image));
                        }
                        Ok(None) => return host.world.fail("a follower came to an end".into()),
                        Err(error) => return watch.excuse("follow", from, before, &error),
                    }
                }
            };
            let _ = host.runtime.timeout(until, work).await;
            watch.holes(&stream.take_notices());
            watch.note(format_args!("followed from {from} to {}", stream.position()));
        });
    }

    async fn times(&mut self) {
        let before = self.range();
        if self.prng.one_in(4) {
            match self.partition.max_timestamp().await {
                Ok(found) => self.host.world.judge(|oracle| oracle.latest(before, found)),
                Err(error) => self.excuse("greatest time", before.end, before, &error),
            }
            return;
        }
        let images = self.host.world.oracle().records(before.start.unwrap_or(0));
        let timestamp = match images.get(self.prng.below(images.len() as u64 + 1) as usize) {
            Some(image) => image.timestamp + self.prng.below(3) as i64 - 1,
            None => BEGIN_MS + self.host.world.clock.elapsed().as_millis() as i64,
        };
        match self.partition.offset_for_timestamp(timestamp).await {
            Ok(found) => {
                self.note(format_args!("searched {timestamp}: {found:?}"));
                self.host.world.judge(|oracle| oracle.timed(timestamp, before, found));
            }
            Err(error) => self.excuse("search by time", before.end, before, &error),
        }
    }

    async fn repair(&mut self) {
        let before = self.range();
        let done = async {
            let plan = self.partition.plan_repair().await?;
            if let Some(finding) = plan.beyond_repair.first() {
                self.host.world.fail(format!("repair finds {finding:?}"));
            }
            let written = self.partition.repair(&plan).await?;
            self.note(format_args!("repaired {written} indexes"));
            Ok(())
        };
        if let Err(error) = done.await {
            self.excuse("repair", before.end, before, &error);
        }
    }

    /// When all is quiet: batches here and there.
    pub(crate) async fn anywhere(&mut self) -> Result<()> {
        let Range { start: Some(start), end } = self.range() else { return Ok(()) };
        for _ in 0..(end - start).min(12) {
            let offset = start + self.prng.below((end - start) as u64) as i64;
            let fetched = self.reader.fetch(offset, 1).await?;
            let Some(Ok(batch)) = fetched.batches().next() else {
                self.host.world.fail(format!("at the end a fetch at {offset} of {start} to {end} gives {fetched:?}"));
                break;
            };
            self.host.world.judge(|oracle| oracle.read(offset, &batch));
            if batch.base_offset() > offset {
                self.host.world.fail(format!("at the end a fetch at {offset} gives {}", batch.base_offset()));
            }
        }
        Ok(())
    }

    /// When all is quiet: searches by time.
    pub(crate) async fn any_time(&self) -> Result<()> {
        let before = self.range();
        let images = self.host.world.oracle().records(before.start.unwrap_or(0));
        for timestamp in images.iter().map(|image| image.timestamp).step_by(7) {
            let found = self.partition.offset_for_timestamp(timestamp).await?;
            self.host.world.judge(|oracle| oracle.timed(timestamp, before, found));
        }
        Ok(())
    }

    /// When all is quiet: everything, by every path.
    pub(crate) async fn everything(&mut self) -> Result<()> {
        let world = self.host.world.clone();
        let before = self.range();
        let Range { start: Some(start), end } = before else { return Ok(()) };
        self.refresh().await;
        let mut next = start;
        while next < end {
            let fetched = self.reader.fetch(next, 500).await?;
            for batch in fetched.batches() {
                let batch = batch.map_err(|e| e.into_error("(fetched)"))?;
                world.judge(|oracle| oracle.read(next, &batch));
                next = batch.next_offset();
            }
            if fetched.is_empty() || fetched.hole().is_some() {
                world.fail(format!("at the end a fetch at {next} gives {fetched:?}, the log ends at {end}"));
                return Ok(());
            }
        }
        let mut stream = self.reader.follow_records(start);
        let mut check = Following::new(start);
        while stream.position() < end && !world.oracle().records(stream.position()).is_empty() {
            let Some(record) = stream.next().await? else { break };
            world.judge(|oracle| check.next(oracle, &Image::of_record(&record)));
        }
        self.any_time().await?;
        let greatest = self.partition.max_timestamp().await?;
        world.judge(|oracle| oracle.latest(before, greatest));
        if world.oracle().ghosts() == 0 {
            let findings = self.partition.verify(VerifyOptions::default()).all().await?;
            if let Some(finding) = findings.iter().find(|finding| finding.severity > Severity::Info) {
                world.fail(format!("verify finds at the end: {finding}"));
            }
        }
        Ok(())
    }
}

/// Whether records come as the log has them.
struct Following {
    next: i64,
}

impl Following {
    fn new(from: i64) -> Self {
        Following { next: from }
    }

    fn next(&mut self, oracle: &Oracle, image: &Image) -> Result<(), String> {
        let mut expected = oracle.records_between(self.next, image.offset + 1);
        let real = expected.pop();
        if real.as_ref() != Some(image) {
            return Err(format!("a stream at {} gives {image:?}, the log has {real:?}", self.next));
        }
        let start = oracle.range().start.unwrap_or(0);
        if let Some(left_out) = expected.into_iter().find(|image| image.offset >= start) {
            return Err(format!("a stream at {} left out {left_out:?}", self.next));
        }
        self.next = image.offset + 1;
        Ok(())
    }
}
