//! `kfs check`: whether a bucket does what a log needs.

use std::time::Duration;

use kfs_core::store::preflight::{Preflight, PreflightOptions, PreflightStep};
use kfs_core::{Error, ErrorKind};
use serde_json::json;

use crate::args::CheckArgs;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{self, Out, Table};

/// How long the store may take to accept a connection, in the words of the client's settings.
const CONNECT: &str = "3s";
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How long the check may take, but for deleting what it made, which takes 2 s at most.
const WHOLE: Duration = Duration::from_secs(7);

pub(crate) async fn run(context: &Context, args: CheckArgs) -> Outcome {
    let store = context.store(CONNECT)?;
    let request = context.patience().map_or(REQUEST, |limit| limit.min(REQUEST));
    let options = PreflightOptions::default().request_timeout(request).timeout(WHOLE);
    let report = store.preflight(context.runtime(), &options).await?;
    let mut out = Out::new();
    match args.json {
        true => print_json(&mut out, &report)?,
        false => print_table(&mut out, &report)?,
    }
    out.flush()?;
    report.failure().map_or(Ok(()), |error| Err(with_limits(error).into()))
}

/// The error of a check. Its time limits are fixed, so the general advice to wait longer is no help.
fn with_limits(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::TimedOut if error.hint().is_none() => error.with_hint(format!(
            "try again, or look at the store's own log: a check waits {CONNECT} for a connection and {REQUEST:?} for an \
             answer, and --timeout only shortens that"
        )),
        _ => error,
    }
}

fn print_table(out: &mut Out, report: &Preflight) -> Outcome {
    let mut table = Table::new(&["<check", "<verdict", "<found"]);
    for step in &report.steps {
        table.row(out, [step.check.name().to_string(), step.verdict.name().to_string(), sentence(step)])?;
    }
    table.end(out)?;
    for key in &report.left {
        output::note(&format!("{key} could not be deleted; it can be removed at any time"));
    }
    Ok(())
}

/// What was found, and what that costs.
fn sentence(step: &PreflightStep) -> String {
    match &step.cost {
        Some(cost) => format!("{}: {cost}", step.found),
        None => step.found.clone(),
    }
}

fn print_json(out: &mut Out, report: &Preflight) -> Outcome {
    for step in &report.steps {
        let (check, verdict) = (step.check.name(), step.verdict.name());
        out.json(&json!({ "check": check, "verdict": verdict, "found": step.found, "cost": step.cost }))?;
    }
    let fit = report.failure().is_none();
    let summary = json!({ "url": report.url, "fit": fit, "requests": report.requests.total(), "left": report.left });
    out.json(&summary)
}
