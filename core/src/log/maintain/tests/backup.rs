//! Backups, and what is restored from them.

use super::*;
use crate::format::BackupName;
use crate::log::maintain::{Backup, BackupOptions, BackupRetention, BackupStage, CopyOptions};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn name(name: &str) -> BackupName {
    BackupName::new(name).unwrap()
}

impl World {
    /// The log, and another one of two records.
    async fn sources(&self) -> Vec<Partition> {
        let other = self.bucket.partition("u", 3).unwrap();
        if other.refresh().await.is_err() {
            let writer = other.writer().await.unwrap();
            for value in [&b"a"[..], b"b"] {
                writer.append(&[NewRecord::new(NOW).value(value)]).await.unwrap().durable().await.unwrap();
            }
            writer.close(None).await.unwrap();
        }
        vec![self.partition.clone(), other]
    }

    async fn back_up(&self, called: &str, options: &BackupOptions) -> Result<Backup> {
        let sources = self.sources().await;
        let plan = self.bucket.plan_backup(&name(called), &sources, options).await?;
        through(self, self.bucket.back_up(&plan)).await
    }

    async fn faults(&self, called: &str, deep: bool) -> Vec<String> {
        let backup = self.other().bucket.backup(&name(called)).await.unwrap();
        backup.verify(deep).await.unwrap().iter().map(ToString::to_string).collect()
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let listed: Vec<_> = self.faults.inner().list(Some(&Path::from(prefix))).collect().await;
        listed.into_iter().map(|meta| meta.unwrap().location.to_string()).collect()
    }
}

/// Where the segment of a backup's first partition stands.
fn in_backup(called: &str, file: &str) -> String {
    format!(".kfs-backups/{called}/{PREFIX}{file}")
}

#[tokio::test]
async fn a_backup_holds_what_its_document_says_and_is_restored() {
    let world = World::new().await;
    let sources = world.sources().await;
    let plan = world.bucket.plan_backup(&name("monday"), &sources, &BackupOptions::default()).await.unwrap();
    let told = format!("monday: the backup of 2 partitions; 8 segments with {} bytes are copied", plan.bytes());
    assert_eq!(plan.to_string(), told);
    assert!(world.keys(".kfs-backups").await.is_empty(), "a plan writes nothing");
    let made = world.bucket.back_up(&plan).await.unwrap();
    assert_eq!(made.stage(), BackupStage::Complete);
    // What is appended later is not in it.
    let writer = world.partition.writer().await.unwrap();
    writer.append(&[NewRecord::new(NOW).value(b"later")]).await.unwrap().durable().await.unwrap();
    writer.close(None).await.unwrap();

    let backup = world.other().bucket.backup(&name("monday")).await.unwrap();
    let counts =
        backup.partitions().iter().map(|p| (p.partition.to_string(), p.log_start, p.end, p.segments, p.records));
    assert_eq!(counts.collect::<Vec<_>>(), [("t/0".to_owned(), 0, 60, 6, 60), ("u/3".to_owned(), 0, 2, 2, 2)]);
    assert_eq!(backup.partitions()[0].max_timestamp_ms, Some(NOW));
    assert_eq!(backup.bytes(), plan.bytes());
    assert!(world.faults("monday", false).await.is_empty() && world.faults("monday", true).await.is_empty());

    let source = backup.partition(world.partition.id()).unwrap();
    let target = world.other().bucket.partition("restored", 7).unwrap();
    let plan = source.plan_copy(&target, &CopyOptions::default().to(33)).await.unwrap();
    source.copy(&target, &plan).await.unwrap();
    assert_eq!(target.refresh().await.unwrap().high_watermark, 33);
    // It is listed among the backups, and not among the topics.
    assert_eq!(world.bucket.backups().await.unwrap().len(), 1);
    let topics = world.bucket.topics().await.unwrap();
    assert_eq!(topics.iter().map(|topic| topic.as_str()).collect::<Vec<_>>(), ["restored", "t", "u"]);
    let missing = backup.partition(target.id()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
}

#[tokio::test]
async fn a_backup_that_was_interrupted_goes_on_as_of_its_beginning() {
    let world = World::new().await;
    world.faults.on(
        Op::Put,
        in_backup("m", "segment-00000000000000000030.kfs"),
        Action::Fail(Failure::PermissionDenied),
    );
    let options = BackupOptions::default();
    assert_eq!(world.back_up("m", &options).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    let begun = world.bucket.backup(&name("m")).await.unwrap();
    assert_eq!(begun.stage(), BackupStage::Begun);
    for refused in [begun.partition(world.partition.id()).unwrap_err(), begun.verify(false).await.unwrap_err()] {
        assert_eq!((refused.kind(), refused.message()), (ErrorKind::Conflict, "the backup m is not complete"));
    }
    let writer = world.partition.writer().await.unwrap();
    writer.append(&[NewRecord::new(NOW).value(b"later")]).await.unwrap().durable().await.unwrap();
    writer.close(None).await.unwrap();
    let fewer =
        world.bucket.plan_backup(&name("m"), std::slice::from_ref(&world.partition), &options).await.unwrap_err();
    assert_eq!((fewer.kind(), fewer.message()), (ErrorKind::Conflict, "the backup m was begun of other partitions"));
    let other = world.back_up("m", &BackupOptions::default().segment_size(9_000)).await.unwrap_err();
    assert_eq!(other.message(), "the backup m was begun segment by segment, and not in segments of 9000 bytes");
    world.faults.clear_log();
    let done = world.back_up("m", &options).await.unwrap();
    assert_eq!(done.partitions()[0].end, 60, "as of its beginning");
    let again =
        world.faults.count_of(Op::Put, KeyMatcher::containing("m/default/t/0/segment-00000000000000000000.kfs"));
    assert_eq!(again, 0, "no segment is copied twice");
    assert!(world.faults("m", true).await.is_empty());
    let twice = world.back_up("m", &options).await.unwrap_err();
    assert_eq!((twice.kind(), twice.message()), (ErrorKind::Conflict, "the backup m is there already"));
}

#[tokio::test]
async fn what_is_missing_or_changed_is_found_by_the_look_that_can_see_it() {
    let world = World::new().await;
    let spoil = |file: &'static str, bytes: Option<Vec<u8>>| {
        let world = &world;
        async move {
            use object_store::ObjectStoreExt;
            let path = Path::from(in_backup("m", file));
            let before = world.faults.inner().get(&path).await.unwrap().bytes().await.unwrap();
            match bytes {
                Some(bytes) => drop(world.faults.inner().put(&path, bytes.into()).await.unwrap()),
                None => world.faults.inner().delete(&path).await.unwrap(),
            }
            (path, before)
        }
    };
    let restore = |(path, before): (Path, bytes::Bytes)| {
        let world = &world;
        async move {
            use object_store::ObjectStoreExt;
            world.faults.inner().put(&path, before.into()).await.unwrap();
        }
    };
    world.back_up("m", &BackupOptions::default()).await.unwrap();
    let index = "segment-00000000000000000010.index";
    let gone = spoil(index, None).await;
    let expected = format!("t/0: {} has no index", in_backup("m", "segment-00000000000000000010.kfs"));
    assert_eq!(world.faults("m", false).await, [expected]);
    restore(gone).await;
    let segment = "segment-00000000000000000010.kfs";
    let gone = spoil(segment, None).await;
    assert!(
        world.faults("m", false).await.iter().any(|fault| fault.contains("it has 5 segments, and the document says 6"))
    );
    let mut flipped = gone.1.to_vec();
    flipped[200] ^= 1;
    restore(gone.clone()).await;
    let whole = spoil(segment, Some(flipped)).await;
    assert!(world.faults("m", false).await.is_empty(), "the size is right");
    let found = world.faults("m", true).await;
    assert!(found.len() == 1 && found[0].contains("corrupt"), "{found:?}");
    restore(whole).await;
    // Another segment of the same size and counts, sound in itself.
    let mut builder = SegmentBuilder::new(10, NOW, 5).unwrap();
    for _ in 0..10 {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        batch.push(&NewRecord::new(NOW).value(b"w")).unwrap();
        builder.push(&batch.finish(0).unwrap(), None).unwrap();
    }
    spoil(segment, Some(builder.finish().unwrap().chunks.concat())).await;
    assert!(world.faults("m", false).await.is_empty());
    let found = world.faults("m", true).await;
    assert!(found.len() == 1 && found[0].contains("the CRC-32C of its segments is"), "{found:?}");
}

#[tokio::test]
async fn the_oldest_backups_expire_and_an_interrupted_removal_is_finished() {
    let world = World::new().await;
    for called in ["a", "b", "c"] {
        world.back_up(called, &BackupOptions::default()).await.unwrap();
        world.clock.advance(DAY);
    }
    world.faults.on(
        Op::Put,
        in_backup("d", "segment-00000000000000000030.kfs"),
        Action::Fail(Failure::PermissionDenied),
    );
    world.back_up("d", &BackupOptions::default()).await.unwrap_err();
    let of = async |retention: BackupRetention| {
        let plan = world.bucket.plan_expire_backups(&retention).await.unwrap();
        let names = |names: &[BackupName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        (names(&plan.expired), names(&plan.kept))
    };
    let none = BackupRetention::default();
    assert_eq!(of(none.clone().keep(2)).await, ("a".to_owned(), "b c d".to_owned()));
    assert_eq!(of(none.clone().younger_than(DAY * 2)).await, ("a b".to_owned(), "c d".to_owned()));
    assert_eq!(of(none.clone().keep(2).younger_than(DAY)).await, ("a".to_owned(), "b c d".to_owned()));
    assert_eq!(of(none.clone().keep(0).younger_than(Duration::ZERO)).await, ("a b c d".to_owned(), String::new()));
    assert_eq!(world.bucket.plan_expire_backups(&none).await.unwrap_err().kind(), ErrorKind::InvalidInput);

    let plan = world.bucket.plan_expire_backups(&none.clone().keep(2)).await.unwrap();
    let told = format!("1 backup with {} bytes is removed: a; 3 backups stay", plan.bytes);
    assert_eq!(plan.to_string(), told);
    world.faults.on(
        Op::Delete,
        in_backup("a", "segment-00000000000000000030.kfs"),
        Action::Fail(Failure::PermissionDenied),
    );
    world.bucket.expire_backups(&plan).await.unwrap_err();
    let half = world.bucket.backup(&name("a")).await.unwrap();
    assert_eq!(half.stage(), BackupStage::Expiring);
    assert_eq!(half.partition(world.partition.id()).unwrap_err().message(), "the backup a is being removed");
    // It goes whatever the limits are.
    let plan = world.bucket.plan_expire_backups(&none.keep(100)).await.unwrap();
    world.bucket.expire_backups(&plan).await.unwrap();
    assert!(
        world.keys(".kfs-backups/a").await.is_empty() && world.keys(".kfs-jobs/copy/.kfs-backups/a").await.is_empty()
    );
    assert_eq!(world.bucket.backups().await.unwrap().len(), 3);
    assert!(world.faults("b", true).await.is_empty());
}

#[tokio::test]
async fn what_makes_no_backup_is_refused() {
    let world = World::new().await;
    let options = BackupOptions::default();
    let one = world.partition.clone();
    for (partitions, options, kind) in [
        (vec![], options.clone(), ErrorKind::InvalidInput),
        (vec![one.clone(), one.clone()], options.clone(), ErrorKind::InvalidInput),
        (vec![one.clone()], options.clone().at_once(0), ErrorKind::InvalidInput),
        (vec![one.clone()], options.clone().segment_size(0), ErrorKind::InvalidInput),
        (vec![world.bucket.partition("none", 0).unwrap()], options.clone(), ErrorKind::NotFound),
    ] {
        let error = world.bucket.plan_backup(&name("m"), &partitions, &options).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(world.bucket.backup(&name("m")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(BackupName::new("../m").is_err() && BackupName::new("").is_err());
    for bytes in ["{", r#"{"version":1,"stage":"done","created_ms":0,"segment_size":null,"partitions":[]}"#] {
        world.put(".kfs-backups/m/backup.json", bytes).await;
        let error = world.bucket.backup(&name("m")).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(".kfs-backups/m/backup.json")), "{error}");
    }
}
