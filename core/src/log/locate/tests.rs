use super::*;
use crate::log::catalog::Lookup;
use crate::log::fixtures::Fixture;

/// The most listings of a look by the budget (docs/design.md, "Request budget").
fn allowed(segments: usize, range: i64) -> f64 {
    1.0 + 2.0 * (segments as f64 / 500.0).min((range as f64).log2())
}

fn layouts() -> Vec<(&'static str, Vec<i64>)> {
    let equal = |n: i64, step: i64| (0..n).map(|i| i * step).collect::<Vec<_>>();
    let small_then_large = |n: i64| (0..n).map(|i| if i < 600 { i } else { 600 + (i - 600) * 1_000_000 }).collect();
    let large_then_small = |n: i64| (0..n).map(|i| if i < 600 { i * 1_000_000 } else { 600_000_000 + i }).collect();
    let growing = |n: i64| (0..n).map(|i| i * i).collect();
    let islands = |n: i64| (0..n).map(|i| i + (i / 700) * 1_000_000_000).collect();
    let mut all = vec![("one", vec![0]), ("one far", vec![1 << 60]), ("two", vec![5, 900])];
    for n in [10, 499, 500, 501, 1_000, 2_500, 20_000, 100_000] {
        all.push(("equal of 1", equal(n, 1)));
        if n <= 20_000 {
            all.push(("equal of 1000", equal(n, 1000)));
        }
    }
    for n in [1_000, 5_000, 15_000] {
        all.push(("small then large", small_then_large(n)));
        all.push(("large then small", large_then_small(n)));
        all.push(("growing", growing(n)));
        all.push(("islands", islands(n)));
    }
    all
}

#[tokio::test]
async fn the_tail_is_found_within_the_request_budget() {
    for (name, bases) in layouts() {
        for with_json in [true, false] {
            if with_json && bases.len() > 2_500 {
                continue;
            }
            let f = Fixture::new();
            if with_json {
                f.put(&f.partition.id().log_json_key(), "{}").await;
            }
            f.put_names(bases.iter().copied()).await;
            let tail = find_tail(f.partition.state(), f.partition.state().store()).await.unwrap();
            assert_eq!(tail.newest.map(|s| s.base), bases.last().copied(), "{name}");
            assert_eq!(tail.first.map(|s| s.base), bases.first().copied(), "{name}");
            assert_eq!(tail.log_json.is_some(), with_json);
            let (lists, gets) = f.reads();
            let range = bases.last().unwrap() - bases[0] + 1;
            assert!(lists as f64 <= allowed(bases.len(), range), "{name} of {}: {lists} listings", bases.len());
            assert_eq!(gets, 0, "never a GET per segment");
            if name.starts_with("equal") {
                assert!(lists <= 22, "{name} of {}: {lists} listings", bases.len());
            }
        }
    }
}

#[tokio::test]
async fn any_offset_is_located_within_the_request_budget() {
    for (name, bases) in layouts() {
        let f = Fixture::new();
        f.put_names(bases.iter().copied()).await;
        let range = bases.last().unwrap() - bases[0] + 1;
        // Listing 200,000 keys in memory takes its time.
        let parts: &[usize] = if bases.len() > 10_000 { &[3, 16] } else { &[0, 1, 3, 7, 10, 13, 15, 16] };
        let picks = parts.iter().map(|i| bases[(bases.len() - 1) * i / 16]);
        let beyond = [bases.last().unwrap() + 1, 1 << 61];
        for pick in picks
            .flat_map(|b| if bases.len() > 10_000 { vec![b] } else { vec![b, b + 1, b - 1] })
            .chain(beyond)
            .filter(|o| *o >= 0)
        {
            let cold = f.cold();
            let state = cold.partition.state();
            let mut looks = 0;
            while state.with_catalog(|c| matches!(c.lookup(pick), Lookup::Unknown)) {
                looks += 1;
                assert!(looks < 3, "{name}: {pick}");
                locate(state, pick, false).await.unwrap();
            }
            let (lists, _) = cold.reads();
            assert!(lists as f64 <= allowed(bases.len(), range), "{name} of {} at {pick}: {lists}", bases.len());
            let at = bases.partition_point(|b| *b <= pick);
            state.with_catalog(|c| match (c.lookup(pick), at.checked_sub(1)) {
                (Lookup::In { base, next, .. }, Some(i)) => {
                    assert_eq!((base, next), (bases[i], bases.get(at).copied()), "{name}: {pick}");
                }
                (Lookup::Below, None) => assert_eq!(c.start().unwrap().first, Some(bases[0])),
                (other, _) => panic!("{name}: {pick}: {other:?}"),
            });
        }
    }
}

#[tokio::test]
async fn a_scan_costs_one_listing_for_each_500_segments() {
    let f = Fixture::new();
    f.put_names((0..4_900).map(|i| i * 10)).await;
    let state = f.partition.state();
    for offset in (0..49_000).step_by(10) {
        while state.with_catalog(|c| matches!(c.lookup(offset), Lookup::Unknown)) {
            locate(state, offset, false).await.unwrap();
        }
    }
    assert_eq!(f.reads(), (10, 0));
}

#[tokio::test]
async fn foreign_keys_fill_pages_and_change_nothing() {
    let f = Fixture::new();
    f.put_names((0..700).map(|i| i * 10)).await;
    let prefix = f.partition.id().prefix();
    for i in 0..2_500 {
        f.put(&format!("{prefix}a-{i}"), "x").await;
        f.put(&format!("{prefix}log-zzz-{i:05}"), "x").await;
        f.put(&format!("{prefix}segment-00000000000000003000.kfs.part-{i:05}"), "x").await;
        f.put(&format!("{prefix}segment-{i}.kfs"), "x").await;
        f.put(&format!("{prefix}segment-00000000000000003000.d/segment-{i:020}.kfs"), "x").await;
        f.put(&format!("{prefix}zz-{i}"), "x").await;
    }
    f.put(&format!("{prefix}segment-18446744073709551615.kfs"), "x").await;
    f.put(&f.partition.id().log_start_key(20), "").await;
    f.put(&f.partition.id().log_start_key(40), "").await;
    let tail = find_tail(f.partition.state(), f.partition.state().store()).await.unwrap();
    assert_eq!(tail.newest.map(|s| s.base), Some(6_990));
    assert_eq!(tail.log_start_mark, Some(40));
    let cold = f.cold();
    let state = cold.partition.state();
    locate(state, 3_005, false).await.unwrap();
    state.with_catalog(|c| match c.lookup(3_005) {
        Lookup::In { base, next, .. } => assert_eq!((base, next), (3_000, Some(3_010))),
        other => panic!("{other:?}"),
    });
}

#[tokio::test]
async fn a_fresh_look_does_not_believe_what_was_known() {
    let f = Fixture::new();
    f.put_names((0..100).map(|i| i * 10)).await;
    let state = f.partition.state();
    locate(state, 505, false).await.unwrap();
    for base in [480, 490, 500, 510] {
        f.delete(&f.key(base)).await;
    }
    let found = || {
        state.with_catalog(|c| match c.lookup(505) {
            Lookup::In { base, next, .. } => (base, next),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(found(), (500, Some(510)));
    locate(state, 505, true).await.unwrap();
    assert_eq!(found(), (470, Some(520)));
    // All of the neighbourhood is gone.
    for base in (0..470).step_by(10) {
        f.delete(&f.key(base)).await;
    }
    f.delete(&f.key(470)).await;
    locate(state, 505, true).await.unwrap();
    state.with_catalog(|c| {
        assert!(matches!(c.lookup(505), Lookup::Below));
        assert_eq!(c.start().unwrap().first, Some(520));
    });
}

#[tokio::test]
async fn an_empty_partition_is_known_to_be_empty() {
    let f = Fixture::new();
    let state = f.partition.state();
    locate(state, 0, false).await.unwrap();
    state.with_catalog(|c| {
        assert!(matches!(c.lookup(0), Lookup::Empty));
        assert!(!c.start().unwrap().exists());
    });
    assert_eq!(f.reads(), (1, 0));
}

#[tokio::test]
async fn a_panic_while_the_catalog_is_held_stops_nobody_else() {
    use crate::runtime::shielded;
    let f = Fixture::new();
    f.put_names([0, 10]).await;
    let state = f.partition.state();
    shielded(|| state.with_catalog(|_| panic!("on purpose")));
    locate(state, 10, false).await.unwrap();
    assert_eq!(find_tail(state, state.store()).await.unwrap().newest.map(|s| s.base), Some(10));
}

mod manifest;
