//! Follows a partition: reads what is there, then waits at the end of the log for more.
//!
//! Run it with `cargo run -p kfs-core --example tail`.

use std::time::Duration;

use kfs_core::format::NewRecord;
use kfs_core::{Bucket, Partition, ReaderOptions, Result};

const RECORDS: i64 = 6;

#[tokio::main]
async fn main() -> Result<()> {
    let bucket = Bucket::open("memory:")?;
    let partition = bucket.partition("events", 0)?;
    // The two run at the same time. Each would work as well in a process of its own.
    let (appended, followed) = futures_util::join!(append(&partition), follow(&partition));
    appended.and(followed)
}

/// Appends a record at a time, and waits for each, so that the follower has something to wait for.
async fn append(partition: &Partition) -> Result<()> {
    let writer = partition.writer().await?;
    for number in 0..RECORDS {
        let value = format!("event {number}");
        let record = NewRecord::new(1_767_225_600_000 + number).value(value.as_bytes());
        let offsets = writer.append(&[record]).await?.durable().await?;
        println!("appended offset {}", offsets.base);
    }
    writer.close(None).await
}

/// Prints records as they become durable. A follower never ends by itself: this one stops after the last record.
async fn follow(partition: &Partition) -> Result<()> {
    let options = ReaderOptions::default()
        // The partition may not exist yet.
        .wait_for_partition(true)
        // A writer in this process wakes the follower. It polls for what other processes append.
        .poll_min(Duration::from_millis(10))
        .poll_max(Duration::from_millis(200));
    let mut records = partition.reader_with(options).follow_records(0);
    while records.position() < RECORDS {
        // This future may be dropped and called again, as in a `select!`: no record is lost.
        let Some(record) = records.next().await? else { break };
        let value = record.value().map(String::from_utf8_lossy);
        println!("  follower: offset {}, {}", record.offset(), value.as_deref().unwrap_or("null"));
    }
    println!("  follower: stops at offset {}", records.position());
    Ok(())
}
