//! The one runtime that the buckets of a process share.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::error::{Error, ErrorKind, Result};
use crate::fork::ForkGuard;
use crate::runtime::{Runtime, Spawn};

/// Worker threads of the shared runtime, unless the program says otherwise.
const THREADS: usize = 2;
/// The most worker threads that may be set.
const MOST_THREADS: usize = 1024;

/// What a process shares. A forked child has none of the runtime's threads, and a thread of the parent may have held the
/// lock. So the child leaves both alone and has a state of its own.
struct ProcessState {
    guard: ForkGuard,
    shared: Mutex<SharedRuntime>,
    child: OnceLock<Box<ProcessState>>,
}

struct SharedRuntime {
    threads: usize,
    /// The runtime, while a bucket uses it.
    spawn: Option<Weak<dyn Spawn>>,
}

static ROOT: OnceLock<ProcessState> = OnceLock::new();

impl ProcessState {
    fn new() -> Self {
        let shared = Mutex::new(SharedRuntime { threads: THREADS, spawn: None });
        ProcessState { guard: ForkGuard::here(), shared, child: OnceLock::new() }
    }

    /// The state of this process.
    fn here() -> &'static Self {
        let mut state = ROOT.get_or_init(Self::new);
        while state.guard.is_forked() {
            state = state.child.get_or_init(|| Box::new(Self::new()));
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, SharedRuntime> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedRuntime {
    fn running(&self) -> Option<Arc<dyn Spawn>> {
        self.spawn.as_ref().and_then(Weak::upgrade)
    }
}

/// The runtime that this process shares. It is started here if no bucket uses it, and ends with the last handle that does.
///
/// # Errors
/// Unavailable if its threads can't be started.
pub(super) fn shared_runtime() -> Result<Runtime> {
    let mut shared = ProcessState::here().lock();
    if let Some(spawn) = shared.running() {
        return Ok(Runtime::system(spawn));
    }
    let runtime = Runtime::own_with(shared.threads)?;
    shared.spawn = Some(runtime.downgrade());
    Ok(runtime)
}

/// Sets how many worker threads the runtime has that all buckets of this process share, if [`open`](super::open) opened
/// them without a runtime of their own: 2 unless this is called, 1,024 at most. Call it before the first bucket is
/// opened. A forked child starts with the default.
///
/// # Errors
/// Invalid input for a number that is not allowed; conflict while the runtime runs with another number.
pub fn runtime_threads(threads: usize) -> Result<()> {
    if !(1..=MOST_THREADS).contains(&threads) {
        let message = format!("the runtime can't have {threads} threads: 1 to {MOST_THREADS} are allowed");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let mut shared = ProcessState::here().lock();
    if shared.threads != threads && shared.running().is_some() {
        let message = format!("the runtime runs with {} threads already, so it can't have {threads}", shared.threads);
        return Err(Error::new(ErrorKind::Conflict, message)
            .with_hint("set the threads before the first bucket is opened, or after every handle was freed"));
    }
    shared.threads = threads;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_starts_a_runtime_of_its_own_whose_threads_are_set_before_it_runs() {
        let parent = shared_runtime().unwrap();
        let again = shared_runtime().unwrap();
        assert!(parent.downgrade().ptr_eq(&again.downgrade()), "one for all of the process");
        // In the child, so that no other test's bucket uses the runtime.
        crate::fork::tests::pretend_forked(true);
        let zero = runtime_threads(0).unwrap_err();
        let set = runtime_threads(3);
        let child = shared_runtime();
        let (same, late) = (runtime_threads(3), runtime_threads(4));
        let is_parents = child.as_ref().is_ok_and(|child| child.downgrade().ptr_eq(&parent.downgrade()));
        drop(child);
        let ended = runtime_threads(THREADS);
        crate::fork::tests::pretend_forked(false);
        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
        assert!(!is_parents);
        set.unwrap();
        same.unwrap();
        let late = late.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Conflict);
        assert!(late.message().contains("3 threads already") && late.hint().is_some(), "{late}");
        ended.unwrap();
        assert!(parent.downgrade().ptr_eq(&shared_runtime().unwrap().downgrade()));
    }
}
