//! When the store is asked again, and after which pause: for a log, and for the calls of [`Store`](super::Store).

use std::time::Duration;

use super::SyncFailure;
use crate::error::{Error, ErrorKind};
use crate::runtime::Entropy;

/// Whether a request that failed so may succeed later. After a failed fsync no later one proves anything.
pub(crate) fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut) && SyncFailure::of(error).is_none()
}

/// The pause after a failure: what the store asked for, and then half of `full` to all of it. So many clients that the
/// store sent away at the same time do not come back at the same time.
pub(crate) fn pause_after(error: &Error, full: Duration, entropy: &dyn Entropy) -> Duration {
    error.retry_after().unwrap_or_default().saturating_add(spread(full, entropy))
}

/// Half of it to all of it.
pub(crate) fn spread(pause: Duration, entropy: &dyn Entropy) -> Duration {
    let mut random = [0_u8; 1];
    // A failing generator only costs the spread.
    let _ = entropy.fill(&mut random);
    let [random] = random;
    pause / 2 + (pause / 2).mul_f64(f64::from(random) / 255.0)
}
