//! Random logs, against a plain interpreter.

use super::*;
use crate::format::{BatchHeader, Limits};
use crate::testing::Prng;

/// How the transaction ends that a producer has open after the batch at `at`: by the first marker after it.
fn ending(batches: &[Batch], at: usize) -> Option<i16> {
    let producer = batches[at].header().producer_id;
    let of_producer = |batch: &&Batch| batch.header().producer_id == producer && batch.header().attributes.is_control();
    batches[at + 1..].iter().filter(of_producer).find_map(|batch| {
        let records = batch.records(&Limits::default()).unwrap();
        let key = (&records).into_iter().next()?.unwrap().key?.to_vec();
        let kind = i16::from_be_bytes([key[2], key[3]]);
        (kind == ABORT || kind == COMMIT).then_some(kind)
    })
}

/// What a reader from `from` on must give of these batches.
fn expected(batches: &[Batch], from: i64) -> Vec<Batch> {
    let mut expected = Vec::new();
    for (at, batch) in batches.iter().enumerate().filter(|(_, batch)| batch.next_offset() > from) {
        let attributes = batch.header().attributes;
        if attributes.is_control() || !attributes.is_transactional() || batch.header().producer_id < 0 {
            expected.push(batch.clone());
            continue;
        }
        match ending(batches, at) {
            Some(COMMIT) => expected.push(batch.clone()),
            Some(_) => {}
            None => break,
        }
    }
    expected
}

fn random_batch(random: &mut Prng) -> Batch {
    let producer = random.below(4) as i64;
    let size = if random.one_in(4) { 3_000 } else { random.below(100) as usize };
    let count = 1 + random.below(3) as usize;
    match random.below(12) {
        0..=5 => records(options(producer).transactional(true), count, size),
        6 => records(options(producer), count, size),
        7 => batch(count, size),
        8 => marker(producer, ABORT),
        9 => marker(producer, COMMIT),
        10 => match random.below(3) {
            0 => control(options(-1), &[0, 0, 0, 2]),
            1 => control(options(producer), &[0, 0, 0, 5]),
            _ => BatchBuilder::empty_batch(0, 1, &options(producer).control(true).transactional(true)).unwrap(),
        },
        _ => BatchBuilder::empty_batch(0, 2, &options(producer).transactional(true)).unwrap(),
    }
}

async fn append_some(random: &mut Prng, f: &Fixture, model: &mut Model) {
    let batches: Vec<_> = (0..1 + random.below(8)).map(|_| random_batch(random)).collect();
    model.append(f, &batches, 1 + random.below(10) as i32).await;
}

/// Fetches to the end, and checks each answer.
async fn fetch_all(reader: &Reader, model: &Model, from: i64, max_bytes: usize) {
    let expected = expected(&model.batches, from);
    let (mut got, mut at) = (Vec::new(), from);
    loop {
        let fetch = reader.fetch(at, max_bytes).await.unwrap();
        let batches: Vec<_> = fetch.batches().map(|batch| batch.unwrap()).collect();
        assert!(batches.len() <= 1 || fetch.bytes() <= max_bytes);
        for (number, chunk) in fetch.chunks.iter().enumerate() {
            let first = BatchHeader::parse(chunk).unwrap();
            let place = fetch.place(number, 0).position().unwrap();
            assert!(place >= 32 && first.base_offset < fetch.next_offset);
        }
        assert!(fetch.next_offset >= at);
        at = fetch.next_offset;
        if batches.is_empty() {
            break;
        }
        got.extend(batches);
    }
    assert!(got == expected, "fetches of {max_bytes} bytes from {from}");
}

async fn stream_all(reader: &Reader, model: &Model, from: i64, until: i64) {
    let expected: Vec<_> = expected(&model.batches, from);
    let mut stream = reader.batches(from);
    stream.read_ahead_to(until);
    let mut got = Vec::new();
    while stream.position() < until {
        let Some(batch) = stream.next().await.unwrap() else { break };
        got.push(batch);
    }
    let wanted: Vec<_> = expected.iter().filter(|batch| batch.base_offset() < until).cloned().collect();
    got.retain(|batch| batch.base_offset() < until);
    assert!(got == wanted, "batches from {from} up to {until}");
    let data: Vec<i64> = expected
        .iter()
        .filter(|batch| !batch.header().attributes.is_control() && batch.header().record_count > 0)
        .flat_map(|batch| batch.base_offset()..batch.next_offset())
        .filter(|offset| *offset >= from)
        .collect();
    assert_eq!(offsets(reader, from).await, data);
}

#[tokio::test]
async fn committed_reads_agree_with_a_plain_interpreter_over_random_logs() {
    for seed in 0..150 {
        let mut random = Prng::new(seed);
        let (f, mut model) = (Fixture::new(), Model::default());
        for _ in 0..1 + random.below(8) {
            append_some(&mut random, &f, &mut model).await;
        }
        let reader = f.partition.reader_with(small_blocks().isolation(Isolation::ReadCommitted).fetch_bytes(5_000));
        for _ in 0..6 {
            let from = random.below(model.end() as u64 + 1) as i64;
            let until = from + 1 + random.below((model.end() - from) as u64 + 2) as i64;
            let max_bytes = [1, 500, 4_000, 1 << 20][random.below(4) as usize];
            println!("seed {seed}, from {from}, until {until}, {max_bytes} bytes");
            fetch_all(&reader, &model, from, max_bytes).await;
            stream_all(&reader, &model, from, until).await;
        }
    }
}

#[tokio::test]
async fn a_reader_that_goes_on_as_a_random_log_grows_gives_each_committed_batch_once() {
    for seed in 1_000..1_100 {
        let mut random = Prng::new(seed);
        let (f, mut model) = (Fixture::new(), Model::default());
        append_some(&mut random, &f, &mut model).await;
        let reader = f.partition.reader_with(small_blocks().isolation(Isolation::ReadCommitted));
        let mut stream = reader.batches(0);
        let mut got = Vec::new();
        for round in 0..12 {
            while let Some(batch) = stream.next().await.unwrap() {
                got.push(batch);
            }
            assert!(got == expected(&model.batches, 0), "seed {seed}, round {round}");
            append_some(&mut random, &f, &mut model).await;
        }
    }
}
