//! The lines of `--report`.

use std::sync::mpsc;

use kfs_core::Offsets;
use tokio::sync::watch;

use crate::context;
use crate::failure::{self, Failure, Outcome};
use crate::output::Out;

/// Something that became durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    base: i64,
    last: i64,
    claim: bool,
}

impl Range {
    pub(super) fn new(offsets: Offsets, claim: bool) -> Self {
        Range { base: offsets.base, last: offsets.last, claim }
    }

    /// Both as one, if the other follows directly.
    fn join(self, next: Range) -> Option<Range> {
        let follows = self.last.checked_add(1) == Some(next.base) && !self.claim && !next.claim;
        follows.then_some(Range { last: next.last, ..self })
    }

    fn line(self) -> String {
        let claim = if self.claim { ", \"claim\": true" } else { "" };
        format!("{{\"base_offset\": {}, \"last_offset\": {}{claim}}}", self.base, self.last)
    }
}

pub(super) type Sender = mpsc::Sender<Range>;

/// Prints ranges on a thread of its own: who reads the report slowly holds up no flush.
#[derive(Debug)]
pub(super) struct Reporter {
    ranges: Sender,
    ended: watch::Receiver<Option<Ended>>,
}

#[derive(Clone, Debug)]
enum Ended {
    Written,
    /// Nobody reads it.
    BrokenPipe,
    /// What the system says of the output.
    Unwritten(String),
}

impl Reporter {
    pub(super) fn start() -> Self {
        let (ranges, received) = mpsc::channel();
        let (tell, ended) = watch::channel(None);
        context::thread(move || {
            let how = match failure::caught(|| print(&received)) {
                Ok(Ok(())) => Ended::Written,
                Ok(Err(Failure::Unwritten(what))) => Ended::Unwritten(what),
                Ok(Err(_)) => Ended::BrokenPipe,
                Err(panicked) => Ended::Unwritten(panicked.to_string()),
            };
            let _ = tell.send(Some(how));
        });
        Reporter { ranges, ended }
    }

    /// For what becomes durable: ranges in order.
    pub(super) fn sender(&self) -> Sender {
        self.ranges.clone()
    }

    /// Waits until the report can't be written any more.
    pub(super) fn unwritten(&self) -> impl Future<Output = ()> + 'static {
        let mut ended = self.ended.clone();
        async move {
            if ended.wait_for(|how| matches!(how, Some(Ended::BrokenPipe | Ended::Unwritten(_)))).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Waits until all is printed.
    pub(super) async fn end(self) -> Outcome {
        let Reporter { ranges, mut ended } = self;
        drop(ranges);
        match ended.wait_for(Option::is_some).await.map(|how| how.clone()) {
            Ok(Some(Ended::BrokenPipe)) => Err(Failure::BrokenPipe),
            Ok(Some(Ended::Unwritten(what))) => Err(Failure::Unwritten(what)),
            _ => Ok(()),
        }
    }
}

/// One line for what becomes durable together, handed on at once: it is an ack.
fn print(ranges: &mpsc::Receiver<Range>) -> Outcome {
    let mut out = Out::new();
    let mut waiting = None;
    while let Some(mut range) = waiting.take().or_else(|| ranges.recv().ok()) {
        while let Ok(next) = ranges.try_recv() {
            match range.join(next) {
                Some(joined) => range = joined,
                None => {
                    waiting = Some(next);
                    break;
                }
            }
        }
        out.line(&range.line())?;
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_follow_each_other_become_one_and_claims_stay_alone() {
        let range = |base, last, claim| Range { base, last, claim };
        assert_eq!(
            range(0, 9, false).join(range(10, 11, false)).unwrap().line(),
            r#"{"base_offset": 0, "last_offset": 11}"#
        );
        assert!(range(0, 9, false).join(range(11, 12, false)).is_none());
        assert!(range(0, 0, true).join(range(1, 2, false)).is_none());
        assert_eq!(range(0, 0, true).line(), r#"{"base_offset": 0, "last_offset": 0, "claim": true}"#);
    }
}
