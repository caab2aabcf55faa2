//! Counts what a bucket does, and prints the text that a program serves to Prometheus under `/metrics`.
//!
//! Run it with `cargo run -p kfs-core --features prometheus --example metrics`.

use std::sync::Arc;

use kfs_core::format::NewRecord;
use kfs_core::recorder::PrometheusRecorder;
use kfs_core::{Bucket, BucketOptions, Result};

#[tokio::main]
async fn main() -> Result<()> {
    // The program keeps the recorder: it asks it for the text whenever Prometheus scrapes.
    let metrics = Arc::new(PrometheusRecorder::new());
    let bucket = Bucket::open_with("memory:", BucketOptions::default().recorder(metrics.clone()))?;
    let partition = bucket.partition("orders", 0)?;

    let writer = partition.writer().await?;
    writer.append(&[NewRecord::new(1_767_225_600_000).value(b"paid")]).await?.durable().await?;
    writer.close(None).await?;
    let mut records = partition.reader().records(0);
    while records.next().await?.is_some() {}

    // An HTTP server answers with this body and `Content-Type: ` + `PrometheusRecorder::CONTENT_TYPE`.
    print!("{}", metrics.text());
    Ok(())
}
