//! A listing as a stream.

use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::super::StoreReader;
use super::super::types::{ListPage, ObjectInfo};
use crate::error::{Error, ErrorKind, Result};

/// How many keys one page of the stream asks for: what one request of S3 answers.
const PAGE: usize = 1000;

impl StoreReader {
    /// Lists the objects below a directory of keys, ascending by key: `list("a/b")`, or `list("a/b/")`, gives `a/b/c` and
    /// `a/b/c/d`, and neither `a/b` nor `a/bc`. The empty prefix gives all objects of the store. The keys are without the
    /// prefix that the store's URL names. For prefixes that end within a name use [`list_page`](Self::list_page).
    ///
    /// It is a read of truth. A page of 1,000 keys is requested when the stream is polled for it. Objects that are made or
    /// deleted meanwhile may be listed or not; all others are listed once. Dropping the stream gives the listing up.
    ///
    /// # Errors
    /// The stream ends after an error, which is what [`list_page`](Self::list_page) answers.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo>> {
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let pages = stream::try_unfold(Some((self.clone(), prefix, None)), |state| async move {
            let Some((reader, prefix, after)): Option<(StoreReader, String, Option<String>)> = state else {
                return Ok::<_, Error>(None);
            };
            let ListPage { objects, complete } = reader.list_page(&prefix, after.as_deref(), PAGE).await?;
            let last = objects.last().map(|object| object.key.clone());
            let objects = stream::iter(objects.into_iter().map(Ok::<_, Error>));
            match (complete, last) {
                (true, _) => Ok(Some((objects, None))),
                (false, Some(last)) => Ok(Some((objects, Some((reader, prefix, Some(last)))))),
                (false, None) => {
                    let error = Error::new(ErrorKind::Unavailable, "the store answered no key, and that more follow");
                    Err(error.with_key(prefix).of_the_store())
                }
            }
        });
        pages.try_flatten().boxed()
    }
}
