//! Must hold: what happens on the wire to the store costs nothing that was acked, tears no object, and nobody has to be
//! started again for it. toxiproxy stands between the library and an S3 server.
//!
//! Looks from beneath the library go to the server itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use kfs_core::format::NewRecord;
use kfs_core::recorder::BucketEvent;
use kfs_core::store::{PART_BYTES, ReadRange, Store, StoreOptions};
use kfs_core::{Bucket, BucketOptions, ErrorKind, OnConflict, Recorder, RetryPolicy, WriterOptions};
use kfs_tests::contest::read_partition;
use kfs_tests::load::Load;
use kfs_tests::toxiproxy::{Toxic, Way};
use kfs_tests::{Prng, S3Server, ToxiProxy};
use tokio::sync::watch;

/// A server, and a proxy before it.
struct Wire {
    server: S3Server,
    proxy: ToxiProxy,
}

impl Wire {
    fn start() -> Option<Self> {
        let server = S3Server::start()?;
        let proxy = ToxiProxy::start(server.address())?;
        Some(Wire { server, proxy })
    }

    /// Options for a store that is reached through the proxy.
    fn options(&self) -> StoreOptions {
        self.server.store_options().config("AWS_ENDPOINT_URL", self.proxy.endpoint())
    }
}

/// What happens on the wire for a while: its name, and what it does to so many of a hundred connections.
type Weather = (&'static str, &'static [(Way, Toxic)], u8);

const WEATHER: [Weather; 12] = [
    ("late", &[(Way::Up, Toxic::Late(20)), (Way::Down, Toxic::Late(20))], 100),
    ("slow", &[(Way::Up, Toxic::Slow(400)), (Way::Down, Toxic::Slow(400))], 100),
    ("requests are cut", &[(Way::Up, Toxic::Cut(1_500))], 100),
    ("some requests are cut", &[(Way::Up, Toxic::Cut(3_000))], 50),
    ("answers are lost", &[(Way::Down, Toxic::Cut(0))], 100),
    ("some answers are lost", &[(Way::Down, Toxic::Cut(0))], 50),
    ("answers are cut", &[(Way::Down, Toxic::Cut(1_000))], 80),
    ("connections are reset at an answer", &[(Way::Down, Toxic::Reset)], 70),
    ("connections are reset at a request", &[(Way::Up, Toxic::Reset)], 100),
    ("answers do not come", &[(Way::Down, Toxic::Silent(50))], 70),
    ("requests do not get through", &[(Way::Up, Toxic::Silent(50))], 100),
    ("everything", &[(Way::Up, Toxic::Cut(20_000)), (Way::Down, Toxic::Cut(9_000)), (Way::Up, Toxic::Late(5))], 60),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acked_is_lost_and_everyone_goes_on_whatever_happens_on_the_wire() {
    let Some(Wire { server, proxy }) = Wire::start() else { return };
    let through = server.store_options().config("AWS_ENDPOINT_URL", proxy.endpoint());
    let url = server.url("wire");
    let mut prng = Prng::new(20_260_103);
    let beneath = Store::open(&url, &server.store_options()).expect("store");
    let open = move || Store::open(&url, &through).expect("store");
    let mut load = Load::begin(open, prng.next_u64()).await;
    for weather in WEATHER.map(Some).into_iter().chain([None]) {
        // Never by time: when so much was acked, when that had its effect, when everyone went on.
        let (from, more) = (load.progress(), 1 + prng.below(30));
        load.until("calm", |now| now.acked >= from.acked + more).await;
        let (from, more) = (load.progress(), 1 + prng.below(20));
        let (name, harmless) = match weather {
            Some((name, toxics, share)) => {
                toxics.iter().for_each(|(way, toxic)| proxy.add(*way, *toxic, share));
                (name, matches!(toxics, [(_, Toxic::Late(_) | Toxic::Slow(_)), ..]))
            }
            None => {
                proxy.go_away();
                ("the proxy is away", false)
            }
        };
        // Connections that are spared go on, and then nobody opens another.
        load.until(name, |now| {
            now.retried >= from.retried + more || now.acked >= from.acked + if harmless { more } else { 100 }
        })
        .await;
        proxy.heal();
        let from = load.progress();
        load.until(&format!("{name}, all go on"), |now| {
            now.acked > from.acked && now.followed > from.followed && now.read > from.read
        })
        .await;
    }
    println!("{:?}", load.end(&beneath).await);
}

fn impatient() -> RetryPolicy {
    RetryPolicy::default().first_pause(Duration::from_millis(10)).longest_pause(Duration::from_millis(100))
}

/// Counts what is tried again.
#[derive(Debug)]
struct Retries(watch::Sender<u64>);

impl Recorder for Retries {
    fn record(&self, event: &BucketEvent<'_>) {
        if let BucketEvent::Retry { .. } = event {
            self.0.send_modify(|retries| *retries += 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_answers_are_lost_after_the_store_acted_is_acked_once() {
    let Some(wire) = Wire::start() else { return };
    let beneath = Store::open(&wire.server.url(""), &wire.server.store_options()).expect("store");
    let policies = [OnConflict::Takeover, OnConflict::Fence, OnConflict::Rebase];
    for (round, toxic) in [Toxic::Cut(0), Toxic::Reset, Toxic::Silent(30)].into_iter().enumerate() {
        for (topic, policy) in ["takeover", "fence", "rebase"].into_iter().zip(policies) {
            let retries = watch::Sender::new(0);
            let recorder = Arc::new(Retries(retries.clone()));
            let options = BucketOptions::default().store(wire.options()).recorder(recorder).retry(impatient());
            let bucket = Bucket::open_with(&wire.server.url(""), options).expect("bucket");
            let partition = bucket.partition(topic, i32::try_from(round).expect("small")).expect("name");
            let options = WriterOptions::default().on_conflict(policy);
            let writer = partition.writer_with(options).await.expect("writer");
            let prefix = partition.id().prefix();
            // The first append creates log.json too.
            for n in 0..3 {
                wire.proxy.add(Way::Down, toxic, 100);
                let value = format!("value {n}");
                let append = writer.append(&[NewRecord::new(n).value(value.as_bytes())]).await.expect("admitted");
                let before = *retries.borrow();
                // No answer gets through, however often it is tried.
                retries.subscribe().wait_for(|now| *now >= before + 3).await.expect("it lives");
                assert!(append.outcome().is_none(), "{topic} {toxic:?}: {:?}", append.outcome());
                if n > 0 {
                    // The slot of the first append is known only after log.json was answered.
                    assert!(beneath.exists(&partition.id().segment_key(n)).await.expect("asked"), "the store acted");
                }
                wire.proxy.heal();
                let offsets = append.durable().await.unwrap_or_else(|e| panic!("{topic} {toxic:?}: {e:?}"));
                assert_eq!((offsets.base, offsets.last), (n, n));
                let records = read_partition(&beneath, &prefix).await;
                assert_eq!(records.last(), Some(&(n, value)), "{topic} {toxic:?}");
                assert_eq!(records.len() as i64, n + 1);
            }
            assert!(writer.failure().is_none(), "{:?}", writer.failure());
            writer.close(None).await.expect("closed");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answers_are_lost_is_made_once() {
    let Some(wire) = Wire::start() else { return };
    let open = async |name: &str, partition| {
        let options = BucketOptions::default().store(wire.options()).retry(impatient());
        let bucket = Bucket::open_with(&wire.server.url("claims"), options).expect("bucket");
        let partition = bucket.partition("t", partition).expect("name");
        partition.writer_with(WriterOptions::default().name(name)).await.expect("writer")
    };
    let append = async |writer: &kfs_core::Writer| {
        writer.append(&[NewRecord::new(0).value(b"x")]).await.expect("admitted").durable().await
    };
    for partition in 0..5 {
        let owner = open("owner", partition).await;
        append(&owner).await.expect("durable");
        let claimant = open("claimant", partition).await;
        wire.proxy.add(Way::Down, Toxic::Cut(0), 60);
        let claimed = claimant.claim().await.unwrap_or_else(|error| panic!("claim of {partition}: {error:?}"));
        wire.proxy.heal();
        assert_eq!(claimed.base, 1);
        assert_eq!(append(&claimant).await.expect("durable").base, 2);
        let fenced = append(&owner).await.expect_err("fenced");
        assert_eq!((fenced.kind(), fenced.winner()), (ErrorKind::Fenced, Some("claimant")));
    }
}

/// Bytes of which no two parts are alike.
fn object(len: usize, seed: u64) -> Bytes {
    Prng::new(seed).bytes(len).into()
}

/// The bytes in pieces.
fn pieces(bytes: &Bytes) -> impl futures_util::Stream<Item = kfs_core::Result<Bytes>> + Send + use<> {
    let bytes = bytes.clone();
    let starts = (0..bytes.len()).step_by(1 << 20);
    stream::iter(starts.map(move |at| Ok(bytes.slice(at..bytes.len().min(at + (1 << 20))))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_written_through_cut_connections_is_whole_or_the_old_object_stays() {
    let Some(wire) = Wire::start() else { return };
    let store = Store::open(&wire.server.url("p"), &wire.options()).expect("store");
    let beneath = Store::open(&wire.server.url("p"), &wire.server.store_options()).expect("store");
    let old = object(1_000, 1);
    // One PUT, and an upload of parts.
    for len in [PART_BYTES / 4, PART_BYTES * 2 + 1_000] {
        for (toxic, share) in [
            (None, 0),
            (Some((Way::Up, Toxic::Cut(700))), 100),
            (Some((Way::Up, Toxic::Cut(3 << 20))), 100),
            (Some((Way::Up, Toxic::Cut(3 << 20))), 40),
            (Some((Way::Down, Toxic::Cut(0))), 100),
            (Some((Way::Down, Toxic::Cut(0))), 40),
            (Some((Way::Down, Toxic::Reset)), 60),
        ] {
            let new = object(len, len as u64);
            beneath.put("t/a", old.to_vec().into()).await.expect("put");
            if let Some((way, toxic)) = toxic {
                wire.proxy.add(way, toxic, share);
            }
            let written = store.put_stream("t/a", pieces(&new)).await;
            wire.proxy.heal();
            let found: Vec<Bytes> =
                beneath.get_stream("t/a", ReadRange::Whole).await.expect("there").try_collect().await.expect("read");
            let found = found.concat();
            match written {
                Ok(_) => assert!(found == new, "{len} {toxic:?}: not what was written"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{len} {toxic:?}: {error:?}");
                    assert!(found == new || found == old, "{len} {toxic:?}: a torn object");
                    assert!(toxic.is_some(), "{error:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_read_through_cut_connections_gives_right_bytes_and_then_an_error() {
    let Some(wire) = Wire::start() else { return };
    // The breaker would keep the last read from a wire that has healed.
    let options = wire.options().config("breaker_failures", "0");
    let store = Store::open(&wire.server.url("p"), &options).expect("store");
    let beneath = Store::open(&wire.server.url("p"), &wire.server.store_options()).expect("store");
    let whole = object(40 << 20, 7);
    beneath.put_stream("t/a", pieces(&whole)).await.expect("put");
    for (toxic, share) in [
        (Toxic::Cut(0), 100),
        (Toxic::Cut(1_000), 100),
        (Toxic::Cut(5 << 20), 100),
        (Toxic::Cut(5 << 20), 40),
        (Toxic::Cut(30 << 20), 100),
        (Toxic::Reset, 40),
    ] {
        wire.proxy.add(Way::Down, toxic, share);
        let (mut at, mut failed) = (0, None);
        match store.get_stream("t/a", ReadRange::Whole).await {
            Err(error) => failed = Some(error),
            Ok(mut read) => {
                while let Some(piece) = read.next().await {
                    match piece {
                        Ok(piece) => {
                            assert!(whole.get(at..at + piece.len()) == Some(&piece), "{toxic:?}: wrong bytes at {at}");
                            at += piece.len();
                        }
                        Err(error) => failed = Some(error),
                    }
                }
            }
        }
        wire.proxy.heal();
        match failed {
            None => assert_eq!(at, whole.len(), "{toxic:?}: it ended too early"),
            Some(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{toxic:?}: {error:?}"),
        }
    }
    let again = store.get_stream("t/a", ReadRange::Whole).await.expect("begun");
    assert!(again.try_collect::<Vec<_>>().await.expect("read").concat() == whole);
}
