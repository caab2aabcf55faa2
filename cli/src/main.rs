//! `kfs`: check a bucket, append to, read, list, inspect, verify and repair partition logs in a bucket.
//!
//! One file a subcommand. What they share: [`args`] (the command line), [`target`] (what a name on
//! it means), [`context`] (the bucket, time-outs), [`output`] (the one place that prints), [`failure`] (why a run
//! fails, and exit codes), [`messages`] (how that is told), [`events`] (what `-v` shows), [`encoding`] and [`jsonl`]
//! (records as text).

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

mod append;
mod args;
mod backup;
mod cat;
mod check;
mod config;
mod context;
mod copy;
mod create;
mod delete;
mod encoding;
mod events;
mod failure;
mod input;
mod inspect;
mod jsonl;
mod log_start;
mod ls;
mod maintain;
mod manifest;
mod merge;
mod messages;
mod notices;
mod output;
mod plan;
mod portion;
mod repair;
mod segment_file;
mod target;
mod times;
mod units;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use context::Context;
use failure::{Failure, Outcome};

fn main() -> ExitCode {
    messages::tell_of_panics();
    messages::report(failure::caught(command).unwrap_or_else(|panicked| Err(panicked.into())))
}

fn command() -> Outcome {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            // It repeats arguments, which may be names of files from anywhere.
            output::text_on_stderr(&error.render().to_string());
            return Err(Failure::Misused);
        }
        Err(help) => return output::help(&help),
    };
    run(cli)
}

fn run(cli: Cli) -> Outcome {
    events::show(cli.common.verbose);
    let context = Context::new(cli.common)?;
    let ended = context.block_on(async {
        match cli.command {
            Command::Append(args) => append::run(&context, *args).await,
            Command::Backup(args) => backup::run(&context, args.command).await,
            Command::Cat(args) => cat::run(&context, args).await,
            Command::Check(args) => check::run(&context, args).await,
            Command::Config(args) => config::run(&context, &args.command),
            Command::Copy(args) => copy::run(&context, *args).await,
            Command::Create(args) => create::run(&context, args).await,
            Command::Delete(args) => delete::run(&context, args).await,
            Command::DeleteRecords(args) => log_start::delete_records(&context, args).await,
            Command::Inspect(args) => inspect::run(&context, args).await,
            Command::Ls(args) => ls::run(&context, args).await,
            Command::Maintain(args) => maintain::run(&context, args).await,
            Command::Manifest(args) => manifest::run(&context, args.command).await,
            Command::Merge(args) => merge::run(&context, args).await,
            Command::Repair(args) => repair::run(&context, args).await,
            Command::Retain(args) => log_start::retain(&context, args).await,
            Command::Verify(args) => verify::run(&context, args).await,
        }
    });
    let ended = ended.map_err(|failure| messages::with_hint_on(failure, &context));
    context.end(&ended);
    ended
}
