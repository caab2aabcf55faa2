//! How a run ends: messages on stderr, exit codes.

use std::process::ExitCode;

use kfs_core::format::{ObjectName, PartitionId};
use kfs_core::{Error, ErrorKind};

use crate::context::Context;
use crate::output;

/// What `--help` says of exit codes; [`exit_code`] keeps to it.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    stored data is wrong: findings of verify, a corrupt object, something skipped; repair left something to do
  2    wrong usage, or input that can't be understood
  3    not found, or an offset outside the log
  4    another writer has the partition: conflict, fenced or contended
  5    the store can't be reached, refused, lacks what is needed, or made no progress within --timeout
  6    a fault of this program, or output that can't be written
  130  append was interrupted (Ctrl-C), 143 terminated, 129 hung up: what it had read by then is durable,
       unless it says on stderr that it ended at once
  141  nobody reads append's report any more; it says on stderr what is durable";

/// Why a run did not simply succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error to be told.
    Error(Error),
    /// What is wrong was printed already, as the command's result.
    Findings,
    /// What went wrong was said already, and the work went on.
    Told(Error),
    /// Nobody reads the output any more. Not an error: `kfs cat … | head`.
    BrokenPipe,
    /// The output can't be written: what the system says of it. A full disk beneath a redirection, as a
    /// rule.
    Unwritten(String),
    /// A signal asked for the end, and the work was ended in order.
    Signal(u8),
    /// A second signal ended the work at once, which was said.
    Cut(u8),
}

/// A result of the command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

impl Failure {
    /// Whether it may be that the store does not answer.
    pub(crate) fn is_of_the_store(&self) -> bool {
        match self {
            Failure::Error(error) | Failure::Told(error) => exit_code(error) == 5,
            Failure::Cut(_) => true,
            Failure::Findings | Failure::BrokenPipe | Failure::Unwritten(_) | Failure::Signal(_) => false,
        }
    }

    /// The same failure with a hint that names a command, where that is what helps.
    pub(crate) fn with_hint_on(self, context: &Context) -> Self {
        match self {
            Failure::Error(error) if context.opened_a_bucket() => Failure::Error(with_set_aside(error, context)),
            other => other,
        }
    }
}

/// Of a segment that is broken: what sets it aside. Its core's own hint does not know the bucket's name.
fn with_set_aside(error: Error, context: &Context) -> Error {
    let is_segment = |key| matches!(PartitionId::parse_key(key), Some((_, ObjectName::Segment(_))));
    let names_no_other_way = error.hint().is_none_or(|hint| hint.contains("kfs repair"));
    match error.key().filter(|key| is_segment(key)).map(str::to_string) {
        Some(key) if error.kind() == ErrorKind::Corrupt && names_no_other_way => {
            let command = context.command(&format!("repair --set-aside {key}"));
            error.with_hint(format!(
                "`{command}` says what it means to go on without that segment, and does it with --yes"
            ))
        }
        _ => error,
    }
}

/// Wrong usage that clap can't see.
pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::Error(Error::new(ErrorKind::InvalidInput, message).with_hint(hint))
}

/// An error of the operating system on a file that the caller named.
pub(crate) fn file(path: &std::path::Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let kind = match error.kind() {
        Io::NotFound => ErrorKind::NotFound,
        Io::PermissionDenied => ErrorKind::PermissionDenied,
        Io::IsADirectory | Io::NotADirectory | Io::InvalidInput => ErrorKind::InvalidInput,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("{}: {error}", path.display()))
}

/// Prints what is to be said and gives the exit code.
pub(crate) fn report(ended: Outcome) -> ExitCode {
    ExitCode::from(match ended {
        Ok(()) | Err(Failure::BrokenPipe) => 0,
        Err(Failure::Findings) => 1,
        Err(Failure::Told(error)) => exit_code(&error),
        Err(Failure::Signal(signal) | Failure::Cut(signal)) => signal.saturating_add(128),
        Err(Failure::Unwritten(what)) => {
            let hint = match what == output::CLOSED {
                true => "leave it open: redirect it to /dev/null where nobody reads it",
                false => "check whether the disk that it goes to is full",
            };
            output::complain(&format!("the output can't be written: {what}"), hint);
            6
        }
        Err(Failure::Error(error)) => {
            output::complain(&format!("{error:#}"), error.hint().unwrap_or_else(|| hint(error.kind())));
            exit_code(&error)
        }
    })
}

fn exit_code(error: &Error) -> u8 {
    code(error.kind(), error.is_contended(), error.is_from_store())
}

fn code(kind: ErrorKind, contended: bool, from_store: bool) -> u8 {
    match kind {
        ErrorKind::Unavailable if contended => 4,
        ErrorKind::InvalidInput | ErrorKind::Unsupported if from_store => 5,
        ErrorKind::Corrupt => 1,
        ErrorKind::InvalidInput | ErrorKind::Unsupported => 2,
        ErrorKind::NotFound | ErrorKind::OutOfRange => 3,
        ErrorKind::Conflict | ErrorKind::Fenced => 4,
        ErrorKind::Unavailable | ErrorKind::TimedOut | ErrorKind::PermissionDenied | ErrorKind::Full => 5,
        _ => 6,
    }
}

/// What to do, where the error itself has no better idea.
fn hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "check the name, --bucket and --namespace; `kfs ls` lists what is there",
        ErrorKind::PermissionDenied => "check the credentials, or the directory's permissions",
        ErrorKind::InvalidInput | ErrorKind::Unsupported => "see --help",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_others_keep_out_ends_otherwise_than_one_whose_store_is_away() {
        assert_eq!(code(ErrorKind::Unavailable, true, false), 4, "contended");
        assert_eq!(code(ErrorKind::Fenced, false, false), 4);
        assert_eq!(code(ErrorKind::Conflict, false, false), 4);
        assert_eq!(code(ErrorKind::Unavailable, false, false), 5);
        assert_eq!(code(ErrorKind::TimedOut, false, false), 5);
    }
}
