//! `kfs copy`: copies partitions into another bucket, namespace or topic.

use futures_util::{StreamExt, stream};
use kfs_core::format::{PartitionId, Topic};
use kfs_core::store::StoreConfig;
use kfs_core::{Bucket, BucketOptions, CopyOptions, CopyPlan, CopyReport, Partition};
use serde_json::{Value, json};

use crate::args::CopyArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome, usage};
use crate::output::{self, Out};

pub(crate) async fn run(context: &Context, args: CopyArgs) -> Outcome {
    let source = context.bucket(BucketOptions::default())?;
    let namespace = args.into_namespace.clone().unwrap_or_else(|| context.namespace().clone());
    let config = match (&args.into, &args.into_config) {
        (Some(url), _) => StoreConfig::from_url(url)?,
        (None, Some(file)) => Context::config_in(file, "--into-config")?,
        (None, None) => context.store_config()?,
    };
    let target = context.second_bucket(&config, namespace)?;
    let copying = Copying {
        context,
        target,
        options: options(&args),
        rename: args.rename.as_deref(),
        from_time: args.from_time,
        at_once: args.at_once,
        follow: args.follow,
        dry_run: args.dry_run,
        json: args.json,
    };
    loop {
        let sources = context.within(source.find_partitions(&args.names, &args.exclude)).await??;
        let failed = copying.all(sources).await?;
        match failed {
            Some(failure) => return Err(failure),
            None if !args.follow => return Ok(()),
            None => {
                let bar = output::spinner();
                bar.set_message("waiting for new records");
                context.runtime().clock().sleep(args.every).await;
                bar.finish_and_clear();
            }
        }
    }
}

fn options(args: &CopyArgs) -> CopyOptions {
    let mut options = CopyOptions::default();
    (options.from, options.to, options.before_time) = (args.from, args.to, args.to_time);
    options.segment_size = args.segment_size.map(|size| u64::try_from(size).unwrap_or(u64::MAX));
    options
}

/// Partitions that are copied into a bucket.
pub(crate) struct Copying<'a> {
    pub(crate) context: &'a Context,
    pub(crate) target: Bucket,
    pub(crate) options: CopyOptions,
    pub(crate) rename: Option<&'a str>,
    pub(crate) from_time: Option<i64>,
    pub(crate) at_once: usize,
    pub(crate) follow: bool,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
}

impl Copying<'_> {
    fn target_of(&self, source: &Partition) -> Outcome<Partition> {
        let (id, namespace) = (source.id(), self.target.options().namespace.clone());
        let id = match self.rename {
            None => PartitionId::new(namespace, id.topic().clone(), id.partition())?,
            Some(name) if name.contains('/') => PartitionId::parse(name, namespace)?,
            Some(topic) => PartitionId::new(namespace, Topic::new(topic)?, id.partition())?,
        };
        Ok(self.target.partition_of(id))
    }

    /// Copies them, some at a time. Answers the first failure, after all others were tried.
    pub(crate) async fn all(&self, sources: Vec<Partition>) -> Outcome<Option<Failure>> {
        let pairs = sources.into_iter().map(|source| Ok((source.clone(), self.target_of(&source)?)));
        let pairs: Vec<(Partition, Partition)> = pairs.collect::<Outcome<_>>()?;
        let mut targets: Vec<_> = pairs.iter().map(|(_, target)| target.id().clone()).collect();
        targets.sort();
        if let Some((one, _)) = targets.iter().zip(targets.iter().skip(1)).find(|(one, two)| one == two) {
            let message = format!("several partitions would be copied into {one}");
            return Err(usage(message, "name one partition, or leave --as out"));
        }
        let bar = output::spinner();
        let copies = stream::iter(pairs).map(|(source, target)| {
            let bar = bar.clone();
            async move { (source.id().clone(), self.one(&source, &target, &bar).await) }
        });
        let mut copies = std::pin::pin!(copies.buffer_unordered(self.at_once));
        let (mut failed, mut out) = (None, Out::new());
        while let Some((id, copied)) = copies.next().await {
            match copied {
                Ok(said) => {
                    for line in said {
                        bar.suspend(|| out.line(&line).and_then(|()| out.flush()))?;
                    }
                }
                Err(failure) if failed.is_none() => failed = Some(failure),
                Err(Failure::Error(error) | Failure::Told(error)) => {
                    bar.suspend(|| output::note(&format!("{id}: {error:#}")))
                }
                Err(_) => {}
            }
        }
        bar.finish_and_clear();
        Ok(failed)
    }

    /// The first offset whose record is not older; the high watermark where all are.
    async fn offset(&self, source: &Partition, time: Option<i64>) -> Outcome<Option<i64>> {
        let Some(time) = time else { return Ok(None) };
        let found = self.context.within(source.offset_for_timestamp(time)).await??;
        match found {
            Some(found) => Ok(Some(found.offset)),
            None => Ok(Some(self.context.within(source.refresh()).await??.high_watermark)),
        }
    }

    /// Copies one partition. Answers what there is to say.
    async fn one(&self, source: &Partition, target: &Partition, bar: &indicatif::ProgressBar) -> Outcome<Vec<String>> {
        let mut options = self.options.clone();
        options.from = self.offset(source, self.from_time).await?.or(options.from);
        let plan = self.context.within(source.plan_copy(target, &options)).await??;
        if self.dry_run {
            return Ok(vec![if self.json { plan_json(&plan).to_string() } else { plan.to_string() }]);
        }
        let (shown, total, id) = (bar.clone(), plan.bytes, plan.source.clone());
        let told = move |so_far: &CopyReport| shown.set_message(format!("{id}: {} of {total} bytes", so_far.bytes));
        let report = self.context.within(source.copy_with(target, &plan, told)).await??;
        let is_news = report.segments > 0 || !self.follow;
        let line = || if self.json { report_json(&report).to_string() } else { report.to_string() };
        Ok(is_news.then(line).into_iter().collect())
    }
}

fn plan_json(plan: &CopyPlan) -> Value {
    json!({
        "step": "plan",
        "source": plan.source.to_string(),
        "target": plan.target.to_string(),
        "from": plan.from,
        "next": plan.next,
        "to": plan.to,
        "before_time": plan.options.before_time,
        "segments": plan.segments,
        "bytes": plan.bytes,
    })
}

fn report_json(report: &CopyReport) -> Value {
    json!({
        "step": "done",
        "source": report.source.to_string(),
        "target": report.target.to_string(),
        "segments": report.segments,
        "bytes": report.bytes,
        "next": report.next,
        "holes": report.holes,
    })
}
