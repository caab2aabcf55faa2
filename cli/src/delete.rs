//! `kfs delete`: deletes partitions.

use std::time::Duration;

use kfs_core::{BucketOptions, DeletePlan, DeleteReport, ErrorKind, Partition};
use serde_json::{Value, json};

use crate::args::DeleteArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::{output, plan};

pub(crate) async fn run(context: &Context, args: DeleteArgs) -> Outcome {
    let bucket = context.bucket(BucketOptions::default())?;
    let mut plans = Vec::new();
    for partition in context.within(bucket.find_partitions(&args.names, &[])).await?? {
        match context.within(partition.plan_delete(args.now)).await? {
            Ok(plan) => plans.push((partition, plan)),
            // A folder of the topic with what is no log.
            Err(error) if error.kind() == ErrorKind::NotFound && !args.names.contains(&partition.id().to_string()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for (_, planned) in &plans {
        plan::say(args.confirm, planned, || plan_json(planned))?;
    }
    if !plan::is_agreed(args.confirm, "nothing was deleted")? {
        return Ok(());
    }
    let mut failed = None;
    while !plans.is_empty() {
        let mut waiting = Vec::new();
        for (partition, planned) in plans {
            match one(context, &args, &partition, &planned).await {
                Ok(Some(wait)) => waiting.push((partition, planned, wait)),
                Ok(None) => {}
                Err(failure) if failed.is_none() => failed = Some(failure),
                Err(Failure::Error(error)) => output::note(&format!("{}: {error:#}", partition.id())),
                Err(_) => {}
            }
        }
        let longest = waiting.iter().map(|(_, _, wait)| *wait).max();
        plans = waiting.into_iter().map(|(partition, planned, _)| (partition, planned)).collect();
        match longest {
            Some(wait) if args.wait => pause(context, wait).await,
            _ => break,
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Deletes as much of a partition as may go now. Answers when the next call can go on, if anything is left.
async fn one(
    context: &Context,
    args: &DeleteArgs,
    partition: &Partition,
    plan: &DeletePlan,
) -> Outcome<Option<Duration>> {
    let bar = output::spinner();
    bar.set_message(format!("deleting {}", partition.id()));
    let report = context.within(partition.delete(plan)).await;
    bar.finish_and_clear();
    let report = report??;
    plan::say(args.confirm, &report, || report_json(&report))?;
    Ok(report.wait)
}

async fn pause(context: &Context, wait: Duration) {
    let bar = output::spinner();
    bar.set_message(format!("waiting {} s for writers and maintenance that may still be at work", wait.as_secs()));
    // A second more: the store's times are whole seconds, as a rule.
    context.runtime().clock().sleep(wait.saturating_add(Duration::from_secs(1))).await;
    bar.finish_and_clear();
}

fn plan_json(plan: &DeletePlan) -> Value {
    json!({
        "step": "plan",
        "partition": plan.partition.to_string(),
        "log_start": plan.log_start,
        "high_watermark": plan.high_watermark,
        "segments": plan.segments,
        "bytes": plan.bytes,
        "was_begun": plan.was_begun,
        "now": plan.now,
    })
}

fn report_json(report: &DeleteReport) -> Value {
    json!({
        "step": "done",
        "partition": report.partition.to_string(),
        "segments": report.segments,
        "bytes": report.bytes,
        "foreign": report.foreign,
        "wait_s": report.wait.map(|wait| wait.as_secs()),
    })
}
