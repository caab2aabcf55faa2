//! Plans: a command says what it will do, does it if the user said so, and says what it did.

use std::fmt::Display;

use serde_json::Value;

use crate::args::ConfirmArgs;
use crate::failure::{Failure, Outcome};
use crate::output::Out;

/// Says the plan. Whether to carry it out; `nothing` says what was not done if not.
pub(crate) fn agree(
    confirm: ConfirmArgs,
    plan: &impl Display,
    json: impl FnOnce() -> Value,
    nothing: &str,
) -> Outcome<bool> {
    say(confirm, plan, json)?;
    is_agreed(confirm, nothing)
}

/// Whether to carry out what was said; `nothing` says what was not done if not.
pub(crate) fn is_agreed(confirm: ConfirmArgs, nothing: &str) -> Outcome<bool> {
    if confirm.yes || confirm.dry_run {
        return Ok(confirm.yes);
    }
    if !confirm.json {
        let mut out = Out::new();
        out.line(&format!("{nothing}; add --yes to do it"))?;
        out.flush()?;
    }
    Err(Failure::Findings)
}

/// Says a plan, or what was done.
pub(crate) fn say(confirm: ConfirmArgs, what: &impl Display, json: impl FnOnce() -> Value) -> Outcome {
    let mut out = Out::new();
    match confirm.json {
        true => out.json(&json())?,
        false => out.line(&what.to_string())?,
    }
    out.flush()
}
