use super::*;

fn segment(base: i64) -> SegmentRef {
    SegmentRef { base, size: 100, version: Version::new(Some("a"), 100, Some(0)) }
}

fn learn(catalog: &mut Catalog, after: i64, bases: &[i64], to_end: bool, before: Option<i64>) {
    let segments: Vec<_> = bases.iter().map(|b| segment(*b)).collect();
    catalog.learn(&Covered { after, segments: &segments, to_end }, before, Duration::ZERO);
}

fn at(catalog: &Catalog, offset: i64) -> Option<(i64, Option<i64>)> {
    match catalog.lookup(offset) {
        Lookup::In { base, next, .. } => Some((base, next)),
        _ => None,
    }
}

#[test]
fn neighbours_are_known_only_where_a_page_covered_both() {
    let mut c = Catalog::default();
    learn(&mut c, -1, &[0, 10, 20], false, None);
    learn(&mut c, 50, &[60, 70], false, None);
    assert_eq!(at(&c, 15), Some((10, Some(20))));
    assert_eq!(at(&c, 25), None, "something may lie between 20 and 60");
    assert_eq!(at(&c, 65), Some((60, Some(70))));
    assert_eq!(at(&c, 75), None);
    learn(&mut c, 20, &[30, 40], false, None);
    assert_eq!(at(&c, 25), Some((20, Some(30))));
    assert_eq!(at(&c, 45), None);
    c.link(40, 60);
    assert_eq!(at(&c, 45), Some((40, Some(60))));
    learn(&mut c, 70, &[], true, Some(70));
    assert_eq!(at(&c, 1_000), Some((70, None)));
}

#[test]
fn a_look_replaces_what_was_known_where_it_looked() {
    let mut c = Catalog::default();
    learn(&mut c, -1, &[0, 10, 20, 30, 40], true, None);
    c.set_end(40, 50);
    learn(&mut c, 5, &[20, 30], false, Some(40));
    assert_eq!(at(&c, 12), None, "10 is gone, and what is between 0 and 5 was not looked at");
    assert_eq!(at(&c, 35), Some((30, Some(40))));
    assert!(matches!(c.lookup(50), Lookup::End { end: 50 }));
    learn(&mut c, 20, &[30], true, Some(40));
    assert_eq!(at(&c, 1_000), Some((30, None)));
}

#[test]
fn a_look_that_began_before_a_commit_does_not_take_it_away() {
    let mut c = Catalog::default();
    learn(&mut c, -1, &[0, 10], true, None);
    c.committed(Some(10), segment(20), 30);
    learn(&mut c, -1, &[0, 10], true, Some(10));
    assert_eq!(at(&c, 15), Some((10, Some(20))));
    assert_eq!(at(&c, 25), Some((20, None)));
    assert!(matches!(c.lookup(30), Lookup::End { end: 30 }));
}

#[test]
fn a_probe_beyond_the_end_does_not_make_a_known_segment_the_newest() {
    let mut c = Catalog::default();
    learn(&mut c, -1, &[0, 10], false, None);
    learn(&mut c, 500, &[], true, Some(10));
    assert_eq!(at(&c, 15), None);
    c.set_newest(10);
    assert_eq!(at(&c, 15), Some((10, None)));
}

#[test]
fn commits_link_to_the_segment_they_followed() {
    let mut c = Catalog::default();
    c.committed(None, segment(0), 10);
    c.committed(Some(0), segment(10), 20);
    c.committed(Some(30), segment(40), 50);
    assert_eq!(at(&c, 5), Some((0, Some(10))));
    assert_eq!(at(&c, 25), None, "another writer's segment at 30 lies between");
    assert_eq!(at(&c, 45), Some((40, None)));
}

#[test]
fn a_catalog_is_bounded() {
    let mut c = Catalog::default();
    let bases: Vec<i64> = (0..10_000).collect();
    learn(&mut c, -1, &bases, true, None);
    c.trim_to(5_000, 1_000);
    assert!(c.len() <= 1_000);
    assert_eq!(at(&c, 5_000), Some((5_000, Some(5_001))));
    assert_eq!(at(&c, 9_999), Some((9_999, None)));
    assert_eq!(at(&c, 9_900), Some((9_900, Some(9_901))));
    assert_eq!(at(&c, 7_000), None);
    assert_eq!(at(&c, 10), None);
}

#[test]
fn a_changed_version_makes_the_known_end_void() {
    let mut c = Catalog::default();
    learn(&mut c, -1, &[0, 10], true, None);
    c.set_end(10, 20);
    let changed = SegmentRef { version: Version::new(Some("b"), 200, Some(0)), ..segment(10) };
    c.learn(&Covered { after: 0, segments: &[changed], to_end: true }, Some(10), Duration::ZERO);
    assert_eq!(c.newest_end(), None);
}

#[test]
fn catalogs_share_a_room_and_give_it_back() {
    let room = CatalogBudget::new(112 * 1_000);
    let bases: Vec<i64> = (0..900).collect();
    let mut one = Catalog::sharing(room.clone());
    learn(&mut one, -1, &bases, true, None);
    assert!(!one.is_over() && room.is_tight());
    let mut two = Catalog::sharing(room.clone());
    learn(&mut two, -1, &bases, true, None);
    assert!(two.is_over() && one.spare().is_some());
    one.shed();
    assert!(!two.is_over());
    assert_eq!(at(&one, 899), Some((899, None)), "the tail is kept");
    assert_eq!(at(&two, 450), Some((450, Some(451))));
    // Commits alone fill no room for ever.
    for base in 900..50_000 {
        two.committed(Some(base - 1), segment(base), base + 1);
    }
    assert!(room.used() <= 112 * 1_001);
    assert_eq!(at(&two, 49_999), Some((49_999, None)));
    drop((one, two));
    assert_eq!(room.used(), 0);
}

#[test]
fn a_greatest_time_is_forgotten_when_the_next_segment_is_another() {
    let mut c = Catalog::default();
    learn(&mut c, -1, &[0, 10, 20], true, None);
    c.set_greatest(0, Some(100));
    c.set_greatest(20, Some(300));
    assert_eq!((c.greatest(0), c.greatest(10), c.greatest(20)), (Some(Some(100)), None, Some(Some(300))));
    // 10 was merged into 0 before that was learned, and is removed now: 0 holds its records alone.
    learn(&mut c, -1, &[0, 20], true, None);
    assert_eq!((c.greatest(0), c.greatest(20)), (None, Some(Some(300))));
}

#[test]
fn a_listing_that_comes_late_does_not_take_back_what_a_later_one_told() {
    let mut catalog = Catalog::default();
    let told = |mark, has_log_json| StartInfo { mark, has_log_json, ..StartInfo::default() };
    catalog.set_start(told(None, true), Duration::from_secs(2));
    catalog.set_start(told(Some(5), false), Duration::from_secs(1));
    let start = catalog.start().unwrap();
    assert!(start.has_log_json, "log.json was made between the two");
    assert_eq!(start.mark, Some(5), "marks are only ever created");
    catalog.set_start(told(None, false), Duration::from_secs(3));
    assert!(!catalog.start().unwrap().has_log_json, "it was deleted since");
}
