//! A store whose requests take time, by tokio's paused clock.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutOptions,
    PutResult, Result,
};

use super::*;
use crate::testing::Prng;

/// Each request takes up to so long each way, drawn from a seed.
pub(super) struct SlowStore {
    inner: Arc<dyn ObjectStore>,
    ways: Arc<Ways>,
}

struct Ways {
    prng: Mutex<Prng>,
    latency: Duration,
}

impl Ways {
    async fn one(&self) {
        let most = u64::try_from(self.latency.as_millis()).unwrap() + 1;
        let millis = self.prng.lock().unwrap_or_else(PoisonError::into_inner).below(most);
        crate::runtime::Clock::sleep(&*PausedClock::new(0), Duration::from_millis(millis)).await;
    }

    async fn around<T>(&self, request: impl Future<Output = T>) -> T {
        self.one().await;
        let answer = request.await;
        self.one().await;
        answer
    }
}

impl SlowStore {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, seed: u64, latency: Duration) -> Self {
        SlowStore { inner, ways: Arc::new(Ways { prng: Mutex::new(Prng::new(seed)), latency }) }
    }

    fn slowed(&self, listing: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        let ways = self.ways.clone();
        stream::once(async move { stream::iter(ways.around(listing.collect::<Vec<_>>()).await) }).flatten().boxed()
    }
}

impl fmt::Debug for SlowStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlowStore")
    }
}

impl fmt::Display for SlowStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlowStore")
    }
}

#[async_trait]
impl ObjectStore for SlowStore {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.ways.around(self.inner.put_opts(key, payload, options)).await
    }

    async fn put_multipart_opts(&self, key: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.ways.around(self.inner.get_opts(key, options)).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, ways) = (self.inner.clone(), self.ways.clone());
        let delete = move |key: Path| {
            let (inner, ways) = (inner.clone(), ways.clone());
            async move { ways.around(inner.delete(&key)).await.map(|()| key) }
        };
        keys.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.slowed(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.slowed(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.ways.around(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.ways.around(self.inner.copy_opts(from, to, options)).await
    }
}
