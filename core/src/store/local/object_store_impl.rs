//! The directory behind object_store's trait.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyMode, CopyOptions, Error as StoreError, GetOptions, GetRange, GetResult,
    GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode, Result as StoreResult,
    UpdateVersion,
};

use super::own::FileId;
use super::put::{PutError, put_result};
use super::tree_walk::{TreeWalk, children};
use super::upload::StagedUpload;
use super::{LocalStore, blocking};
use crate::store::failure::{Effect, StoreFailure};
use crate::store::{KFSCOPIED, KFSID, KFSMERGED, KFSNAME};
use crate::{Error, ErrorKind};

/// How many objects a listing looks at in one go.
const GO: usize = 1000;
/// How many names of one directory a listing holds.
const STRETCH: usize = 64 * 1024;

impl PutError {
    pub(super) fn into_object_store(self, path: &str) -> StoreError {
        match self {
            PutError::Exists => {
                StoreError::AlreadyExists { path: path.to_string(), source: "the name is taken".into() }
            }
            PutError::Changed => {
                StoreError::Precondition { path: path.to_string(), source: "the file is another one, or gone".into() }
            }
            PutError::Failed(failure) => failure.into_object_store(path),
        }
    }
}

fn unsupported(what: &str) -> StoreError {
    let error = Error::new(ErrorKind::Unsupported, format!("a directory can't keep {what}"));
    StoreError::NotSupported { source: Box::new(StoreFailure::new(Effect::None, error)) }
}

/// The `kfsid` among an object's attributes. The writer's name and the mark of merging are not kept.
fn kfsid(attributes: &Attributes) -> StoreResult<Option<String>> {
    let mut kfsid = None;
    for (attribute, value) in attributes {
        match attribute {
            Attribute::Metadata(name) if name == KFSID => kfsid = Some(value.to_string()),
            Attribute::Metadata(name) if [KFSNAME, KFSMERGED, KFSCOPIED].contains(&&**name) => {}
            _ => return Err(unsupported("such attributes of an object")),
        }
    }
    Ok(kfsid)
}

impl LocalStore {
    fn identity(&self, id: &FileId) -> Attributes {
        let kfsid = self.own().find(id).map_or_else(|| id.stranger(), |made| made.kfsid);
        [(Attribute::Metadata(KFSID.into()), kfsid)].into_iter().collect()
    }

    fn put(&self, path: &Path, payload: &PutPayload, mode: &PutMode, kfsid: Option<&str>) -> StoreResult<PutResult> {
        let key = path.as_ref();
        let put = match mode {
            PutMode::Create => self.create(key, payload, kfsid),
            PutMode::Overwrite => self.overwrite(key, payload),
            PutMode::Update(UpdateVersion { e_tag: Some(e_tag), .. }) => self.replace(key, payload, e_tag, kfsid),
            PutMode::Update(UpdateVersion { e_tag: None, .. }) => {
                let error =
                    Error::new(ErrorKind::InvalidInput, "a directory replaces a file by its ETag, and none was given");
                return Err(StoreFailure::new(Effect::None, error).into_object_store(key));
            }
        };
        put.map(|id| put_result(&id)).map_err(|error| error.into_object_store(key))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        let kfsid = kfsid(&opts.attributes)?;
        let (store, path, turn) = (self.clone(), location.clone(), self.busy().turn(location.as_ref()).await);
        blocking(move || {
            let put = store.put(&path, &payload, &opts.mode, kfsid.as_deref());
            // Held by the work, not by who waits for it.
            drop(turn);
            put
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        kfsid(&opts.attributes)?;
        Ok(Box::new(StagedUpload::begin(self.clone(), location.clone()).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        let (opened, range) = self.locate(location, &options)?;
        let (meta, attributes) = (opened.meta.clone(), self.identity(&opened.id));
        let bytes = if options.head {
            Bytes::new()
        } else if self.maps(&range) || range.end.saturating_sub(range.start) <= super::read::COPIED {
            self.read(&opened, range.clone(), location)?
        } else {
            let (path, range) = (location.clone(), range.clone());
            self.reading(move |store| store.read(&opened, range, &path)).await?
        };
        let payload = GetResultPayload::Stream(stream::once(async move { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes, extensions: Default::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        let mut all = Vec::with_capacity(ranges.len());
        for range in ranges {
            let options = GetOptions::new().with_range(Some(GetRange::Bounded(range.clone())));
            let (opened, range) = self.locate(location, &options)?;
            all.push(self.read(&opened, range, location)?);
        }
        Ok(all)
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        let store = self.clone();
        locations
            .and_then(move |path| {
                let store = store.clone();
                async move {
                    let turn = store.busy().turn(path.as_ref()).await;
                    blocking(move || {
                        let removed = store.remove(path.as_ref());
                        drop(turn);
                        match removed {
                            Ok(true) => Ok(path),
                            Ok(false) => {
                                let source = "there is no such file".into();
                                Err(StoreError::NotFound { path: path.to_string(), source })
                            }
                            Err(failure) => Err(failure.into_object_store(path.as_ref())),
                        }
                    })
                    .await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.stream(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.stream(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        self.reading(move |store| {
            store.may_list(prefix.as_ref())?;
            let found = children(store.root(), prefix.as_ref());
            let (objects, dirs) = found.map_err(|error| store.not_listed(prefix.as_ref(), &error))?;
            let dirs = dirs.into_iter().filter_map(|name| {
                let path = if prefix.is_root() { name } else { format!("{prefix}/{name}") };
                Path::parse(path).ok()
            });
            Ok(ListResult { objects, common_prefixes: dirs.collect(), extensions: Default::default() })
        })
        .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        let turn = self.busy().turn(to.as_ref()).await;
        let (store, from, to) = (self.clone(), from.clone(), to.clone());
        blocking(move || {
            let _turn = turn;
            let (opened, range) = store.locate(&from, &GetOptions::new())?;
            match options.mode {
                CopyMode::Overwrite => store.copy_file(&opened, &from, &to),
                CopyMode::Create => {
                    let payload = PutPayload::from(store.read(&opened, range, &from)?);
                    store.put(&to, &payload, &PutMode::Create, None).map(|_| ())
                }
            }
        })
        .await
    }

    /// The log never renames: a copy and a removal do.
    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        let mode = match options.target_mode {
            RenameTargetMode::Overwrite if from == to => return self.head(from).await.map(|_| ()),
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
            RenameTargetMode::Create => CopyMode::Create,
        };
        self.copy_opts(from, to, CopyOptions::new().with_mode(mode)).await?;
        self.delete(from).await
    }
}

impl LocalStore {
    fn stream(&self, prefix: Option<&Path>, after: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let prefix = prefix.filter(|prefix| !prefix.is_root()).map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let walk = TreeWalk::new(&prefix, after.map(Path::as_ref), STRETCH);
        stream::try_unfold(Some((self.clone(), walk)), |state| async move {
            let Some((store, mut walk)): Option<(LocalStore, TreeWalk)> = state else {
                return Ok::<_, StoreError>(None);
            };
            let (found, walk) = store
                .reading(move |store| {
                    store.may_list("")?;
                    let found = walk.next(store.root(), GO).map_err(|error| store.not_listed("", &error))?;
                    Ok((found, walk))
                })
                .await?;
            let more = (found.len() == GO).then_some((store, walk));
            Ok(Some((stream::iter(found.into_iter().map(Ok::<_, StoreError>)), more)))
        })
        .try_flatten()
        .boxed()
    }
}
