//! Listings in pages.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::ObjectMeta;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;

use super::StoreReader;
use super::dialect::Dialect;
use super::failure;
use super::hint;
use super::local::LocalStore;
use super::meter::Attempt;
use super::paging::{KEYS_A_REQUEST, ListingProgress};
use super::reads::info;
use super::types::{ListPage, ObjectInfo};
use crate::error::{Error, ErrorKind, Result};
use crate::mutant::mutant;
use crate::recorder::RequestOutcome;

/// What a listing does, for those who watch it.
const LISTING: &str = "listing";

/// How a store lists.
#[derive(Clone)]
pub(super) enum Lister {
    /// Through the trait's stream.
    Stream,
    /// By our own walk.
    Directory(LocalStore),
    /// In pages with tokens.
    Pages(Arc<dyn PaginatedListStore>),
}

impl StoreReader {
    /// Lists objects whose key begins with `prefix` and is greater than `after` (a whole key, or
    /// any text), at most `max` of them (at least 1), ascending. A listing that breaks off after some of
    /// them gives those, as a page that is not complete.
    ///
    /// Dropping the future gives the listing up.
    ///
    /// # Errors
    /// `Unsupported` when the store does not list in ascending order; what a request answers.
    pub async fn list_page(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<ListPage> {
        self.again(LISTING, prefix, || self.list_page_once(prefix, after, max)).await
    }

    /// A key, or the beginning of keys, as callers of this store name it: without the prefix of the store's URL.
    fn relative<'a>(&self, full: &'a str) -> &'a str {
        match full.strip_prefix(&self.inner.prefix) {
            Some(relative) => relative,
            // The prefix itself without its last slash.
            None if self.inner.prefix.strip_suffix('/') == Some(full) => "",
            None => full,
        }
    }

    async fn list_page_once(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<ListPage> {
        let max = max.max(1);
        let prefix = format!("{}{prefix}", self.inner.prefix);
        let after = after.map(|after| format!("{}{after}", self.inner.prefix));
        let after = after.filter(|after| after.as_str() >= prefix.as_str());
        if after.as_deref().is_some_and(|after| !after.starts_with(&prefix)) {
            // Every key with this prefix is smaller.
            return Ok(ListPage { objects: Vec::new(), complete: true });
        }
        let _permit = self.permit().await?;
        let mut page =
            PageBuilder { store: self, prefix: &prefix, after: after.as_deref(), max, objects: Vec::new(), last: None };
        let complete = match &self.inner.client.lister {
            Lister::Stream => self.list_stream(&mut page).await,
            Lister::Directory(local) => self.list_directory(local, &mut page).await,
            Lister::Pages(pages) => self.list_pages(pages.as_ref(), &mut page).await,
        };
        let complete = match complete {
            // What came before the failure is right: who asks on begins after it.
            Err(error) if error.is_retriable() && !page.objects.is_empty() => false,
            complete => complete?,
        };
        Ok(ListPage { objects: page.objects, complete })
    }

    async fn list_stream(&self, page: &mut PageBuilder<'_>) -> Result<bool> {
        // The trait lists whole path segments; the rest of the prefix is filtered here.
        let directory = page.prefix.rfind('/').and_then(|at| page.prefix.get(..at)).unwrap_or_default();
        let directory =
            Path::parse(directory).map_err(|error| self.mapped(&error.into(), self.relative(page.prefix)))?;
        let directory = Some(&directory).filter(|directory| !directory.is_root());
        let offset = page.after.and_then(|after| Path::parse(after).ok().filter(|path| path.as_ref() == after));
        let stream = match &offset {
            Some(offset) => self.inner.client.reads.list_with_offset(directory, offset),
            None => self.inner.client.reads.list(directory),
        };
        let attempt = self.listing(page.prefix)?;
        attempt.count(1, 0);
        let listed = attempt.within(take_from(stream, &attempt, page)).await;
        attempt.ends(listed)
    }

    async fn list_directory(&self, local: &LocalStore, page: &mut PageBuilder<'_>) -> Result<bool> {
        let attempt = self.listing(page.prefix)?;
        let listed = attempt.within(local.page(page.prefix, page.after, page.max)).await;
        let (found, complete) = listed.map_err(|error| self.mapped(&error, self.relative(page.prefix)))?;
        let requests = found.len().div_ceil(KEYS_A_REQUEST).max(1);
        attempt.count(u64::try_from(requests).unwrap_or(u64::MAX), 0);
        let taken: Result<()> = found.iter().try_for_each(|meta| page.take(meta).map(drop));
        attempt.ends(taken).map(|()| complete)
    }

    async fn list_pages(&self, pages: &dyn PaginatedListStore, page: &mut PageBuilder<'_>) -> Result<bool> {
        let asked = self.prefix_to_ask(page.prefix);
        let mut offset = page.after.map(str::to_string);
        let mut token: Option<String> = None;
        let (mut least, mut most) = (1usize, KEYS_A_REQUEST);
        let mut progress = ListingProgress::default();
        loop {
            let found = page.objects.len();
            let wanted = page.max.saturating_sub(found).max(least).min(most).min(self.inner.client.page_size.now());
            let options = PaginatedListOptions {
                offset: offset.clone(),
                max_keys: Some(wanted),
                page_token: token.clone(),
                ..PaginatedListOptions::default()
            };
            let answer = match self.ask_page(pages, asked, options, wanted).await {
                Ok(answer) => answer,
                Err((error, mapped)) => {
                    // object_store answers no page with a key that it takes for none (`a//b`). Such
                    // junk is somebody else's: pages are asked for by halves up to it, then what is
                    // after it. (Our own client for S3 leaves it out.)
                    let Some(junk) = error.as_ref().and_then(unusable_key) else { return Err(mapped) };
                    progress.restarts();
                    if token.take().is_some() {
                        offset = page.last.clone().or(offset);
                    }
                    if wanted > 1 {
                        most = wanted.div_ceil(2);
                    } else if offset.as_deref().is_none_or(|offset| offset < junk) {
                        offset = Some(junk.to_string());
                        most = KEYS_A_REQUEST;
                    } else {
                        return Err(mapped);
                    }
                    continue;
                }
            };
            self.inner.client.page_size.arrived(wanted);
            for meta in &answer.result.objects {
                match page.take(meta)? {
                    Taken::Yes | Taken::Skipped => {}
                    Taken::Full => return Ok(false),
                    Taken::Past => return Ok(true),
                }
            }
            token = answer.page_token;
            let Some(next) = &token else { return Ok(true) };
            progress.check(next, page.objects.len() > found)?;
            if page.objects.len() == found {
                // All that this page had was left out: what is left out must not cost a request for each key.
                least = wanted * 2;
            } else if page.is_full() || answer.result.objects.len() < wanted {
                // To fill up for the keys that were left out would cost another request.
                return Ok(false);
            }
        }
    }

    /// The prefix of which pages are requested. What has another prefix than the caller's is left out of them later.
    fn prefix_to_ask<'a>(&self, prefix: &'a str) -> &'a str {
        match prefix.char_indices().next_back() {
            // object_store leaves the blob out whose name is the prefix itself, so a shorter one is asked for.
            Some((last, letter)) if self.inner.client.backend.dialect == Dialect::Azure && letter != '/' => {
                prefix.get(..last).unwrap_or(prefix)
            }
            _ => prefix,
        }
    }

    /// Sends one request for a page of `wanted` keys. A failure comes in object_store's words, where it was sent, and in ours.
    async fn ask_page(
        &self,
        pages: &dyn PaginatedListStore,
        prefix: &str,
        mut options: PaginatedListOptions,
        wanted: usize,
    ) -> Result<PaginatedListResult, (Option<object_store::Error>, Error)> {
        let attempt = self.listing(prefix).map_err(|refused| (None, refused))?;
        if !self.inner.client.backend.counted_on_the_wire {
            attempt.count(1, 0);
        }
        options.extensions = attempt.extensions();
        let asked = self.inner.client.page_size.ask(wanted, &attempt);
        let listed = pages.list_paginated(Some(prefix).filter(|prefix| !prefix.is_empty()), options);
        match attempt.within(listed).await {
            Ok(answer) => {
                asked.arrived();
                attempt.end(RequestOutcome::Done);
                Ok(answer)
            }
            Err(error) => {
                let mapped = match self.failed(&error, self.relative(prefix), &attempt) {
                    // A listing has no object that could be missing: this is no bucket's address.
                    absent if absent.kind() == ErrorKind::NotFound && !failure::is_bucket_missing(&error) => {
                        let refused = absent
                            .with_kind(ErrorKind::InvalidInput)
                            .with_message("the store answered 404 to a listing, and does not say what is missing");
                        match hint::of_kind(ErrorKind::InvalidInput, self.inner.client.backend.dialect) {
                            Some(hint) => refused.with_hint(hint),
                            None => refused,
                        }
                    }
                    mapped => mapped,
                };
                attempt.fail(&mapped);
                if unusable_key(&error).is_some() {
                    asked.arrived();
                } else if mapped.kind() == ErrorKind::TimedOut {
                    asked.timed_out();
                }
                Err((Some(error), mapped))
            }
        }
    }

    /// The names directly under `prefix` under which there are objects, as directories of a tree:
    /// without prefix and slash, ascending. The prefix is whole path segments. In a directory a symbolic link that may
    /// lead to one is named too; what is in it is not listed.
    ///
    /// Dropping the future gives the listing up.
    ///
    /// # Errors
    /// `NotFound` when the bucket, or its directory, does not exist; `Unsupported` when the prefix leads through a
    /// symbolic link; what a request answers.
    pub async fn list_dirs(&self, prefix: &str) -> Result<Vec<String>> {
        self.again(LISTING, prefix, || self.list_dirs_once(prefix)).await
    }

    async fn list_dirs_once(&self, prefix: &str) -> Result<Vec<String>> {
        let prefix = format!("{}{}", self.inner.prefix, prefix.trim_end_matches('/'));
        let prefix = prefix.trim_end_matches('/');
        let _permit = self.permit().await?;
        let mut names = match &self.inner.client.lister {
            Lister::Stream => self.dirs_by_delimiter(prefix).await?,
            Lister::Directory(local) => {
                let attempt = self.listing(&keys_under(prefix))?;
                attempt.count(1, 0);
                attempt.ends(
                    attempt
                        .within(local.dirs(prefix))
                        .await
                        .map_err(|error| self.mapped(&error, self.relative(prefix))),
                )?
            }
            Lister::Pages(pages) => self.dirs_by_pages(pages.as_ref(), prefix).await?,
        };
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn dirs_by_delimiter(&self, prefix: &str) -> Result<Vec<String>> {
        let directory = Path::parse(prefix).map_err(|error| self.mapped(&error.into(), self.relative(prefix)))?;
        let attempt = self.listing(&keys_under(prefix))?;
        attempt.count(1, 0);
        let listed = self.inner.client.reads.list_with_delimiter(Some(&directory).filter(|path| !path.is_root()));
        let answer = attempt.within(listed).await;
        let answer = answer
            .map_err(|error| self.mapped(&error, self.relative(prefix)))
            .or_else(|error| attempt.ends(Err(error)))?;
        let keys = answer.objects.len() + answer.common_prefixes.len();
        let more = keys.div_ceil(KEYS_A_REQUEST).saturating_sub(1);
        attempt.count(u64::try_from(more).unwrap_or(u64::MAX), 0);
        attempt.end(RequestOutcome::Done);
        Ok(answer.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_string)).collect())
    }

    async fn dirs_by_pages(&self, pages: &dyn PaginatedListStore, prefix: &str) -> Result<Vec<String>> {
        let raw = keys_under(prefix);
        let mut names = Vec::new();
        let (mut token, mut last, mut progress) = (None, None, ListingProgress::default());
        // The same for all pages, for one that fails is the end of all: the next try asks for smaller ones.
        let wanted = self.inner.client.page_size.now();
        loop {
            let options = PaginatedListOptions {
                delimiter: Some("/".into()),
                max_keys: Some(wanted).filter(|wanted| *wanted < KEYS_A_REQUEST),
                page_token: token,
                ..PaginatedListOptions::default()
            };
            let answer = self.ask_page(pages, &raw, options, wanted).await.map_err(|(_, mapped)| mapped)?;
            for name in answer.result.common_prefixes.iter().filter_map(Path::filename) {
                progress.keep(name)?;
                names.push(name.to_string());
            }
            token = answer.page_token;
            let Some(next) = &token else {
                self.inner.client.page_size.arrived(wanted);
                return Ok(names);
            };
            let objects = answer.result.objects.into_iter().map(|object| object.location);
            let newest = objects.chain(answer.result.common_prefixes).max();
            progress.check(next, newest > last)?;
            last = last.max(newest);
        }
    }
}

/// What the keys in a directory begin with. Events name every listing so.
fn keys_under(directory: &str) -> String {
    if directory.is_empty() { String::new() } else { format!("{directory}/") }
}

/// Takes what a stream of the trait lists. Gives whether nothing follows.
async fn take_from(
    mut stream: BoxStream<'static, object_store::Result<ObjectMeta>>,
    attempt: &Attempt,
    page: &mut PageBuilder<'_>,
) -> Result<bool> {
    let mut begun = 0usize;
    loop {
        if page.is_full() && begun.is_multiple_of(KEYS_A_REQUEST) {
            // To look whether something follows would cost another request.
            return Ok(false);
        }
        let Some(next) = stream.next().await.filter(|next| next.is_ok() || !mutant!(TakeCutListingForWhole)) else {
            return Ok(true);
        };
        let meta = next.map_err(|error| page.store.mapped(&error, page.store.relative(page.prefix)))?;
        if begun > 0 && begun.is_multiple_of(KEYS_A_REQUEST) {
            attempt.count(1, 0);
        }
        begun += 1;
        match page.take(&meta)? {
            Taken::Yes | Taken::Skipped => {}
            Taken::Full => return Ok(false),
            Taken::Past => return Ok(true),
        }
    }
}

/// The key that object_store could not read.
fn unusable_key(error: &object_store::Error) -> Option<&str> {
    use object_store::path::Error as PathError;
    match error {
        object_store::Error::InvalidPath {
            source: PathError::EmptySegment { path } | PathError::BadSegment { path, .. },
        } => Some(path),
        _ => None,
    }
}

/// A page as it fills.
struct PageBuilder<'a> {
    store: &'a StoreReader,
    prefix: &'a str,
    after: Option<&'a str>,
    max: usize,
    objects: Vec<ObjectInfo>,
    last: Option<String>,
}

/// What became of an object that a listing showed.
enum Taken {
    Yes,
    /// It is not of those asked for.
    Skipped,
    /// It did not fit any more.
    Full,
    /// It is beyond all that were asked for.
    Past,
}

impl PageBuilder<'_> {
    fn is_full(&self) -> bool {
        self.objects.len() >= self.max
    }

    fn take(&mut self, meta: &ObjectMeta) -> Result<Taken> {
        let full = meta.location.as_ref();
        if let Some(last) = self.last.as_deref().filter(|last| *last >= full) {
            if *format!("{full}/") > *last {
                // `a-b` and then `a/`, which some tools make to show a directory, and which
                // object_store shows as `a`.
                return Ok(Taken::Skipped);
            }
            return Err(Error::new(ErrorKind::Unsupported, {
                let [full, last] = [full, last].map(|key| self.store.relative(key));
                self.store.redact(&format!("the store lists out of order: {full} came after {last}"))
            })
            .with_hint("the log needs listings in ascending order of keys")
            .of_the_store());
        }
        self.last = Some(full.to_string());
        if !full.starts_with(self.prefix) {
            return Ok(if full > self.prefix { Taken::Past } else { Taken::Skipped });
        }
        if self.after.is_some_and(|after| full <= after) {
            return Ok(Taken::Skipped);
        }
        if self.is_full() {
            return Ok(Taken::Full);
        }
        self.objects.push(info(self.store.relative(full).to_string(), meta));
        Ok(Taken::Yes)
    }
}
