//! A create that is slow is sent a second time, beside the first (docs/design.md, "Hedged creates").

use std::future::Future;

use futures_util::future::{Either, select};
use object_store::PutPayload;

use super::env::Env;
use crate::store::{Created, Identity, Store};

/// Creates an object, as [`Store::create`]. Where the store hedges and there is no answer for longer than usual, the same
/// create is sent a second time. Dropping the future gives both up.
///
/// `may_send` is asked just before the second one: a writer that slept meanwhile must not send it.
pub(super) async fn create(
    env: &Env<'_>,
    store: &Store,
    (key, payload, identity): (&str, PutPayload, &Identity),
    may_send: impl Fn() -> bool,
) -> Created {
    let Some(hedges) = store.hedges() else { return store.create(key, payload, identity).await };
    let (clock, size) = (env.state.runtime().clock(), u64::try_from(payload.content_length()).unwrap_or(u64::MAX));
    let (began, wait) = (clock.elapsed(), hedges.begins(size));
    let first = store.create(key, payload.clone(), identity);
    let created = match wait {
        None => first.await,
        Some(wait) => {
            // It has a place of its own. Where all are taken, or the store seems to be away, none is sent.
            let second = || {
                let place = env.state.commits().try_hold().filter(|_| may_send() && hedges.take())?;
                env.state.observer().hedged(env.id(), key, wait);
                Some(async move { place.store().create(key, payload, identity).await })
            };
            hedged(first, clock.sleep(wait), second).await
        }
    };
    // Failures come at once or very late. They do not say how long an answer takes.
    if matches!(created, Created::Yes(_) | Created::Exists) {
        hedges.took(size, clock.elapsed().saturating_sub(began));
    }
    created
}

/// Waits for a create, and with another one from the end of `wait` on, if there is a second one then.
async fn hedged<S: Future<Output = Created>>(
    first: impl Future<Output = Created>,
    wait: impl Future<Output = ()> + Unpin,
    second: impl FnOnce() -> Option<S>,
) -> Created {
    futures_util::pin_mut!(first);
    let first = match select(first, wait).await {
        Either::Left((created, _)) => return created,
        Either::Right(((), first)) => first,
    };
    match second() {
        Some(second) => either(first, second).await,
        None => first.await,
    }
}

/// Waits for two identical creates, until it is certain what they did. The other one is given up after a `Yes`.
async fn either(first: impl Future<Output = Created>, second: impl Future<Output = Created>) -> Created {
    futures_util::pin_mut!(first, second);
    match select(first, second).await {
        Either::Left((Created::Yes(version), _)) | Either::Right((Created::Yes(version), _)) => Created::Yes(version),
        Either::Left((one, other)) => both(one, other.await),
        Either::Right((one, other)) => both(one, other.await),
    }
}

/// What two identical creates did together, the earlier answer first.
fn both(one: Created, other: Created) -> Created {
    match (one, other) {
        // One of them made the object, and the other one found it.
        (_, Created::Yes(version)) | (Created::Yes(version), _) => Created::Yes(version),
        // Only directories answer so, and they are not hedged. What the other one did is not looked at.
        (Created::SyncFailed { error, .. }, _) | (_, Created::SyncFailed { error, .. }) => {
            Created::SyncFailed { visible: true, error }
        }
        // What has the name may be the work of the one without an answer, and that one may yet be applied.
        (Created::Unknown(error), _) | (_, Created::Unknown(error)) => Created::Unknown(error),
        // Neither made it.
        (Created::Exists, _) | (_, Created::Exists) => Created::Exists,
        (Created::Refused(error), Created::Refused(_)) => Created::Refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::store::Version;

    fn answer(number: usize) -> Created {
        let error = Error::new(ErrorKind::Unavailable, "x");
        match number {
            0 => Created::Yes(Version::new(Some("e"), 1, None)),
            1 => Created::Unknown(error),
            2 => Created::Exists,
            _ => Created::Refused(error),
        }
    }

    #[test]
    fn a_yes_wins_then_what_is_not_known_then_a_name_that_is_taken() {
        for one in 0..4 {
            for other in 0..4 {
                let together = both(answer(one), answer(other));
                let expected = answer(one.min(other));
                assert_eq!(std::mem::discriminant(&together), std::mem::discriminant(&expected), "{one} and {other}");
            }
        }
    }
}
