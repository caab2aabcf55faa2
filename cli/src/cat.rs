//! `kfs cat`: prints records.

mod printer;

use self::printer::{Flow, Printer};
use crate::args::CatArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome, usage};
use crate::segment_file::SegmentFile;
use crate::target::Target;

pub(crate) async fn run(context: &Context, args: CatArgs) -> Outcome {
    let target = Target::parse(&args.target, context.namespace())?;
    let mut printer = Printer::new(&args);
    let printed = match target {
        Target::File(_) if args.follow => {
            Err(usage("a file is not followed", "a segment never changes; follow its partition"))
        }
        Target::File(path) => {
            SegmentFile::open(&path).map_err(Failure::from).and_then(|f| file(&args, f, &mut printer))
        }
        Target::Partition(id) => {
            let _ = id;
            Err(kfs_core::Error::new(kfs_core::ErrorKind::Unsupported, "partitions come next").into())
        }
    };
    // What was read before an error is printed before its message.
    printer.finish(printed)
}

fn file(args: &CatArgs, mut file: SegmentFile, printer: &mut Printer) -> Outcome {
    match args.from_time {
        Some(time) => printer.start_at_time(time),
        None => printer.start_at(args.from.resolve(file.header().base_offset, file.claimed_end()?)),
    }
    loop {
        match file.next() {
            Ok(Some(batch)) => {
                if printer.batch(&batch)? == Flow::Done {
                    return Ok(());
                }
            }
            Ok(None) => return Ok(()),
            Err(error) if args.skip_corrupt => printer.skipped(&error),
            Err(error) => return Err(error.into()),
        }
    }
}
