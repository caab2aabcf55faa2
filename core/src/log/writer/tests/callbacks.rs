//! How callers learn of outcomes, and that nothing of theirs can break that.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_harms_no_other_append() {
    let world = World::new();
    let process = world.process(1);
    let slow = policy(OnConflict::Rebase).batch_bytes(1).flush_interval(Duration::from_secs(3_600));
    let writer = process.writer(slow).await;
    let one = writer.append_batches(batch(&["a"])).await.unwrap();
    let two = writer.append_batches(batch(&["b"])).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    one.on_settled(Interest::Observes, |_| panic!("a caller's fault, on purpose"));
    let again = told.clone();
    one.on_settled(Interest::Observes, move |outcome| again.lock().unwrap().push(outcome.unwrap().base));
    let next = told.clone();
    two.on_settled(Interest::Observes, move |outcome| next.lock().unwrap().push(outcome.unwrap().base));
    writer.flush().await.unwrap();
    assert_eq!(two.durable().await.unwrap().base, 1);
    assert_eq!(append(&writer, "c").await.unwrap(), (2, 2));
    writer.close(None).await.unwrap();
    assert_eq!(*told.lock().unwrap(), [0, 1]);
    assert_eq!(process.bucket.buffered_bytes(), 0);
}

/// Panics when it is dropped.
struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a caller's fault, on purpose");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_callback_whose_drop_panics_harms_nobody() {
    for settled in [false, true] {
        let process = World::new().process(1);
        let slow = policy(OnConflict::Rebase).flush_interval(Duration::from_secs(3_600));
        let writer = process.writer(slow).await;
        let one = writer.append_batches(batch(&["a"])).await.unwrap();
        if settled {
            writer.flush().await.unwrap();
        }
        let (held, told) = (PanicsOnDrop, Arc::new(AtomicBool::new(false)));
        one.on_settled(Interest::Observes, move |_| drop(held));
        let next = told.clone();
        one.on_settled(Interest::Observes, move |_| next.store(true, Ordering::SeqCst));
        writer.close(None).await.unwrap();
        assert!(told.load(Ordering::SeqCst));
        assert_eq!(process.bucket.buffered_bytes(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_harms_no_other_append() {
    use futures_util::FutureExt;
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("an executor's fault, on purpose");
        }
    }
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    let one = writer.append_batches(batch(&["a"])).await.unwrap();
    let waker = std::task::Waker::from(Arc::new(Panics));
    let mut waits = Box::pin(one.durable());
    assert!(waits.poll_unpin(&mut std::task::Context::from_waker(&waker)).is_pending());
    assert_eq!(append(&writer, "b").await.unwrap(), (1, 1));
    assert_eq!(one.outcome().unwrap().unwrap().base, 0);
    writer.close(None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_keeps_no_other_waiter_of_its_flush_asleep() {
    use futures_util::FutureExt;
    use std::task::{Context, Wake, Waker};
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("an executor's fault, on purpose");
        }
    }
    #[derive(Default)]
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let process = World::new().process(1);
    let writer = process.writer(policy(OnConflict::Rebase).flush_interval(Duration::from_secs(3_600))).await;
    let one = writer.append_batches(batch(&["a"])).await.unwrap();
    let two = writer.append_batches(batch(&["b"])).await.unwrap();
    let (mut hostile, mut other) = (Box::pin(one.durable()), Box::pin(two.durable()));
    assert!(hostile.poll_unpin(&mut Context::from_waker(&Waker::from(Arc::new(Panics)))).is_pending());
    let woken = Arc::new(Woken::default());
    assert!(other.poll_unpin(&mut Context::from_waker(&Waker::from(woken.clone()))).is_pending());
    writer.flush().await.unwrap();
    assert!(woken.0.load(Ordering::SeqCst));
    writer.close(None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fenced_callback_may_open_the_partition_again() {
    let world = World::new();
    let (one, two) = (world.process(1), world.process(2));
    let old = one.writer(options()).await;
    append(&old, "a").await.unwrap();
    let new = two.writer(options()).await;
    append(&new, "b").await.unwrap();
    let pending = old.append_batches(batch(&["c"])).await.unwrap();
    let (partition, state) = (one.partition(), one.partition().state().clone());
    let (send, opened) = tokio::sync::oneshot::channel();
    pending.on_settled(Interest::Waits, move |outcome| {
        // What comes after the callback must not be what frees the place. (A panic in here would be caught.)
        let reserved = (old.failure().is_some(), state.reserve(true).map(drop));
        tokio::spawn(async move {
            let kind = outcome.unwrap_err().kind();
            let _ = send.send((kind, reserved, partition.writer_with(options()).await.map(drop)));
        });
    });
    let (kind, (failed, reserved), opened) = opened.await.unwrap();
    assert_eq!(kind, ErrorKind::Fenced);
    assert!(failed);
    reserved.unwrap();
    opened.unwrap();
}

#[test]
fn an_idle_writer_ends_when_its_runtime_was_shut_down() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let on = BucketOptions::default().runtime(Runtime::tokio(runtime.handle().clone()));
    let bucket = Bucket::open_with("memory:", on).unwrap();
    let open = |number| {
        let partition = bucket.partition("orders", number).unwrap();
        runtime.block_on(async {
            let writer = partition.writer_with(options()).await.unwrap();
            append(&writer, "x").await.unwrap();
            writer
        })
    };
    let (appending, flushing, closing) = (open(0), open(1), open(2));
    let metrics = runtime.metrics();
    while metrics.num_alive_tasks() > 0 {
        std::thread::yield_now();
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(async {
        let pending = appending.append_batches(batch(&["y"])).await.unwrap();
        assert_failed(pending.durable().await, ErrorKind::Closed, Stored::Not);
        assert!(appending.close(None).await.is_err());
        assert_failed(appending.append_batches(batch(&["z"])).await, ErrorKind::Closed, Stored::Not);
        assert_eq!(appending.flush().await.unwrap_err().kind(), ErrorKind::Closed, "an append was lost");
        flushing.flush().await.unwrap();
        assert!(flushing.claim().await.is_err());
        closing.close(Some(Duration::from_secs(1))).await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_returns_after_the_callbacks_of_what_it_covers() {
    let bucket = Bucket::open("memory:").unwrap();
    let writer = bucket.partition("orders", 0).unwrap().writer_with(options()).await.unwrap();
    let pending = writer.append_batches(batch(&["a"])).await.unwrap();
    pending.durable().await.unwrap();
    let (enter, entered) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let returned = Arc::new(AtomicBool::new(false));
    let done = returned.clone();
    pending.on_settled(Interest::Observes, move |_| {
        let _ = enter.send(());
        let _ = released.recv();
        done.store(true, Ordering::Release);
    });
    entered.await.unwrap();
    let mut close = Box::pin(writer.close(None));
    assert!(futures_util::poll!(&mut close).is_pending(), "a callback runs, though nothing is left to flush");
    release.send(()).unwrap();
    close.await.unwrap();
    assert!(returned.load(Ordering::Acquire));
}

/// Runs code on a thread of its own, and fails if it never returns. The limit is for code that hangs.
fn returns(code: impl FnOnce() + Send + 'static) {
    let (done, returned) = std::sync::mpsc::channel();
    let run = move || {
        code();
        let _ = done.send(());
    };
    std::thread::Builder::new().spawn(run).unwrap();
    returned.recv_timeout(Duration::from_secs(20)).expect("it hangs, or panicked");
}

/// A waker that owns something, as that of an executor owns its task. Its last clone drops that.
struct Owns(#[allow(dead_code, reason = "it is dropped with it")] Mutex<Option<Box<dyn std::any::Any + Send>>>);

impl std::task::Wake for Owns {
    fn wake(self: Arc<Self>) {}
}

fn owning(owned: impl std::any::Any + Send) -> std::task::Waker {
    std::task::Waker::from(Arc::new(Owns(Mutex::new(Some(Box::new(owned))))))
}

/// A writer whose buffer has room for little more, and what is under way in it.
async fn nearly_full() -> (Process, Writer, crate::Append) {
    let process = World::new().process_with(1, BucketOptions::default().buffer_bytes(400));
    process.faults.on(Op::Put, ".kfs", Action::Hold(Gate::new()));
    let writer = process.writer(policy(OnConflict::Rebase).flush_interval(Duration::from_secs(3_600))).await;
    let buffered = writer.append_batches(batch(&["a"])).await.unwrap();
    (process, writer, buffered)
}

#[tokio::test(start_paused = true)]
async fn the_waker_of_a_waiting_append_may_own_another_one_that_gives_way_when_it_is_dropped() {
    use futures_util::FutureExt;
    use std::task::{Context, Waker};
    for polled_again in [true, false] {
        let (process, writer, buffered) = nearly_full().await;
        let large = writer.append_batches(batch(&[&"x".repeat(250)]));
        let mut small = writer.append_batches(batch(&["b"]));
        assert_eq!(format!("{large:?} {small:?}"), "Admission(waiting) Admission(waiting)");
        // Only the waker of the small one holds the large one, which is before it in the line.
        let waker = owning(large);
        assert!(small.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        returns(move || match polled_again {
            true => drop(small.poll_unpin(&mut Context::from_waker(Waker::noop()))),
            false => drop(small),
        });
        drop((process, writer, buffered));
    }
}

#[tokio::test(start_paused = true)]
async fn the_waker_of_a_watch_may_append_when_it_is_dropped() {
    use futures_util::FutureExt;
    use std::task::{Context, Waker};
    struct AppendsOnDrop(Writer);
    impl Drop for AppendsOnDrop {
        fn drop(&mut self) {
            drop(self.0.try_append_batches(batch(&["b"])));
        }
    }
    let process = World::new().process(1);
    let writer = process.writer(options()).await;
    append(&writer, "a").await.unwrap();
    let mut watch = crate::Watch::new();
    watch.add(&process.partition());
    watch.changed().await.unwrap();
    let waker = owning(AppendsOnDrop(writer.clone()));
    assert!(Box::pin(watch.changed()).poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    let handle = tokio::runtime::Handle::current();
    returns(move || {
        let _runtime = handle.enter();
        drop(Box::pin(watch.changed()).poll_unpin(&mut Context::from_waker(Waker::noop())));
    });
    writer.close(None).await.unwrap();
}
