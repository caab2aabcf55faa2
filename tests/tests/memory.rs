//! How much memory a writer takes. Alone in its process, for it measures the process.

use bytes::Bytes;
use kfs_core::Bucket;
use kfs_core::format::{BatchBuilder, BatchOptions, NewRecord};

/// Resident bytes now and at their highest, from the kernel.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("field");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") << 10
    };
    (field("VmRSS:"), field("VmHWM:"))
}

#[test]
#[cfg(target_os = "linux")]
fn writing_a_gibibyte_stays_below_64_mib_above_the_start() {
    let directory = tempfile::tempdir().expect("directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async {
        let bucket = Bucket::open(&format!("file://{}", directory.path().display())).expect("bucket");
        let writer = bucket.partition("big", 0).expect("name").writer().await.expect("writer");
        let (start, _) = resident();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let mut written = 0_u64;
        let value = vec![7_u8; 16 << 10];
        let mut last = None;
        while written < 1 << 30 {
            // A buffer of its own for each append, as a broker's network reads give.
            builder.push(&NewRecord::new(0).value(&value)).expect("fits");
            let batch: Bytes = builder.finish(0).expect("batch").bytes().clone();
            written += batch.len() as u64;
            last = Some(writer.append_batches(batch).await.expect("room"));
        }
        last.expect("one").durable().await.expect("durable");
        writer.close(None).await.expect("closed");
        let (_, highest) = resident();
        let above = highest.saturating_sub(start);
        assert!(above < 64 << 20, "{} MiB above the start", above >> 20);
    });
}
