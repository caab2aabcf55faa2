use crate::error::ErrorKind;
use crate::log::fixtures::{Fixture, batch};
use crate::log::segments::SegmentInfo;

fn shape(segments: &[SegmentInfo]) -> Vec<(i64, Option<i64>)> {
    segments.iter().map(|s| (s.base, s.last)).collect()
}

#[tokio::test]
async fn segments_are_listed_with_their_offsets_and_sidecars() {
    let f = Fixture::new();
    for base in [0, 5, 10, 20] {
        f.put_segment(base, &[batch(5, 5)], 1).await;
    }
    let id = f.partition.id().clone();
    f.delete(&id.index_key(5)).await;
    f.put(&id.time_index_key(10), "x").await;
    f.put(&id.index_key(15), "a leftover").await;
    f.put(&format!("{}segment-1.kfs", id.prefix()), "x").await;
    let all = f.partition.segments(..).all().await.unwrap();
    assert_eq!(shape(&all), [(0, Some(4)), (5, Some(9)), (10, Some(19)), (20, Some(24))]);
    assert_eq!(all.iter().map(|s| s.index_size.is_some()).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(all.iter().map(|s| s.time_index_size).collect::<Vec<_>>(), [None, None, Some(1), None]);
    assert_eq!(all[0].key, id.segment_key(0));
    assert_eq!(all[0].size, f.get(&id.segment_key(0)).await.len() as u64);
    assert_eq!(f.reads(), (1, 1), "one listing, and the newest one's footer");

    for (range, bases) in [(0..5, vec![0]), (4..6, vec![0, 5]), (5..6, vec![5]), (17..20, vec![10]), (24..99, vec![20])]
    {
        let found = f.partition.segments(range.clone()).all().await.unwrap();
        assert_eq!(found.iter().map(|s| s.base).collect::<Vec<_>>(), bases, "{range:?}");
    }
    assert!(f.partition.segments(25..).all().await.unwrap().is_empty());
    assert!(f.bucket.partition("none", 0).unwrap().segments(..).all().await.unwrap().is_empty());
}

#[tokio::test]
async fn many_segments_come_in_pages_of_500() {
    let f = Fixture::new();
    f.put_names((0..1_800).map(|i| i * 10)).await;
    f.put_segment(18_000, &[batch(5, 5)], 1).await;
    let mut segments = f.partition.segments(..);
    let (mut pages, mut all) = (0, Vec::new());
    while let Some(page) = segments.next_page().await.unwrap() {
        pages += 1;
        all.extend(page);
    }
    assert_eq!(pages, 4);
    assert_eq!(all.len(), 1_801);
    assert!(all.windows(2).all(|w| w[0].last == Some(w[1].base - 1) && w[0].index_size == Some(1)));
    assert_eq!(f.reads(), (4, 1));
    let tail = f.partition.segments(17_985..).all().await.unwrap();
    assert_eq!(shape(&tail), [(17_980, Some(17_989)), (17_990, Some(17_999)), (18_000, Some(18_004))]);
}

#[tokio::test]
async fn one_segment_is_read_by_itself_and_checked() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5), batch(3, 1)], 1).await;
    let handle = f.partition.segment(0);
    let segment = handle.read().await.unwrap();
    assert_eq!(segment.batches().count(), 2);
    assert_eq!(handle.index().await.unwrap().unwrap(), segment.index(1));
    assert!(handle.time_index().await.unwrap().is_none());
    assert_eq!(f.partition.segment(8).read().await.unwrap_err().kind(), ErrorKind::NotFound);
    let bytes = f.get(&f.key(0)).await;
    f.put(&f.key(8), bytes.clone()).await;
    let error = f.partition.segment(8).read().await.unwrap_err();
    assert_eq!((error.kind(), error.position()), (ErrorKind::Corrupt, Some(8)));
    assert_eq!(f.partition.segment(8).bytes().await.unwrap(), bytes);
}

#[tokio::test]
async fn a_newest_segment_that_is_broken_has_no_last_offset() {
    let f = Fixture::new();
    f.put_segment(0, &[batch(5, 5)], 1).await;
    f.put(&f.key(5), "junk").await;
    let all = f.partition.segments(..).all().await.unwrap();
    assert_eq!(shape(&all), [(0, Some(4)), (5, None)]);
}
