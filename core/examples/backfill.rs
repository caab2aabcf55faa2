//! Reads a range of time from all partitions of a topic, merged into one sequence by timestamp.
//!
//! Within a partition records come in the order of their offsets. Between partitions a log has no order: this
//! example takes the record with the least timestamp next.
//!
//! Run it with `cargo run -p kfs-core --example backfill`.

use kfs_core::format::NewRecord;
use kfs_core::{Bucket, Partition, RecordStream, Result, StreamRecord};

/// 2026-01-01T00:00:00Z in Unix milliseconds.
const MIDNIGHT: i64 = 1_767_225_600_000;
const HOUR: i64 = 3_600_000;

#[tokio::main]
async fn main() -> Result<()> {
    let bucket = Bucket::open("memory:")?;
    fill(&bucket).await?;

    // From 06:00 until before 12:00.
    let (from, to) = (MIDNIGHT + 6 * HOUR, MIDNIGHT + 12 * HOUR);
    let mut sources = Vec::new();
    for partition in bucket.partitions("sensors").await? {
        if let Some(source) = Source::open(&partition, from, to).await? {
            println!("{}: offsets {} to {}", partition.id(), source.first, source.end - 1);
            sources.push(source);
        }
    }

    while let Some(record) = next_by_time(&mut sources).await? {
        let value = record.value().map(String::from_utf8_lossy);
        println!("{:02}:00  {}", (record.timestamp_ms() - MIDNIGHT) / HOUR, value.as_deref().unwrap_or("null"));
    }
    Ok(())
}

/// One partition's part of the range.
struct Source {
    records: RecordStream,
    /// The first offset of the range.
    first: i64,
    /// The first offset beyond the range.
    end: i64,
    /// The next record of this partition, read but not given yet.
    head: Option<StreamRecord>,
}

impl Source {
    /// Finds the offsets of a range of time; `None` when the partition has no record from `from` on.
    async fn open(partition: &Partition, from: i64, to: i64) -> Result<Option<Source>> {
        let Some(first) = partition.offset_for_timestamp(from).await? else { return Ok(None) };
        let end = match partition.offset_for_timestamp(to).await? {
            Some(beyond) => beyond.offset,
            // All records are earlier than `to`. Ask for the log's end once, so that the backfill ends
            // although others go on appending.
            None => partition.refresh().await?.high_watermark,
        };
        let mut records = partition.reader().records(first.offset);
        // Nothing beyond the range is fetched from the store in advance.
        records.read_ahead_to(end);
        let mut source = Source { records, first: first.offset, end, head: None };
        source.advance().await?;
        Ok(Some(source))
    }

    /// Reads the next record of the range into `head`.
    async fn advance(&mut self) -> Result<()> {
        self.head = if self.records.position() < self.end { self.records.next().await? } else { None };
        // Where compaction removed the last offsets of the range, the next record lies beyond it.
        self.head.take_if(|record| record.offset() >= self.end);
        Ok(())
    }
}

/// The record with the least timestamp of all sources' next records.
async fn next_by_time(sources: &mut [Source]) -> Result<Option<StreamRecord>> {
    let with_head = sources.iter_mut().filter(|source| source.head.is_some());
    let Some(source) = with_head.min_by_key(|source| source.head.as_ref().map(StreamRecord::timestamp_ms)) else {
        return Ok(None);
    };
    let record = source.head.take();
    source.advance().await?;
    Ok(record)
}

/// Three partitions, each with a record an hour.
async fn fill(bucket: &Bucket) -> Result<()> {
    for number in 0..3 {
        let writer = bucket.partition("sensors", number)?.writer().await?;
        for hour in 0..24 {
            let value = format!("sensor {number} at {hour} o'clock");
            let record = NewRecord::new(MIDNIGHT + hour * HOUR).value(value.as_bytes());
            writer.append(&[record]).await?;
        }
        writer.close(None).await?;
    }
    Ok(())
}
