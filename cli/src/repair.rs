//! `kfs repair`: builds indexes again, sets a broken segment aside. Says first what it will do.

use kfs_core::format::{Namespace, ObjectName, PartitionId};
use kfs_core::text::{counted, offset_range};
use kfs_core::{BucketOptions, Error, ErrorKind, Partition, SetAside, Severity, VerifyOptions};

use crate::args::RepairArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome, usage};
use crate::output::{self, Out};
use crate::units::show_bytes;

pub(crate) async fn run(context: &Context, args: RepairArgs) -> Outcome {
    let named =
        args.partition.as_ref().map(|name| PartitionId::parse(name, context.namespace().clone())).transpose()?;
    let (id, base) = match &args.set_aside {
        None => (named.ok_or_else(nothing_named)?, None),
        Some(key) => {
            let (id, base) = segment(key, named)?;
            (id, Some(base))
        }
    };
    let bucket = context.bucket(BucketOptions::default())?;
    let partition = bucket.partition_of(id);
    let mut job = Job { context, partition: &partition, yes: args.yes, out: Out::new() };
    let ended = match base {
        None => job.indexes().await,
        Some(base) => job.set_aside(base).await,
    };
    job.out.flush()?;
    ended
}

fn nothing_named() -> Failure {
    usage("no partition is named", "write kfs repair topic/partition, or --set-aside with a segment's whole key")
}

/// The segment that a key, or a name within the partition, is.
fn segment(key: &str, named: Option<PartitionId>) -> Outcome<(PartitionId, i64)> {
    let (id, name) = match PartitionId::parse_key(key) {
        Some((id, name)) => (Some(id), Some(name)),
        None => (named.clone(), ObjectName::parse(key)),
    };
    let Some(ObjectName::Segment(base)) = name else {
        return Err(usage(
            format!("{key} is not the key of a segment"),
            "write it as `kfs ls --json` and `kfs verify` do: namespace/topic/partition/segment-….kfs",
        ));
    };
    let id = id.ok_or_else(nothing_named)?;
    if named.is_some_and(|named| named != id) {
        return Err(usage(format!("{key} is of another partition"), "leave the partition out, the key names it"));
    }
    Ok((id, base))
}

struct Job<'a> {
    context: &'a Context,
    partition: &'a Partition,
    yes: bool,
    out: Out,
}

impl Job<'_> {
    async fn indexes(&mut self) -> Outcome {
        let (context, partition) = (self.context, self.partition);
        // A broken newest segment is for the plan to say.
        match context.within(partition.refresh()).await? {
            Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error.into()),
            _ => {}
        }
        let bar = output::spinner();
        bar.set_message("reading segments and indexes");
        let plan = context.within(partition.plan_repair()).await;
        bar.finish_and_clear();
        let plan = plan??;
        for index in &plan.indexes {
            self.out.line(&format!("rebuild {}: {}", index.key, index.finding.message))?;
        }
        for finding in &plan.beyond_repair {
            self.out.line(&format!("not to be repaired: {finding}"))?;
        }
        if let Some(finding) = plan.beyond_repair.first() {
            let command = context.command(&format!("repair --set-aside {}", finding.key));
            self.out.line(&format!("`{command}` says what it means to go on without that segment"))?;
        }
        if !plan.indexes.is_empty() {
            if !self.yes {
                return self.only_said();
            }
            let written = context.within(partition.repair(&plan)).await??;
            self.out.line(&format!("rebuilt {written} of {}", counted(plan.indexes.len(), "index")))?;
            if written < plan.indexes.len() {
                self.out.line("the others' segments changed meanwhile; run again")?;
                return Err(Failure::Findings);
            }
        } else if plan.beyond_repair.is_empty() {
            self.out.line(&format!("{}: nothing to repair", partition.id()))?;
        }
        if plan.beyond_repair.is_empty() { Ok(()) } else { Err(Failure::Findings) }
    }

    async fn set_aside(&mut self, base: i64) -> Outcome {
        let (context, partition) = (self.context, self.partition);
        let plan = context.within(partition.plan_set_aside(base)).await??;
        if !plan.was_begun {
            self.refuse_if_sound(&plan, base).await?;
        }
        for line in describe(&plan) {
            self.out.line(&line)?;
        }
        if !plan.was_begun && plan.size > 0 {
            let copy = context.command(&copy_from(partition.id(), base));
            self.out.line(&format!("its readable records go with it as well: copy them first with `{copy}`"))?;
        }
        if !self.yes {
            return self.only_said();
        }
        self.out.flush()?;
        context.within(partition.set_aside(&plan)).await??;
        self.out.line(&format!("done: {} is kept as {}", plan.key, plan.kept_as))
    }

    /// Nothing that the bucket itself holds in good order is set aside, whatever a reader said of a copy of it.
    async fn refuse_if_sound(&self, plan: &SetAside, base: i64) -> Outcome {
        let (context, partition) = (self.context, self.partition);
        let mut verify = partition.verify(VerifyOptions::default().offsets(base..=base));
        let found = context.within(verify.all()).await??;
        if found.iter().any(|finding| finding.severity != Severity::Info) {
            return Ok(());
        }
        let error = Error::new(ErrorKind::InvalidInput, "the segment is sound, and nothing of it is set aside")
            .with_key(plan.key.clone())
            .with_hint("if a reader called it corrupt, it read a replica: leave read_bucket and read_endpoint out");
        Err(Failure::Error(error))
    }

    fn only_said(&mut self) -> Outcome {
        self.out.line("nothing was written; add --yes to do it")?;
        Err(Failure::Findings)
    }
}

/// What copies the records of the partition from this offset on, as far as they can be read.
fn copy_from(id: &PartitionId, base: i64) -> String {
    let namespace = match id.namespace() {
        namespace if *namespace == Namespace::default() => String::new(),
        namespace => format!(" --namespace {namespace}"),
    };
    format!("cat {id}{namespace} --from {base} --skip-corrupt --format jsonl")
}

fn describe(plan: &SetAside) -> Vec<String> {
    if plan.was_begun {
        return vec![format!("{} was set aside already, as {}; its index is made right", plan.key, plan.kept_as)];
    }
    let mut lines = vec![
        format!("copy {} ({}) to {}, read the copy back and compare it", plan.key, show_bytes(plan.size), plan.kept_as),
        match plan.is_newest && plan.covered_to.is_none() {
            true => format!("then put empty batches in the place of {}, which cover its offsets", plan.key),
            false => format!("then remove {} and its indexes", plan.key),
        },
        match plan.last_offset {
            Some(last) => {
                let go = if last == plan.first_offset { "goes" } else { "go" };
                format!("{} {go} with it", offset_range(plan.first_offset, last))
            }
            None => format!("offsets from {} on go with it; where they end can't be told", plan.first_offset),
        },
    ];
    if let Some(last) = plan.covered_to {
        lines.push(format!("the segment before it holds the offsets up to {last} as well, and they stay readable"));
    }
    if plan.is_newest {
        lines.push("it is the newest segment: none of its offsets is given again, for they may have been acked".into());
        if !plan.end_is_known {
            lines.push(
                "where it ended can't be told: 2^40 offsets more than can be seen are passed over, to be safe".into(),
            );
        }
    } else if plan.covered_to.is_none_or(|covered| plan.last_offset.is_none_or(|last| covered < last)) {
        lines.push("it is not the newest segment: readers find a hole there, and go on after it".into());
    }
    lines.push(match plan.next_offset {
        Some(next) => format!("the next append gets offset {next}"),
        None => "the next append's offset is for its writer to decide: no segment is left that says".into(),
    });
    lines.push("no writer may be at work on the partition meanwhile".into());
    lines
}
