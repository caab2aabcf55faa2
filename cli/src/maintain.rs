//! `kfs maintain`: maintenance in rounds, by a policy in a file.

mod policy;

use kfs_core::{Bucket, BucketOptions, Maintainer, MaintainerOptions, MaintenancePolicy, MaintenanceStep, Partition};
use serde_json::{Value, json};

use self::policy::PolicyFile;
use crate::args::MaintainArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Out};
use crate::plan;

pub(crate) async fn run(context: &Context, args: MaintainArgs) -> Outcome {
    let policy = PolicyFile::read(&args.policy)?;
    let bucket = context.bucket(BucketOptions::default())?;
    let mut options = MaintainerOptions::default();
    (options.max_requests, options.kafscale_manifest) = (policy.max_requests, policy.kafscale_manifest);
    let mut maintainer = Maintainer::new(&bucket, options);
    if !args.confirm.yes {
        let of = partitions(context, &bucket, &policy).await?;
        let planned = context.within(maintainer.plan(&of)).await?;
        for planned in &planned {
            plan::say(args.confirm, planned, || json!({"step": "plan", "what": planned.to_string()}))?;
        }
        plan::is_agreed(args.confirm, "nothing was changed")?;
        return Ok(());
    }
    loop {
        let failed = match partitions(context, &bucket, &policy).await {
            Ok(of) => round(context, &mut maintainer, &of, args.confirm.json).await?,
            // Of a store that is away for a while the next round may know more.
            Err(Failure::Error(error)) if args.every.is_some() => {
                output::note(&format!("listing partitions failed: {error:#}"));
                None
            }
            Err(failure) => return Err(failure),
        };
        let Some(every) = args.every else { return failed.map_or(Ok(()), |error| Err(Failure::Told(error))) };
        let bar = output::spinner();
        bar.set_message("waiting for the next round");
        maintainer.pause(every).await;
        bar.finish_and_clear();
    }
}

/// Does a round, and says what it did. Answers the first failure, which was said, too.
async fn round(
    context: &Context,
    maintainer: &mut Maintainer,
    of: &[(Partition, MaintenancePolicy)],
    as_json: bool,
) -> Outcome<Option<kfs_core::Error>> {
    let bar = output::spinner();
    bar.set_message(format!("maintaining {} partitions", of.len()));
    let (mut failed, mut said) = (None, Ok(()));
    let tell = |step: &MaintenanceStep| {
        if let MaintenanceStep::Failed { error, .. } = step {
            failed.get_or_insert_with(|| error.clone());
        }
        if said.is_ok() {
            said = bar.suspend(|| say(step, as_json));
        }
    };
    let done = context.within(maintainer.round(of, tell)).await;
    bar.finish_and_clear();
    done?;
    said?;
    Ok(failed)
}

fn say(step: &MaintenanceStep, as_json: bool) -> Outcome {
    if let MaintenanceStep::Failed { .. } = step
        && !as_json
    {
        output::note(&step.to_string());
        return Ok(());
    }
    let mut out = Out::new();
    match as_json {
        true => out.json(&step_json(step))?,
        false => out.line(&step.to_string())?,
    }
    out.flush()
}

fn step_json(step: &MaintenanceStep) -> Value {
    let name = match step {
        MaintenanceStep::Deleted(_) => "deleted",
        MaintenanceStep::Retained(_) => "retained",
        MaintenanceStep::Merged(_) => "merged",
        MaintenanceStep::LogManifestWritten(_) => "log_manifest",
        MaintenanceStep::ManifestWritten(_) => "kafscale_manifest",
        MaintenanceStep::Failed { .. } => "failed",
        MaintenanceStep::PutOff(_) => "put_off",
        _ => "other",
    };
    let partition = match step {
        MaintenanceStep::Deleted(report) => Some(&report.partition),
        MaintenanceStep::Retained(report) => Some(&report.partition),
        MaintenanceStep::Merged(report) => Some(&report.partition),
        MaintenanceStep::LogManifestWritten(report) => Some(&report.partition),
        MaintenanceStep::Failed { partition, .. } => partition.as_ref(),
        _ => None,
    };
    json!({"step": name, "partition": partition.map(ToString::to_string), "what": step.to_string()})
}

/// The partitions of the bucket for which a rule says something, each by the first one.
async fn partitions(
    context: &Context,
    bucket: &Bucket,
    policy: &PolicyFile,
) -> Outcome<Vec<(Partition, MaintenancePolicy)>> {
    let mut of = Vec::new();
    for topic in context.within(bucket.topics()).await?? {
        for partition in context.within(bucket.partitions(topic.as_str())).await?? {
            let applies = |names: &[String]| names.iter().any(|name| partition.id().is_called(name));
            let rule = policy.rules.iter().find(|rule| applies(&rule.names) && !applies(&rule.exclude));
            if let Some(rule) = rule {
                of.push((partition, rule.policy.clone()));
            }
        }
    }
    Ok(of)
}
