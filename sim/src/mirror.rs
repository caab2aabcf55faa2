//! A real store beside the simulation's own. Each request that acts on one acts on both, and both must answer alike.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kfs_core::blocking::Wait;
use kfs_core::runtime::Runtime;
use kfs_core::store::{Created, Fetched, Identity, ReadRange, Replaced, Store, Version};
use kfs_core::{Error, ErrorKind, Result};
use object_store::{Attribute, Attributes, GetOptions, GetRange, PutMode};

use crate::object::{Object, quoted};

/// How long a request to the real store may take, in real time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Keys in a page of the real store's listings.
const PAGE: usize = 50;

/// The real store. Each request to it is awaited in real time, while the virtual time stands still.
///
/// The core sees the simulation's last-modified times and ETags. A map leads from these ETags to the real store's versions,
/// so a condition reaches the real store with the real ETag. Every other part of an answer is compared with what the real
/// store gives: who won, what is missing or changed, bytes, sizes, metadata, keys. An answer that goes on to the core is
/// equal in both, so it does not matter which of the two it is.
pub(crate) struct Mirror {
    store: Store,
    runtime: Runtime,
    versions: Mutex<BTreeMap<String, Version>>,
    differs: Box<dyn Fn(String) + Send + Sync>,
}

/// What a store answers, as far as both must answer alike.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    NameTaken,
    Changed,
    NotFound,
    Read {
        e_tag: Option<String>,
        size: u64,
        identity: Identity,
        bytes: Bytes,
    },
    /// Key, size and ETag of each object.
    Listed(Vec<(String, u64, Option<String>)>),
    Failed(String),
}

impl Answer {
    fn of_error(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Answer::NotFound,
            ErrorKind::Conflict => Answer::Changed,
            _ => Answer::Failed(error.to_string()),
        }
    }

    fn failed(why: impl Debug) -> (Self, Option<Version>) {
        (Answer::Failed(format!("{why:?}")), None)
    }
}

impl Mirror {
    /// On an empty store. `differs` is told of each answer that is not the expected one.
    pub(crate) fn new(store: Store, differs: impl Fn(String) + Send + Sync + 'static) -> Self {
        // A cloud's client needs I/O, which the simulation's runtime has not.
        let runtime = Runtime::own().expect("start threads");
        Mirror { store, runtime, versions: Mutex::default(), differs: Box::new(differs) }
    }

    fn ask<T: Send + 'static>(&self, request: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        Wait::at_most(PATIENCE).on(self.runtime.run(request))
    }

    fn compare(&self, request: &str, found: &Answer, expected: &Answer) {
        if found != expected {
            let store = self.store.url();
            (self.differs)(format!("{request}: {store} answers {found:.400?}, expected was {expected:.400?}"));
        }
    }

    fn versions(&self) -> MutexGuard<'_, BTreeMap<String, Version>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The real store's version for an ETag of the simulation. An unknown ETag becomes a version that the real store never had.
    fn version(&self, e_tag: &str) -> Version {
        let known = self.versions().get(e_tag).cloned();
        known.unwrap_or_else(|| Version::new(Some(e_tag), 0, None).with_generation(Some("1")))
    }

    /// The real store's ETag of an object.
    fn e_tag(&self, object: &Object) -> Option<String> {
        self.version(&quoted(object.e_tag)).e_tag().map(str::to_owned)
    }

    /// A directory keeps no metadata. It knows the `kfsid` of the files that this process made last, and takes a second
    /// create with the same `kfsid` for the first one.
    fn is_directory(&self) -> bool {
        self.store.url().starts_with("file:")
    }

    /// A PUT over what was `there`. The simulation's store gave the new object the ETag `put`, or refused it because its
    /// condition did not hold.
    pub(crate) fn put(
        &self,
        (key, bytes, attributes): (&str, Bytes, &Attributes),
        mode: &PutMode,
        there: Option<&Object>,
        put: Option<u64>,
    ) {
        let identity = identity(attributes);
        let again = there.is_some_and(|there| identity.kfsid.is_some() && there.metadata("kfsid") == identity.kfsid);
        let (request, refused) = match mode {
            PutMode::Create => ("create", Answer::NameTaken),
            PutMode::Overwrite => ("put", Answer::Changed),
            PutMode::Update(_) => ("replace", if there.is_some() { Answer::Changed } else { Answer::NotFound }),
        };
        let expected = if put.is_some() { Answer::Done } else { refused };
        let (store, to, condition) = (self.store.clone(), key.to_owned(), self.condition(mode));
        let found = match mode {
            PutMode::Create => {
                self.ask(async move { Ok(store.create(&to, bytes.into(), &identity).await) }).map(created)
            }
            PutMode::Overwrite => self.ask(async move { store.put(&to, bytes.into()).await }).map(done),
            PutMode::Update(_) => self
                .ask(async move { Ok(store.replace_if(&to, bytes.into(), &identity, &condition).await) })
                .map(replaced),
        };
        let (mut found, version) = found.unwrap_or_else(Answer::failed);
        if self.is_directory() && again && found == Answer::Done {
            found = Answer::NameTaken;
        }
        if let (Some(e_tag), Some(version)) = (put, version) {
            self.versions().insert(quoted(e_tag), version);
        }
        self.compare(&format!("{request} {key}"), &found, &expected);
    }

    fn condition(&self, mode: &PutMode) -> Version {
        match mode {
            PutMode::Update(version) => self.version(version.e_tag.as_deref().unwrap_or_default()),
            _ => Version::new(None, 0, None),
        }
    }

    /// A DELETE.
    pub(crate) fn delete(&self, key: &str) {
        let (store, gone) = (self.store.clone(), key.to_owned());
        let found = self.ask(async move { store.delete(&gone).await });
        let found = found.map_or_else(|error| Answer::of_error(&error), |()| Answer::Done);
        self.compare(&format!("delete {key}"), &found, &Answer::Done);
    }

    /// A GET or a HEAD of what is `there`.
    pub(crate) fn get(&self, key: &str, options: &GetOptions, there: Option<&Object>) {
        let (head, asked) = (options.head, options.if_match.as_deref().map(|e_tag| self.version(e_tag)));
        let (range, bytes) = ranges(options.range.as_ref(), there.map_or(0, |there| there.bytes.len()));
        let expected = match there {
            None => Answer::NotFound,
            Some(there) if asked.as_ref().is_some_and(|asked| !asked.same_as(&self.version(&quoted(there.e_tag)))) => {
                Answer::Changed
            }
            Some(there) => Answer::Read {
                e_tag: self.e_tag(there),
                size: there.bytes.len() as u64,
                identity: identity(&there.attributes),
                bytes: if head { Bytes::new() } else { there.bytes.slice(bytes) },
            },
        };
        let (store, from, part) = (self.store.clone(), key.to_owned(), range.clone());
        let found = self.ask(async move {
            if head { store.head(&from).await } else { store.get(&from, part, asked.as_ref()).await }
        });
        let found = found.map_or_else(|error| Answer::of_error(&error), |found| self.read(found, &expected));
        self.compare(&format!("{} {key} {range:?}", if head { "head" } else { "get" }), &found, &expected);
    }

    fn read(&self, found: Fetched, expected: &Answer) -> Answer {
        let Fetched { bytes, info, mut identity, .. } = found;
        if let (true, Answer::Read { identity: put, .. }, Some(kfsid)) =
            (self.is_directory(), expected, &identity.kfsid)
            && (kfsid.starts_with("inode-") || Some(kfsid) == put.kfsid.as_ref())
        {
            identity = put.clone();
        }
        Answer::Read { e_tag: info.version.e_tag().map(str::to_owned), size: info.size, identity, bytes }
    }

    /// A listing, to which the simulation's store answered `objects`.
    pub(crate) fn list(&self, prefix: &str, after: Option<&str>, objects: &[(String, Object)]) {
        let listed = objects.iter().map(|(key, object)| (key.clone(), object.bytes.len() as u64, self.e_tag(object)));
        let expected = Answer::Listed(listed.collect());
        let (store, under, mut from) = (self.store.clone(), prefix.to_owned(), after.map(str::to_owned));
        let found = self.ask(async move {
            let mut found = Vec::new();
            loop {
                let page = store.list_page(&under, from.as_deref(), PAGE).await?;
                from = page.objects.last().map(|object| object.key.clone()).or(from);
                let e_tag = |version: &Version| version.e_tag().map(str::to_owned);
                found.extend(page.objects.into_iter().map(|object| (object.key, object.size, e_tag(&object.version))));
                if page.complete {
                    return Ok(found);
                }
            }
        });
        let found = found.map_or_else(|error| Answer::of_error(&error), Answer::Listed);
        self.compare(&format!("list {prefix} after {after:?}"), &found, &expected);
    }
}

fn done(version: Version) -> (Answer, Option<Version>) {
    (Answer::Done, Some(version))
}

fn created(created: Created) -> (Answer, Option<Version>) {
    match created {
        Created::Yes(version) => done(version),
        Created::Exists => (Answer::NameTaken, None),
        other => Answer::failed(other),
    }
}

fn replaced(replaced: Replaced) -> (Answer, Option<Version>) {
    match replaced {
        Replaced::Yes(version) => done(version),
        Replaced::Changed => (Answer::Changed, None),
        Replaced::NotFound => (Answer::NotFound, None),
        other => Answer::failed(other),
    }
}

fn identity(attributes: &Attributes) -> Identity {
    let value = |name: &'static str| attributes.get(&Attribute::Metadata(name.into())).map(|value| value.to_string());
    let mut identity = Identity::none();
    identity.kfsid = value("kfsid");
    identity.with_name(value("kfsname")).with_merged(value("kfsmerged"))
}

/// What is asked of the real store, and which bytes of an object of this size that is.
fn ranges(range: Option<&GetRange>, size: usize) -> (ReadRange, std::ops::Range<usize>) {
    let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(size);
    match range.cloned() {
        None => (ReadRange::Whole, 0..size),
        Some(GetRange::Bounded(range)) => (ReadRange::Range(range.clone()), within(range.start)..within(range.end)),
        Some(GetRange::Offset(start)) => (ReadRange::Range(start..u64::MAX), within(start)..size),
        Some(GetRange::Suffix(bytes)) => (ReadRange::Suffix(bytes), size - within(bytes)..size),
    }
}
