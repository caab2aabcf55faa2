//! Appends to a partition in a temporary directory, waits until everything is durable, and reads it back.
//!
//! Run it with `cargo run -p kfs-core --example append`.

use std::time::Duration;

use kfs_core::format::NewRecord;
use kfs_core::{Bucket, Stored, WriterOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    // `s3://bucket/prefix` works the same way with the feature `aws`.
    let bucket = Bucket::open(&format!("file://{}", directory.path().display()))?;
    let partition = bucket.partition("orders", 0)?;

    // A flush starts when an append is 250 ms old, when 1 MiB is buffered, or when a caller waits for durability.
    let writer = partition.writer_with(WriterOptions::default().flush_bytes(1 << 20).name("example")).await?;

    // The first ack: the append is checked and has its place in the buffer. It is not stored yet.
    let mut appends = Vec::new();
    for order in 0..5 {
        let (key, value) = (format!("user-{order}"), format!("order {order}"));
        let record = NewRecord::new(bucket.runtime().clock().wall_ms()).key(key.as_bytes()).value(value.as_bytes());
        appends.push(writer.append(&[record]).await?);
    }
    println!("{} appends are buffered, {} bytes", appends.len(), bucket.buffered_bytes());

    // The second ack: the segment and its index are in the store. Only now the records survive this process.
    for append in &appends {
        match append.durable().await {
            Ok(offsets) => println!("durable: offsets {} to {}", offsets.base, offsets.last),
            Err(error) if error.stored() == Some(Stored::Not) => println!("not stored, append it again: {error}"),
            Err(error) => println!("perhaps stored, look at the log before you append it again: {error}"),
        }
    }

    // A writer's first commit takes one append, and creates log.json in an empty log. The others shared one segment.
    println!("{} PUTs for {} appends", bucket.requests().put, appends.len());

    let mut records = partition.reader().records(0);
    while let Some(record) = records.next().await? {
        let value = record.value().map(String::from_utf8_lossy);
        println!("read: offset {}, {}", record.offset(), value.as_deref().unwrap_or("null"));
    }

    // Closing flushes what is buffered, and says whether all of it became durable.
    writer.close(Some(Duration::from_secs(10))).await?;
    Ok(())
}
