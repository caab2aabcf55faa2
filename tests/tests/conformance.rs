//! The conformance suite on every store: one line for each. And on stores that are broken on purpose: it names the fault.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use kfs_core::store::{Store, StoreOptions};
use kfs_core::testing::{ConformanceReport, conformance};
use kfs_tests::{AzureServer, FakeGcs, FakeS3, S3Server};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

async fn conforms(store: Store) {
    let report = conformance(&store).await.expect("random bytes");
    assert!(report.is_ok(), "{report}");
    let left: Vec<_> = store.list("").map_ok(|object| object.key).try_collect().await.expect("a listing");
    assert!(left.is_empty(), "{store}: left {left:?}");
}

fn directory(path: &std::path::Path, options: StoreOptions) -> Store {
    Store::open(&format!("file://{}", path.display()), &options).expect("open the directory")
}

fn open(url: &str, options: &StoreOptions) -> Store {
    Store::open(url, options).expect("open the store")
}

/// A test of one store. `$started` is what must outlive it, and the test is skipped where that is `None`.
macro_rules! stores {
    ($($name:ident: $store:expr $(, with $started:pat = $start:expr)?;)*) => { $(
        #[tokio::test]
        async fn $name() {
            $(let Some($started) = $start else { return };)?
            conforms($store).await;
        }
    )* };
}

stores! {
    memory_conforms: open("memory:", &StoreOptions::default());
    memory_with_a_prefix_conforms: open("memory:///cluster/team", &StoreOptions::default());
    a_directory_conforms: directory(dir.path(), StoreOptions::default()), with dir = tempfile::tempdir().ok();
    an_unmapped_directory_conforms: directory(dir.path(), StoreOptions::default().map(false)),
        with dir = tempfile::tempdir().ok();
    a_directory_with_named_staging_conforms: directory(dir.path(), StoreOptions::default().named_staging(true)),
        with dir = tempfile::tempdir().ok();
    versitygw_conforms: open(&server.url("cluster/team"), &server.store_options()), with server = S3Server::start();
    azurite_conforms: open(&server.url("cluster/team"), &server.store_options()), with server = AzureServer::start();
    our_fake_of_gcs_conforms: open(&server.url("cluster/team"), &server.store_options()),
        with server = Some(FakeGcs::start());
    our_fake_of_s3_conforms: open("s3://logs/p", &server.store_options()), with server = Some(FakeS3::start());
    object_stores_memory_conforms: Store::from_object_store(Arc::new(InMemory::new()));
    object_stores_s3_client_conforms: Store::paginated(Arc::new(server.client())), with server = S3Server::start();
    object_stores_gcs_client_conforms: Store::paginated(Arc::new(server.client())), with server = Some(FakeGcs::start());
}

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    IgnoresCreate,
    RefusesCreate,
    DropsMetadata,
    ListsBackwards,
    ListsWhatIsDeleted,
    IgnoresConditionsOfReads,
    IgnoresConditionsOfReplaces,
    LosesAPart,
    SwapsParts,
    CopiesNothing,
}

/// A store in memory with a fault.
#[derive(Debug)]
struct Broken(Arc<InMemory>, Fault);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broken({:?})", self.1)
    }
}

#[async_trait]
impl ObjectStore for Broken {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        match (self.1, &opts.mode) {
            (Fault::IgnoresCreate, PutMode::Create) | (Fault::IgnoresConditionsOfReplaces, PutMode::Update(_)) => {
                opts.mode = PutMode::Overwrite;
            }
            (Fault::RefusesCreate, PutMode::Create) => {
                let (operation, implementer) = ("put_opts".into(), "Broken".into());
                return Err(object_store::Error::NotImplemented { operation, implementer });
            }
            (Fault::DropsMetadata, _) => opts.attributes = Attributes::new(),
            _ => {}
        }
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.0.put_multipart_opts(location, opts).await?;
        Ok(Box::new(BrokenUpload { upload, fault: self.1, kept: None, parts: 0 }))
    }

    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        if self.1 == Fault::IgnoresConditionsOfReads {
            options.if_match = None;
        }
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.0.list(prefix);
        match self.1 {
            Fault::ListsBackwards => stream::once(async move {
                let mut all: Vec<_> = listed.collect().await;
                all.reverse();
                stream::iter(all)
            })
            .flatten()
            .boxed(),
            Fault::ListsWhatIsDeleted => {
                let ghost = prefix.map(|prefix| prefix.clone().join("gone")).unwrap_or_default();
                let last_modified = std::time::UNIX_EPOCH.into();
                let ghost = ObjectMeta { location: ghost, last_modified, size: 1, e_tag: None, version: None };
                stream::once(async move {
                    let mut all: Vec<_> = listed.try_collect().await?;
                    if ghost.location.as_ref().contains("deleted") && !all.iter().any(|m| m.location == ghost.location)
                    {
                        all.push(ghost);
                    }
                    all.sort_by(|one, two| one.location.cmp(&two.location));
                    Ok::<_, object_store::Error>(stream::iter(all.into_iter().map(Ok)))
                })
                .try_flatten()
                .boxed()
            }
            _ => listed,
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.1 {
            Fault::CopiesNothing => Ok(()),
            _ => self.0.copy_opts(from, to, options).await,
        }
    }
}

#[derive(Debug)]
struct BrokenUpload {
    upload: Box<dyn MultipartUpload>,
    fault: Fault,
    /// The first part, which is sent after the second one.
    kept: Option<PutPayload>,
    parts: usize,
}

#[async_trait]
impl MultipartUpload for BrokenUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts += 1;
        match (self.fault, self.parts) {
            (Fault::LosesAPart, 2) => Box::pin(async { Ok(()) }),
            (Fault::SwapsParts, 1) => {
                self.kept = Some(data);
                Box::pin(async { Ok(()) })
            }
            (Fault::SwapsParts, 2) => {
                let second = self.upload.put_part(data);
                let first = self.upload.put_part(self.kept.take().expect("the first part"));
                Box::pin(async move { second.await.and(first.await) })
            }
            _ => self.upload.put_part(data),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.upload.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

async fn report_on(fault: Fault) -> ConformanceReport {
    let store = Store::from_object_store(Arc::new(Broken(Arc::new(InMemory::new()), fault)));
    conformance(&store).await.expect("random bytes")
}

#[tokio::test]
async fn each_fault_of_a_store_is_named() {
    let large = [
        "a_large_stream_is_one_object",
        "parts_of_a_large_object_are_streamed",
        "a_stream_of_an_object_that_is_replaced_is_a_conflict",
    ];
    let lists = [
        "keys_with_odd_characters_stay_apart",
        "a_listing_is_sorted_by_key_and_whole",
        "a_listing_takes_whole_names_of_its_prefix",
        "pages_go_on_after_a_key",
        "what_was_deleted_is_not_listed",
    ];
    let creates = ["create_takes_no_name_that_is_taken", "one_of_eight_creates_wins"];
    for (fault, expected) in [
        (Fault::IgnoresCreate, &creates[..]),
        (Fault::RefusesCreate, &[creates[0], creates[1], "create_keeps_the_identity"]),
        (Fault::DropsMetadata, &["create_keeps_the_identity", "replace_keeps_the_identity"]),
        (Fault::ListsBackwards, &lists),
        (Fault::ListsWhatIsDeleted, &["what_was_deleted_is_not_listed"]),
        // Our own look at the version in the answer does what the store leaves out.
        (Fault::IgnoresConditionsOfReads, &[]),
        (Fault::IgnoresConditionsOfReplaces, &["replace_takes_the_version_that_is_there"]),
        (Fault::LosesAPart, &large[..2]),
        (Fault::SwapsParts, &large),
        (
            Fault::CopiesNothing,
            &[
                "what_is_missing_is_not_found",
                "copy_makes_an_equal_object",
                "copy_replaces_what_is_there",
                "a_large_stream_is_one_object",
            ],
        ),
    ] {
        let report = report_on(fault).await;
        let failed: Vec<_> = report.failed().map(|check| check.name).collect();
        assert_eq!(failed, expected, "{fault:?}\n{report}");
        for check in report.failed() {
            let deviation = check.deviation.as_ref().expect("it failed");
            assert!(deviation.key.starts_with("conformance-"), "{check}");
            assert!(!deviation.found.is_empty() && !deviation.expected.is_empty(), "{check}");
        }
    }
}

#[tokio::test]
async fn what_a_check_found_and_expected_is_printed_in_one_line() {
    let report = report_on(Fault::DropsMetadata).await.to_string();
    let line = report.lines().find(|line| line.contains("create_keeps_the_identity")).expect("its line");
    assert!(line.starts_with("FAIL  create_keeps_the_identity: conformance-"), "{line}");
    assert!(
        line.contains("found get answers the metadata kfsid None, expected get answers the metadata kfsid"),
        "{line}"
    );
    assert!(report.contains("\nok    one_of_eight_creates_wins\n"), "{report}");
}
