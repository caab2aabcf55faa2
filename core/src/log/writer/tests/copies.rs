//! Copies of one process: a VM snapshot that is resumed twice, CRIU, a fork. They have one writer id.

use super::*;
use crate::fork::tests::pretend_forked;

/// The same seed gives the same writer id, as a snapshot that is resumed twice.
async fn copies(world: &World, options: &WriterOptions) -> (Writer, Writer) {
    let (one, two) = (world.process_that_sends_once(1), world.process_that_sends_once(1));
    (one.writer(options.clone()).await, two.writer(options.clone()).await)
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_copy_of_the_process_does_not_take_other_bytes_under_its_id_for_its_own() {
    for on_conflict in [OnConflict::Takeover, OnConflict::Fence, OnConflict::Rebase] {
        let world = World::new();
        let (a, b) = copies(&world, &policy(on_conflict)).await;
        assert_eq!(append(&a, "from-a").await.unwrap(), (0, 0));
        assert_failed(append(&b, "from-b").await, ErrorKind::Fenced, Stored::Perhaps);
        assert_failed(append(&b, "from-b-2").await, ErrorKind::Fenced, Stored::Not);
        assert_eq!(append(&a, "from-a-2").await.unwrap(), (1, 1));
        assert_eq!(world.records().await, [(0, "from-a".into()), (1, "from-a-2".into())], "{on_conflict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_both_copies_sent_is_one_and_both_know_it() {
    let world = World::new();
    let (a, b) = copies(&world, &options()).await;
    // Both were resumed with the same flush under way.
    assert_eq!(append(&a, "same").await.unwrap(), (0, 0));
    assert_eq!(append(&b, "same").await.unwrap(), (0, 0));
    assert_eq!(append(&a, "from-a").await.unwrap(), (1, 1));
    assert_failed(append(&b, "from-b").await, ErrorKind::Fenced, Stored::Perhaps);
    assert_eq!(world.records().await, [(0, "same".into()), (1, "from-a".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_forked_child_is_refused_and_sends_nothing() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "parent").await.unwrap();
    let sent = process.requests();
    pretend_forked(true);
    assert_failed(append(&writer, "child").await, ErrorKind::Closed, Stored::Not);
    assert_failed(writer.try_append_batches(batch(&["child"])), ErrorKind::Closed, Stored::Not);
    assert_failed(writer.append(&[record("child")]).await, ErrorKind::Closed, Stored::Not);
    assert_failed(writer.claim().await, ErrorKind::Closed, Stored::Not);
    assert_eq!(writer.flush().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(writer.close(None).await.unwrap_err().kind(), ErrorKind::Closed);
    let other = process.bucket.partition("orders", 1).unwrap().writer_with(options()).await;
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(process.requests(), sent);
    pretend_forked(false);
    assert_eq!(append(&writer, "parent-2").await.unwrap(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_forked_child_does_not_send_what_was_buffered_before_the_fork() {
    let world = World::new();
    let process = world.process(1);
    let writer = process.writer(options()).await;
    append(&writer, "parent").await.unwrap();
    let sent = process.requests();
    let buffered = writer.append_batches(batch(&["buffered"])).await.unwrap();
    pretend_forked(true);
    // The parent may store it.
    assert_failed(buffered.durable().await, ErrorKind::Closed, Stored::Perhaps);
    process.bucket.runtime().clock().sleep(Duration::from_secs(1)).await;
    pretend_forked(false);
    assert_failed(buffered.durable().await, ErrorKind::Closed, Stored::Not);
    assert_eq!(process.requests(), sent);
}
