//! A forked child: whatever it asks of its parent's handles is refused at once and sends nothing, and it can open its own.

#![cfg(unix)]
#![allow(unsafe_code, reason = "a fork is unsafe in Rust")]

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use kfs_core::blocking::{self, Cancel, Wait};
use kfs_core::format::NewRecord;
use kfs_core::queue::{CompletionQueue, Ended};
use kfs_core::{
    BucketOptions, ErrorKind, FetchOptions, FetchRequest, ScanBudget, Stored, Watch, Writer, WriterOptions,
};

/// Seconds after which a child that hangs is ended by a signal.
const HANGS: u32 = 20;

/// Runs `code` in a forked child and gives what it returned. `None`: it did not return.
fn in_child(code: impl FnOnce() -> String) -> Option<String> {
    let (mut answer, mut child_answer) = std::io::pipe().unwrap();
    // SAFETY: the child calls the code and ends without returning. Only tests depend on that it may allocate there, which
    // the C libraries that they run on allow.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no fork");
    if pid == 0 {
        // SAFETY: these calls touch no memory of Rust's.
        unsafe {
            libc::close(answer.as_raw_fd());
            libc::alarm(HANGS);
        }
        let _ = child_answer.write_all(code().as_bytes());
        // SAFETY: as above; nothing is dropped, and no other thread is there.
        unsafe { libc::_exit(0) }
    }
    drop(child_answer);
    let mut told = String::new();
    answer.read_to_string(&mut told).unwrap();
    let mut status = 0;
    // SAFETY: the status is a valid place, and the child is this process's own.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    (status == 0).then_some(told)
}

fn told<T>(result: kfs_core::Result<T>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(error) => format!("{:?} {:?}", error.kind(), error.stored()),
    }
}

fn refused(stored: Option<Stored>) -> String {
    format!("{:?} {stored:?}", ErrorKind::Closed)
}

struct Parent {
    _directory: tempfile::TempDir,
    url: String,
    bucket: kfs_core::Bucket,
    writer: Writer,
}

/// A bucket with a partition of one durable record.
fn parent() -> Parent {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let bucket = blocking::open(&url, BucketOptions::default()).unwrap();
    let options = WriterOptions::default().flush_interval(Duration::from_secs(3600));
    let writer = Wait::forever().on(bucket.partition("orders", 0).unwrap().writer_with(options)).unwrap();
    Wait::forever().on(Wait::forever().on(writer.append(&[record()])).unwrap().durable()).unwrap();
    Parent { _directory: directory, url, bucket, writer }
}

fn record() -> NewRecord<'static> {
    NewRecord::new(1).value(b"v")
}

#[test]
fn a_forked_child_is_refused_whatever_it_asks_and_never_waits() {
    let Parent { bucket, writer, .. } = &parent();
    let partition = bucket.partition("orders", 0).unwrap();
    let reader = partition.reader();
    let listed = Wait::forever().on(partition.segments(..).all()).unwrap();
    let segment = partition.segment_of(&listed[0]);
    let mut records = reader.records(0);
    let mut followed = reader.follow_records(1);
    let mut pages = partition.segments(..);
    let mut watch = Watch::new();
    watch.add(&partition);
    let buffered = Wait::forever().on(writer.append(&[record()])).unwrap();
    let request = || FetchRequest::new([(&reader, 1, 100)]).min_bytes(1).max_wait(Duration::from_secs(60));

    let (not, perhaps) = (refused(Some(Stored::Not)), refused(Some(Stored::Perhaps)));
    let closed = refused(None);
    let expect = |what: &str, expected: &str, code: &mut dyn FnMut() -> String| {
        assert_eq!(in_child(code).as_deref(), Some(expected), "{what}");
    };
    expect("append", &not, &mut || told(Wait::forever().on(writer.append(&[record()]))));
    expect("try_append", &not, &mut || told(writer.try_append(&[record()])));
    expect("claim", &not, &mut || told(Wait::forever().on(writer.claim())));
    expect("flush", &closed, &mut || told(Wait::forever().on(writer.flush())));
    expect("close", &closed, &mut || told(Wait::forever().on(writer.close(None))));
    expect("abandon", &closed, &mut || told(writer.abandon()));
    expect("failure", &closed, &mut || told(writer.failure().map_or(Ok(()), Err)));
    expect("status", "failed", &mut || writer.status().phase.name().into());
    expect("durable", &perhaps, &mut || told(Wait::forever().on(buffered.durable())));
    expect("final offsets", "None", &mut || format!("{:?}", buffered.final_offsets()));
    expect("open a writer", &closed, &mut || told(Wait::forever().on(partition.writer())));
    expect("create", &closed, &mut || told(Wait::forever().on(partition.create(0))));
    expect("refresh", &closed, &mut || told(Wait::forever().on(partition.refresh())));
    expect("earliest", &closed, &mut || told(Wait::forever().on(partition.earliest())));
    expect("watermarks", "None", &mut || format!("{:?}", partition.watermarks()));
    expect("partition", &closed, &mut || {
        told(bucket.partition("other", 1).and_then(|it| Wait::forever().on(it.refresh())))
    });
    expect("topics", &closed, &mut || told(Wait::forever().on(bucket.topics())));
    expect("partitions", &closed, &mut || told(Wait::forever().on(bucket.partitions("orders"))));
    expect("close the bucket", &closed, &mut || told(Wait::forever().on(bucket.close(Duration::from_secs(1)))));
    expect("fetch", &closed, &mut || told(Wait::forever().on(reader.fetch(0, 100))));
    expect("fetch_many", &closed, &mut || told(Wait::forever().on(bucket.fetch_many(&request()))));
    expect("offset for a timestamp", &closed, &mut || told(Wait::forever().on(partition.offset_for_timestamp(1))));
    expect("records", &closed, &mut || told(Wait::forever().on(records.next())));
    expect("follow", &closed, &mut || told(Wait::forever().on(followed.next())));
    expect("segments", &closed, &mut || told(Wait::forever().on(pages.next_page())));
    expect("segment", &closed, &mut || told(Wait::forever().on(segment.bytes())));
    expect("fetch of a segment", &closed, &mut || told(Wait::forever().on(segment.fetch(.., 100))));
    expect("watch", &closed, &mut || told(Wait::forever().on(watch.changed())));
    expect("watch of the child", &closed, &mut || {
        let mut watch = Watch::new();
        watch.add(&partition);
        told(Wait::forever().on(watch.changed()))
    });
    expect("a follower of the child", &closed, &mut || told(Wait::forever().on(reader.follow(1).next())));
    let store = bucket.store();
    expect("the store", &closed, &mut || told(Wait::forever().on(store.head("default/orders/0/log.json"))));
    expect("trouble", "None", &mut || format!("{:?}", bucket.trouble().map(|_| ())));

    // What the child began and dropped left the parent as it was.
    Wait::forever().on(writer.flush()).unwrap();
    assert_eq!(Wait::forever().on(buffered.durable()).unwrap().last, 1);
    assert_eq!(Wait::forever().on(followed.next()).unwrap().unwrap().offset(), 1);
}

#[test]
fn operations_of_the_parents_handles_end_on_a_queue_of_the_child() {
    let Parent { bucket, writer, .. } = &parent();
    let reader = bucket.partition("orders", 0).unwrap().reader();
    let buffered = Wait::forever().on(writer.append(&[record()])).unwrap();
    let ended = in_child(|| {
        let queue = CompletionQueue::new();
        reader.fetch_on(0, FetchOptions::new(100), &queue, 1);
        buffered.complete_on(&queue, 2);
        writer.append(&[record()]).complete_on(&queue, 3);
        writer.flush_on(&queue, 4);
        writer.close_on(None, &queue, 5);
        let completions = queue.poll_many(5, None).unwrap();
        let told = completions.into_iter().map(|completion| match completion.ended {
            Ended::Fetch(fetched) => told(fetched),
            Ended::Append(appended) => told(appended),
            Ended::Flush(ended) | Ended::Close(ended) => told(ended),
            other => format!("{other:?}"),
        });
        told.collect::<Vec<_>>().join(", ")
    });
    let expected = [None, Some(Stored::Perhaps), Some(Stored::Not), None, None].map(refused).join(", ");
    assert_eq!(ended, Some(expected));
}

#[test]
fn a_child_of_a_parent_whose_threads_hold_locks_is_refused_all_the_same() {
    let Parent { bucket, writer, .. } = &parent();
    let partition = bucket.partition("orders", 0).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ = writer.try_append(&[record()]);
                    let _ = (writer.status(), partition.watermarks(), bucket.buffered_bytes());
                }
            });
        }
        for _ in 0..40 {
            let code = || {
                let append = told(writer.try_append(&[record()]));
                let _ = (writer.status(), partition.watermarks(), bucket.buffered_bytes(), bucket.trouble());
                drop((writer.clone(), bucket.partition_of(partition.id().clone())));
                append
            };
            let ended = in_child(code);
            if ended != Some(refused(Some(Stored::Not))) {
                stop.store(true, Ordering::Relaxed);
                panic!("{ended:?}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_waits_can_be_dropped_and_cancelled_in_a_child_of_a_busy_parent() {
    let Parent { bucket, writer, .. } = &parent();
    // A log that does not grow: each fetch waits.
    let quiet = bucket.partition("quiet", 0).unwrap();
    Wait::forever().on(quiet.create(2)).unwrap();
    let reader = quiet.reader();
    let (queue, cancel, budget) = (CompletionQueue::new(), Cancel::new(), ScanBudget::new(1 << 20));
    let request = FetchRequest::new([(&reader, 2, 100)]).min_bytes(100).max_wait(Duration::from_secs(60));
    let fetched = std::sync::Arc::new(request.clone());
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = writer.try_append(&[record()]);
                bucket.fetch_many_on(fetched.clone(), &queue, 1).cancel();
                while let Ok(Some(_)) = queue.try_poll() {}
                drop(budget.acquire(1).now_or_never());
            }
        });
        for _ in 0..40 {
            let waiting = bucket.fetch_many_on(fetched.clone(), &queue, 2);
            let permit = budget.acquire(1).now_or_never();
            let mut fetches = Box::pin(bucket.fetch_many(&request));
            let mut followed = reader.follow_records(2);
            let waits = (&mut fetches).now_or_never().is_none() && followed.next().now_or_never().is_none();
            let ended = in_child(|| {
                let cancelled = waiting.cancel();
                cancel.cancel();
                drop((permit, fetches, followed));
                cancelled.to_string()
            });
            waiting.cancel();
            if !waits || ended.as_deref() != Some("false") {
                stop.store(true, Ordering::Relaxed);
                panic!("waits: {waits}; in the child: {ended:?}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_forked_child_opens_a_bucket_of_its_own() {
    let Parent { url, writer, .. } = &parent();
    let read = in_child(|| {
        let bucket = blocking::open(url, BucketOptions::default()).unwrap();
        let other = Wait::forever().on(bucket.partition("of-the-child", 0).unwrap().writer()).unwrap();
        Wait::forever().on(Wait::forever().on(other.append(&[record()])).unwrap().durable()).unwrap();
        let fetched = Wait::forever().on(bucket.partition("orders", 0).unwrap().reader().fetch(0, 100)).unwrap();
        fetched.batches().count().to_string()
    });
    assert_eq!(read.as_deref(), Some("1"));
    Wait::forever().on(Wait::forever().on(writer.append(&[record()])).unwrap().durable()).unwrap();
}
