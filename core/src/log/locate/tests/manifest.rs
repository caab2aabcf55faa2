//! Looks with the help of the log's manifest.

use super::hints::place_near;
use super::*;
use crate::format::{LogManifest, LogManifestBuilder, NamedVersion};
use crate::log::BucketOptions;

/// Another process writes the manifest.
async fn write(f: &Fixture) {
    let other = f.cold();
    let plan = other.partition.plan_manifest().await.unwrap();
    other.partition.write_manifest(&plan).await.unwrap();
    let requests = other.bucket.requests();
    assert_eq!((requests.put, requests.get, requests.delete), (1, 0, 0));
    assert_eq!(requests.list, (plan.segments * 2 + 2).div_ceil(1000));
}

async fn tail(f: &Fixture) -> Option<i64> {
    let state = f.partition.state();
    find_tail(state, state.store()).await.unwrap().newest.map(|s| s.base)
}

fn found(f: &Fixture, offset: i64) -> Option<(i64, Option<i64>)> {
    f.partition.state().with_catalog(|c| match c.lookup(offset) {
        Lookup::In { base, next, .. } => Some((base, next)),
        _ => None,
    })
}

#[tokio::test]
async fn the_tail_of_100_000_segments_is_found_by_two_listings_and_the_manifest() {
    let f = Fixture::new();
    f.put(&f.partition.id().log_json_key(), "{}").await;
    f.put_names((0..100_000).map(|i| i * 10)).await;
    write(&f).await;
    let cold = f.cold();
    assert_eq!(tail(&cold).await, Some(999_990));
    assert_eq!(cold.reads(), (2, 1));
    // It is held: another place is one listing.
    locate(cold.partition.state(), 500_005, false).await.unwrap();
    assert_eq!((found(&cold, 500_005), cold.reads()), (Some((500_000, Some(500_010))), (3, 1)));
    let cold = f.cold();
    locate(cold.partition.state(), 700_001, false).await.unwrap();
    assert_eq!((found(&cold, 700_001), cold.reads()), (Some((700_000, Some(700_010))), (2, 1)));
    // Near the start nobody asks for it.
    let cold = f.cold();
    locate(cold.partition.state(), 3_000, false).await.unwrap();
    locate(cold.partition.state(), 5_000, false).await.unwrap();
    assert_eq!(cold.reads(), (2, 0));
}

#[test]
fn a_place_to_list_from_lies_a_little_below_the_goal_where_all_segments_are_named() {
    let segments = (1 << 17) + 60_000;
    let mut builder = LogManifestBuilder::new(0);
    for base in 0..segments {
        builder.push(base * 10, NamedVersion { e_tag: "e", size: 1, modified_ms: 1 });
    }
    let manifest = LogManifest::parse(&builder.finish(None)).unwrap();
    let near = |offset| place_near(&manifest, offset).unwrap();
    assert_eq!(near(i64::MAX), (segments - 9) * 10 - 1, "eight before the last one");
    assert_eq!(near(1_000_005), (100_000 - 8) * 10 - 1);
    // All are named from 600,000 on, and before that each 256th: a page from there shows the goal.
    assert_eq!((near(600_050), near(600_000)), (599_999, 599_999));
    assert_eq!(near(599_999), 234 * 2_560 - 1);
    assert_eq!((near(2_559), near(2_560)), (-1, 2_559));
}

#[tokio::test]
async fn a_stale_manifest_costs_two_requests_more_than_none() {
    for (name, bases) in layouts() {
        if bases.len() < 1_000 || bases.len() > 5_000 {
            continue;
        }
        let f = Fixture::new();
        let key = f.partition.id().log_manifest_key();
        let mut put = 0;
        for part in [1_000, bases.len() / 2, bases.len() - 1] {
            if part < 1_000 {
                continue;
            }
            f.put_names(bases[put..part.max(put)].iter().copied()).await;
            put = part.max(put);
            write(&f).await;
            let stale = f.get(&key).await;
            let whole = Fixture::new();
            whole.put_names(bases.iter().copied()).await;
            let picks = (0..=4).map(|i| bases[(bases.len() - 1) * i / 4]).chain([bases[bases.len() - 1] + 1]);
            for goal in picks.map(Some).chain([None]) {
                let mut costs = Vec::new();
                for manifest in [None, Some(stale.clone())] {
                    match manifest {
                        Some(manifest) => whole.put(&key, manifest).await,
                        None => whole.delete(&key).await,
                    }
                    let cold = whole.cold();
                    match goal {
                        Some(offset) => {
                            // As often as a fetch would.
                            while cold.partition.state().with_catalog(|c| matches!(c.lookup(offset), Lookup::Unknown)) {
                                locate(cold.partition.state(), offset, false).await.unwrap();
                            }
                        }
                        None => assert_eq!(tail(&cold).await, bases.last().copied()),
                    }
                    let (lists, gets) = cold.reads();
                    costs.push((lists + gets, goal.map(|offset| found(&cold, offset))));
                }
                let range = bases[bases.len() - 1] - bases[0] + 1;
                let (without, with) = (&costs[0], &costs[1]);
                assert_eq!(with.1, without.1, "{name}: {goal:?}");
                assert!(with.0 as f64 <= allowed(bases.len(), range) + 2.0, "{name}: {goal:?}: {}", with.0);
                // Among islands a search of the tail without a manifest is short by luck.
                let is_lucky = name == "islands" && goal.is_none();
                assert!(with.0 <= without.0 + 2 || is_lucky, "{name}: {goal:?}: {}, {} without", with.0, without.0);
            }
        }
    }
}

#[tokio::test]
async fn a_manifest_that_was_made_for_another_log_json_is_not_held() {
    let f = Fixture::new();
    let log_json = f.partition.id().log_json_key();
    let is_held = async || {
        let cold = f.cold();
        assert_eq!(tail(&cold).await, Some(1_999));
        assert_eq!(cold.reads().1, 1);
        cold.partition.state().with_catalog(|c| c.manifest()).is_some()
    };
    f.put_names(0..2_000).await;
    write(&f).await;
    assert!(is_held().await, "KafScale writes no log.json");
    f.put(&log_json, "{}").await;
    assert!(!is_held().await);
    write(&f).await;
    assert!(is_held().await);
    f.put(&log_json, "{ }").await;
    assert!(!is_held().await);
    f.delete(&log_json).await;
    assert!(!is_held().await);
}

#[tokio::test]
async fn a_manifest_that_takes_more_than_half_of_the_room_is_not_read() {
    let f = Fixture::new();
    f.put_names(0..2_000).await;
    write(&f).await;
    let size = f.get(&f.partition.id().log_manifest_key()).await.len();
    for (cache, gets) in [(size * 8 - 8, 0), (size * 8 + 8, 1)] {
        let cold = Fixture::with(f.store.clone(), BucketOptions::default().cache_bytes(cache));
        assert_eq!(tail(&cold).await, Some(1_999));
        assert_eq!(cold.reads().1, gets, "{cache} of {size}");
    }
}

#[tokio::test]
async fn manifests_count_among_the_catalogs_and_give_room() {
    let f = Fixture::new();
    f.put_names(0..1_200).await;
    write(&f).await;
    let cold = f.cold();
    tail(&cold).await;
    let state = cold.partition.state();
    let used = state.bucket.catalogs.used();
    let size = state.with_catalog(|c| c.manifest()).unwrap().size();
    state.with_catalog(|c| c.shed());
    assert!(state.with_catalog(|c| c.manifest()).is_none());
    assert!(used - state.bucket.catalogs.used() >= size);
    assert!(state.with_catalog(|c| c.manifest_to_read()).is_some(), "it is read again when it is needed");
    state.forget_log();
    assert_eq!(state.bucket.catalogs.used(), 0);
    assert!(state.with_catalog(|c| c.manifest_to_read()).is_none(), "it was another log's");
}

#[tokio::test]
async fn of_the_old_segments_that_are_named_here_and_there_none_is_read_without_a_listing() {
    let f = Fixture::new();
    f.put_names(0..2_000).await;
    write(&f).await;
    let key = f.partition.id().log_manifest_key();
    let mut bytes = f.get(&key).await.to_vec();
    bytes[16..24].copy_from_slice(&500_i64.to_be_bytes());
    let end = bytes.len() - 4;
    let crc = crate::format::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_be_bytes());
    f.put(&key, bytes).await;
    let cold = f.cold();
    tail(&cold).await;
    let is_hinted = |offset| cold.partition.state().with_catalog(|c| c.hinted(offset, u64::MAX)).is_some();
    assert_eq!(
        [499, 500, 1_998, 1_999].map(is_hinted),
        [false, true, true, false],
        "what follows the last is not known"
    );
}

#[tokio::test]
async fn a_manifest_that_led_nowhere_is_not_asked_again() {
    let f = Fixture::new();
    f.put_names(0..2_000).await;
    write(&f).await;
    for base in 1_200..2_000 {
        f.delete(&f.key(base)).await;
    }
    let cold = f.cold();
    assert_eq!(tail(&cold).await, Some(1_199));
    let (manifest, to_read) = cold.partition.state().with_catalog(|c| (c.manifest(), c.manifest_to_read()));
    assert!(manifest.is_none() && to_read.is_none());
}

#[cfg(feature = "mutants")]
#[tokio::test]
async fn to_trust_the_manifest_with_the_tail_is_to_miss_what_was_appended() {
    use crate::mutant::Mutant;
    let f = Fixture::new();
    f.put_names(0..2_000).await;
    write(&f).await;
    f.put_names(2_000..2_010).await;
    assert_eq!(tail(&f.cold()).await, Some(2_009));
    Mutant::switch(Some(Mutant::TrustManifestTail));
    let trusted = tail(&f.cold()).await;
    Mutant::switch(None);
    assert_eq!(trusted, Some(1_999), "the mutant is wrong");
}
