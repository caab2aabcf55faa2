//! Whole objects and parts of them: put, get, head, exists, size, delete, copy.

use super::{CheckOutcome, CheckRun, bytes_equal, checks, deviation, done, equal, fails, same_version};
use crate::error::ErrorKind;
use crate::store::{Fetched, ReadRange};

checks! {
    put_creates_and_replaces,
    an_empty_object_is_an_object,
    ranges_are_clipped_to_the_object,
    a_range_of_no_bytes_is_refused,
    suffixes_are_clipped_to_the_object,
    a_bounded_read_refuses_a_larger_object,
    head_size_and_exists_agree_with_get,
    what_is_missing_is_not_found,
    keys_that_can_not_be_are_refused,
    keys_with_odd_characters_stay_apart,
    delete_removes_one_object_and_may_be_repeated,
    copy_makes_an_equal_object,
    copy_replaces_what_is_there,
}

async fn put_creates_and_replaces(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, first) = run.put("a", "one").await?;
    let (bytes, version, _) = run.read(&key).await?;
    bytes_equal(&key, &bytes, b"one")?;
    same_version(&key, "get answers the version", &version, &first)?;
    let (key, second) = run.put("a", "three").await?;
    let (bytes, version, _) = run.read(&key).await?;
    bytes_equal(&key, &bytes, b"three")?;
    same_version(&key, "get answers the version", &version, &second)
}

async fn an_empty_object_is_an_object(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, _) = run.put("empty", "").await?;
    bytes_equal(&key, &run.read(&key).await?.0, b"")?;
    equal(&key, "size", done(&key, "its size", run.store.size(&key).await)?, 0)?;
    equal(&key, "exists", done(&key, "it exists", run.store.exists(&key).await)?, true)?;
    for range in [ReadRange::Range(0..5), ReadRange::Suffix(5), ReadRange::AtMost(0)] {
        let expected = format!("{range:?} is read and has no bytes");
        let read = done(&key, &expected, run.store.get(&key, range, None).await)?;
        bytes_equal(&key, &read.bytes, b"")?;
    }
    Ok(())
}

/// The bytes of a range, which must be these.
async fn range_is(
    run: &CheckRun<'_>,
    key: &str,
    range: ReadRange,
    at: std::ops::Range<u64>,
    bytes: &[u8],
) -> CheckOutcome {
    let shown = format!("{range:?}");
    let Fetched { bytes: found, range, info, .. } =
        done(key, &format!("{shown} is read"), run.store.get(key, range, None).await)?;
    bytes_equal(key, &found, bytes)?;
    equal(key, &format!("{shown} covers"), range, at)?;
    equal(key, &format!("{shown} tells the whole object's size"), info.size, 10)
}

async fn ranges_are_clipped_to_the_object(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, _) = run.put("ten", "0123456789").await?;
    range_is(run, &key, ReadRange::Range(0..10), 0..10, b"0123456789").await?;
    range_is(run, &key, ReadRange::Range(2..5), 2..5, b"234").await?;
    range_is(run, &key, ReadRange::Range(8..50), 8..10, b"89").await?;
    range_is(run, &key, ReadRange::Range(10..11), 10..10, b"").await?;
    range_is(run, &key, ReadRange::Range(30..40), 10..10, b"").await
}

async fn a_range_of_no_bytes_is_refused(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, _) = run.put("ten", "0123456789").await?;
    for range in [ReadRange::Range(3..3), ReadRange::Suffix(0)] {
        let shown = format!("{range:?}");
        fails(&key, &shown, run.store.get(&key, range, None).await, ErrorKind::InvalidInput)?;
    }
    Ok(())
}

async fn suffixes_are_clipped_to_the_object(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, _) = run.put("ten", "0123456789").await?;
    range_is(run, &key, ReadRange::Suffix(3), 7..10, b"789").await?;
    range_is(run, &key, ReadRange::Suffix(10), 0..10, b"0123456789").await?;
    range_is(run, &key, ReadRange::Suffix(30), 0..10, b"0123456789").await
}

async fn a_bounded_read_refuses_a_larger_object(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, _) = run.put("ten", "0123456789").await?;
    range_is(run, &key, ReadRange::AtMost(10), 0..10, b"0123456789").await?;
    fails(&key, "AtMost(9)", run.store.get(&key, ReadRange::AtMost(9), None).await, ErrorKind::Corrupt)
}

async fn head_size_and_exists_agree_with_get(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, version) = run.put("ten", "0123456789").await?;
    let head = done(&key, "head answers", run.store.head(&key).await)?;
    equal(&key, "head answers bytes", head.bytes.len(), 0)?;
    equal(&key, "head answers the size", head.info.size, 10)?;
    equal(&key, "head answers the key", &head.info.key, &key)?;
    same_version(&key, "head answers the version", &head.info.version, &version)?;
    if head.info.modified_ms <= 0 {
        return Err(deviation(&key, format!("modified_ms {}", head.info.modified_ms), "a time after 1970"));
    }
    equal(&key, "size", done(&key, "its size", run.store.size(&key).await)?, 10)?;
    equal(&key, "exists", done(&key, "it exists", run.store.exists(&key).await)?, true)
}

async fn what_is_missing_is_not_found(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, store) = (run.key("missing"), run.store);
    let kind = ErrorKind::NotFound;
    fails(&key, "get", store.get(&key, ReadRange::Whole, None).await, kind)?;
    fails(&key, "get of a range", store.get(&key, ReadRange::Range(3..4), None).await, kind)?;
    fails(&key, "get of a suffix", store.get(&key, ReadRange::Suffix(4), None).await, kind)?;
    fails(&key, "head", store.head(&key).await, kind)?;
    fails(&key, "size", store.size(&key).await, kind)?;
    fails(&key, "get_stream", store.get_stream(&key, ReadRange::Whole).await, kind)?;
    fails(&key, "copy", store.copy(&key, &run.key("copy")).await, kind)?;
    equal(&key, "exists", done(&key, "an answer", store.exists(&key).await)?, false)?;
    // An object is no directory of others.
    run.put("missing/below", "x").await?;
    fails(&key, "get of what other keys begin with", store.get(&key, ReadRange::Whole, None).await, kind)
}

async fn keys_that_can_not_be_are_refused(run: &CheckRun<'_>) -> CheckOutcome {
    let directory = &run.directory;
    let below = ["a//b", "a/", "./a", "../a", "a\u{1}b"].map(|name| format!("{directory}/{name}"));
    for key in below.iter().map(String::as_str).chain(["", "/a"]) {
        let kind = ErrorKind::InvalidInput;
        fails(key, "put", run.store.put(key, "x".into()).await, kind)?;
        fails(key, "get", run.store.get(key, ReadRange::Whole, None).await, kind)?;
        fails(key, "delete", run.store.delete(key).await, kind)?;
        fails(key, "put_stream", run.store.put_stream(key, futures_util::stream::empty()).await, kind)?;
    }
    Ok(())
}

/// Names that are the same to a client or a server that decodes or encodes them once too often, or not at all.
const ODD_NAMES: [&str; 14] = [
    "a b",
    "a+b",
    "a%20b",
    "a%2Bb",
    "a%2520b",
    "a&b=c",
    "a?b",
    "a#b",
    "a:b@c",
    "a'(b)*!",
    "a~b^|",
    "<a>\"b\"",
    "größe-日本-🦀",
    "a.very.long.name.of.more.than.one.hundred.characters.\
     0123456789.0123456789.0123456789.0123456789.0123456789.0123456789.0123456789",
];

async fn keys_with_odd_characters_stay_apart(run: &CheckRun<'_>) -> CheckOutcome {
    for name in ODD_NAMES {
        let key = run.key(name);
        done(&key, "the object is written", run.store.put(&key, name.into()).await)?;
    }
    for name in ODD_NAMES {
        let key = run.key(name);
        bytes_equal(&key, &run.read(&key).await?.0, name.as_bytes())?;
    }
    let page = done(&run.directory, "a listing", run.store.list_page(&run.directory, None, 100).await)?;
    let mut expected: Vec<String> = ODD_NAMES.iter().map(|name| run.key(name)).collect();
    expected.sort_unstable();
    let found: Vec<String> = page.objects.into_iter().map(|object| object.key).collect();
    equal(&run.directory, "the listing", found, expected)
}

async fn delete_removes_one_object_and_may_be_repeated(run: &CheckRun<'_>) -> CheckOutcome {
    let (key, _) = run.put("a", "x").await?;
    let (other, _) = run.put("ab", "y").await?;
    for time in ["the first", "the second"] {
        done(&key, &format!("{time} delete succeeds"), run.store.delete(&key).await)?;
        fails(&key, "get after it", run.store.get(&key, ReadRange::Whole, None).await, ErrorKind::NotFound)?;
    }
    bytes_equal(&other, &run.read(&other).await?.0, b"y")
}

async fn copy_makes_an_equal_object(run: &CheckRun<'_>) -> CheckOutcome {
    let (from, _) = run.put("from here", "hello").await?;
    let to = run.key("to/there");
    done(&to, "the copy is made", run.store.copy(&from, &to).await)?;
    bytes_equal(&to, &run.read(&to).await?.0, b"hello")?;
    bytes_equal(&from, &run.read(&from).await?.0, b"hello")?;
    fails(&from, "copy to itself", run.store.copy(&from, &from).await, ErrorKind::InvalidInput)
}

async fn copy_replaces_what_is_there(run: &CheckRun<'_>) -> CheckOutcome {
    let (from, _) = run.put("from", "new").await?;
    let (to, _) = run.put("to", "older").await?;
    done(&to, "the copy is made", run.store.copy(&from, &to).await)?;
    bytes_equal(&to, &run.read(&to).await?.0, b"new")
}
