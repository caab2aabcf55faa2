//! Listings of a [`SeededStore`](super::SeededStore): page after page, each of its own moment.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use kfs_core::testing::{Failure, Op, Request};
use object_store::path::Path;
use object_store::{ObjectMeta, Result};

use super::SeededCore;
use super::weather::Fate;

/// A page of a listing.
struct Listed {
    found: Vec<ObjectMeta>,
    more: bool,
    stopped: bool,
}

impl SeededCore {
    /// One page of a listing after a key, of the moment when it is served.
    async fn page(self: Arc<Self>, prefix: Option<Path>, after: Option<Path>) -> Result<Listed> {
        let size = self.lock().weather.faults.page.max(1);
        let key = after.as_ref().or(prefix.as_ref()).map(Path::to_string).unwrap_or_default();
        let request = Request::new(Op::List, key);
        let inner = self.inner.clone();
        let act = move |fate| -> BoxFuture<'static, _> {
            let (inner, prefix, after) = (inner.clone(), prefix.clone(), after.clone());
            Box::pin(async move {
                let listing = match &after {
                    Some(after) => inner.list_with_offset(prefix.as_ref(), after),
                    None => inner.list(prefix.as_ref()),
                };
                let found: Vec<_> = listing.take(size).try_collect().await?;
                let more = found.len() == size;
                Ok(Listed { found, more, stopped: fate == Fate::StopListing })
            })
        };
        self.exchange(request, Box::new(act)).await
    }

    pub(super) fn listing(
        self: &Arc<Self>,
        prefix: Option<&Path>,
        after: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let begin = Some((self.clone(), prefix.cloned(), after.cloned()));
        stream::unfold(begin, |state| async move {
            let (core, prefix, after) = state?;
            match core.clone().page(prefix.clone(), after).await {
                Ok(Listed { mut found, more, stopped }) => {
                    if stopped {
                        found.truncate(found.len() / 2);
                    }
                    let last = found.last().map(|meta| meta.location.clone());
                    let mut entries: Vec<_> = found.into_iter().map(Ok).collect();
                    if stopped {
                        entries.push(Err(Failure::Unavailable.error("(a listing)")));
                    }
                    let next = (more && !stopped && last.is_some()).then_some((core, prefix, last));
                    Some((stream::iter(entries), next))
                }
                Err(error) => Some((stream::iter(vec![Err(error)]), None)),
            }
        })
        .flatten()
        .boxed()
    }
}
