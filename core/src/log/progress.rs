//! Every loop of a reader ends.

use crate::error::{Error, ErrorKind, Result};
use crate::format::PartitionId;

/// The most steps that a loop takes at one place. A fetch that locates, loads, confirms and looks again
/// takes a dozen; retries of one request are not steps.
const MOST: u32 = 64;

/// Counts the steps of a loop, and ends it when many of them brought it no further.
///
/// What is read comes from outside, and may contradict itself in unforeseen ways. A loop that
/// goes round for ever because of it holds a processor and says nothing, so it must end with an error
/// (invariant 6).
#[derive(Debug)]
pub(crate) struct Progress {
    at: i128,
    steps: u32,
}

impl Progress {
    /// A loop that begins at this place.
    pub(crate) fn new(at: impl Into<i128>) -> Self {
        Progress { at: at.into(), steps: 0 }
    }

    /// The loop takes a step and has reached `at`.
    ///
    /// # Errors
    /// Internal when too many steps brought it no further.
    pub(crate) fn step(&mut self, at: impl Into<i128>, id: &PartitionId) -> Result<()> {
        let at = at.into();
        if at > self.at {
            (self.at, self.steps) = (at, 0);
        }
        self.steps += 1;
        if self.steps <= MOST {
            return Ok(());
        }
        let message = format!("reading partition {id} came no further than {} in {MOST} steps", self.at);
        Err(Error::new(ErrorKind::Internal, message)
            .with_hint("`kfs verify` shows what is wrong in the log; please report this all the same"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Namespace, Topic};

    #[test]
    fn a_loop_that_comes_no_further_ends_with_an_error_and_one_that_does_goes_on() {
        let id = PartitionId::new(Namespace::default(), Topic::new("t").unwrap(), 0).unwrap();
        let mut progress = Progress::new(5);
        for at in 6..1000 {
            for _ in 0..MOST / 2 {
                progress.step(at, &id).unwrap();
            }
        }
        let stuck = (0..=MOST).find_map(|_| progress.step(999, &id).err()).unwrap();
        assert_eq!(stuck.kind(), ErrorKind::Internal);
        assert!(stuck.to_string().contains("t/0 came no further than 999"), "{stuck}");
    }
}
