//! Reads, mapped and copied.

use super::*;
use crate::ErrorKind;
use crate::store::{Created, Identity, ReadRange, Version};

fn large(fill: u8) -> Vec<u8> {
    (0..1_000_003u32).map(|n| fill ^ (n % 251) as u8).collect()
}

#[tokio::test]
async fn what_was_mapped_stays_when_the_file_is_replaced_or_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    assert!(store.is_mapped());
    let (one, two) = (large(1), large(2));
    store.put("k", one.clone().into()).await.unwrap();
    let first = store.get("k", ReadRange::Whole, None).await.unwrap();
    let version = store.put("k", two.clone().into()).await.unwrap();
    let second = store.get("k", ReadRange::Whole, Some(&version)).await.unwrap();
    store.delete("k").await.unwrap();
    assert!(first.bytes == one && second.bytes == two);
    assert_eq!(store.get("k", ReadRange::Whole, None).await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = store.get("k", ReadRange::Whole, Some(&first.info.version)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn every_range_reads_the_same_mapped_and_copied() {
    let dir = tempfile::tempdir().unwrap();
    let whole = large(0);
    let size = whole.len() as u64;
    open(dir.path(), &StoreOptions::default()).put("k", whole.clone().into()).await.unwrap();
    for map in [true, false] {
        let store = open(dir.path(), &StoreOptions::default().map(map));
        assert_eq!(store.is_mapped(), map);
        for range in [0..1, 4095..4097, 5..900_000, 4096..200_000, 999_999..2_000_000, 0..u64::MAX] {
            let end = range.end.min(size);
            let fetched = store.get("k", ReadRange::Range(range.clone()), None).await.unwrap();
            assert_eq!(fetched.range, range.start..end);
            assert!(fetched.bytes == whole[range.start as usize..end as usize], "{range:?}");
            assert_eq!(fetched.info.size, size);
        }
        for bytes in [1, 16, 20_000, 500_000, size, u64::MAX] {
            let start = size.saturating_sub(bytes);
            let fetched = store.get("k", ReadRange::Suffix(bytes), None).await.unwrap();
            assert!(fetched.bytes == whole[start as usize..] && fetched.range == (start..size));
        }
        let beyond = store.get("k", ReadRange::Range(size..size + 5), None).await.unwrap();
        assert!(beyond.bytes.is_empty() && beyond.info.size == size);
    }
}

#[tokio::test]
async fn empty_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &StoreOptions::default());
    assert!(matches!(store.create("k", PutPayload::new(), &Identity::none()).await, Created::Yes(_)));
    for range in [ReadRange::Whole, ReadRange::Suffix(16), ReadRange::Range(0..32)] {
        let fetched = store.get("k", range, None).await.unwrap();
        assert!(fetched.bytes.is_empty() && fetched.range == (0..0) && fetched.info.size == 0);
    }
}

#[tokio::test]
async fn a_payload_of_many_chunks_is_written_whole() {
    let dir = tempfile::tempdir().unwrap();
    let chunks: Vec<Vec<u8>> = (0..5000usize).map(|n| vec![n as u8; n % 37]).collect();
    let payload: PutPayload = chunks.iter().cloned().map(bytes::Bytes::from).collect();
    let watched = StoreOptions::default().disk_hook(hook(|_| DiskVerdict::Proceed));
    for (key, options) in [("a", StoreOptions::default()), ("b", watched)] {
        let store = open(dir.path(), &options);
        store.put(key, payload.clone()).await.unwrap();
        assert!(store.get(key, ReadRange::Whole, None).await.unwrap().bytes == chunks.concat());
    }
}

#[tokio::test]
async fn versions_agree_between_put_get_and_list() {
    for options in both() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), &options);
        let Created::Yes(put) = store.create("t/k", payload("x"), &Identity::none()).await else { panic!() };
        let got = store.get("t/k", ReadRange::Whole, Some(&put)).await.unwrap().info;
        let head = store.head("t/k").await.unwrap().info;
        let listed = store.list_page("t/", None, 1).await.unwrap().objects.remove(0);
        for other in [&got, &head, &listed] {
            assert!(other.version.same_as(&put) && other.version.e_tag() == put.e_tag());
            assert_eq!(other.modified_ms, got.modified_ms);
        }
        let other = Version::new(Some("W/\"another\""), 1, None);
        assert_eq!(store.get("t/k", ReadRange::Whole, Some(&other)).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
}
