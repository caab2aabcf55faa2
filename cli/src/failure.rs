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
    /// What is wrong with the command line was said already.
    Misused,
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
            Failure::Findings | Failure::Misused | Failure::BrokenPipe | Failure::Unwritten(_) | Failure::Signal(_) => {
                false
            }
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

/// Whether it is about bytes that are stored: corrupt ones, and those of a format that is not known. A store that
/// lacks something is not meant.
fn is_stored_data(error: &Error) -> bool {
    let unknown = error.kind() == ErrorKind::Unsupported && error.key().is_some() && !error.is_from_store();
    error.kind() == ErrorKind::Corrupt || unknown
}

/// Does the work, and makes an error of a panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    // What the work has left half done is not looked at after a panic: the command ends.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .map_err(|_| Error::new(ErrorKind::Internal, "a part of this program panicked"))
}

/// Has a panic said as any other message is, on a line of its own.
pub(crate) fn tell_of_panics() {
    std::panic::set_hook(Box::new(|panic| output::note(&panic.to_string().replace('\n', " "))));
}

/// Wrong usage that clap can't see.
pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::Error(Error::new(ErrorKind::InvalidInput, message).with_hint(hint))
}

/// An error of the operating system on a file that the caller named.
pub(crate) fn file(path: &std::path::Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let kind = match error.kind() {
        _ if lacks_descriptors(&error) => ErrorKind::Unavailable,
        Io::NotFound => ErrorKind::NotFound,
        Io::PermissionDenied => ErrorKind::PermissionDenied,
        Io::IsADirectory | Io::NotADirectory | Io::InvalidInput => ErrorKind::InvalidInput,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("{}: {error}", path.display())).with_source(error)
}

/// What to do where this process, or the system, has no file descriptor left.
const OPEN_FILES: &str = "raise the limit of open files (ulimit -n)";

/// Whether the system refused for want of a file descriptor.
#[cfg(unix)]
fn lacks_descriptors(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(not(unix))]
fn lacks_descriptors(_: &std::io::Error) -> bool {
    false
}

/// The hint for an error one of whose causes is that there was no file descriptor left.
fn hint_of_causes(error: &Error) -> Option<&'static str> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
        .any(|cause| cause.downcast_ref().is_some_and(lacks_descriptors))
        .then_some(OPEN_FILES)
}

/// Prints what is to be said and gives the exit code.
pub(crate) fn report(ended: Outcome) -> ExitCode {
    ExitCode::from(match ended {
        Ok(()) | Err(Failure::BrokenPipe) => 0,
        Err(Failure::Findings) => 1,
        Err(Failure::Misused) => 2,
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
            let hint = hint_of_causes(&error).or(error.hint()).unwrap_or_else(|| hint(&error));
            output::complain(&format!("{error:#}"), hint);
            exit_code(&error)
        }
    })
}

fn exit_code(error: &Error) -> u8 {
    match is_stored_data(error) {
        true => 1,
        false => code(error.kind(), error.is_contended(), error.is_from_store()),
    }
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
fn hint(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Unsupported if is_stored_data(error) => {
            "a newer kfs may read it, or it is damaged: `kfs verify` lists all that is wrong, `kfs inspect` shows the object"
        }
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
    fn a_panic_is_an_error_with_the_code_of_a_fault_of_this_program() {
        let error = caught(|| std::panic::panic_any("a fault")).unwrap_err();
        assert_eq!((error.kind(), exit_code(&error)), (ErrorKind::Internal, 6));
        assert_eq!(caught(|| 7).unwrap(), 7);
    }

    #[test]
    fn a_writer_that_others_keep_out_ends_otherwise_than_one_whose_store_is_away() {
        assert_eq!(code(ErrorKind::Unavailable, true, false), 4, "contended");
        assert_eq!(code(ErrorKind::Fenced, false, false), 4);
        assert_eq!(code(ErrorKind::Conflict, false, false), 4);
        assert_eq!(code(ErrorKind::Unavailable, false, false), 5);
        assert_eq!(code(ErrorKind::TimedOut, false, false), 5);
    }
}
