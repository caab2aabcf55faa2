//! `kfs delete-records`: moves the start of a log. Says first what it will do.

use kfs_core::BucketOptions;
use kfs_core::format::PartitionId;
use serde_json::json;

use crate::args::DeleteRecordsArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Out};

pub(crate) async fn run(context: &Context, args: DeleteRecordsArgs) -> Outcome {
    let id = PartitionId::parse(&args.partition, context.namespace().clone())?;
    let bucket = context.bucket(BucketOptions::default())?;
    let partition = bucket.partition_of(id);
    let mut out = Out::new();
    let plan = context.within_moving(&bucket, partition.plan_log_start(args.before)).await??;
    match args.json {
        true => out.json(&json!({
            "step": "plan",
            "partition": plan.partition.to_string(),
            "log_start": plan.log_start,
            "new_log_start": plan.new_log_start,
            "high_watermark": plan.high_watermark,
            "segments": plan.segments,
            "bytes": plan.bytes,
        }))?,
        false => out.line(&plan.to_string())?,
    }
    if args.dry_run {
        return out.flush();
    }
    if !args.yes {
        if !args.json {
            out.line("nothing was written; add --yes to do it")?;
        }
        out.flush()?;
        return Err(Failure::Findings);
    }
    out.flush()?;
    let bar = output::spinner();
    bar.set_message("removing segments below the log start");
    let report = context.within_moving(&bucket, partition.set_log_start(&plan)).await;
    bar.finish_and_clear();
    let report = report??;
    match args.json {
        true => out.json(&json!({
            "step": "done",
            "partition": report.partition.to_string(),
            "log_start": report.log_start,
            "segments": report.segments,
            "bytes": report.bytes,
            "spared": report.spared,
        }))?,
        false => out.line(&report.to_string())?,
    }
    out.flush()
}
