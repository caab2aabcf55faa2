//! How much memory a large object takes on its way up and down. Alone in its process, for it measures the process.
#![cfg(target_os = "linux")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use kfs_core::store::{ReadRange, Store, StoreOptions};
use kfs_tests::{AzureServer, S3Server};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// The size of the object, in bytes.
const SIZE: u64 = 512 << 20;
/// The most memory that one operation may take, in bytes.
const LIMIT: u64 = 256 << 20;
const PIECE: u64 = 1 << 20;

/// Resident bytes now, and at their highest since the last [`forget_the_highest`], from the kernel.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("field");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") << 10
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn forget_the_highest() {
    std::fs::write("/proc/self/clear_refs", "5").expect("reset VmHWM");
}

/// A store that keeps nothing: it swallows what is written, and makes up what is read.
#[derive(Debug, Default)]
struct Swallowing {
    inner: InMemory,
    swallowed: Arc<AtomicU64>,
}

impl fmt::Display for Swallowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Swallowing")
    }
}

#[async_trait]
impl ObjectStore for Swallowing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(SwallowedUpload(self.swallowed.clone())))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let range = match options.range {
            Some(GetRange::Bounded(range)) => range.start..range.end.min(SIZE),
            _ => 0..SIZE,
        };
        let last_modified = std::time::UNIX_EPOCH.into();
        let meta = ObjectMeta { location: location.clone(), last_modified, size: SIZE, e_tag: None, version: None };
        let body = made_up(range.clone()).map(|piece| piece.map_err(|_| unreachable!("it can't fail")));
        let payload = GetResultPayload::Stream(body.boxed());
        Ok(GetResult { payload, meta, range, attributes: Default::default(), extensions: Default::default() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct SwallowedUpload(Arc<AtomicU64>);

#[async_trait]
impl MultipartUpload for SwallowedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let swallowed = self.0.clone();
        Box::pin(async move {
            // Other parts come meanwhile, as they do while one is on its way to a server.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            swallowed.fetch_add(data.content_length() as u64, Ordering::Relaxed);
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn abort(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Bytes of which each is the number of its mebibyte. They are made when they are asked for.
fn made_up(range: std::ops::Range<u64>) -> impl Stream<Item = kfs_core::Result<Bytes>> + Send + 'static {
    stream::unfold(range, |range| async move {
        let end = range.end.min((range.start / PIECE + 1) * PIECE);
        let piece = vec![(range.start / PIECE) as u8; (end.saturating_sub(range.start)) as usize];
        (range.start < range.end).then(|| (Ok(Bytes::from(piece)), end..range.end))
    })
}

/// Writes, reads and deletes the object, and asserts that neither direction took more than [`LIMIT`].
async fn up_and_down(store: &Store) {
    forget_the_highest();
    let (start, _) = resident();
    store.put_stream("t/large", made_up(0..SIZE)).await.expect("written");
    let up = resident().1.saturating_sub(start);
    forget_the_highest();
    let (start, _) = resident();
    let mut read = store.get_stream("t/large", ReadRange::Whole).await.expect("begun");
    let mut at = 0;
    while let Some(piece) = read.next().await {
        let piece = piece.expect("read");
        for mebibyte in piece.chunks(PIECE as usize) {
            assert_eq!(mebibyte.first(), Some(&((at / PIECE) as u8)), "at {at}");
            at += mebibyte.len() as u64;
        }
    }
    assert_eq!(at, SIZE);
    let down = resident().1.saturating_sub(start);
    println!("{store}: {} MiB up, {} MiB down", up >> 20, down >> 20);
    assert!(up < LIMIT && down < LIMIT, "{store}: {} MiB up, {} MiB down", up >> 20, down >> 20);
    store.delete("t/large").await.expect("deleted");
}

/// One store after the other, and each one's directory goes before the next begins: the disk holds the object once, or
/// twice while a server puts its parts together.
#[test]
fn a_stream_of_512_mib_takes_less_than_256_mib_up_and_down() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async {
        let swallowing = Arc::new(Swallowing::default());
        up_and_down(&Store::from_object_store(swallowing.clone())).await;
        assert_eq!(swallowing.swallowed.load(Ordering::Relaxed), SIZE);

        let directory = tempfile::tempdir().expect("directory");
        let url = format!("file://{}", directory.path().display());
        up_and_down(&Store::open(&url, &StoreOptions::default().map(false)).expect("open")).await;
        drop(directory);

        if let Some(s3) = S3Server::start() {
            up_and_down(&Store::open(&s3.url("p"), &s3.store_options()).expect("open")).await;
        }
        if let Some(azure) = AzureServer::start() {
            up_and_down(&Store::open(&azure.url("p"), &azure.store_options()).expect("open")).await;
        }
    });
}
