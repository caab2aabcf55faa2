//! Stores that a caller brings, and that do not behave.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use crate::ErrorKind;
use crate::store::{Created, Identity, ReadRange, Store, StoreOptions};

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    ShortBody,
    LongBody,
    BodyInChunks,
    WrongRange,
    /// Every object has a tebibyte, and a body that never ends.
    Endless,
    Backwards,
    Put(fn() -> Error),
    Get(fn() -> Error),
    /// Conditions and metadata are ignored.
    Careless,
}

#[derive(Debug)]
struct Faulty(InMemory, Fault);

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match self.1 {
            Fault::Put(error) => Err(error()),
            _ => self.0.put_opts(location, payload, opts).await,
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        match self.1 {
            Fault::Get(error) if !options.head => return Err(error()),
            Fault::Careless => options.if_match = None,
            Fault::WrongRange => options.range = None,
            _ => {}
        }
        let mut answer = self.0.get_opts(location, options).await?;
        if let Fault::Endless = self.1 {
            (answer.meta.size, answer.range) = (1 << 40, 0..1 << 40);
            let body = stream::repeat_with(|| panic!("nothing of it is read"));
            answer.payload = GetResultPayload::Stream(body.boxed());
            return Ok(answer);
        }
        let stream = match answer.payload {
            GetResultPayload::Stream(stream) => stream,
            #[allow(unreachable_patterns)]
            _ => panic!(),
        };
        let bytes = stream.collect::<Vec<_>>().await.remove(0)?;
        let chunks: Vec<Bytes> = match self.1 {
            Fault::ShortBody => vec![bytes.slice(..bytes.len() - 1)],
            Fault::LongBody => vec![bytes.clone(), bytes],
            Fault::BodyInChunks => bytes.chunks(3).map(Bytes::copy_from_slice).collect(),
            _ => vec![bytes],
        };
        answer.payload = GetResultPayload::Stream(stream::iter(chunks.into_iter().map(Ok)).boxed());
        Ok(answer)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.0.list(prefix);
        if !matches!(self.1, Fault::Backwards) {
            return listed;
        }
        stream::once(async move {
            let mut all: Vec<_> = listed.collect().await;
            all.reverse();
            stream::iter(all)
        })
        .flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await
    }
}

async fn store(fault: Fault) -> Store {
    let memory = InMemory::new();
    for key in ["t/a", "t/b", "t/c"] {
        let key = Path::parse(key).unwrap();
        memory.put_opts(&key, PutPayload::from_static(b"0123456789"), PutOptions::default()).await.unwrap();
    }
    Store::from_object_store(Arc::new(Faulty(memory, fault)))
}

#[tokio::test]
async fn a_body_that_is_not_as_promised_is_unavailable() {
    for fault in [Fault::ShortBody, Fault::LongBody] {
        let error = store(fault).await.get("t/a", ReadRange::Whole, None).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Unavailable, Some("t/a")), "{fault:?}");
    }
    let error = store(Fault::WrongRange).await.get("t/a", ReadRange::Range(2..4), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn of_an_object_that_is_larger_than_what_is_wanted_nothing_is_read() {
    let store_of = async |fault| store(fault).await;
    let ten = store_of(Fault::None).await;
    assert_eq!(ten.get("t/a", ReadRange::AtMost(10), None).await.unwrap().bytes.len(), 10);
    let error = ten.get("t/a", ReadRange::AtMost(9), None).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some("t/a")), "{error}");
    let error = store_of(Fault::Endless).await.get("t/a", ReadRange::AtMost(4096), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("1099511627776 bytes, expected at most 4096"), "{error}");
    // What is declared is kept to while the body comes.
    let error = store_of(Fault::LongBody).await.get("t/a", ReadRange::AtMost(4096), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_sparse_file_of_20_gb_is_not_read_for_an_index() {
    for map in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("a.index")).unwrap();
        file.set_len(20 << 30).unwrap();
        let url = format!("file://{}", dir.path().display());
        let store = Store::open(&url, &StoreOptions::default().map(map)).unwrap();
        let error = store.get("a.index", ReadRange::AtMost(1 << 20), None).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some("a.index")), "{error}");
        file.set_len(0).unwrap();
        assert!(store.get("a.index", ReadRange::AtMost(1 << 20), None).await.unwrap().bytes.is_empty());
    }
}

#[tokio::test]
async fn chunks_are_joined() {
    let fetched = store(Fault::BodyInChunks).await.get("t/a", ReadRange::Range(1..9), None).await.unwrap();
    assert_eq!(&fetched.bytes[..], b"12345678");
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_caught() {
    let store = store(Fault::Careless).await;
    let first = store.get("t/a", ReadRange::Whole, None).await.unwrap().info.version;
    store.get("t/a", ReadRange::Whole, Some(&first)).await.unwrap();
    store.put("t/a", PutPayload::from_static(b"9876543210")).await.unwrap();
    let error = store.get("t/a", ReadRange::Whole, Some(&first)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_listing_out_of_order_is_refused() {
    let error = store(Fault::Backwards).await.list_page("t/", None, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

fn generic() -> Error {
    Error::Generic { store: "x", source: "boom at http://h/k?sig=hunter2".into() }
}

fn denied() -> Error {
    Error::PermissionDenied { path: "k".into(), source: "no".into() }
}

fn slow() -> Error {
    let io = std::io::Error::new(std::io::ErrorKind::TimedOut, "slow");
    Error::Generic { store: "x", source: Box::new(io) }
}

#[tokio::test]
async fn a_failed_create_on_a_store_that_may_try_again_is_unknown() {
    for (error, kind) in [
        (generic as fn() -> Error, ErrorKind::Unavailable),
        (denied, ErrorKind::PermissionDenied),
        (slow, ErrorKind::TimedOut),
    ] {
        let payload = PutPayload::from_static(b"x");
        match store(Fault::Put(error)).await.create("t/new", payload, &Identity::of("aa.1")).await {
            Created::Unknown(error) => {
                assert_eq!(error.kind(), kind);
                assert!(!format!("{error} {error:?}").contains("hunter2"));
            }
            other => panic!("{other:?}"),
        }
    }
    fn taken() -> Error {
        Error::AlreadyExists { path: "k".into(), source: "there".into() }
    }
    let created = store(Fault::Put(taken)).await.create("t/new", PutPayload::new(), &Identity::none()).await;
    assert!(matches!(created, Created::Exists));
    fn being_deleted() -> Error {
        let body = "409 Conflict: <?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>ContainerBeingDeleted</Code>\
                    <Message>The specified container is being deleted. Try operation later.</Message></Error>";
        Error::AlreadyExists { path: "k".into(), source: body.into() }
    }
    match store(Fault::Put(being_deleted)).await.create("t/new", PutPayload::new(), &Identity::none()).await {
        Created::Unknown(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.message().contains("is being deleted"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    fn cant() -> Error {
        Error::NotImplemented { operation: "put".into(), implementer: "x".into() }
    }
    match store(Fault::Put(cant)).await.create("t/new", PutPayload::new(), &Identity::none()).await {
        Created::Refused(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failed_read_is_not_taken_for_a_range_beyond_the_end() {
    let store = store(Fault::Get(generic)).await;
    assert_eq!(store.get("t/a", ReadRange::Range(3..4), None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let beyond = store.get("t/a", ReadRange::Range(30..40), None).await.unwrap();
    assert_eq!((beyond.bytes.len(), beyond.info.size), (0, 10));
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    #[derive(Debug)]
    struct Gate(Faulty, std::sync::atomic::AtomicUsize, std::sync::atomic::AtomicUsize);
    impl fmt::Display for Gate {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("gate")
        }
    }
    use std::sync::atomic::Ordering::SeqCst;
    #[async_trait]
    impl ObjectStore for Gate {
        async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
            let now = self.1.fetch_add(1, SeqCst) + 1;
            self.2.fetch_max(now, SeqCst);
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            self.1.fetch_sub(1, SeqCst);
            self.0.put_opts(location, payload, opts).await
        }
        async fn put_multipart_opts(&self, p: &Path, o: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(p, o).await
        }
        async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
            self.0.get_opts(location, options).await
        }
        fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            self.0.delete_stream(locations)
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }
    let gate = Arc::new(Gate(Faulty(InMemory::new(), Fault::None), 0.into(), 0.into()));
    let store = Store::from_object_store_with(gate.clone(), &StoreOptions::default().max_in_flight(3));
    let puts = (0..20).map(|n| {
        let store = store.clone();
        async move { store.put(&format!("k{n}"), PutPayload::new()).await.unwrap() }
    });
    futures_util::future::join_all(puts).await;
    assert_eq!(gate.2.load(SeqCst), 3);
}

#[test]
fn debug_shows_no_secret() {
    let options = StoreOptions::default().config("aws_secret_access_key", "hunter2");
    assert!(!format!("{options:?}").contains("hunter2"));
    let store = Store::open("memory:", &options).unwrap();
    assert_eq!(format!("{store:?} {store}"), "Store(memory:) memory:");
}

#[test]
fn a_store_is_send_and_sync() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<Store>();
    check::<StoreOptions>();
    fn future<T: Send>(_: T) {}
    let store = Store::open("memory:", &StoreOptions::default()).unwrap();
    future(store.get("k", ReadRange::Whole, None));
    future(store.create("k", PutPayload::new(), &Identity::none()));
    future(store.list_page("k", None, 1));
}
