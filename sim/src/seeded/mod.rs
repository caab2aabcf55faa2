//! A store whose faults come from one seed.

mod listing;
mod weather;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use kfs_core::runtime::Runtime;
use kfs_core::testing::{Failure, Op, Outcome, Request};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::oneshot;

pub use self::weather::Faults;
use self::weather::{Fate, Plan, Weather};

/// A store around another that fails by chance, the same way each time for the same seed.
///
/// Requests take time, by the clock of the [`Runtime`] that it is given; under a clock that a test
/// moves, or tokio's paused time, hours pass at once. They run on tasks of that runtime, not of the
/// caller's: what was sent may land, whatever becomes of who sent it. Give every simulated process
/// a `SeededStore` of its own over one shared store.
///
/// What it does: errors before the store acted; replies lost after it did; conflicts that keep
/// nothing; puts that land much later; lost metadata; slow, cut and hanging replies; listings that
/// stop midway; spells of 503, 403 or silence. An answer tells of the moment when the request was
/// served, which may be a while ago when it arrives: a 404 may be true no more. Faults that break what a store must
/// guarantee (a lost object, a stale read, a second winner of a create) it has none.
pub(crate) struct SeededStore(Arc<SeededCore>);

struct SeededCore {
    inner: Arc<dyn ObjectStore>,
    runtime: Runtime,
    state: Mutex<Sky>,
}

struct Sky {
    weather: Weather,
    observer: Option<Observer>,
    next_id: u64,
    cut_off: bool,
    /// By elapsed time.
    stalled_until: Duration,
}

type Observer = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// A moment in the life of a request, as [`SeededStore::observe`] reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// Number of the request, from 0 on.
    pub(crate) id: u64,
    /// The request.
    pub(crate) request: &'a Request,
    /// What happens to it.
    pub(crate) moment: Moment<'a>,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment<'a> {
    /// It is sent.
    Sent,
    /// The store has acted.
    Applied(&'a Outcome),
    /// The caller gets its answer (if it still waits).
    Answered(&'a Outcome),
}

impl SeededStore {
    /// Around `inner`, with the faults that `seed` draws. `runtime` runs the requests.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, runtime: Runtime, seed: u64, faults: Faults) -> Arc<Self> {
        let state = Sky {
            weather: Weather::new(seed, faults),
            observer: None,
            next_id: 0,
            cut_off: false,
            stalled_until: Duration::ZERO,
        };
        Arc::new(SeededStore(Arc::new(SeededCore { inner, runtime, state: Mutex::new(state) })))
    }

    /// From now on other faults; a spell that was on is over. Requests under way keep their fate.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.0.lock().weather.set(faults);
    }

    /// For so long nothing reaches the store: the machine is suspended, with what it sent in its
    /// buffers. If it is [cut off](Self::cut_off) meanwhile, that is lost.
    pub(crate) fn stall(&self, time: Duration) {
        let until = self.0.runtime.clock().elapsed().saturating_add(time);
        let mut state = self.0.lock();
        state.stalled_until = state.stalled_until.max(until);
    }

    /// From now on nothing is sent, and nothing answered: the process behind it is dead.
    pub(crate) fn cut_off(&self) {
        self.0.lock().cut_off = true;
    }

    /// Calls back at each moment of each request. The callback may call [`cut_off`](Self::cut_off)
    /// when a request is [sent](Moment::Sent): then it is not.
    pub(crate) fn observe(&self, observer: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        self.0.lock().observer = Some(Arc::new(observer));
    }
}

impl SeededCore {
    fn lock(&self) -> MutexGuard<'_, Sky> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, id: u64, request: &Request, moment: Moment<'_>) {
        let observer = self.lock().observer.clone();
        if let Some(observer) = observer {
            observer(&Event { id, request, moment });
        }
    }

    /// Number and fate of a request; `None` when nothing is sent any more.
    fn begin(&self, request: &Request) -> Option<(u64, Plan)> {
        let now = self.runtime.clock().elapsed();
        let (id, plan) = {
            let mut state = self.lock();
            if state.cut_off {
                return None;
            }
            let id = state.next_id;
            state.next_id = id.wrapping_add(1);
            (id, state.weather.draw(request, now))
        };
        self.tell(id, request, Moment::Sent);
        (!self.lock().cut_off).then_some((id, plan))
    }

    /// Sends a request on a task of its own and waits for the answer. `act` may be called more than once.
    async fn exchange<T: Send + 'static>(self: &Arc<Self>, request: Request, act: Act<T>) -> Result<T> {
        let Some((id, plan)) = self.begin(&request) else { return std::future::pending().await };
        let (send, receive) = oneshot::channel();
        let wire = Wire { core: self.clone(), id, request, act, reply: send };
        self.runtime.spawn(wire.serve(plan));
        match receive.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }
}

type Act<T> = Box<dyn Fn(Fate) -> BoxFuture<'static, Result<T>> + Send + Sync>;

/// A request under way.
struct Wire<T> {
    core: Arc<SeededCore>,
    id: u64,
    request: Request,
    act: Act<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send + 'static> Wire<T> {
    async fn sleep(&self, time: Duration) {
        if !time.is_zero() {
            self.core.runtime.clock().sleep(time).await;
        }
    }

    /// Waits until the machine runs; false when it never will again.
    async fn leaves(&self) -> bool {
        loop {
            let now = self.core.runtime.clock().elapsed();
            let until = self.core.lock().stalled_until;
            if until <= now {
                return true;
            }
            self.sleep(until.saturating_sub(now)).await;
            if self.core.lock().cut_off {
                return false;
            }
        }
    }

    async fn act(&self, fate: Fate) -> Result<T> {
        let answer = (self.act)(fate).await;
        self.core.tell(self.id, &self.request, Moment::Applied(&Outcome::of(&answer)));
        answer
    }

    fn failed(&self, failure: Failure) -> Result<T> {
        Err(failure.error(&self.request.key))
    }

    async fn serve(self, plan: Plan) {
        self.sleep(plan.before).await;
        if !self.leaves().await {
            return;
        }
        let patience = self.core.lock().weather.faults.patience;
        let (answer, outcome) = match plan.fate {
            Fate::Hang if matches!(self.request.op, Op::Put | Op::Copy) => return,
            Fate::Hang => {
                self.sleep(patience).await;
                (self.failed(Failure::TimedOut), Some(Outcome::NotApplied))
            }
            Fate::Late(late, failure) => return self.land(late, plan.after, failure).await,
            Fate::Fail(failure) => (self.failed(failure), Some(Outcome::NotApplied)),
            Fate::Conflict => (self.failed(Failure::AlreadyExists), Some(Outcome::NotApplied)),
            Fate::LoseReply(failure) => {
                drop(self.act(plan.fate).await);
                (self.failed(failure), Some(Outcome::ReplyLost))
            }
            Fate::SyncFail(visible) => {
                if visible {
                    drop(self.act(plan.fate).await);
                }
                (self.failed(Failure::SyncFailed { visible }), Some(Outcome::ReplyLost))
            }
            Fate::Twice => {
                drop(self.act(plan.fate).await);
                self.sleep(plan.after).await;
                (self.act(plan.fate).await, None)
            }
            Fate::Pass | Fate::LoseMetadata | Fate::HideMetadata | Fate::Cut(..) | Fate::StopListing => {
                (self.act(plan.fate).await, None)
            }
        };
        self.sleep(plan.after).await;
        let outcome = outcome.unwrap_or_else(|| Outcome::of(&answer));
        self.core.tell(self.id, &self.request, Moment::Answered(&outcome));
        let _ = self.reply.send(answer);
    }

    /// The caller hears of a failure, or nothing; the put lands later.
    async fn land(self, late: Duration, after: Duration, failure: Option<Failure>) {
        self.sleep(after).await;
        let Wire { core, id, request, act, reply } = self;
        // Held to the end: a dropped sender would be no silence.
        let _silent = match failure {
            Some(failure) => {
                core.tell(id, &request, Moment::Answered(&Outcome::Late));
                let _ = reply.send(Err(failure.error(&request.key)));
                None
            }
            None => Some(reply),
        };
        core.runtime.clock().sleep(late).await;
        let landed = act(Fate::Pass).await;
        core.tell(id, &request, Moment::Applied(&Outcome::of(&landed)));
    }
}

impl fmt::Debug for SeededStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeededStore({})", self.0.inner)
    }
}

impl fmt::Display for SeededStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeededStore({})", self.0.inner)
    }
}

/// A body that is as much of the answer as the fate leaves.
async fn reshape(answer: GetResult, fate: Fate, key: &str) -> Result<GetResult> {
    let (meta, range, mut attributes) = (answer.meta.clone(), answer.range.clone(), answer.attributes.clone());
    let mut body: Vec<Result<Bytes>> = vec![Ok(answer.bytes().await?)];
    match fate {
        Fate::HideMetadata => attributes = Attributes::new(),
        Fate::Cut(thousandths, fails) => {
            if let Some(Ok(bytes)) = body.first_mut() {
                let kept = u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_mul(thousandths) / 1000;
                bytes.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
            }
            if fails {
                body.push(Err(Failure::Unavailable.error(key)));
            }
        }
        _ => {}
    }
    let payload = GetResultPayload::Stream(stream::iter(body).boxed());
    Ok(GetResult { payload, meta, range, attributes, extensions: Default::default() })
}

#[async_trait]
impl ObjectStore for SeededStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let request = Request::put(location.to_string(), &payload, &opts);
        let (inner, location) = (self.0.inner.clone(), location.clone());
        let act = move |fate| -> BoxFuture<'static, _> {
            let (inner, location, payload, mut opts) = (inner.clone(), location.clone(), payload.clone(), opts.clone());
            if fate == Fate::LoseMetadata {
                opts.attributes = Attributes::new();
            }
            Box::pin(async move { inner.put_opts(&location, payload, opts).await })
        };
        self.0.exchange(request, Box::new(act)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let request = Request::new(Op::Multipart, location.to_string());
        let (inner, location) = (self.0.inner.clone(), location.clone());
        let act = move |_| -> BoxFuture<'static, _> {
            let (inner, location, opts) = (inner.clone(), location.clone(), opts.clone());
            Box::pin(async move { inner.put_multipart_opts(&location, opts).await })
        };
        self.0.exchange(request, Box::new(act)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let request = Request::get(location.to_string(), &options);
        let (inner, location) = (self.0.inner.clone(), location.clone());
        let act = move |fate| -> BoxFuture<'static, _> {
            let (inner, location, options) = (inner.clone(), location.clone(), options.clone());
            Box::pin(async move {
                let answer = inner.get_opts(&location, options).await?;
                match fate {
                    Fate::HideMetadata | Fate::Cut(..) => reshape(answer, fate, location.as_ref()).await,
                    _ => Ok(answer),
                }
            })
        };
        self.0.exchange(request, Box::new(act)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // The stream must not borrow the store.
        let core = self.0.clone();
        locations
            .and_then(move |location| {
                let core = core.clone();
                let (inner, target) = (core.inner.clone(), location.clone());
                let request = Request::new(Op::Delete, location.to_string());
                let act = move |_| -> BoxFuture<'static, _> {
                    let (inner, target) = (inner.clone(), target.clone());
                    Box::pin(async move { inner.delete(&target).await })
                };
                async move { core.exchange(request, Box::new(act)).await.map(|()| location) }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.listing(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.listing(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let key = prefix.map(Path::to_string).unwrap_or_default();
        let request = Request::new(Op::List, key);
        let (inner, prefix) = (self.0.inner.clone(), prefix.cloned());
        let act = move |_| -> BoxFuture<'static, _> {
            let (inner, prefix) = (inner.clone(), prefix.clone());
            Box::pin(async move { inner.list_with_delimiter(prefix.as_ref()).await })
        };
        self.0.exchange(request, Box::new(act)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let request = Request::copy(to.to_string(), &options);
        let (inner, from, to) = (self.0.inner.clone(), from.clone(), to.clone());
        let act = move |_| -> BoxFuture<'static, _> {
            let (inner, from, to, options) = (inner.clone(), from.clone(), to.clone(), options.clone());
            Box::pin(async move { inner.copy_opts(&from, &to, options).await })
        };
        self.0.exchange(request, Box::new(act)).await
    }
}
