//! `kfs delete-records` and `kfs retain`: move the start of a log. They say first what they will do.

use kfs_core::format::PartitionId;
use kfs_core::{BucketOptions, LogStartPlan, Partition, RetentionPolicy};
use serde_json::json;

use crate::args::{ConfirmArgs, DeleteRecordsArgs, RetainArgs};
use crate::context::Context;
use crate::failure::Outcome;
use crate::{output, plan};

pub(crate) async fn delete_records(context: &Context, args: DeleteRecordsArgs) -> Outcome {
    let partition = open(context, &args.partition)?;
    let plan = context.within(partition.plan_log_start(args.before)).await??;
    carry_out(context, &partition, &plan, args.confirm).await
}

pub(crate) async fn retain(context: &Context, args: RetainArgs) -> Outcome {
    let partition = open(context, &args.partition)?;
    let mut policy = RetentionPolicy::default();
    policy.max_age = args.max_age;
    policy.max_bytes = args.max_bytes.map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX));
    policy.start_offset = args.start_offset;
    let plan = context.within(partition.plan_retention(&policy)).await??;
    carry_out(context, &partition, &plan, args.confirm).await
}

fn open(context: &Context, partition: &str) -> Outcome<Partition> {
    let id = PartitionId::parse(partition, context.namespace().clone())?;
    Ok(context.bucket(BucketOptions::default())?.partition_of(id))
}

/// Says the plan, and does what it says if the user said so.
async fn carry_out(context: &Context, partition: &Partition, plan: &LogStartPlan, confirm: ConfirmArgs) -> Outcome {
    let json = || {
        json!({
            "step": "plan",
            "partition": plan.partition.to_string(),
            "log_start": plan.log_start,
            "new_log_start": plan.new_log_start,
            "high_watermark": plan.high_watermark,
            "segments": plan.segments,
            "bytes": plan.bytes,
            "limit": plan.limit.map(|limit| limit.name()),
        })
    };
    if !plan::agree(confirm, plan, json, "nothing was removed")? {
        return Ok(());
    }
    let bar = output::spinner();
    bar.set_message("removing segments below the log start");
    let report = context.within(partition.set_log_start(plan)).await;
    bar.finish_and_clear();
    let report = report??;
    let json = || {
        json!({
            "step": "done",
            "partition": report.partition.to_string(),
            "log_start": report.log_start,
            "segments": report.segments,
            "bytes": report.bytes,
            "spared": report.spared,
        })
    };
    plan::say(confirm, &report, json)
}
