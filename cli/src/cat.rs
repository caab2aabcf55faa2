//! `kfs cat`: prints records.

mod bounds;
mod printer;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use kfs_core::format::Limits;
use kfs_core::text::offset_range;
use kfs_core::{BucketOptions, Notice, OnCorrupt, ReaderOptions};

use self::printer::{Flow, Printer};
use crate::args::{CatArgs, Format, IsolationLevel};
use crate::context::Context;
use crate::failure::{Failure, Outcome, usage};
use crate::output;
use crate::segment_file::SegmentFile;
use crate::target::Target;

pub(crate) async fn run(context: &Context, args: CatArgs) -> Outcome {
    args.check_range()?;
    let target = Target::parse(&args.target, context.namespace())?;
    if args.format == Format::Raw && output::is_terminal() {
        return Err(usage(
            "raw batches are not text for a terminal",
            "redirect them to a file, or choose --format jsonl",
        ));
    }
    let mut printer = Printer::new(&args);
    let printed = match target {
        Target::File(_) if args.follow => {
            Err(usage("a file is not followed", "a segment never changes; follow its partition"))
        }
        Target::File(_) if args.isolation == IsolationLevel::ReadCommitted => Err(usage(
            "a file does not tell which transactions committed",
            "their ends may be in later segments; name the partition",
        )),
        Target::File(path) => {
            SegmentFile::open(&path).map_err(Failure::from).and_then(|f| file(&args, f, &mut printer))
        }
        Target::Partition(id) => {
            let bucket = context.bucket(BucketOptions::default())?;
            partition(context, &args, &bucket.partition_of(id), &mut printer).await
        }
    };
    // What was read before an error is printed before its message.
    printer.finish(printed)
}

async fn partition(
    context: &Context,
    args: &CatArgs,
    partition: &kfs_core::Partition,
    printer: &mut Printer,
) -> Outcome {
    let made_later = if args.follow { bounds::wait_until_made(context, partition).await? } else { None };
    let on_corrupt = if args.skip_corrupt { OnCorrupt::Skip } else { OnCorrupt::Stop };
    let options = ReaderOptions::default()
        .on_corrupt(on_corrupt)
        .isolation(args.isolation.of_reader())
        .limits(Limits::default().max_decompressed_batch(args.max_decompressed));
    let reader = partition.reader_with(options);
    let from = bounds::start(context, args, &reader, made_later, printer).await?;
    printer.start_at(from);
    if let Some(to) = args.to {
        printer.stop_at(bounds::offset_of(context, to, partition).await?);
    }
    let mut batches = if args.follow { reader.follow(from) } else { reader.batches(from) };
    while printer.wants(batches.position()) {
        batches.read_ahead_to(printer.needs_until(batches.position()));
        let next = {
            let mut next = pin!(batches.next());
            let at_once = poll_fn(|task| Poll::Ready(next.as_mut().poll(task))).await;
            match at_once {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    // Whoever reads the output does not wait for the store.
                    printer.flush()?;
                    if args.follow { next.await } else { context.within(next).await? }
                }
            }
        };
        for notice in batches.take_notices() {
            match notice {
                Notice::Hole(hole) => output::note(&format!(
                    "not in the log: {}; going on after that",
                    offset_range(hole.from, hole.to.saturating_sub(1))
                )),
                Notice::Skipped(error) => printer.skipped(&error),
                _ => {}
            }
        }
        let Some(batch) = next? else { break };
        if printer.batch(&batch, |malformed| batches.place().undecodable(batch.header(), malformed))? == Flow::Done {
            break;
        }
    }
    Ok(())
}

fn file(args: &CatArgs, mut file: SegmentFile, printer: &mut Printer) -> Outcome {
    match args.from_time {
        Some(time) => printer.start_at_time(time),
        None => {
            // A footer that is not needed to start is judged at the end.
            let end = if args.from.counts_from_the_end() { file.claimed_end()? } else { 0 };
            printer.start_at(args.from.resolve(file.header().base_offset, end));
        }
    }
    if let Some(to) = args.to {
        let end = if to.counts_from_the_end() { file.claimed_end()? } else { 0 };
        printer.stop_at(to.resolve(file.header().base_offset, end));
    }
    loop {
        match file.next() {
            Ok(Some(batch)) => {
                let undecodable = |malformed| file.undecodable(&batch, malformed);
                if printer.batch(&batch, undecodable)? == Flow::Done {
                    return Ok(());
                }
            }
            Ok(None) => return Ok(()),
            Err(error) if args.skip_corrupt => printer.skipped(&error),
            Err(error) => return Err(error.into()),
        }
    }
}
