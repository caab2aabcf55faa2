//! What is checked, step by step. Each step notes what it found, and gives `None` where the check ends.

use std::time::Duration;

use bytes::Bytes;
use object_store::PutPayload;

use super::probe::{Probe, is_throttled};
use super::race::create_if_absent;
use super::report::PreflightCheck;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Fetched, ObjectInfo, ReadRange, Replaced, Store, Version};

/// The size of the object that is put, read and replaced, in bytes.
const LENGTH: usize = 4096;

/// From here on a difference between the clocks is a warning. A machine whose clock is kept by NTP differs by less than
/// a second. S3 and Azure refuse requests that were signed 15 minutes earlier or later: a minute leaves time to act.
const CLOCKS: Duration = Duration::from_secs(60);

/// Makes a step until it ends, or the check does.
macro_rules! done {
    ($probe:ident, $step:expr) => {
        loop {
            match $step {
                Some(done) => break done,
                None if $probe.goes_on().await => {}
                None => return None,
            }
        }
    };
}

/// Goes through all steps, as far as the store lets it.
pub(super) async fn all(probe: &mut Probe<'_>) -> Option<()> {
    done!(probe, list(probe).await);
    let object = done!(probe, put(probe).await);
    let fetched = done!(probe, get(probe, &object).await);
    clock(probe, &object, &fetched);
    done!(probe, metadata(probe, &object, &fetched).await);
    done!(probe, ranged_get(probe, &object).await);
    done!(probe, suffix_get(probe, &object).await);
    let created = done!(probe, create_if_absent(probe).await);
    let mut version = fetched.info.version.clone();
    while conditional_replace(probe, &object, &version).await.is_none() {
        if !probe.goes_on().await {
            return None;
        }
        // The first one may have replaced it.
        version = done!(probe, version_now(probe, &object).await);
    }
    done!(probe, list_after_put(probe, &object.key, &created).await);
    delete(probe).await?;
    done!(probe, list_after_delete(probe).await);
    Some(())
}

/// Asks the replica for a listing and for an object. One that does not answer costs no data, so nothing here fails the check.
pub(super) async fn replica(probe: &mut Probe<'_>, replica: &Store) {
    const COST: &str =
        "reads of data ask it in vain, and then the bucket: check read_bucket, read_region and read_endpoint";
    let key = format!("{}object", probe.prefix());
    let listed = probe.ask(replica.list_page(&key, None, 1)).await.and_then(|listed| listed);
    let (is_listed, is_there) = (listed.is_ok(), !matches!(&listed, Err(error) if error.kind() == ErrorKind::NotFound));
    match listed {
        Ok(_) => probe.fine(PreflightCheck::ReplicaList, ""),
        Err(error) => probe.warn(PreflightCheck::ReplicaList, format!("{error:#}"), COST),
    }
    if !is_there {
        return;
    }
    match probe.ask(replica.get(&key, ReadRange::Whole, None)).await.and_then(|fetched| fetched) {
        Ok(_) => probe.fine(PreflightCheck::ReplicaGet, ""),
        // It may lag.
        Err(error) if error.kind() == ErrorKind::NotFound && is_listed => {
            probe.fine(PreflightCheck::ReplicaGet, "it answers, and does not have the object of this check");
        }
        Err(error) => probe.warn(PreflightCheck::ReplicaGet, format!("{error:#}"), COST),
    }
}

async fn list(probe: &mut Probe<'_>) -> Option<()> {
    let listed = probe.list().await;
    probe.must(PreflightCheck::List, listed)?;
    probe.fine(PreflightCheck::List, "");
    Some(())
}

/// The version of the object that is there.
async fn version_now(probe: &mut Probe<'_>, object: &PutObject) -> Option<Version> {
    let fetched = probe.get(&object.key, ReadRange::Whole).await;
    probe.must(PreflightCheck::ConditionalReplace, fetched).map(|fetched| fetched.info.version)
}

/// The object that was put.
struct PutObject {
    key: String,
    body: Bytes,
    /// The wall clock before and after, in Unix milliseconds.
    between_ms: [i64; 2],
}

async fn put(probe: &mut Probe<'_>) -> Option<PutObject> {
    let key = probe.will_make("object");
    let body = probe.body("the object", LENGTH);
    let (store, identity, before) = (probe.store.clone(), probe.identity(0), probe.wall_ms());
    let answered = probe.put(store.put_as(&key, PutPayload::from_bytes(body.clone()), &identity)).await;
    let lost = answered.err();
    // The reply may be lost after the store acted. The bytes tell.
    if let Some(error) = lost {
        // A store that is unfit may have acted, too: it may answer without an ETag.
        let may_be_there = error.is_retriable() || error.kind() == ErrorKind::Unsupported;
        let is_there =
            may_be_there && probe.get(&key, ReadRange::Whole).await.is_ok_and(|fetched| fetched.bytes == body);
        if !may_be_there {
            probe.was_not_made(&key);
        }
        if is_there && error.kind() == ErrorKind::Unsupported {
            probe.fail(PreflightCheck::Put, error.message(), "a writer takes each of its flushes for one that failed");
            return None;
        }
        if !is_there {
            probe.stop(PreflightCheck::Put, error);
            return None;
        }
        probe.fine(PreflightCheck::Put, "the answer was lost, and the object is there");
    } else {
        probe.fine(PreflightCheck::Put, "");
    }
    Some(PutObject { key, body, between_ms: [before, probe.wall_ms()] })
}

const NO_VERSIONS: &str = "a reader can't tell an object from another one that takes its place";

async fn get(probe: &mut Probe<'_>, object: &PutObject) -> Option<Fetched> {
    const COST: &str = "a writer does not see what was just written, and gives its offsets out again";
    let check = PreflightCheck::Get;
    match probe.get(&object.key, ReadRange::Whole).await {
        Ok(fetched) if fetched.bytes == object.body && fetched.info.version.e_tag().is_none() => {
            probe.fail(check, "an object came back without an ETag", NO_VERSIONS);
        }
        Ok(fetched) if fetched.bytes == object.body => {
            probe.fine(check, "");
            return Some(fetched);
        }
        Ok(_) => probe.fail(check, "an object that was just put came back with other bytes", COST),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            probe.fail(check, "an object that was just put is not there", COST);
        }
        Err(error) => probe.stop(check, error),
    }
    None
}

fn clock(probe: &mut Probe<'_>, object: &PutObject, fetched: &Fetched) {
    const COST: &str = "S3 and Azure refuse requests of a machine whose clock differs by 15 minutes: set the clock, by NTP \
                        for one";
    let ([before, after], modified) = (object.between_ms, fetched.info.modified_ms);
    // HTTP tells whole seconds.
    let behind = before.saturating_sub(modified.saturating_add(999)).max(0).unsigned_abs();
    let ahead = modified.saturating_sub(after).max(0).unsigned_abs();
    let difference = Duration::from_millis(behind.max(ahead));
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    if difference >= CLOCKS {
        let found = format!("the store's clock is {} s {side} this machine's", difference.as_secs());
        probe.warn(PreflightCheck::Clock, found, COST);
    } else {
        probe.fine(PreflightCheck::Clock, "");
    }
}

async fn metadata(probe: &mut Probe<'_>, object: &PutObject, fetched: &Fetched) -> Option<()> {
    const COST: &str = "a writer whose answer was lost can't tell its own segment from another writer's, and ends";
    let check = PreflightCheck::Metadata;
    if probe.store.is_directory() {
        probe.fine(check, "a directory needs none");
        return Some(());
    }
    let sent = probe.identity(0);
    let head = probe.ask(probe.store.head(&object.key)).await.and_then(|head| head);
    let head = probe.must(check, head)?;
    let of_get = fetched.identity == sent;
    let of_head = head.identity == sent;
    match (of_get, of_head) {
        (true, true) => probe.fine(check, ""),
        (false, false) => probe.fail(check, "an object came back without the metadata it was put with", COST),
        (false, true) => probe.fail(check, "a GET does not give the metadata back that a HEAD gives", COST),
        (true, false) => probe.fail(check, "a HEAD does not give the metadata back that a GET gives", COST),
    }
    Some(())
}

async fn ranged_get(probe: &mut Probe<'_>, object: &PutObject) -> Option<()> {
    let (start, end) = (100_usize, 300_usize);
    let expected = object.body.get(start..end).unwrap_or_default().to_vec();
    let check = PreflightCheck::RangedGet;
    match part(probe, object, ReadRange::Range(start as u64..end as u64)).await {
        Part::Bytes(bytes) if bytes == expected => probe.fine(check, ""),
        Part::Bytes(_) => probe.fail(check, "other bytes came than were asked for", NO_RANGES),
        Part::Refused(error) => probe.fail(check, format!("{error:#}"), NO_RANGES),
        Part::Away(error) => {
            probe.stop(check, error);
            return None;
        }
    }
    Some(())
}

const NO_RANGES: &str = "readers ask for parts of segments, and can't read";

async fn suffix_get(probe: &mut Probe<'_>, object: &PutObject) -> Option<()> {
    const COST: &str =
        "writers read the end of an object with one HEAD more, and programs that only read a log fail at it";
    let check = PreflightCheck::SuffixGet;
    if probe.store.inner.client.backend.lacks_suffix_ranges {
        let cost = "each read of an object's end sends one HEAD more";
        probe.warn(check, "this kind of store serves no range of the last bytes", cost);
        return Some(());
    }
    let expected = object.body.get(LENGTH.saturating_sub(16)..).unwrap_or_default().to_vec();
    match part(probe, object, ReadRange::Suffix(16)).await {
        Part::Bytes(bytes) if bytes == expected => probe.fine(check, ""),
        Part::Bytes(_) => probe.warn(check, "other bytes came than were asked for", COST),
        Part::Refused(error) => probe.warn(check, format!("{error:#}"), COST),
        Part::Away(error) => {
            probe.stop(check, error);
            return None;
        }
    }
    Some(())
}

/// What came of a read of a part.
enum Part {
    Bytes(Bytes),
    /// The store is there, and does not serve such a part.
    Refused(Error),
    /// The store may not be there.
    Away(Error),
}

/// Reads a part of an object. A store that serves no ranges may answer in a way that looks as if it were away, so a failure
/// is looked at twice, with a read of the whole object in between.
async fn part(probe: &mut Probe<'_>, object: &PutObject, range: ReadRange) -> Part {
    match probe.get(&object.key, range.clone()).await {
        Ok(fetched) => return Part::Bytes(fetched.bytes),
        Err(error) if !error.is_retriable() => return of_refusal(error),
        Err(error) if is_throttled(&error) => return Part::Away(error),
        Err(_) => {}
    }
    if let Err(error) = probe.get(&object.key, ReadRange::Whole).await {
        return Part::Away(error);
    }
    match probe.get(&object.key, range).await {
        Ok(fetched) => Part::Bytes(fetched.bytes),
        Err(error) if error.kind() == ErrorKind::Unavailable && !is_throttled(&error) => Part::Refused(error),
        Err(error) => of_refusal(error),
    }
}

fn of_refusal(error: Error) -> Part {
    match error.kind() {
        ErrorKind::Unsupported | ErrorKind::InvalidInput => Part::Refused(error),
        _ => Part::Away(error),
    }
}

/// Replaces the object if it is the version that was read, and then once more by that old version.
async fn conditional_replace(probe: &mut Probe<'_>, object: &PutObject, first: &Version) -> Option<()> {
    const COST: &str = "Store::replace_if can't be used; logs are written without it";
    let check = PreflightCheck::ConditionalReplace;
    let (second, third) = (probe.body("the second version", LENGTH), probe.body("the third version", LENGTH));
    match replace(probe, object, &second, first).await {
        Ok(Replaced::Yes(_)) => {}
        Ok(Replaced::Changed | Replaced::NotFound) => {
            probe.warn(check, "the store takes the version that is there for another one", COST);
            return Some(());
        }
        Ok(Replaced::Refused(error)) => {
            probe.warn(check, format!("{error:#}"), COST);
            return Some(());
        }
        // The reply may be lost after the store acted.
        Ok(Replaced::Unknown(error) | Replaced::SyncFailed { error, .. }) | Err(error) => {
            let now = probe.get(&object.key, ReadRange::Whole).await;
            if !now.is_ok_and(|now| now.bytes == second) {
                probe.stop(check, error);
                return None;
            }
        }
    }
    let stale = replace(probe, object, &third, first).await;
    let now = probe.get(&object.key, ReadRange::Whole).await;
    let now = probe.must(check, now)?;
    match stale {
        _ if now.bytes != second => {
            probe.warn(check, "the store replaces an object though it is not the version that was named", COST);
        }
        Ok(Replaced::Changed) => probe.fine(check, ""),
        Ok(Replaced::Refused(error)) => probe.warn(check, format!("{error:#}"), COST),
        Ok(Replaced::Unknown(error) | Replaced::SyncFailed { error, .. }) | Err(error) => {
            probe.stop(check, error);
            return None;
        }
        Ok(Replaced::Yes(_) | Replaced::NotFound) => {
            probe.warn(check, "the store says that it replaced another version than it holds", COST);
        }
    }
    Some(())
}

async fn replace(probe: &mut Probe<'_>, object: &PutObject, body: &Bytes, version: &Version) -> Result<Replaced> {
    let (store, identity) = (probe.store.clone(), probe.identity(0));
    let payload = PutPayload::from_bytes(body.clone());
    let replaced = async { Ok(store.replace_if(&object.key, payload, &identity, version).await) };
    probe.put(replaced).await
}

/// Lists the object that was put, and those of the race, whose versions are known.
async fn list_after_put(probe: &mut Probe<'_>, put: &str, created: &[ObjectInfo]) -> Option<()> {
    let check = PreflightCheck::ListAfterPut;
    let listed = probe.list().await;
    let listed = probe.must(check, listed)?;
    let find = |key: &str| listed.iter().find(|object| object.key == key);
    let there = || created.iter().map(|object| object.key.as_str()).chain([put]);
    let missing = there().filter(|key| find(key).is_none()).count();
    let differs = |object: &&ObjectInfo| find(&object.key).is_some_and(|found| !found.version.same_as(&object.version));
    if missing > 0 {
        let found = format!("a listing leaves out {missing} of {} objects that are there", there().count());
        probe.fail(check, found, "a writer takes an old end of the log for the newest, and gives offsets out again");
    } else if let Some(object) = created.iter().find(differs) {
        let listed = find(&object.key).map(|found| found.version.clone());
        let listed = listed.as_ref().and_then(Version::e_tag).unwrap_or("none");
        let read = object.version.e_tag().unwrap_or("none");
        let found =
            format!("a listing tells another version of an object (ETag {listed}) than a GET of it (ETag {read})");
        probe.fail(check, found, "readers take each segment for one that was replaced, and end");
    } else {
        probe.fine(check, "");
    }
    Some(())
}

async fn delete(probe: &mut Probe<'_>) -> Option<()> {
    const COST: &str = "what this check wrote stays in the bucket, and no repair and no retention can remove anything";
    while let Err(error) = probe.delete_made().await {
        if !probe.waits_out(PreflightCheck::Delete, &error).await {
            probe.warn(PreflightCheck::Delete, format!("{error:#}"), COST);
            return None;
        }
    }
    probe.fine(PreflightCheck::Delete, "");
    Some(())
}

async fn list_after_delete(probe: &mut Probe<'_>) -> Option<()> {
    let check = PreflightCheck::ListAfterDelete;
    let listed = probe.list().await;
    if probe.must(check, listed)?.is_empty() {
        probe.fine(check, "");
    } else {
        let cost = "after a deletion, readers may be sent to objects that are gone, and ask again";
        probe.warn(check, "a listing still shows what was deleted", cost);
    }
    Some(())
}
