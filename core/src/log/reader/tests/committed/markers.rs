//! What ends a transaction, and what does not.

use super::*;
use crate::error::ErrorKind;
use crate::format::Limits;
use crate::log::reader::transactions::MAX_TRANSACTIONS;

#[tokio::test]
async fn aborted_records_are_left_out_and_open_ones_are_withheld_with_all_that_follows() {
    let (f, _) = log_of(&[
        &[part_of(1, 2), part_of(2, 2), batch(1, 1)],
        &[marker(1, ABORT), part_of(1, 1), marker(2, COMMIT)],
        &[part_of(2, 1), marker(1, COMMIT), batch(1, 1)],
    ])
    .await;
    let reader = f.partition.reader_with(committed());
    assert_eq!(offsets(&reader, 0).await, [2, 3, 4, 6], "offset 8 is of an open transaction");
    assert_eq!(offsets(&f.partition.reader(), 0).await, [0, 1, 2, 3, 4, 6, 8, 10]);
    let with_control = f.partition.reader_with(committed().control_records(true));
    assert_eq!(offsets(&with_control, 0).await, [2, 3, 4, 5, 6, 7]);
    // A reader does not look back.
    assert_eq!(offsets(&reader, 9).await, [10]);
    let fetch = reader.fetch(8, 1 << 20).await.unwrap();
    assert_eq!((fetch.is_empty(), fetch.next_offset, fetch.high_watermark), (true, 8, 11));
}

#[tokio::test]
async fn the_end_is_found_beyond_the_bytes_of_a_fetch_and_beyond_the_end_of_a_range() {
    for ending in [ABORT, COMMIT] {
        let (f, _) = log_of(&[&[part_of(7, 5)], &[batch(3, 3)], &sizes(), &[marker(7, ending)]]).await;
        let expected: Vec<_> = if ending == COMMIT { (2..8).collect() } else { (5..8).collect() };
        let mut records = f.partition.reader_with(committed().fetch_bytes(1)).records(2);
        records.read_ahead_to(8);
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.push(records.next().await.unwrap().unwrap().offset());
        }
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn any_marker_of_a_producer_ends_its_transaction_whatever_their_epochs() {
    // As a replica of a broker does: which epochs may append was checked before.
    for (epochs, marker_epoch) in [([0, 0], 1), ([0, 1], 1), ([3, 3], 2)] {
        let part = |epoch| {
            records(
                BatchOptions::default().producer_id(5).producer_epoch(epoch).base_sequence(0).transactional(true),
                1,
                1,
            )
        };
        let marker = control(
            BatchOptions::default().producer_id(5).producer_epoch(marker_epoch).base_sequence(-1),
            &[0, 0, 0, 0],
        );
        let (f, _) = log_of(&[&[part(epochs[0]), part(epochs[1]), marker, batch(1, 1)]]).await;
        assert_eq!(offsets(&f.partition.reader_with(committed()), 0).await, [3]);
    }
}

#[tokio::test]
async fn markers_without_a_transaction_and_control_batches_of_other_kinds_end_nothing() {
    let empty = BatchBuilder::empty_batch(0, 0, &options(1).control(true).transactional(true)).unwrap();
    let (f, mut model) = log_of(&[&[
        marker(1, ABORT),
        control(options(2), b"x"),
        part_of(1, 1),
        control(options(1), &[0, 0, 0, 3]),
        control(options(-1), &[0, 0, 0, 2]),
        empty,
        marker(2, COMMIT),
        batch(1, 1),
    ]])
    .await;
    let reader = f.partition.reader_with(committed());
    assert!(offsets(&reader, 0).await.is_empty());
    model.append(&f, &[marker(1, COMMIT)], 1).await;
    assert_eq!(offsets(&reader, 0).await, [2, 7]);
}

#[tokio::test]
async fn a_batch_without_a_transaction_is_given_in_its_place_whoever_wrote_it() {
    let no_producer = records(BatchOptions::default().transactional(true), 1, 1);
    let (f, _) = log_of(&[&[part_of(1, 1), records(options(1), 1, 1), no_producer, marker(1, ABORT)]]).await;
    assert_eq!(offsets(&f.partition.reader_with(committed()), 0).await, [1, 2]);
}

#[tokio::test]
async fn a_reader_keeps_a_bounded_number_of_transactions() {
    let f = Fixture::new();
    let mut model = Model::default();
    let one = part_of(0, 1);
    let of = |producer: i64| {
        crate::log::fixtures::changed(&one, |bytes| bytes[43..51].copy_from_slice(&producer.to_be_bytes()))
    };
    let most = MAX_TRANSACTIONS as i64;
    model.append(&f, &[batch(1, 1)], 1000).await;
    model.append(&f, &(0..=most).map(of).collect::<Vec<_>>(), 1000).await;
    model.append(&f, &(0..=most).map(|producer| marker(producer, COMMIT)).collect::<Vec<_>>(), 1000).await;
    let reader = f.partition.reader_with(committed());
    assert_eq!(reader.fetch(0, 1).await.unwrap().next_offset, 1);
    let error = reader.fetch(1, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(error.offsets(), Some((most + 1, most + 1)), "{error}");
    // From the second on they are no more than can be kept.
    assert_eq!(reader.fetch(2, 1 << 30).await.unwrap().next_offset, model.end());
}

#[tokio::test]
async fn aborted_transactions_that_are_passed_take_no_memory() {
    let f = Fixture::new();
    let mut model = Model::default();
    for _ in 0..20 {
        let batches: Vec<_> = (0..50).flat_map(|producer| [part_of(producer, 1), marker(producer, ABORT)]).collect();
        model.append(&f, &batches, 10).await;
    }
    let reader = f.partition.reader_with(committed().fetch_bytes(1_000));
    let mut stream = reader.batches(0);
    while stream.next().await.unwrap().is_some() {
        let kept = format!("{:?}", reader.0.transactions()).len();
        assert!(kept < 5_000, "{kept} characters");
    }
    assert_eq!(stream.position(), model.end());
}

#[tokio::test]
async fn a_marker_that_cannot_be_decoded_stops_a_reader_that_needs_it() {
    let (f, _) = log_of(&[&[batch(1, 1), part_of(1, 1), control(options(1), b"x"), batch(1, 1)]]).await;
    let reader = f.partition.reader_with(committed());
    assert_eq!(reader.fetch(0, 1 << 20).await.unwrap().next_offset, 1);
    let error = reader.fetch(1, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.next_readable_offset()), (ErrorKind::Corrupt, Some(3)), "{error}");
    assert!(error.to_string().contains("a key of 1 byte"), "{error}");
    assert_eq!(offsets(&reader, 3).await, [3]);
    let mut records = f.partition.reader_with(committed().on_corrupt(OnCorrupt::Skip)).records(0);
    let mut got = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        got.push(record.offset());
    }
    assert_eq!(got, [0, 3]);
    assert!(matches!(&records.take_notices()[..], [Notice::Skipped(_)]));
}

#[tokio::test]
async fn transactions_of_a_real_client_are_read_as_kafka_reads_them() {
    const SEGMENT: &[u8] =
        include_bytes!("../../../../../../tests/vectors/clients/java-transactions/segment-00000000000000009000.kfs");
    let f = Fixture::new();
    f.put(&f.key(9000), SEGMENT).await;
    let all = f.partition.reader();
    let reader = f.partition.reader_with(committed());
    let mut batches = Vec::new();
    let mut stream = all.batches(9000);
    while let Some(batch) = stream.next().await.unwrap() {
        batches.push(batch);
    }
    // Kafka's way: what is aborted is known from the markers, and a consumer drops batches of those producers.
    let mut markers: Vec<_> = Vec::new();
    for batch in batches.iter().filter(|batch| batch.header().attributes.is_control()) {
        for record in &batch.records(&Limits::default()).unwrap() {
            let key = record.unwrap().key.unwrap();
            markers.push((batch.header().producer_id, batch.base_offset(), key[3]));
        }
    }
    assert!(markers.iter().any(|(.., kind)| *kind == 0) && markers.iter().any(|(.., kind)| *kind == 1), "{markers:?}");
    let mut expected = Vec::new();
    for batch in batches.iter().filter(|batch| !batch.header().attributes.is_control()) {
        let own = |marker: &&(i64, i64, u8)| marker.0 == batch.header().producer_id && marker.1 > batch.base_offset();
        if batch.header().attributes.is_transactional() {
            match markers.iter().find(own) {
                Some((.., 1)) => {}
                Some(_) => continue,
                None => break,
            }
        }
        expected.extend(batch.base_offset()..batch.next_offset());
    }
    assert_eq!(offsets(&reader, 9000).await, expected);
    assert!(expected.len() < offsets(&all, 9000).await.len());
}
