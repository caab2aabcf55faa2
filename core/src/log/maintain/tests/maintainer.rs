//! Maintenance in rounds.

use super::*;
use crate::log::maintain::{
    Maintainer, MaintainerOptions, MaintenancePolicy, MaintenanceStep, MergePolicy, RetentionPolicy,
};

/// Keeps offsets from 20 on, and merges all that is small.
fn policy() -> MaintenancePolicy {
    MaintenancePolicy::default()
        .retention(RetentionPolicy::default().start_offset(20))
        .merge(MergePolicy::default().min_size(0).grace(Duration::from_secs(900)))
}

impl World {
    /// One round for these partitions, and what it says.
    async fn round(&self, maintainer: &mut Maintainer, partitions: &[(Partition, MaintenancePolicy)]) -> Vec<String> {
        let mut said = Vec::new();
        through(self, maintainer.round(partitions, |step| said.push(step.to_string()))).await;
        said
    }
}

#[tokio::test]
async fn a_round_retains_merges_and_says_what_it_did() {
    let world = World::new().await;
    world.clock.advance(BOUND);
    let of = [(world.partition.clone(), policy())];
    let mut maintainer = Maintainer::new(&world.bucket, MaintainerOptions::default());
    let planned: Vec<_> = maintainer.plan(&of).await.iter().map(ToString::to_string).collect();
    assert!(planned.len() == 2 && planned[0].contains("the log start moves from 0 to 20"), "{planned:?}");
    assert_eq!(world.bases().await.len(), 6, "a plan changes nothing");
    let said = world.round(&mut maintainer, &of).await;
    assert!(said[0].contains("the log starts at 20, and 2 segments with"), "{said:?}");
    assert!(said[1].contains("3 segments were merged into 1"), "{said:?}");
    assert_eq!(said.len(), 2);
    assert_eq!(world.bases().await, [20, 30, 40, 50]);
    assert!(world.round(&mut maintainer, &of).await.is_empty(), "nothing is left to do");
    world.clock.advance(Duration::from_secs(901) + BOUND);
    let of = [(world.partition.clone(), policy().log_manifest(true))];
    let said = world.round(&mut maintainer, &of).await;
    assert!(said.len() == 2 && said[0].contains("2 segments with"), "{said:?}");
    assert_eq!(world.bases().await, [20, 50]);
    assert!(said[1].starts_with("default/t/0/log.manifest was written: it names 2 segments"), "{said:?}");
    assert!(world.round(&mut maintainer, &of).await.is_empty(), "nothing changed that a manifest could tell");
}

#[tokio::test]
async fn a_failure_ends_the_step_and_not_the_round_and_what_is_gone_needs_nothing() {
    let world = World::new().await;
    world.clock.advance(BOUND);
    let other = world.bucket.partition("u", 0).unwrap();
    other.create(0).await.unwrap();
    let writer = other.writer().await.unwrap();
    writer.append(&[NewRecord::new(NOW).value(b"v")]).await.unwrap().durable().await.unwrap();
    writer.close(None).await.unwrap();
    let gone = world.bucket.partition("gone", 0).unwrap();
    let past = MaintenancePolicy::default().retention(RetentionPolicy::default().start_offset(-1));
    let of = [(other, past), (gone, policy()), (world.partition.clone(), policy())];
    let mut maintainer = Maintainer::new(&world.bucket, MaintainerOptions::default());
    let said = world.round(&mut maintainer, &of).await;
    assert_eq!(said[0], "u/0: retention failed: invalid input: a log can't start below offset 0");
    assert!(said.len() == 3 && said[2].contains("t/0: 3 segments were merged"), "{said:?}");
}

#[tokio::test]
async fn a_deletion_that_was_begun_is_finished() {
    let world = World::new().await;
    world.clock.advance(BOUND);
    let plan = world.partition.plan_delete(false).await.unwrap();
    world.partition.delete(&plan).await.unwrap();
    let of = [(world.partition.clone(), policy())];
    let mut maintainer = Maintainer::new(&world.bucket, MaintainerOptions::default());
    for expected in ["1 segment with", "and the log is deleted"] {
        world.clock.advance(BOUND);
        let planned: Vec<_> = maintainer.plan(&of).await.iter().map(ToString::to_string).collect();
        assert_eq!(planned, ["t/0: the deletion that was begun goes on"]);
        let said = world.round(&mut maintainer, &of).await;
        assert!(said.len() == 1 && said[0].contains(expected), "{said:?}");
    }
    assert!(world.names().await.is_empty());
    assert!(world.round(&mut maintainer, &of).await.is_empty());
}

#[tokio::test]
async fn a_round_ends_after_so_many_requests_and_the_next_begins_there() {
    let world = World::new().await;
    for topic in ["a", "b", "c"] {
        world.bucket.partition(topic, 0).unwrap().create(0).await.unwrap();
    }
    let of: Vec<_> = ["a", "b", "c"].map(|topic| (world.bucket.partition(topic, 0).unwrap(), policy())).to_vec();
    let mut maintainer = Maintainer::new(&world.bucket, MaintainerOptions::default().max_requests(1));
    let looked = || {
        let log = world.faults.log();
        let of = |topic: &str| log.iter().any(|r| r.request.key.contains(&format!("default/{topic}/0")));
        ["a", "b", "c"].into_iter().filter(|topic| of(topic)).collect::<String>()
    };
    for (first, expected) in [("a", 2), ("b", 2), ("c", 2), ("a", 2)] {
        world.faults.clear_log();
        assert_eq!(world.round(&mut maintainer, &of).await, [format!("{expected} partitions wait for the next round")]);
        assert_eq!(looked(), first);
    }
}

#[tokio::test]
async fn the_manifest_is_written_before_anything_that_it_names_goes() {
    let world = World::new().await;
    world.clock.advance(BOUND);
    let of = [(world.partition.clone(), policy())];
    let options = MaintainerOptions::default().kafscale_manifest(true);
    let mut maintainer = Maintainer::new(&world.bucket, options.clone());
    // It can't be written: then nothing that it names is removed.
    world.faults.on(Op::Put, "default/manifest.json", Action::Fail(Failure::PermissionDenied));
    let said = world.round(&mut maintainer, &of).await;
    assert!(
        said.iter().any(|said| said.starts_with("writing the manifest for KafScale failed: permission denied")),
        "{said:?}"
    );
    assert_eq!(world.bases().await.len(), 6);
    world.clock.advance(BOUND);
    world.faults.clear_log();
    let mut steps = Vec::new();
    through(&world, maintainer.round(&of, |step| steps.push(step.clone()))).await;
    let kinds: Vec<_> = steps
        .iter()
        .map(|step| match step {
            MaintenanceStep::ManifestWritten(_) => "manifest",
            MaintenanceStep::Retained(_) => "retained",
            MaintenanceStep::Merged(_) => "merged",
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(kinds, ["manifest", "retained", "merged", "manifest"]);
    let log = world.faults.log();
    let first =
        |op: Op, key: &str| log.iter().position(|r| r.request.op == op && r.request.key.ends_with(key)).unwrap();
    assert!(first(Op::Put, "manifest.json") < first(Op::Delete, ".kfs"));
}
