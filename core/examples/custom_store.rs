//! A store of your own under a bucket: this one passes every request on to another store and counts it.
//!
//! A log needs two things of a store: `PutMode::Create` must fail atomically when the object exists, and user
//! metadata must come back as it was given. `docs/durability.md` lists what else is assumed.
//!
//! Run it with `cargo run -p kfs-core --example custom_store`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use kfs_core::format::NewRecord;
use kfs_core::object_store::memory::InMemory;
use kfs_core::object_store::path::Path;
use kfs_core::object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use kfs_core::{Bucket, BucketOptions};

/// Counts the requests to the store within.
#[derive(Debug)]
struct Counting<S> {
    within: S,
    creates: AtomicU64,
    other_puts: AtomicU64,
    gets: AtomicU64,
    lists: AtomicU64,
}

impl<S> Counting<S> {
    fn new(within: S) -> Self {
        let (creates, other_puts, gets, lists) = Default::default();
        Counting { within, creates, other_puts, gets, lists }
    }

    fn report(&self, what: &str) {
        let [creates, other_puts, gets, lists] =
            [&self.creates, &self.other_puts, &self.gets, &self.lists].map(|count| count.swap(0, Ordering::Relaxed));
        println!("{what}: {creates} creates, {other_puts} other PUTs, {gets} GETs, {lists} LISTs");
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl<S> fmt::Display for Counting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Counting<S> {
    async fn put_opts(&self, key: &Path, bytes: PutPayload, options: PutOptions) -> Result<PutResult> {
        // The commit protocol rests on this mode: a segment is created only if its slot is free.
        count(if options.mode == PutMode::Create { &self.creates } else { &self.other_puts });
        self.within.put_opts(key, bytes, options).await
    }

    async fn put_multipart_opts(&self, key: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.within.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        count(&self.gets);
        self.within.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.within.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        count(&self.lists);
        self.within.list(prefix)
    }

    // A store that can begin a listing at a key should say how. Otherwise all keys before it are listed as well.
    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        count(&self.lists);
        self.within.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        count(&self.lists);
        self.within.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.within.copy_opts(from, to, options).await
    }
}

#[tokio::main]
async fn main() -> kfs_core::Result<()> {
    let store = Arc::new(Counting::new(InMemory::new()));
    let bucket = Bucket::from_object_store(store.clone(), BucketOptions::default())?;
    let partition = bucket.partition("orders", 0)?;

    let writer = partition.writer().await?;
    store.report("opening a writer of an empty partition");

    let record = NewRecord::new(1_767_225_600_000).value(b"paid");
    writer.append(&[record]).await?.durable().await?;
    store.report("the first append (log.json, segment, index)");

    writer.append(&[record, record]).await?.durable().await?;
    store.report("the second append (segment, index)");

    let fetched = partition.reader().fetch(0, 1 << 20).await?;
    println!("fetched {} bytes, up to offset {}", fetched.bytes(), fetched.next_offset);
    store.report("a fetch of both segments");
    writer.close(None).await
}
