//! What a log is committed by: create-if-absent, identities, versions, conditional replace.

use futures_util::future::join_all;

use super::{CheckOutcome, CheckRun, bytes_equal, checks, deviation, equal, fails, same_version};
use crate::error::ErrorKind;
use crate::store::{Created, Identity, ReadRange, Replaced};

checks! {
    create_takes_no_name_that_is_taken,
    one_of_eight_creates_wins,
    create_keeps_the_identity,
    another_version_is_a_conflict,
    replace_takes_the_version_that_is_there,
    replace_keeps_the_identity,
}

/// How many creates race.
const RACERS: usize = 8;

async fn create_takes_no_name_that_is_taken(run: &CheckRun<'_>) -> CheckOutcome {
    let key = run.key("a");
    let Created::Yes(version) = created(run, &key, "first", 1).await? else {
        return Err(deviation(&key, "Exists", "a free name is taken"));
    };
    let (bytes, read, _) = run.read(&key).await?;
    bytes_equal(&key, &bytes, b"first")?;
    same_version(&key, "get answers the version", &read, &version)?;
    if let Created::Yes(_) = created(run, &key, "second", 2).await? {
        return Err(deviation(&key, "a second create succeeds", "Exists"));
    }
    bytes_equal(&key, &run.read(&key).await?.0, b"first")
}

/// A create by a writer of its own that answers `Yes` or `Exists`.
async fn created(
    run: &CheckRun<'_>,
    key: &str,
    bytes: &'static str,
    writer: usize,
) -> Result<Created, super::Deviation> {
    match run.store.create(key, bytes.into(), &Identity::of(kfsid(writer))).await {
        created @ (Created::Yes(_) | Created::Exists) => Ok(created),
        Created::Unknown(error) | Created::Refused(error) | Created::SyncFailed { error, .. } => {
            Err(deviation(key, super::failure(&error), "the object is created, or its name is taken"))
        }
    }
}

fn kfsid(writer: usize) -> String {
    format!("{writer:032x}.1")
}

async fn one_of_eight_creates_wins(run: &CheckRun<'_>) -> CheckOutcome {
    const BYTES: [&str; RACERS] = ["zero", "one", "two", "three", "four", "five", "six", "seven"];
    for round in 0..3 {
        let key = run.key(&format!("race-{round}"));
        let racers = BYTES.iter().enumerate().map(|(writer, bytes)| created(run, &key, bytes, writer));
        let ended: Vec<Created> = join_all(racers).await.into_iter().collect::<Result<_, _>>()?;
        let winners: Vec<&str> = ended
            .iter()
            .zip(BYTES)
            .filter_map(|(created, bytes)| matches!(created, Created::Yes(_)).then_some(bytes))
            .collect();
        let [winner] = winners[..] else {
            let found = format!("{} of {RACERS} creates that ran at once succeeded: {winners:?}", winners.len());
            return Err(deviation(&key, found, "exactly one"));
        };
        bytes_equal(&key, &run.read(&key).await?.0, winner.as_bytes())?;
    }
    Ok(())
}

async fn create_keeps_the_identity(run: &CheckRun<'_>) -> CheckOutcome {
    let key = run.key("a");
    let Created::Yes(_) = created(run, &key, "x", 7).await? else {
        return Err(deviation(&key, "Exists", "a free name is taken"));
    };
    let kfsid = Some(kfsid(7));
    equal(&key, "get answers the metadata kfsid", run.read(&key).await?.2.kfsid, kfsid.clone())?;
    let head = super::done(&key, "head answers", run.store.head(&key).await)?;
    equal(&key, "head answers the metadata kfsid", head.identity.kfsid, kfsid)
}

async fn another_version_is_a_conflict(run: &CheckRun<'_>) -> CheckOutcome {
    let (_, first) = run.put("a", "one").await?;
    let (key, second) = run.put("a", "two").await?;
    if first.same_as(&second) {
        return Err(deviation(&key, format!("{first:?} for both"), "a version for each content"));
    }
    let read = run.store.get(&key, ReadRange::Whole, Some(&second)).await;
    bytes_equal(&key, &super::done(&key, "a read of the version that is there", read)?.bytes, b"two")?;
    for range in [ReadRange::Whole, ReadRange::Range(0..2)] {
        let stale = run.store.get(&key, range, Some(&first)).await;
        fails(&key, "a read of a version that was replaced", stale, ErrorKind::Conflict)?;
    }
    Ok(())
}

async fn replace_takes_the_version_that_is_there(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, first) = run.put("a", "one").await?;
    let replace = async |bytes: &'static str, version| {
        let replaced = run.store.replace_if(&key, bytes.into(), &Identity::none(), version).await;
        let shown = format!("{replaced:?}");
        (replaced, shown)
    };
    let (Replaced::Yes(second), _) = replace("two", &first).await else {
        let (_, found) = replace("two", &first).await;
        return Err(deviation(&key, found, "the version that is there is replaced"));
    };
    let (bytes, read, _) = run.read(&key).await?;
    bytes_equal(&key, &bytes, b"two")?;
    same_version(&key, "get answers the version", &read, &second)?;
    let (replaced, found) = replace("three", &first).await;
    if !matches!(replaced, Replaced::Changed) {
        return Err(deviation(&key, found, "Changed, for the version is an old one"));
    }
    bytes_equal(&key, &run.read(&key).await?.0, b"two")?;
    super::done(&key, "the object is deleted", run.store.delete(&key).await)?;
    let (replaced, found) = replace("four", &second).await;
    if !matches!(replaced, Replaced::NotFound) {
        return Err(deviation(&key, found, "NotFound, for the object is gone"));
    }
    fails(&key, "get", run.store.get(&key, ReadRange::Whole, None).await, ErrorKind::NotFound)
}

async fn replace_keeps_the_identity(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, first) = run.put("a", "one").await?;
    let identity = Identity::of(kfsid(9));
    match run.store.replace_if(&key, "two".into(), &identity, &first).await {
        Replaced::Yes(_) => {}
        other => return Err(deviation(&key, format!("{other:?}"), "the version that is there is replaced")),
    }
    equal(&key, "get answers the metadata kfsid", run.read(&key).await?.2.kfsid, identity.kfsid)
}
