//! The fetch of many partitions: it reads what is there, and waits for more.

use std::future::poll_fn;
use std::task::Poll;

use super::gathering::Gathering;
use super::request::{FetchRequest, FetchResponse};
use crate::error::Result;
use crate::log::bucket::Bucket;

/// A fetch of more partitions than this lets others run before it begins.
const LONG: usize = 16;

impl Bucket {
    /// Fetches from many partitions at once, and waits until there is enough: Kafka's Fetch.
    ///
    /// It answers at once if `min_bytes` are there, if a partition fails, or if one has a hole or skipped bytes to tell.
    /// Otherwise it waits until they are there or `max_wait` has passed, and answers with what there is. An append
    /// of this process wakes it without a request. Where no writer of this process owns the tail, the store is asked
    /// what follows, at the pace of [`ReaderOptions::poll_min`](crate::ReaderOptions::poll_min) and
    /// [`poll_max`](crate::ReaderOptions::poll_max). All fetches that wait at one tail share these requests, at the pace
    /// of the one that came first. While it waits it counts bytes by the sizes of segments, and reads each byte once.
    ///
    /// 32 tails are asked about at the same time. A question that lasts 2 s makes room for another. One that lasts 30 s is
    /// dropped and asked again, and a wait that ends in vain is *timed out* with the cause for that partition.
    ///
    /// Each partition has its own result, in the order of the request. One that fails has its own error and never
    /// fails the others. Reads that are still under way 5 s after the answer is due end as *timed out* with the cause,
    /// so an answer comes at most 5 s after `max_wait`. The next fetch finds what they read in the cache.
    ///
    /// The answer holds at most `max_bytes` of batches, or one batch if the first is larger. 16 partitions are
    /// read at the same time at most; a read that lasts 1 s makes room for another one.
    ///
    /// Dropping the future ends the wait and leaves no task and no entry. Reads that it began go on for up to 30 s, and
    /// what they bring is cached.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kfs_core::format::NewRecord;
    /// use kfs_core::{Bucket, FetchRequest};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let bucket = Bucket::open("memory:")?;
    /// let (orders, payments) = (bucket.partition("orders", 0)?, bucket.partition("payments", 0)?);
    /// # let writer = payments.writer().await?;
    /// # writer.append(&[NewRecord::new(0).value(b"paid")]).await?.durable().await?;
    /// # orders.create(0).await?;
    /// let mut request = FetchRequest::new([(&orders, 0, 1 << 20), (&payments, 0, 1 << 20)])
    ///     .max_wait(Duration::from_secs(30));
    /// let response = bucket.fetch_many(&request).await?;
    /// for (wanted, fetched) in request.partitions.iter().zip(&response.partitions) {
    ///     match fetched {
    ///         Ok(fetch) => println!("{}: {} bytes", wanted.reader.partition().id(), fetch.bytes()),
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    /// }
    /// request.advance(&response); // the next fetch goes on from here
    /// # assert_eq!((request.partitions[0].offset, request.partitions[1].offset), (0, 1));
    /// # writer.close(None).await?;
    /// # Ok::<(), kfs_core::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Closed when the bucket is closed while it waits (a fetch that need not wait is answered after that, too), and
    /// in a forked child, and when the runtime was shut down. The errors of partitions are those of
    /// [`Reader::fetch`](crate::Reader::fetch); invalid input for a reader of another bucket; not found when the
    /// partition was deleted and made again meanwhile; and timed out when the store does not answer.
    pub async fn fetch_many(&self, request: &FetchRequest) -> Result<FetchResponse> {
        self.0.fork.check()?;
        if request.partitions.len() > LONG {
            give_way().await;
        }
        let mut gathering = Gathering::new(&self.0, request);
        gathering.read(gathering.unread()).await;
        if !gathering.is_due() && !request.max_wait.is_zero() {
            wait(&mut gathering).await?;
        }
        Ok(gathering.answer())
    }
}

/// Lets other tasks of the thread run first. A fetch of this many partitions looks at each of them when it begins, which takes
/// a while. An append may have woken a hundred fetches, and each of them usually begins the next one as soon as it is
/// answered. Without this the last of them would be answered after all the others had begun their next one.
async fn give_way() {
    let mut gave_way = false;
    poll_fn(|context| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits until the answer is due, and reads what makes it so.
async fn wait(gathering: &mut Gathering<'_>) -> Result<()> {
    gathering.join();
    while !gathering.is_due() {
        let wanted = gathering.worth_reading();
        if !wanted.is_empty() {
            gathering.read(wanted).await;
            continue;
        }
        gathering.rest();
        let woken = gathering.woken().await?;
        for (index, must_read) in woken.moved {
            gathering.moved(index, must_read);
        }
        if woken.due && gathering.is_over() {
            gathering.read(gathering.in_sight()).await;
            gathering.tell_trouble();
            break;
        }
    }
    Ok(())
}
