//! Why a run fails, and the exit code of each failure.

use kfs_core::{Error, ErrorKind};

/// What `--help` says of exit codes; [`exit_code`] keeps to it.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    stored data is wrong: findings of verify, a corrupt object, something skipped; repair, delete-records or retain left something to do
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
            Failure::Error(error) | Failure::Told(error) => error_code(error) == 5,
            Failure::Cut(_) => true,
            Failure::Findings | Failure::Misused | Failure::BrokenPipe | Failure::Unwritten(_) | Failure::Signal(_) => {
                false
            }
        }
    }
}

/// Whether it is about bytes that are stored: corrupt ones, and those of a format that is not known. A store that
/// lacks something is not meant.
pub(crate) fn is_stored_data(error: &Error) -> bool {
    let unknown = error.kind() == ErrorKind::Unsupported && error.key().is_some() && !error.is_from_store();
    error.kind() == ErrorKind::Corrupt || unknown
}

/// Does the work, and makes an error of a panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    // What the work has left half done is not looked at after a panic: the command ends.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .map_err(|_| Error::new(ErrorKind::Internal, "a part of this program panicked"))
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
        Io::IsADirectory | Io::NotADirectory | Io::InvalidInput | Io::InvalidData => ErrorKind::InvalidInput,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("{}: {error}", path.display())).with_source(error)
}

/// Whether the system refused for want of a file descriptor.
#[cfg(unix)]
pub(crate) fn lacks_descriptors(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(not(unix))]
pub(crate) fn lacks_descriptors(_: &std::io::Error) -> bool {
    false
}

/// The exit code of a run that ended so.
pub(crate) fn exit_code(ended: &Outcome) -> u8 {
    match ended {
        Ok(()) | Err(Failure::BrokenPipe) => 0,
        Err(Failure::Findings) => 1,
        Err(Failure::Misused) => 2,
        Err(Failure::Error(error) | Failure::Told(error)) => error_code(error),
        Err(Failure::Signal(signal) | Failure::Cut(signal)) => signal.saturating_add(128),
        Err(Failure::Unwritten(_)) => 6,
    }
}

fn error_code(error: &Error) -> u8 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_the_code_of_a_fault_of_this_program() {
        let error = caught(|| std::panic::panic_any("a fault")).unwrap_err();
        assert_eq!((error.kind(), error_code(&error)), (ErrorKind::Internal, 6));
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
