//! `kfs manifest`: writes objects that name segments.

use kfs_core::format::PartitionId;
use kfs_core::{
    BucketOptions, KafscaleManifestOptions, KafscaleManifestPlan, KafscaleManifestReport, LogManifestPlan,
    LogManifestReport,
};
use serde_json::{Value, json};

use crate::args::{KafscaleManifestArgs, LogManifestArgs, ManifestCommand};
use crate::context::Context;
use crate::failure::{Failure, Outcome, usage};
use crate::output::{self, Out};

pub(crate) async fn run(context: &Context, command: ManifestCommand) -> Outcome {
    match command {
        ManifestCommand::Kafscale(args) => kafscale(context, &args).await,
        ManifestCommand::Log(args) => log(context, &args).await,
    }
}

async fn log(context: &Context, args: &LogManifestArgs) -> Outcome {
    let bucket = context.bucket(BucketOptions::default())?;
    for partition in context.within(bucket.find_partitions(&args.names, &args.exclude)).await?? {
        let bar = output::spinner();
        bar.set_message("listing segments");
        let plan = context.within(partition.plan_manifest()).await;
        bar.finish_and_clear();
        let plan = plan??;
        if args.dry_run || args.json {
            say(args.json, &plan, || log_plan_json(&plan))?;
        }
        if !args.dry_run {
            let report = context.within(partition.write_manifest(&plan)).await??;
            say(args.json, &report, || log_report_json(&report))?;
        }
    }
    Ok(())
}

async fn kafscale(context: &Context, args: &KafscaleManifestArgs) -> Outcome {
    let bucket = context.bucket(BucketOptions::default())?;
    let mut options = KafscaleManifestOptions::default();
    options.log_starts = args.log_start.iter().map(|text| log_start(context, text)).collect::<Outcome<_>>()?;
    if !args.names.is_empty() || !args.exclude.is_empty() {
        let all = ["*".to_owned()];
        let named = if args.names.is_empty() { &all[..] } else { &args.names };
        let partitions = context.within(bucket.find_partitions(named, &args.exclude)).await??;
        options.partitions = Some(partitions.iter().map(|partition| partition.id().clone()).collect());
    }
    let bar = output::spinner();
    bar.set_message("listing segments");
    let plan = context.within(bucket.plan_kafscale_manifest(&options)).await;
    bar.finish_and_clear();
    let plan = plan??;
    if args.dry_run || args.json {
        say(args.json, &plan, || plan_json(&plan))?;
    }
    if args.dry_run {
        return Ok(());
    }
    let bar = output::count(plan.partitions, "partitions");
    let shown = bar.clone();
    let told = move |so_far: &KafscaleManifestReport| shown.set_position(so_far.partitions);
    let report = context.within(bucket.write_kafscale_manifest_with(&plan, told)).await;
    bar.finish_and_clear();
    let report = report??;
    say(args.json, &report, || report_json(&report))?;
    if report.broken.is_empty() && report.unindexed == 0 { Ok(()) } else { Err(Failure::Findings) }
}

fn log_start(context: &Context, text: &str) -> Outcome<(PartitionId, i64)> {
    let parts = text.rsplit_once('=').and_then(|(partition, offset)| Some((partition, offset.parse().ok()?)));
    let Some((partition, offset @ 0..)) = parts else {
        return Err(usage(format!("{text} names no log start"), "write topic/partition=offset, as in orders/0=5000"));
    };
    Ok((PartitionId::parse(partition, context.namespace().clone())?, offset))
}

fn say(as_json: bool, what: &impl std::fmt::Display, json: impl FnOnce() -> Value) -> Outcome {
    let mut out = Out::new();
    match as_json {
        true => out.json(&json())?,
        false => out.line(&what.to_string())?,
    }
    out.flush()
}

fn plan_json(plan: &KafscaleManifestPlan) -> Value {
    json!({
        "step": "plan",
        "key": plan.key,
        "partitions": plan.partitions,
        "segments": plan.segments,
        "known": plan.known,
        "new_bytes": plan.new_bytes,
    })
}

fn report_json(report: &KafscaleManifestReport) -> Value {
    json!({
        "step": "done",
        "key": report.key,
        "partitions": report.partitions,
        "segments": report.segments,
        "kept": report.kept,
        "bytes": report.bytes,
        "leftovers": report.leftovers,
        "below": report.below,
        "unindexed": report.unindexed,
        "broken": report.broken.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>(),
    })
}

fn log_plan_json(plan: &LogManifestPlan) -> Value {
    json!({
        "step": "plan",
        "partition": plan.partition.to_string(),
        "key": plan.key,
        "segments": plan.segments,
        "named": plan.named,
        "bytes": plan.bytes,
    })
}

fn log_report_json(report: &LogManifestReport) -> Value {
    json!({
        "step": "done",
        "partition": report.partition.to_string(),
        "key": report.key,
        "named": report.named,
        "bytes": report.bytes,
    })
}
