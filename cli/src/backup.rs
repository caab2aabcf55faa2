//! `kfs backup`: makes, lists, verifies, restores and removes backups.

use kfs_core::format::BackupName;
use kfs_core::store::StoreConfig;
use kfs_core::{
    Backup, BackupOptions, BackupPlan, BackupProgress, BackupRetention, BackupStage, Bucket, BucketOptions,
    CopyOptions, Error, ErrorKind, Partition,
};
use serde_json::{Value, json};

use crate::args::{BackupCommand, BackupCreateArgs, BackupExpireArgs, BackupRestoreArgs};
use crate::context::Context;
use crate::copy::Copying;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Out, Table};
use crate::units::show_bytes;
use crate::{plan, times};

pub(crate) async fn run(context: &Context, command: BackupCommand) -> Outcome {
    match command {
        BackupCommand::Create(args) => create(context, args).await,
        BackupCommand::List { json } => list(context, json).await,
        BackupCommand::Verify { name, deep, json } => verify(context, &name, deep, json).await,
        BackupCommand::Restore(args) => restore(context, *args).await,
        BackupCommand::Expire(args) => expire(context, args).await,
    }
}

fn second_bucket(context: &Context, into: Option<&str>, namespace: kfs_core::format::Namespace) -> Outcome<Bucket> {
    let config = match into {
        Some(url) => StoreConfig::from_url(url)?,
        None => context.store_config()?,
    };
    context.second_bucket(&config, namespace)
}

async fn create(context: &Context, args: BackupCreateArgs) -> Outcome {
    let source = context.bucket(BucketOptions::default())?;
    let target = second_bucket(context, args.into.as_deref(), context.namespace().clone())?;
    let sources = context.within(source.find_partitions(&args.names, &args.exclude)).await??;
    let mut options = BackupOptions::default().at_once(args.at_once);
    options.segment_size = args.segment_size.map(|size| u64::try_from(size).unwrap_or(u64::MAX));
    let planned = context.within(target.plan_backup(&args.name, &sources, &options)).await??;
    say(args.json, &planned.to_string(), || plan_json(&planned))?;
    if args.dry_run {
        return Ok(());
    }
    // Each byte is copied, and read back.
    let bar = output::progress(planned.bytes().saturating_mul(2));
    let shown = bar.clone();
    let told = move |so_far: BackupProgress| shown.set_position(so_far.copied.saturating_add(so_far.read_back));
    let made = context.within(target.back_up_with(&planned, told)).await;
    bar.finish_and_clear();
    let made = made??;
    let segments: u64 = made.partitions().iter().map(|backed| backed.segments).sum();
    let records: u64 = made.partitions().iter().map(|backed| backed.records).sum();
    let line = format!(
        "{}: the backup is complete: {records} records in {segments} segments with {} bytes",
        made.name(),
        made.bytes()
    );
    say(args.json, &line, || backup_json(&made))
}

fn say(as_json: bool, line: &str, json: impl FnOnce() -> Value) -> Outcome {
    let mut out = Out::new();
    match as_json {
        true => out.json(&json())?,
        false => out.line(line)?,
    }
    out.flush()
}

async fn list(context: &Context, as_json: bool) -> Outcome {
    let bucket = context.bucket(BucketOptions::default())?;
    let backups = context.within(bucket.backups()).await??;
    let mut out = Out::new();
    if as_json {
        for backup in &backups {
            out.json(&backup_json(backup))?;
        }
        return out.flush();
    }
    let mut table = Table::new(&["<backup", "<begun", "<stage", ">partitions", ">records", ">bytes"]);
    for backup in &backups {
        let records: u64 = backup.partitions().iter().map(|backed| backed.records).sum();
        let cells = [
            backup.name().to_string(),
            times::show(backup.created_ms()),
            backup.stage().name().to_owned(),
            backup.partitions().len().to_string(),
            records.to_string(),
            show_bytes(backup.bytes()),
        ];
        table.row(&mut out, cells)?;
    }
    table.end(&mut out)?;
    out.flush()
}

async fn verify(context: &Context, name: &BackupName, deep: bool, as_json: bool) -> Outcome {
    let bucket = context.bucket(BucketOptions::default())?;
    let backup = context.within(bucket.backup(name)).await??;
    let bar = output::progress(backup.bytes());
    let shown = bar.clone();
    let faults = context.within(backup.verify_with(deep, move |read| shown.set_position(read))).await;
    bar.finish_and_clear();
    let faults = faults??;
    for fault in &faults {
        let json = || json!({"partition": fault.partition.to_string(), "what": fault.what});
        say(as_json, &fault.to_string(), json)?;
    }
    let how = if deep { "all segments were read" } else { "segments were listed; --deep reads them" };
    let line = match faults.len() {
        0 => format!("{name}: sound; {how}"),
        1 => format!("{name}: 1 fault; {how}"),
        n => format!("{name}: {n} faults; {how}"),
    };
    say(as_json, &line, || json!({"backup": name.to_string(), "deep": deep, "faults": faults.len()}))?;
    if faults.is_empty() { Ok(()) } else { Err(Failure::Findings) }
}

async fn restore(context: &Context, args: BackupRestoreArgs) -> Outcome {
    let bucket = context.bucket(BucketOptions::default())?;
    let backup = context.within(bucket.backup(&args.name)).await??;
    let sources = sources_in(&backup, &args.names)?;
    let namespace = args.into_namespace.clone().unwrap_or_else(|| context.namespace().clone());
    let target = second_bucket(context, args.into.as_deref(), namespace)?;
    let mut options = CopyOptions::default();
    (options.to, options.before_time) = (args.to, args.to_time);
    options.segment_size = args.segment_size.map(|size| u64::try_from(size).unwrap_or(u64::MAX));
    let copying = Copying {
        context,
        target,
        options,
        rename: args.rename.as_deref(),
        from_time: None,
        at_once: args.at_once,
        follow: false,
        dry_run: args.dry_run,
        json: args.json,
    };
    copying.all(sources).await?.map_or(Ok(()), Err)
}

/// The partitions of a backup that go by one of these names; without names all.
fn sources_in(backup: &Backup, names: &[String]) -> Outcome<Vec<Partition>> {
    let ids = backup.partitions().iter().map(|backed| &backed.partition);
    if let Some(missing) = names.iter().find(|name| !ids.clone().any(|id| id.is_called(name))) {
        let message = format!("nothing in the backup {} is called {missing}", backup.name());
        let hint = "`kfs backup list --json` says what is in the backups";
        return Err(Error::new(ErrorKind::NotFound, message).with_hint(hint).into());
    }
    let wanted = ids.filter(|id| names.is_empty() || names.iter().any(|name| id.is_called(name)));
    wanted.map(|id| Ok(backup.partition(id)?)).collect()
}

async fn expire(context: &Context, args: BackupExpireArgs) -> Outcome {
    let bucket = context.bucket(BucketOptions::default())?;
    let mut retention = BackupRetention::default();
    (retention.keep, retention.younger_than) = (args.keep, args.younger_than);
    let planned = context.within(bucket.plan_expire_backups(&retention)).await??;
    let names = |names: &[BackupName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let json = |step: &str| json!({"step": step, "expired": names(&planned.expired), "kept": names(&planned.kept), "bytes": planned.bytes});
    if !plan::agree(args.confirm, &planned, || json("plan"), "nothing was removed")? {
        return Ok(());
    }
    let bar = output::spinner();
    bar.set_message("removing backups");
    let expired = context.within(bucket.expire_backups(&planned)).await;
    bar.finish_and_clear();
    expired??;
    let line = match planned.expired.len() {
        1 => "1 backup was removed".to_owned(),
        n => format!("{n} backups were removed"),
    };
    plan::say(args.confirm, &line, || json("done"))
}

fn plan_json(plan: &BackupPlan) -> Value {
    json!({
        "step": "plan",
        "backup": plan.name.to_string(),
        "partitions": plan.copies.len(),
        "segments": plan.segments(),
        "bytes": plan.bytes(),
        "was_begun": plan.was_begun,
    })
}

fn backup_json(backup: &Backup) -> Value {
    let is_complete = backup.stage() == BackupStage::Complete;
    let partitions = backup.partitions().iter().map(|backed| {
        json!({
            "namespace": backed.partition.namespace().to_string(),
            "partition": backed.partition.to_string(),
            "log_start": backed.log_start,
            "end": backed.end,
            "segments": backed.segments,
            "bytes": backed.bytes,
            "batches": backed.batches,
            "records": backed.records,
            "max_timestamp_ms": backed.max_timestamp_ms,
            "crc32c": is_complete.then(|| format!("{:08x}", backed.crc32c)),
        })
    });
    json!({
        "step": if is_complete { "done" } else { backup.stage().name() },
        "backup": backup.name().to_string(),
        "stage": backup.stage().name(),
        "created_ms": backup.created_ms(),
        "bytes": backup.bytes(),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}
