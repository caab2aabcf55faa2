//! Where in a partition the reading starts and where it stops.

use std::time::Duration;

use kfs_core::{ErrorKind, Partition, Reader};

use super::printer::Printer;
use crate::args::{CatArgs, From};
use crate::context::Context;
use crate::failure::Outcome;
use crate::output;

/// How often is looked whether a partition was made.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Waits until there is such a partition. If it was made meanwhile, gives the offset at which its log starts.
pub(super) async fn wait_until_made(context: &Context, partition: &Partition) -> Outcome<Option<i64>> {
    let mut waited = false;
    loop {
        match partition.earliest().await {
            Ok(log_start) => return Ok(waited.then_some(log_start)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !waited {
                    output::note(&format!("waiting for partition {}, which does not exist yet", partition.id()));
                }
                waited = true;
            }
            // Its reading says what is wrong with it.
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(None),
            Err(error) if !error.is_retriable() => return Err(error.into()),
            Err(_) => {}
        }
        context.runtime().clock().sleep(LOOK_EVERY).await;
    }
}

/// The offset to start at. All of a log that was made while it was waited for is new.
pub(super) async fn start(
    context: &Context,
    args: &CatArgs,
    reader: &Reader,
    made_later: Option<i64>,
    printer: &mut Printer,
) -> Outcome<i64> {
    let partition = &reader.partition();
    match (args.from_time, made_later) {
        (Some(time), Some(log_start)) => {
            printer.start_at_time(time);
            Ok(log_start)
        }
        (Some(time), None) => match context.within(reader.offset_for_timestamp(time)).await?? {
            Some(found) => Ok(found.offset),
            None => offset_of(context, From::Latest, partition).await,
        },
        (None, Some(log_start)) if args.from.counts_from_the_end() => Ok(log_start),
        (None, _) => offset_of(context, args.from, partition).await,
    }
}

/// The offset of a place in the log. The log's end is asked for only where it is needed: it may be unreadable.
pub(super) async fn offset_of(context: &Context, place: From, partition: &Partition) -> Outcome<i64> {
    Ok(match place {
        From::Offset(offset) => offset,
        From::Earliest => context.within(partition.earliest()).await??,
        From::Latest | From::Last(_) => {
            let marks = context.within(partition.refresh()).await??;
            place.resolve(marks.log_start, marks.high_watermark)
        }
    })
}
