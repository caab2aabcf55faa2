//! Deleting a partition.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::format::LogIdentity;
use crate::log::maintain::DeleteReport;

const MARKER: &str = "default/.kfs-deleted/t/0";

impl World {
    /// With a `log.json`, as a log has that was not made by KafScale.
    async fn made() -> Self {
        let world = Self::new().await;
        let identity = LogIdentity { log_id: "0".repeat(32), start_offset: 0, created_ms: NOW };
        world.put(&world.partition.id().log_json_key(), identity.encode()).await;
        world
    }

    /// Deletes the partition, as far as that goes now.
    async fn delete(&self) -> Result<DeleteReport> {
        let plan = self.partition.plan_delete(false).await?;
        through(self, self.partition.delete(&plan)).await
    }

    /// Deletes the partition to the end, and lets the time pass that it asks for.
    async fn delete_wholly(&self) {
        for _ in 0..3 {
            match self.delete().await.unwrap().wait {
                None => return,
                Some(wait) => self.clock.advance(wait),
            }
        }
        panic!("the deletion does not end: {:?}", self.names().await);
    }

    async fn append(&self) -> Result<i64> {
        let writer = self.partition.writer().await?;
        let append = writer.append(&[NewRecord::new(NOW).value(b"new")]).await?;
        let base = append.durable().await?.base;
        writer.close(None).await?;
        Ok(base)
    }
}

#[tokio::test]
async fn a_log_is_deleted_in_three_calls_and_made_again_from_the_start() {
    let world = World::made().await;
    let reader = world.other();
    assert_eq!(reader.earliest().await, 0);
    world.clock.advance(BOUND);
    let plan = world.partition.plan_delete(false).await.unwrap();
    assert_eq!((plan.log_start, plan.high_watermark, plan.segments, plan.was_begun), (Some(0), Some(60), 6, false));
    let told = format!("t/0: the log is deleted, offsets 0 to 60; 6 segments with {} bytes are removed", plan.bytes);
    assert_eq!(plan.to_string(), told);
    assert!(!world.names().await.contains(&mark(61)), "a plan writes nothing");

    let first = world.delete().await.unwrap();
    assert_eq!((first.segments, first.bytes, first.wait), (6, plan.bytes, Some(BOUND)));
    assert_eq!(world.bases().await, [60], "the claim's own");
    let range = world.other().partition.refresh().await.unwrap();
    assert_eq!((range.log_start, range.high_watermark), (61, 61), "nothing is read any more");
    let early = world.delete().await.unwrap();
    assert_eq!((early.segments, early.wait), (0, Some(BOUND)));

    world.clock.advance(BOUND);
    let second = world.delete().await.unwrap();
    assert_eq!((second.segments, second.wait), (1, Some(BOUND)));
    assert_eq!(world.names().await, ["claim.json", &mark(61), "log.json"]);

    world.clock.advance(BOUND);
    let third = world.delete().await.unwrap();
    assert_eq!((third.segments, third.foreign, third.wait), (0, 0, None));
    assert_eq!(third.to_string(), "t/0: 0 segments with 0 bytes were removed, and the log is deleted");
    assert!(world.names().await.is_empty());
    assert_eq!(world.partition.refresh().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(world.partition.plan_delete(false).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(world.append().await.unwrap(), 0);
    assert_eq!(reader.partition.refresh().await.unwrap().high_watermark, 1);
    // It can be deleted again.
    world.clock.advance(BOUND);
    world.delete_wholly().await;
    assert!(world.names().await.is_empty());
}

#[tokio::test]
async fn the_manifest_goes_before_log_json() {
    let world = World::made().await;
    let plan = world.partition.plan_manifest().await.unwrap();
    assert_eq!(plan.to_string(), format!("{PREFIX}log.manifest: 6 of 6 segments in {} bytes", plan.bytes));
    let report = world.partition.write_manifest(&plan).await.unwrap();
    assert_eq!((report.named, report.bytes), (6, plan.bytes));
    world.clock.advance(BOUND);
    world.delete_wholly().await;
    assert!(world.names().await.is_empty());
    let deleted: Vec<_> =
        world.faults.log().iter().filter(|r| r.request.op == Op::Delete).map(|r| r.request.key.clone()).collect();
    let place = |name: &str| deleted.iter().position(|key| key.ends_with(name)).unwrap();
    assert!(place("log.manifest") < place("log.json"), "{deleted:?}");
    assert_eq!(world.partition.plan_manifest().await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_log_without_a_segment_is_deleted_too() {
    let world = World::made().await;
    let empty = World { partition: world.bucket.partition("u", 3).unwrap(), ..world };
    empty.partition.create(7).await.unwrap();
    empty.delete_wholly().await;
    assert_eq!(empty.partition.refresh().await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_interrupted_deletion_is_finished_by_new_calls() {
    // It ends at each request that changes something, before the store acted or after.
    for acts in [false, true] {
        for at in 0.. {
            let world = World::made().await;
            world.clock.advance(BOUND);
            let (count, failed) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            let seen = failed.clone();
            world.faults.decide_with(move |request| {
                if !matches!(request.op, Op::Put | Op::Delete) || count.fetch_add(1, Ordering::Relaxed) != at {
                    return Action::Pass;
                }
                seen.fetch_add(1, Ordering::Relaxed);
                let failure = Failure::PermissionDenied;
                if acts { Action::ActThenFail(failure) } else { Action::Fail(failure) }
            });
            for _ in 0..8 {
                match world.delete().await {
                    Ok(DeleteReport { wait: None, .. }) => break,
                    Ok(DeleteReport { wait: Some(wait), .. }) => world.clock.advance(wait),
                    Err(error) if error.kind() == ErrorKind::NotFound => break,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{at} {acts}: {error:#}"),
                }
            }
            assert!(world.names().await.is_empty(), "{at} {acts}: {:?}", world.names().await);
            assert_eq!(world.other().append().await.unwrap(), 0, "{at} {acts}");
            if failed.load(Ordering::Relaxed) == 0 {
                assert!(at > 20, "{at} requests are too few");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_writer_that_appends_after_the_claim_keeps_what_it_appended() {
    let world = World::made().await;
    world.clock.advance(BOUND);
    world.delete().await.unwrap();
    assert_eq!(world.other().append().await.unwrap(), 61);
    world.clock.advance(BOUND);
    let error = world.delete().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.message(), "a writer appended to t/0 at 61, after its deletion began");
    let range = world.other().partition.refresh().await.unwrap();
    assert_eq!((range.log_start, range.high_watermark), (61, 62));
    assert_eq!(world.other().append().await.unwrap(), 62, "the log goes on");
    // A new call deletes that, too.
    world.clock.advance(BOUND);
    world.delete_wholly().await;
    assert!(world.names().await.is_empty());
}

#[tokio::test]
async fn an_append_after_the_claim_is_told_before_the_young_segments_have_aged() {
    let world = World::made().await;
    assert_eq!(world.delete().await.unwrap().segments, 0, "all are young");
    assert_eq!(world.other().append().await.unwrap(), 61);
    assert_eq!(world.delete().await.unwrap_err().kind(), ErrorKind::Conflict);
    let again = world.delete().await.unwrap();
    assert_eq!((again.segments, again.wait), (0, Some(BOUND)), "a new deletion, with a claim of its own");
    assert_eq!(world.other().partition.refresh().await.unwrap().log_start, 63);
}

#[tokio::test]
async fn nobody_writes_where_only_marks_are_left_of_a_log_that_is_deleted() {
    let world = World::made().await;
    world.clock.advance(BOUND);
    world.delete().await.unwrap();
    world.clock.advance(BOUND);
    world.delete().await.unwrap();
    assert_eq!(world.bases().await, [0_i64; 0]);
    for error in
        [world.other().partition.writer().await.unwrap_err(), world.other().partition.create(0).await.unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert_eq!(error.message(), "t/0 is being deleted, and that has not ended");
        assert_eq!(error.key(), Some(MARKER));
    }
    // Without log.json, too: the call was interrupted there.
    world.clock.advance(BOUND);
    world.faults.on(Op::Delete, mark(61), Action::Fail(Failure::PermissionDenied));
    world.delete().await.unwrap_err();
    assert_eq!(world.names().await, [mark(61)]);
    assert_eq!(world.other().partition.writer().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(world.delete().await.unwrap().wait, None);
    assert_eq!(world.other().append().await.unwrap(), 0);
}

#[tokio::test]
async fn a_writer_of_another_process_is_displaced_and_one_of_this_process_is_an_error() {
    let world = World::made().await;
    let (here, there) = (world.partition.writer().await.unwrap(), world.other());
    let error = world.delete().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.message(), "t/0 can't be deleted while a writer of this process is open");
    here.close(None).await.unwrap();
    let writer = there.partition.writer().await.unwrap();
    let append = |writer: &crate::Writer| writer.append(&[NewRecord::new(NOW).value(b"v")]);
    append(&writer).await.unwrap().durable().await.unwrap();
    world.delete().await.unwrap();
    let fenced = append(&writer).await.unwrap().durable().await.unwrap_err();
    assert_eq!(fenced.kind(), ErrorKind::Fenced, "{fenced}");
}

#[tokio::test]
async fn with_now_one_call_deletes_all_and_a_log_that_cant_be_read_too() {
    let world = World::new().await;
    world.put(&world.partition.id().segment_key(50), "no segment").await;
    world.put(&format!("{PREFIX}notes.txt"), "somebody's").await;
    let error = world.partition.plan_delete(false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.hint(), Some("`kfs delete t/0 --now` deletes a log that can't be read"));
    let plan = world.partition.plan_delete(true).await.unwrap();
    assert_eq!((plan.segments, plan.high_watermark, plan.now), (6, None, true));
    let report = world.partition.delete(&plan).await.unwrap();
    assert_eq!((report.segments, report.bytes, report.foreign, report.wait), (6, plan.bytes, 1, None));
    assert_eq!(world.names().await, ["notes.txt"], "what is no part of a log stays");
    assert!(report.to_string().ends_with("the log is deleted; 1 object that is no part of a log stays"), "{report}");
    assert_eq!(world.other().append().await.unwrap(), 0);
}

#[tokio::test]
async fn a_log_of_many_pages_loses_all_its_objects() {
    let world = World::new().await;
    for base in (60..7_000).step_by(10) {
        world.put_segment(base, 10).await;
    }
    for stray in [5, 65, 6_999] {
        world.put(&world.partition.id().index_key(stray), "an index without its segment").await;
    }
    let before = world.bucket.requests();
    let plan = world.partition.plan_delete(true).await.unwrap();
    let report = world.partition.delete(&plan).await.unwrap();
    assert_eq!((plan.segments, report.segments), (700, 700));
    assert!(world.names().await.is_empty(), "{:?}", world.names().await);
    let RequestCounts { delete, list, .. } = world.bucket.requests().since(&before);
    // Each segment, its index, the strays, and the mark; nothing that is not there
    // but the checkpoint of a copy.
    assert_eq!(delete, 2 * 700 + 3 + 1 + 1);
    // Of 1,403 keys: the range twice, by probing; counting and removing 2 each; what is left 1.
    assert!(list <= 9, "{list} LISTs");
}

#[tokio::test]
async fn no_copy_is_put_in_the_place_of_a_log_that_was_deleted_within_a_day() {
    let world = World::new().await;
    world.clock.advance(BOUND);
    let source = world.bucket.partition("source", 0).unwrap();
    let writer = source.writer().await.unwrap();
    writer.append(&[NewRecord::new(NOW).value(b"v")]).await.unwrap().durable().await.unwrap();
    world.delete().await.unwrap();
    let options = crate::CopyOptions::default();
    let error = source.plan_copy(&world.partition, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "it has a log: {error}");
    world.delete_wholly().await;
    let error = source.plan_copy(&world.partition, &options).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(MARKER)), "{error}");
    assert!(error.hint().unwrap_or_default().contains("in 24 h 0 min"), "{error:#}");
    world.clock.advance(Duration::from_secs(24 * 3600));
    let plan = source.plan_copy(&world.partition, &options).await.unwrap();
    assert_eq!(source.copy(&world.partition, &plan).await.unwrap().next, 1);
}

#[tokio::test]
async fn a_lost_answer_of_a_delete_is_looked_after_before_the_next_segment_goes() {
    for action in [Action::ActThenFail(Failure::Unavailable), Action::Fail(Failure::Unavailable)] {
        let world = World::new().await;
        world.clock.advance(BOUND);
        world.faults.on(Op::Delete, "segment-00000000000000000010.kfs", action);
        world.delete().await.unwrap();
        assert_eq!(world.bases().await, [60]);
        let gone = world.faults.log();
        let gone = gone.iter().filter(|r| r.request.op == Op::Delete && r.request.key.ends_with(".kfs"));
        let gone: Vec<_> = gone.map(|r| r.request.key.clone()).collect();
        assert!(gone.is_sorted(), "{gone:?}");
    }
}

#[tokio::test]
async fn a_marker_that_cant_be_read_is_told_and_stops_the_deletion() {
    let world = World::new().await;
    for (bytes, kind) in [
        ("{", ErrorKind::Corrupt),
        (r#"{"version":1,"log_id":"","claim":"x","end":null,"stage":"begun"}"#, ErrorKind::Corrupt),
        (r#"{"version":1,"log_id":"","claim":null,"end":null,"stage":"begins"}"#, ErrorKind::Corrupt),
        (r#"{"version":2,"log_id":"","claim":null,"end":null,"stage":"begun"}"#, ErrorKind::Unsupported),
    ] {
        world.put(MARKER, bytes).await;
        let error = world.delete().await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (kind, Some(MARKER)), "{error}");
    }
    assert_eq!(world.bases().await.len(), 6);
}
