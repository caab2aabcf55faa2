//! Streams that fail, are dropped, or are many.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::ErrorKind;
use crate::store::{PART_BYTES, ReadRange, Store, StoreOptions};
use crate::testing::{Failure, Gate};

/// A store in memory whose uploads and reads a test holds, fails and counts.
#[derive(Debug)]
struct Watched {
    inner: InMemory,
    /// Parts fail from this one on; the first is 1.
    fails_from: usize,
    /// Where an upload that was begun waits for its answer.
    begun: Gate,
    /// Where parts wait.
    parts: Gate,
    /// Where reads of ranges wait.
    reads: Gate,
    log: Arc<Mutex<Vec<&'static str>>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Watched {
    fn new() -> Self {
        let (begun, parts, reads) = (Gate::new(), Gate::new(), Gate::new());
        begun.open();
        parts.open();
        reads.open();
        let (log, now, most) = Default::default();
        Watched { inner: InMemory::new(), fails_from: usize::MAX, begun, parts, reads, log, now, most }
    }

    fn log(&self) -> Vec<&'static str> {
        self.log.lock().unwrap().clone()
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("watched")
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.log.lock().unwrap().push("put");
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.log.lock().unwrap().push("begin");
        let upload = self.inner.put_multipart_opts(location, opts).await?;
        self.begun.pass().await;
        let (gate, log) = (self.parts.clone(), self.log.clone());
        Ok(Box::new(WatchedUpload { upload, gate, log, fails_from: self.fails_from, parts: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let now = self.now.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        if options.if_match.is_some() {
            self.reads.pass().await;
        }
        let read = self.inner.get_opts(location, options).await;
        self.now.fetch_sub(1, SeqCst);
        read
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
struct WatchedUpload {
    upload: Box<dyn MultipartUpload>,
    gate: Gate,
    log: Arc<Mutex<Vec<&'static str>>>,
    fails_from: usize,
    parts: usize,
}

#[async_trait]
impl MultipartUpload for WatchedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts += 1;
        if self.parts >= self.fails_from {
            return Box::pin(async { Err(Failure::PermissionDenied.error("large")) });
        }
        let (part, gate, log) = (self.upload.put_part(data), self.gate.clone(), self.log.clone());
        Box::pin(async move {
            gate.pass().await;
            part.await?;
            log.lock().unwrap().push("part");
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.log.lock().unwrap().push("complete");
        self.upload.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.log.lock().unwrap().push("abort");
        self.upload.abort().await
    }
}

fn pieces(bytes: usize) -> impl futures_util::Stream<Item = crate::Result<Bytes>> + Send {
    let piece = Bytes::from(vec![7; 1 << 20]);
    stream::iter((0..bytes.div_ceil(1 << 20)).map(move |n| {
        let left = bytes - n * (1 << 20);
        Ok(piece.slice(..left.min(1 << 20)))
    }))
}

fn store(watched: &Arc<Watched>) -> Store {
    Store::from_object_store_sent_once(watched.clone())
}

#[tokio::test]
async fn an_object_of_one_part_is_one_put_and_a_larger_one_is_an_upload() {
    let watched = Arc::new(Watched::new());
    let store = store(&watched);
    store.put_stream("small", pieces(PART_BYTES)).await.unwrap();
    assert_eq!(watched.log(), ["put"]);
    assert_eq!((store.requests().put, store.requests().bytes_out), (1, 16 << 20));
    let before = store.requests();
    store.put_stream("large", pieces(2 * PART_BYTES + 1)).await.unwrap();
    assert_eq!(watched.log(), ["put", "begin", "part", "part", "part", "complete"]);
    let counts = store.requests().since(&before);
    assert_eq!((counts.put, counts.bytes_out, counts.total()), (5, (32 << 20) + 1, 5));
    let before = store.requests();
    let read: Vec<Bytes> = store.get_stream("large", ReadRange::Whole).await.unwrap().try_collect().await.unwrap();
    let counts = store.requests().since(&before);
    assert_eq!((read.len(), counts.get, counts.bytes_in), (5, 5, (32 << 20) + 1));
}

#[tokio::test]
async fn an_upload_whose_part_fails_is_aborted_and_gives_the_parts_error() {
    let watched = Arc::new(Watched { fails_from: 2, ..Watched::new() });
    let store = store(&watched);
    // The stream never ends: the failure of the part ends the write.
    let endless = pieces(2 * PART_BYTES + 1).chain(stream::pending());
    let error = store.put_stream("large", endless).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::PermissionDenied, Some("large")));
    let log = watched.log();
    assert_eq!((log.first(), log.last()), (Some(&"begin"), Some(&"abort")), "{log:?}");
    assert!(!store.exists("large").await.unwrap() && !log.contains(&"complete"));
    assert_eq!(store.requests().delete, 1, "the abort is counted");
}

#[tokio::test]
async fn a_write_that_is_dropped_aborts_its_upload() {
    let watched = Arc::new(Watched { parts: Gate::new(), ..Watched::new() });
    let store = store(&watched);
    let mut writing = Box::pin(store.put_stream("large", pieces(3 * PART_BYTES)));
    tokio::select! {
        done = &mut writing => panic!("{done:?}"),
        () = watched.parts.arrived(2) => {}
    }
    drop(writing);
    while !watched.log().contains(&"abort") {
        tokio::task::yield_now().await;
    }
    assert_eq!(watched.log(), ["begin", "abort"]);
    watched.parts.open();
    assert!(!store.exists("large").await.unwrap());
}

#[tokio::test]
async fn a_write_that_is_dropped_while_its_upload_begins_aborts_it() {
    let watched = Arc::new(Watched { begun: Gate::new(), ..Watched::new() });
    let store = store(&watched);
    let mut writing = Box::pin(store.put_stream("large", pieces(3 * PART_BYTES)));
    tokio::select! {
        done = &mut writing => panic!("{done:?}"),
        () = watched.begun.arrived(1) => {}
    }
    drop(writing);
    watched.begun.open();
    while !watched.log().contains(&"abort") {
        tokio::task::yield_now().await;
    }
    assert_eq!(watched.log(), ["begin", "abort"]);
}

#[tokio::test]
async fn streams_leave_half_of_the_places_to_others() {
    let watched = Arc::new(Watched { reads: Gate::new(), ..Watched::new() });
    let store = Store::from_object_store_with(watched.clone(), &StoreOptions::default().max_in_flight(4));
    store.put_stream("large", pieces(6 * PART_BYTES)).await.unwrap();
    store.put("small", "x".into()).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = store.get_stream("large", ReadRange::Whole).await.unwrap();
        stream.next().await.unwrap().unwrap();
        streams.push(stream);
    }
    watched.reads.arrived(2).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(watched.reads.arrivals(), 2, "of 4 places");
    // All that streams may have is taken, and hangs. A small read goes on.
    assert_eq!(store.get("small", ReadRange::Whole, None).await.unwrap().bytes, "x");
    watched.reads.open();
    for stream in streams {
        let rest: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert_eq!(rest.iter().map(Bytes::len).sum::<usize>(), 6 * PART_BYTES - (8 << 20));
    }
}

#[tokio::test]
async fn one_stream_can_be_written_from_another_though_there_is_one_place() {
    for most in [1, 2] {
        let store = Store::open("memory:", &StoreOptions::default().max_in_flight(most)).unwrap();
        store.put_stream("large", pieces(4 * PART_BYTES + 5)).await.unwrap();
        let read = store.get_stream("large", ReadRange::Whole).await.unwrap();
        store.put_stream("copy", read).await.unwrap();
        assert_eq!(store.size("copy").await.unwrap(), 4 * PART_BYTES as u64 + 5);
    }
}

#[test]
fn streams_work_without_tokio() {
    let store = Store::from_object_store(Arc::new(Watched::new()));
    store.put_stream("large", pieces(3 * PART_BYTES)).now_or_never().unwrap().unwrap();
    let stream = store.get_stream("large", ReadRange::Suffix(30 << 20)).now_or_never().unwrap().unwrap();
    assert_eq!((stream.range(), stream.info().size), ((18 << 20)..(48 << 20), 48 << 20));
    let read: Vec<Bytes> = stream.try_collect().now_or_never().unwrap().unwrap();
    assert_eq!(read.concat(), vec![7; 30 << 20]);
}

#[tokio::test]
async fn a_listing_goes_on_over_pages() {
    let store = Store::open("memory:///p", &StoreOptions::default()).unwrap();
    for n in 0..2345 {
        store.put(&format!("t/{n:05}"), "x".into()).await.unwrap();
    }
    store.put("other", "x".into()).await.unwrap();
    let listed: Vec<_> = store.list("t").try_collect().await.unwrap();
    assert!(listed.iter().enumerate().all(|(n, object)| object.key == format!("t/{n:05}")));
    assert_eq!(listed.len(), 2345);
    assert_eq!(store.list("").count().await, 2346);
    let counts = store.requests();
    assert!(counts.list >= 6 && counts.list <= 8, "{counts:?}");
}
