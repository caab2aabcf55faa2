//! Keeps one topic in a bucket of its own, and all others in the default one.
//!
//! Run it with `cargo run --example topic_router`. It uses two directories below the system's one for temporary files.

use std::time::Duration;

use kfs_core::format::NewRecord;
use kfs_core::store::{Store, StoreConfig};
use kfs_core::{BucketOptions, TopicRouter};

#[tokio::main]
async fn main() -> kfs_core::Result<()> {
    let directory = std::env::temp_dir().join(format!("kfs-topics-{}", std::process::id()));
    let url = |name: &str| format!("file://{}/{name}", directory.display());
    std::fs::create_dir_all(&directory).expect("make the directory");

    let router = TopicRouter::open(&StoreConfig::from_url(&url("shared"))?, BucketOptions::default())?;
    // A topic is routed before its first use. On S3, `route` takes the topic's own settings, such as `s3.bucket`.
    router.route_to("audit", Store::open(&url("audit"), &router.options().store)?)?;

    for topic in ["audit", "orders"] {
        let writer = router.partition(topic, 0)?.writer().await?;
        let offsets = writer.append(&[NewRecord::new(1).value(b"an event")]).await?.await?;
        println!("{topic}: offset {} in {}", offsets.base, router.bucket(topic)?.store());
    }
    println!("topics: {:?}", router.topics().await?);

    router.close(Duration::from_secs(10)).await?;
    std::fs::remove_dir_all(&directory).expect("remove the directory");
    Ok(())
}
