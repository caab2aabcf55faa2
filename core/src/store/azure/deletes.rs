//! The client for reads, with deletes of its own: one request for each blob.
//!
//! object_store deletes by batches. It takes a blob for deleted that the answer to a batch leaves out, and panics where
//! an answer names a blob that was not asked for.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider, MicrosoftAzure};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use url::Url;

use crate::store::http::short;

/// How many deletes of one stream run at once.
const CONCURRENT: usize = 8;

/// Asks Azure to delete blobs.
#[derive(Clone)]
pub(super) struct Deletes {
    pub(super) client: HttpClient,
    /// The container's URL.
    pub(super) container: Url,
    pub(super) account: String,
    /// `None` where requests are not signed.
    pub(super) credentials: Option<AzureCredentialProvider>,
}

impl Deletes {
    /// Sends one request, once. <https://learn.microsoft.com/rest/api/storageservices/delete-blob>
    async fn delete(&self, path: &Path) -> Result<()> {
        let failed = |source| object_store::Error::Generic { store: "MicrosoftAzure", source };
        let mut request = self.request(path)?;
        if let Some(credentials) = &self.credentials {
            let credential = credentials.get_credential().await?;
            AzureAuthorizer::new(&credential, &self.account).try_authorize(&mut request)?;
        }
        let answer = self.client.execute(request).await.map_err(|error| failed(error.into()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = short(answer).await.map_err(|error| failed(error.into()))?;
        let source = format!("the server answered {status}: {said}").into();
        let path = path.to_string();
        Err(match status.as_u16() {
            401 => object_store::Error::Unauthenticated { path, source },
            403 => object_store::Error::PermissionDenied { path, source },
            404 => object_store::Error::NotFound { path, source },
            409 | 412 => object_store::Error::AlreadyExists { path, source },
            _ => failed(source),
        })
    }

    fn request(&self, path: &Path) -> Result<HttpRequest> {
        let unusable = |source| object_store::Error::Generic { store: "MicrosoftAzure", source };
        let mut url = self.container.clone();
        let segments = url.path_segments_mut().map_err(|()| unusable("the endpoint is no base of URLs".into()));
        segments?.extend(path.parts().map(|part| part.as_ref().to_string()));
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = reqwest::Method::DELETE;
        *request.uri_mut() = url.as_str().parse().map_err(|_| unusable("the blob's URL is not HTTP's".into()))?;
        Ok(request)
    }
}

/// What reads, lists and deletes.
pub(super) struct Reads {
    pub(super) inner: Arc<MicrosoftAzure>,
    pub(super) deletes: Deletes,
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client prints its keys.
        write!(f, "Reads({})", self.deletes.container)
    }
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for Reads {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let deletes = self.deletes.clone();
        let delete = move |location: Result<Path>| {
            let deletes = deletes.clone();
            async move {
                let location = location?;
                deletes.delete(&location).await.map(|()| location)
            }
        };
        locations.map(delete).buffered(CONCURRENT).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
