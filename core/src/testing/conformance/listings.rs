//! Listings.

use futures_util::TryStreamExt;

use super::{CheckOutcome, CheckRun, Deviation, checks, done, equal, same_version};
use crate::store::ObjectInfo;

checks! {
    a_listing_is_sorted_by_key_and_whole,
    a_listing_takes_whole_names_of_its_prefix,
    pages_go_on_after_a_key,
    directories_are_named_once,
    a_listing_tells_sizes_and_versions,
    what_was_deleted_is_not_listed,
}

/// In no order, and sorted otherwise than by whole names: `a-b` comes before `a/b`, and `a/b` before `a0`.
const NAMES: [&str; 8] = ["b", "a/b", "a-b/c", "a0", "a/10", "a/9", "B", "a/b.c"];

fn sorted(run: &CheckRun<'_>, names: &[&str]) -> Vec<String> {
    let mut keys: Vec<String> = names.iter().map(|name| run.key(name)).collect();
    keys.sort_unstable();
    keys
}

async fn put_all(run: &CheckRun<'_>) -> CheckOutcome {
    for name in NAMES {
        run.put(name, "x").await?;
    }
    Ok(())
}

async fn listed(run: &CheckRun<'_>, prefix: &str) -> Result<Vec<ObjectInfo>, Deviation> {
    done(prefix, "a listing", run.store.list(prefix).try_collect().await)
}

fn keys(objects: Vec<ObjectInfo>) -> Vec<String> {
    objects.into_iter().map(|object| object.key).collect()
}

async fn a_listing_is_sorted_by_key_and_whole(run: &CheckRun<'_>) -> CheckOutcome {
    put_all(run).await?;
    let directory = &run.directory;
    equal(directory, "the listing", keys(listed(run, directory).await?), sorted(run, &NAMES))
}

async fn a_listing_takes_whole_names_of_its_prefix(run: &CheckRun<'_>) -> CheckOutcome {
    put_all(run).await?;
    for name in ["a", "a/"] {
        let prefix = format!("{}/{name}", run.directory);
        let expected = sorted(run, &["a/b", "a/10", "a/9", "a/b.c"]);
        equal(&prefix, "the listing", keys(listed(run, &prefix).await?), expected)?;
    }
    for name in ["b", "none"] {
        let prefix = format!("{}/{name}", run.directory);
        equal(&prefix, "the listing", keys(listed(run, &prefix).await?), Vec::new())?;
    }
    Ok(())
}

async fn pages_go_on_after_a_key(run: &CheckRun<'_>) -> CheckOutcome {
    put_all(run).await?;
    let all = sorted(run, &NAMES);
    let prefix = format!("{}/", run.directory);
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..=NAMES.len() {
        let page = done(&prefix, "a page", run.store.list_page(&prefix, after.as_deref(), 3).await)?;
        equal(&prefix, "a page has more keys than asked for:", page.objects.len() > 3, false)?;
        found.extend(keys(page.objects));
        if page.complete {
            break;
        }
        after = found.last().cloned();
    }
    equal(&prefix, "the pages", &found, &all)?;
    // The prefix of a page may end within a name, and what it begins after need not be a key.
    let within = format!("{prefix}a/");
    let (start, expected) = (format!("{prefix}a/1a"), sorted(run, &["a/9", "a/b", "a/b.c"]));
    let page = done(&within, "a page", run.store.list_page(&within, Some(&start), 100).await)?;
    equal(&within, "the keys after a/1a", keys(page.objects), expected)?;
    let within = format!("{prefix}a/b");
    let page = done(&within, "a page", run.store.list_page(&within, None, 100).await)?;
    equal(&within, "the keys that begin with a/b", keys(page.objects), sorted(run, &["a/b", "a/b.c"]))
}

async fn directories_are_named_once(run: &CheckRun<'_>) -> CheckOutcome {
    put_all(run).await?;
    let dirs = done(&run.directory, "a listing", run.store.list_dirs(&run.directory).await)?;
    equal(&run.directory, "directories", dirs, vec!["a".to_string(), "a-b".to_string()])
}

async fn a_listing_tells_sizes_and_versions(run: &CheckRun<'_>) -> CheckOutcome {
    let (_, version) = run.put("five", "hello").await?;
    for object in listed(run, &run.directory).await? {
        equal(&object.key, "listed size", object.size, 5)?;
        same_version(&object.key, "listed version", &object.version, &version)?;
    }
    Ok(())
}

async fn what_was_deleted_is_not_listed(run: &CheckRun<'_>) -> CheckOutcome {
    let (gone, _) = run.put("gone", "x").await?;
    let (stays, _) = run.put("stays", "x").await?;
    let both = vec![gone.clone(), stays.clone()];
    equal(&run.directory, "the listing", keys(listed(run, &run.directory).await?), both)?;
    done(&gone, "the object is deleted", run.store.delete(&gone).await)?;
    equal(&run.directory, "the listing", keys(listed(run, &run.directory).await?), vec![stays])
}
