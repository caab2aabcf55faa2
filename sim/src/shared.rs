//! The one store that all processes share: in memory, by virtual time, and watched.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use kfs_core::runtime::Clock;
use kfs_core::testing::Prng;
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::markers::Markers;
use crate::mirror::Mirror;
use crate::object::{Object, quoted};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// There was none of its name.
    Created,
    /// It was put over another, by the condition or without one.
    Replaced,
    /// It is gone.
    Deleted,
    /// It was there already when this writer wanted to create it.
    Lost(usize),
}

/// Nothing can be written below this.
const STUCK: &str = "default/stuck/";

type Watcher = Box<dyn Fn(Change, &str) + Send + Sync>;

/// A store in memory whose last-modified times are the simulation's.
pub(crate) struct SharedStore {
    myself: Weak<SharedStore>,
    clock: Arc<dyn Clock>,
    objects: Mutex<(u64, BTreeMap<String, Object>)>,
    watcher: OnceLock<Watcher>,
    markers: Markers,
    mirror: OnceLock<Mirror>,
}

impl SharedStore {
    /// How long ago an object was put.
    pub(crate) fn age(&self, object: &Object) -> Duration {
        let age = self.clock.wall_ms().saturating_sub(object.modified_ms);
        Duration::from_millis(u64::try_from(age).unwrap_or(0))
    }

    /// An empty one.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new_cyclic(|myself| SharedStore {
            myself: myself.clone(),
            clock,
            objects: Mutex::default(),
            watcher: OnceLock::new(),
            markers: Markers::default(),
            mirror: OnceLock::new(),
        })
    }

    /// Calls back after each change, before anything else can happen. Once only.
    pub(crate) fn watch(&self, watcher: impl Fn(Change, &str) + Send + Sync + 'static) {
        let _ = self.watcher.set(Box::new(watcher));
    }

    /// From now on each request that acts on this store is sent to a real one, too. Once only, while both are empty.
    pub(crate) fn mirror(&self, mirror: Mirror) {
        let _ = self.mirror.set(mirror);
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<String, Object>)> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object as it is now; no request.
    pub(crate) fn peek(&self, key: &str) -> Option<Object> {
        self.lock().1.get(key).cloned()
    }

    /// From now on a read of `claim.json` returns what this draws; `None` for what is there.
    pub(crate) fn strange_markers(&self, prng: Option<Prng>) {
        self.markers.draw_from(prng);
    }

    /// All keys now; no request.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.lock().1.keys().cloned().collect()
    }

    /// Puts an object beside the simulation, as something that was there before.
    pub(crate) fn plant(&self, key: &str, bytes: impl Into<Bytes>) {
        self.leave(key, bytes);
        self.tell(Change::Created, key);
    }

    /// The same, and nobody is told: the object is no part of the log.
    pub(crate) fn leave(&self, key: &str, bytes: impl Into<Bytes>) {
        let _ = self.keep_on_both(key, bytes.into(), Attributes::new(), &PutMode::Overwrite);
    }

    fn tell(&self, change: Change, key: &str) {
        if let Some(watcher) = self.watcher.get() {
            watcher(change, key);
        }
    }

    fn put(&self, key: &str, bytes: Bytes, attributes: Attributes, mode: &PutMode) -> Result<u64> {
        if key.starts_with(STUCK) {
            return Err(Error::PermissionDenied { path: key.to_owned(), source: "nobody may write here".into() });
        }
        let writer = writer_named(&attributes);
        let kept = self.keep_on_both(key, bytes, attributes, mode);
        match (&kept, writer) {
            (Ok((change, _)), _) => self.tell(*change, key),
            (Err(Error::AlreadyExists { .. }), Some(writer)) => self.tell(Change::Lost(writer), key),
            (Err(_), _) => {}
        }
        kept.map(|(_, e_tag)| e_tag)
    }

    fn keep_on_both(&self, key: &str, bytes: Bytes, attributes: Attributes, mode: &PutMode) -> Result<(Change, u64)> {
        let sent = self.mirror.get().map(|mirror| (mirror, bytes.clone(), attributes.clone(), self.peek(key)));
        let kept = self.keep(key, bytes, attributes, mode);
        if let Some((mirror, bytes, attributes, there)) = sent {
            let e_tag = kept.as_ref().ok().map(|(_, e_tag)| *e_tag);
            mirror.put((key, bytes, &attributes), mode, there.as_ref(), e_tag);
        }
        kept
    }

    /// Keeps an object here, if the condition holds.
    fn keep(&self, key: &str, bytes: Bytes, attributes: Attributes, mode: &PutMode) -> Result<(Change, u64)> {
        let mut objects = self.lock();
        let current = objects.1.get(key).map(|object| object.e_tag);
        match (mode, current) {
            (PutMode::Create, Some(_)) => {
                return Err(Error::AlreadyExists { path: key.to_owned(), source: "it exists".into() });
            }
            (PutMode::Update(version), current) if version.e_tag != current.map(quoted) => {
                return Err(Error::Precondition { path: key.to_owned(), source: "another version".into() });
            }
            _ => {}
        }
        objects.0 += 1;
        let e_tag = objects.0;
        let object = Object { bytes, attributes, e_tag, modified_ms: self.clock.wall_ms() };
        objects.1.insert(key.to_owned(), object);
        Ok((if current.is_some() { Change::Replaced } else { Change::Created }, e_tag))
    }

    pub(crate) fn remove(&self, key: &str) {
        let removed = self.lock().1.remove(key).is_some();
        if let Some(mirror) = self.mirror.get() {
            mirror.delete(key);
        }
        if removed {
            self.tell(Change::Deleted, key);
        }
    }

    /// The objects that a listing finds now. Cheap to clone: most listings of the simulation take a few of thousands.
    fn found(&self, prefix: Option<&Path>, after: Option<&Path>) -> Vec<(String, Object)> {
        let prefix = prefix.filter(|p| !p.is_root()).map(|p| format!("{p}/")).unwrap_or_default();
        let after = after.map(Path::as_ref);
        let objects = self.lock();
        let from = after.unwrap_or_default().max(&prefix);
        let found = objects.1.range(from.to_owned()..).take_while(|(key, _)| key.starts_with(&prefix));
        let found = found.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let found: Vec<_> = found.map(|(key, object)| (key.clone(), object.clone())).collect();
        drop(objects);
        if let Some(mirror) = self.mirror.get() {
            mirror.list(&prefix, after, &found);
        }
        found
    }

    /// A listing that describes an object only when it is asked for.
    fn listing(&self, prefix: Option<&Path>, after: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let found = self.found(prefix, after);
        stream::iter(found.into_iter().map(|(key, object)| Ok(object.meta(&key)))).boxed()
    }
}

/// The writer's number, from the name that it gives itself.
pub(crate) fn writer_named(attributes: &Attributes) -> Option<usize> {
    let name = attributes.get(&object_store::Attribute::Metadata("kfsname".into()))?;
    name.strip_prefix('w')?.parse().ok()
}

fn unsupported(what: &str) -> Error {
    Error::NotSupported { source: what.into() }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedStore")
    }
}

impl fmt::Display for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedStore")
    }
}

#[async_trait]
impl ObjectStore for SharedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let e_tag = self.put(location.as_ref(), payload.into(), opts.attributes, &opts.mode)?;
        Ok(PutResult { e_tag: Some(quoted(e_tag)), version: None, extensions: Default::default() })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(unsupported("nothing is written in parts"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let object = self.peek(location.as_ref());
        if let Some(mirror) = self.mirror.get() {
            mirror.get(location.as_ref(), &options, object.as_ref());
        }
        let object = if location.as_ref().ends_with("/claim.json") { self.markers.instead_of(object) } else { object };
        let Some(object) = object else {
            return Err(Error::NotFound { path: location.to_string(), source: "it is not there".into() });
        };
        let meta = object.meta(location.as_ref());
        options.check_preconditions(&meta)?;
        let range = match options.range {
            None => 0..meta.size,
            Some(range) => range
                .as_range(meta.size)
                .map_err(|source| Error::Generic { store: "SharedStore", source: Box::new(source) })?,
        };
        let bytes = object.bytes.slice(range.start as usize..range.end as usize);
        let payload = GetResultPayload::Stream(stream::once(async move { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: object.attributes, extensions: Default::default() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let myself = self.myself.clone();
        locations
            .map(move |location| {
                let location = location?;
                if let Some(store) = myself.upgrade() {
                    store.remove(location.as_ref());
                }
                Ok(location)
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let cut = prefix.filter(|p| !p.is_root()).map_or(0, |p| p.as_ref().len() + 1);
        let (mut dirs, mut objects) = (BTreeSet::new(), Vec::new());
        for (key, object) in self.found(prefix, None) {
            match key[cut..].split_once('/') {
                Some((dir, _)) => {
                    dirs.insert(Path::from(&key[..cut + dir.len()]));
                }
                None => objects.push(object.meta(&key)),
            }
        }
        let common_prefixes = dirs.into_iter().collect();
        Ok(ListResult { objects, common_prefixes, extensions: Default::default() })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let Some(object) = self.peek(from.as_ref()) else {
            return Err(Error::NotFound { path: from.to_string(), source: "it is not there".into() });
        };
        let mode = if matches!(options.mode, CopyMode::Create) { PutMode::Create } else { PutMode::Overwrite };
        self.put(to.as_ref(), object.bytes, object.attributes, &mode).map(drop)
    }
}
