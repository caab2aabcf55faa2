//! What a KafScale broker can serve of the log.

use super::*;
use crate::format::SparseIndex;
use crate::log::fixtures::kafscale_position;

/// What Kafka's consumers fetch of a partition at most, by default (`max.partition.fetch.bytes`).
const FETCH: u64 = 1 << 20;

/// The offsets of a log whose batch is not wholly in KafScale's answer, and how many offsets there are.
async fn unservable(world: &World, fetch: u64) -> (Vec<i64>, usize) {
    let (mut missed, mut offsets) = (Vec::new(), 0);
    for (base, segment) in world.segments().await {
        let index = SparseIndex::parse(&world.bytes(&index_key(base)).await.unwrap()).unwrap();
        let entries: Vec<_> = index.entries().map(|entry| (entry.offset, entry.position)).collect();
        for at in segment.batches() {
            let end = at.position + at.batch.bytes().len() as u64;
            for offset in at.batch.base_offset()..at.batch.next_offset() {
                offsets += 1;
                let from = kafscale_position(&entries, offset);
                if at.position < from || end > from + fetch {
                    missed.push(offset);
                }
            }
        }
    }
    (missed, offsets)
}

/// Records of these sizes in turn, a number of them in each append.
async fn log_of(options: WriterOptions, sizes: &[usize], in_append: usize, count: usize) -> World {
    let world = World::new();
    let process = world.process_with(1, BucketOptions::default().buffer_bytes(256 << 20));
    let writer = process.writer(options.flush_interval(Duration::from_secs(3_600))).await;
    let value = "x".repeat(*sizes.iter().max().unwrap());
    let records: Vec<_> = sizes.iter().cycle().take(count).map(|size| record(&value[..*size])).collect();
    for append in records.chunks(in_append) {
        writer.append(append).await.unwrap();
    }
    writer.close(None).await.unwrap();
    world
}

#[test]
fn the_search_is_kafscales() {
    let entries: Vec<_> = (0..10).map(|i| (i * 100, i as u64)).collect();
    let found: Vec<_> = (0..10).map(|i| kafscale_position(&entries, i * 100 + 50)).collect();
    // Right in most gaps, the first entry in the others, the last entry beyond it.
    assert!(found.iter().enumerate().all(|(i, at)| *at == i as u64 || *at == 0), "{found:?}");
    assert!(found[1..].contains(&0) && found[9] == 9, "{found:?}");
    assert!((0..10).all(|i| kafscale_position(&entries, i * 100) == i as u64));
}

#[tokio::test(start_paused = true)]
async fn no_offset_of_a_log_for_kafscale_is_out_of_a_consumers_reach() {
    let shapes: [(&[usize], usize, usize); 6] = [
        (&[1_000], 250, 4_000),
        (&[1_000], 1, 2_500),
        (&[10], 3_000, 60_000),
        (&[60_000], 3, 60),
        (&[400_000, 10], 2, 20),
        (&[0, 100, 5_000, 70_000, 300], 40, 400),
    ];
    for (sizes, in_append, count) in shapes {
        let world = log_of(WriterOptions::for_kafscale(), sizes, in_append, count).await;
        let (missed, offsets) = unservable(&world, FETCH).await;
        assert_eq!((missed.len(), offsets), (0, count), "{sizes:?}: {missed:?}");
        let segments = world.segments().await;
        let longest = segments.iter().map(|(_, segment)| segment.bytes().len()).max().unwrap();
        assert!(longest <= 1_000_000 && longest < FETCH as usize, "{sizes:?}: a segment of {longest} bytes");
        let full = segments.iter().filter(|(_, segment)| segment.bytes().len() > 500_000).count();
        assert!(full * 2 >= segments.len() - 1, "{sizes:?}: {full} of {} segments are large", segments.len());
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_of_a_log_with_the_default_settings_are_out_of_a_consumers_reach() {
    let world = log_of(options(), &[1_000], 250, 20_000).await;
    let (missed, offsets) = unservable(&world, FETCH).await;
    assert!(missed.len() > offsets / 10, "{} of {offsets}", missed.len());
    // A consumer that fetches 10 MiB reaches them all.
    assert_eq!(unservable(&world, 10 << 20).await, (Vec::new(), offsets));
}

#[tokio::test]
async fn an_append_that_no_segment_holds_is_refused_as_not_stored() {
    let world = World::new();
    let writer = world.process(1).writer(WriterOptions::for_kafscale()).await;
    let value = "x".repeat(999_900);
    let large = record(&value);
    assert_failed(writer.append(&[large]).await, ErrorKind::InvalidInput, Stored::Not);
    assert_failed(writer.try_append(&[large]), ErrorKind::InvalidInput, Stored::Not);
    assert_failed(writer.append_batches(batch(&[&value])).await, ErrorKind::InvalidInput, Stored::Not);
    let many = vec![record("0123456789"); 60_000];
    assert_failed(writer.append(&many).await, ErrorKind::InvalidInput, Stored::Not);
    writer.append(&[record(&value[..999_800])]).await.unwrap();
    writer.close(None).await.unwrap();
    assert_eq!(world.segments().await.len(), 1);
    for bytes in [0, 4_095, 1 << 31] {
        let refused = world.process(2).partition().writer_with(options().segment_bytes(bytes)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}
