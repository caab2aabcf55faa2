//! What is said on stderr when a run ends, and what to do about it.

use std::process::ExitCode;

use kfs_core::format::{ObjectName, PartitionId};
use kfs_core::{Error, ErrorKind};

use crate::context::Context;
use crate::failure::{Failure, Outcome, exit_code, is_stored_data, lacks_descriptors};
use crate::output;

/// Says why the run failed, if that was not said yet, and gives the exit code.
pub(crate) fn report(ended: Outcome) -> ExitCode {
    match &ended {
        Err(Failure::Unwritten(what)) => {
            let hint = match what == output::CLOSED {
                true => "leave it open: redirect it to /dev/null where nobody reads it",
                false => "check whether the disk that it goes to is full",
            };
            output::complain(&format!("the output can't be written: {what}"), hint);
        }
        Err(Failure::Error(error)) => {
            let hint = hint_of_causes(error).or(error.hint()).unwrap_or_else(|| hint(error));
            output::complain(&format!("{error:#}"), hint);
        }
        _ => {}
    }
    ExitCode::from(exit_code(&ended))
}

/// Has a panic said as any other message is, on a line of its own.
pub(crate) fn tell_of_panics() {
    std::panic::set_hook(Box::new(|panic| output::note(&panic.to_string().replace('\n', " "))));
}

/// The same failure with a hint that names a command, where that is what helps.
pub(crate) fn with_hint_on(failure: Failure, context: &Context) -> Failure {
    match failure {
        Failure::Error(error) if context.opened_a_bucket() => Failure::Error(with_set_aside(error, context)),
        other => other,
    }
}

/// Of a segment that can't be read: what sets it aside. Its core's own hint does not know the bucket's name.
fn with_set_aside(error: Error, context: &Context) -> Error {
    let is_segment = |key| matches!(PartitionId::parse_key(key), Some((_, ObjectName::Segment(_))));
    let names_no_other_way = error.hint().is_none_or(|hint| hint.contains("kfs repair"));
    let newer = if error.kind() == ErrorKind::Unsupported { "a newer kfs may read it; " } else { "" };
    match error.key().filter(|key| is_segment(key)).map(str::to_string) {
        Some(key) if is_stored_data(&error) && names_no_other_way => {
            let command = context.command(&format!("repair --set-aside {key}"));
            error.with_hint(format!(
                "{newer}`{command}` says what it means to go on without that segment, and does it with --yes"
            ))
        }
        _ => error,
    }
}

/// What to do where this process, or the system, has no file descriptor left.
const OPEN_FILES: &str = "raise the limit of open files (ulimit -n)";

/// The hint for an error one of whose causes is that there was no file descriptor left.
fn hint_of_causes(error: &Error) -> Option<&'static str> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
        .any(|cause| cause.downcast_ref().is_some_and(lacks_descriptors))
        .then_some(OPEN_FILES)
}

/// What to do, where the error itself has no better idea.
fn hint(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Unsupported if is_stored_data(error) => {
            "a newer kfs may read it, or it is damaged: `kfs verify` lists all that is wrong, `kfs inspect` shows the object"
        }
        ErrorKind::NotFound => "check the name, --bucket and --namespace; `kfs ls` lists what is there",
        ErrorKind::PermissionDenied => "check the credentials, or the directory's permissions",
        ErrorKind::InvalidInput | ErrorKind::Unsupported if error.is_from_store() => {
            "the store refused it: `kfs check` says what the store can do, `kfs config show` how it is reached"
        }
        ErrorKind::InvalidInput | ErrorKind::Unsupported => "the command's --help says what it takes",
        ErrorKind::OutOfRange => "choose an offset in that range; `cat --from earliest` starts where the log does",
        ErrorKind::Conflict => "ask who else writes this partition; `kfs ls` shows where its log starts",
        ErrorKind::Fenced => "another writer owns the partition now; append again only if it should be taken back",
        ErrorKind::Corrupt => {
            "`kfs verify` lists all that is wrong, `kfs inspect` shows the object, `kfs repair` mends"
        }
        ErrorKind::Unavailable | ErrorKind::TimedOut | ErrorKind::Full => "try again; --timeout waits longer",
        _ => "please report this",
    }
}
