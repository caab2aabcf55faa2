//! The memory of scans that read many segments at the same time.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fork::ForkGuard;
use crate::runtime::with_shielded_waker;

/// Bytes are counted in units of this many.
const UNIT: usize = 1024;

/// A bound on the bytes that scans hold at the same time. Cheap to clone; all clones share one bound.
///
/// A scan acquires bytes before it fetches ([`SegmentHandle::fetch_within`](crate::SegmentHandle::fetch_within) does), and
/// gives them back when it drops the [`ScanPermit`]. Requests are served in the order in which they came: one that does
/// not fit waits, and those after it wait for it. One for more than the whole budget gets all of it, so it passes alone.
///
/// This is apart from [`BucketOptions::buffer_bytes`](crate::BucketOptions::buffer_bytes), where a stuck writer must hold
/// up no other, and from the cache, which keeps its own bound.
#[derive(Clone)]
pub struct ScanBudget {
    fork: ForkGuard,
    permits: Arc<Semaphore>,
    units: u32,
}

impl ScanBudget {
    /// The most bytes that a budget has: 4 TiB less 1 KiB, or all that can be addressed.
    pub const LARGEST: usize = (u32::MAX as usize).saturating_mul(UNIT);

    /// A budget of this many bytes, rounded up to whole KiB: at least one, and at most [`LARGEST`](Self::LARGEST).
    /// [`limit`](Self::limit) says how many bytes it has.
    pub fn new(bytes: usize) -> Self {
        let units = units(bytes);
        ScanBudget { fork: ForkGuard::here(), permits: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Waits until this many bytes are free, and takes them. Dropping the future gives up its place in the line. In a
    /// forked child the permit is empty and comes at once: what it is for is refused there.
    pub async fn acquire(&self, bytes: usize) -> ScanPermit {
        if self.fork.is_forked() {
            return ScanPermit { fork: self.fork, held: None };
        }
        let wanted = units(bytes).min(self.units);
        // The semaphore is never closed. It wakes those that wait where a permit is dropped, so a waker that panics would
        // harm whoever drops it, and those that wait longer.
        let held = with_shielded_waker(self.permits.clone().acquire_many_owned(wanted)).await.ok();
        ScanPermit { fork: self.fork, held }
    }

    /// Bytes of the whole budget.
    pub fn limit(&self) -> usize {
        (self.units as usize).saturating_mul(UNIT)
    }

    /// Bytes that are free now.
    pub fn free(&self) -> usize {
        self.permits.available_permits().saturating_mul(UNIT)
    }
}

/// Bytes of a [`ScanBudget`]. Dropping it gives them back.
pub struct ScanPermit {
    fork: ForkGuard,
    held: Option<OwnedSemaphorePermit>,
}

impl ScanPermit {
    /// How many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits).saturating_mul(UNIT)
    }

    /// Gives back what exceeds this many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        if let Some(held) = &mut self.held {
            let surplus = held.num_permits().saturating_sub(units(bytes) as usize);
            drop(held.split(surplus));
        }
    }
}

impl Drop for ScanPermit {
    fn drop(&mut self) {
        if self.fork.is_forked() {
            // A thread of the parent may have held the semaphore's lock.
            std::mem::forget(self.held.take());
        }
    }
}

/// How many units hold this many bytes; at least one.
fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX)
}

impl fmt::Debug for ScanBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanBudget").field("limit", &self.limit()).field("free", &self.free()).finish()
    }
}

impl fmt::Debug for ScanPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanPermit({} bytes)", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_budget_has_the_bytes_that_its_limit_says() {
        assert_eq!([0, 1, 1025].map(|bytes| ScanBudget::new(bytes).limit()), [1 << 10, 1 << 10, 2 << 10]);
        assert_eq!(ScanBudget::new(usize::MAX).limit(), ScanBudget::LARGEST);
    }

    #[tokio::test]
    async fn requests_are_served_in_order_and_one_for_more_than_the_budget_passes_alone() {
        let budget = ScanBudget::new(10 << 10);
        let first = budget.acquire(6 << 10).await;
        let other = budget.clone();
        let mut huge = Box::pin(other.acquire(1 << 40));
        assert!((&mut huge).now_or_never().is_none());
        let mut small = Box::pin(budget.acquire(1));
        assert!((&mut small).now_or_never().is_none(), "it came later");
        drop(first);
        assert!((&mut small).now_or_never().is_none());
        let huge = huge.await;
        assert_eq!((huge.bytes(), budget.free()), (budget.limit(), 0));
        drop(huge);
        assert_eq!(small.await.bytes(), 1 << 10);
        assert_eq!(budget.free(), budget.limit());
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_lets_the_next_one_pass_and_takes_nothing() {
        let budget = ScanBudget::new(10 << 10);
        let mut first = budget.acquire(6 << 10).await;
        let mut waits = Box::pin(budget.acquire(8 << 10));
        let mut next = Box::pin(budget.acquire(4 << 10));
        assert!((&mut waits).now_or_never().is_none());
        assert!((&mut next).now_or_never().is_none());
        drop(waits);
        let next = next.await;
        assert_eq!(budget.free(), 0);
        first.shrink_to(1);
        assert_eq!((first.bytes(), budget.free()), (1 << 10, 5 << 10));
        drop((first, next));
        assert_eq!(budget.free(), budget.limit());
    }

    #[tokio::test]
    async fn a_waker_that_panics_harms_neither_the_holder_nor_the_next_in_line() {
        use std::sync::atomic::{AtomicBool, Ordering};
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
        let budget = ScanBudget::new(4 << 10);
        let held = budget.acquire(4 << 10).await;
        let (mut hostile, mut next) = (Box::pin(budget.acquire(1 << 10)), Box::pin(budget.acquire(1 << 10)));
        let woken = Arc::new(Woken::default());
        assert!(hostile.poll_unpin(&mut Context::from_waker(&Waker::from(Arc::new(Panics)))).is_pending());
        assert!(next.poll_unpin(&mut Context::from_waker(&Waker::from(woken.clone()))).is_pending());
        drop(held);
        assert!(woken.0.load(Ordering::SeqCst));
    }
}
