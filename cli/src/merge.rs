//! `kfs merge`: merges small segments, and removes what earlier merges left.

use kfs_core::format::PartitionId;
use kfs_core::{BucketOptions, MergePlan, MergePolicy, MergeReport};
use serde_json::{Value, json};

use crate::args::{MergeArgs, MergePreset};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::{output, plan};

pub(crate) async fn run(context: &Context, args: MergeArgs) -> Outcome {
    let id = PartitionId::parse(&args.partition, context.namespace().clone())?;
    let partition = context.bucket(BucketOptions::default())?.partition_of(id);
    let bar = output::spinner();
    bar.set_message("listing segments");
    let planned = context.within(partition.plan_merge(&policy(&args))).await;
    bar.finish_and_clear();
    let planned = planned??;
    if !plan::agree(args.confirm, &planned, || plan_json(&planned), "nothing was merged or removed")? {
        return Ok(());
    }
    let bar = output::count(planned.segments.saturating_add(planned.leftovers), "segments");
    let shown = bar.clone();
    let told = move |so_far: &MergeReport| shown.set_position(so_far.read.saturating_add(so_far.leftovers));
    let report = context.within(partition.merge_with(&planned, told)).await;
    bar.finish_and_clear();
    let report = report??;
    plan::say(args.confirm, &report, || report_json(&report))?;
    if report.broken.is_empty() { Ok(()) } else { Err(Failure::Findings) }
}

fn policy(args: &MergeArgs) -> MergePolicy {
    let mut policy = match args.preset {
        Some(MergePreset::Kafscale) => MergePolicy::for_kafscale(),
        None => MergePolicy::default(),
    };
    let size = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    policy.target_size = args.target_size.map_or(policy.target_size, size);
    policy.min_size = args.min_size.map(size);
    policy.grace = args.grace.unwrap_or(policy.grace);
    policy.index_interval = args.index_interval.unwrap_or(policy.index_interval);
    policy.time_index = !args.no_time_index;
    policy
}

fn plan_json(plan: &MergePlan) -> Value {
    json!({
        "step": "plan",
        "partition": plan.partition.to_string(),
        "segments": plan.segments,
        "bytes": plan.bytes,
        "merged": plan.merged,
        "waiting": plan.waiting,
        "unfinished": plan.unfinished,
        "leftovers": plan.leftovers,
        "leftover_bytes": plan.leftover_bytes,
        "in_grace": plan.in_grace,
        "next_due_s": plan.next_due.map(|due| due.as_secs()),
    })
}

fn report_json(report: &MergeReport) -> Value {
    json!({
        "step": "done",
        "partition": report.partition.to_string(),
        "segments": report.segments,
        "bytes": report.bytes,
        "merged": report.merged,
        "waiting": report.waiting,
        "put_off": report.put_off,
        "leftovers": report.leftovers,
        "leftover_bytes": report.leftover_bytes,
        "in_grace": report.in_grace,
        "next_due_s": report.next_due.map(|due| due.as_secs()),
        "broken": report.broken.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>(),
    })
}
