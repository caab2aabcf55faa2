//! A process's tasks: they can be suspended and killed together.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use kfs_core::runtime::{BoxFuture, Spawn};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};

type OnPanic = Arc<dyn Fn(String) + Send + Sync>;

#[derive(Default)]
struct Tasks {
    dead: bool,
    suspended_until: Option<Instant>,
    tasks: Vec<AbortHandle>,
}

/// The life of one process, and how its tasks are started.
pub(crate) struct Life {
    state: Mutex<Tasks>,
    on_panic: OnPanic,
}

impl Life {
    /// A process that lives.
    pub(crate) fn new(on_panic: impl Fn(String) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Life { state: Mutex::default(), on_panic: Arc::new(on_panic) })
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was killed.
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Kills it: no task of it runs on. What it sent is not called back.
    pub(crate) fn kill(&self) {
        let tasks = {
            let mut state = self.lock();
            state.dead = true;
            std::mem::take(&mut state.tasks)
        };
        for task in tasks {
            task.abort();
        }
    }

    /// No task of it runs until then.
    pub(crate) fn suspend_until(&self, until: Instant) {
        let mut state = self.lock();
        state.suspended_until = state.suspended_until.max(Some(until));
    }

    /// Until when it is suspended, if it is.
    fn suspended(&self) -> Option<Instant> {
        let mut state = self.lock();
        if state.suspended_until.is_some_and(|until| until <= Instant::now()) {
            state.suspended_until = None;
        }
        state.suspended_until
    }

    /// A [`Spawn`] whose tasks belong to this process.
    pub(crate) fn spawner(self: &Arc<Self>) -> Arc<dyn Spawn> {
        Arc::new(ProcessSpawn(self.clone()))
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life").field("dead", &self.is_dead()).finish()
    }
}

#[derive(Debug)]
struct ProcessSpawn(Arc<Life>);

impl Spawn for ProcessSpawn {
    fn spawn(&self, task: BoxFuture<()>) {
        if self.0.is_dead() {
            return;
        }
        let task = Task { life: self.0.clone(), inner: task, alarm: None };
        spawn_on_tokio(task, |handle| {
            let mut state = self.0.lock();
            if state.tasks.len() == state.tasks.capacity() {
                state.tasks.retain(|task| !task.is_finished());
            }
            state.tasks.push(handle);
        });
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that starts tasks")]
fn spawn_on_tokio(task: impl Future<Output = ()> + Send + 'static, keep: impl FnOnce(AbortHandle)) {
    if let Ok(tokio) = tokio::runtime::Handle::try_current() {
        keep(tokio.spawn(task).abort_handle());
    }
}

/// Starts tasks that belong to no process: requests on the wire.
pub(crate) struct WorldSpawn(OnPanic);

impl WorldSpawn {
    /// Reports panics to `on_panic`.
    pub(crate) fn new(on_panic: impl Fn(String) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(WorldSpawn(Arc::new(on_panic)))
    }
}

impl fmt::Debug for WorldSpawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorldSpawn")
    }
}

impl Spawn for WorldSpawn {
    fn spawn(&self, task: BoxFuture<()>) {
        spawn_on_tokio(Guarded { inner: task, on_panic: self.0.clone() }, drop);
    }
}

/// A task of a process: waits while the process is suspended.
struct Task {
    life: Arc<Life>,
    inner: BoxFuture<()>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Future for Task {
    type Output = ();

    #[allow(clippy::disallowed_methods, reason = "tokio's paused time is the virtual time here")]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.life.is_dead() {
            return Poll::Ready(());
        }
        while let Some(until) = self.life.suspended() {
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.alarm = None;
        }
        self.alarm = None;
        let on_panic = self.life.on_panic.clone();
        poll_guarded(&mut self.inner, context, &on_panic)
    }
}

struct Guarded {
    inner: BoxFuture<()>,
    on_panic: OnPanic,
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let on_panic = self.on_panic.clone();
        poll_guarded(&mut self.inner, context, &on_panic)
    }
}

fn poll_guarded(inner: &mut BoxFuture<()>, context: &mut Context<'_>, on_panic: &OnPanic) -> Poll<()> {
    catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(context))).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or(cause.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        on_panic(text.to_owned());
        Poll::Ready(())
    })
}
