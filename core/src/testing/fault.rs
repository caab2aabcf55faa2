//! The store that fails on purpose.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::action::{Action, Failure, KeyMatcher, Op, Request};
use super::player::{LoggedRequest, Player, Rule};

/// A store around another that does to requests what the test says.
///
/// Rules given with [`on`](Self::on) apply once each, in the order given: for every request the
/// first unused rule that fits is taken. Then come the rules given with [`always`](Self::always),
/// the latest first, then the function given with [`decide_with`](Self::decide_with). What no
/// rule fits passes. Give every simulated process a `FaultStore` of its own over one shared store.
pub struct FaultStore {
    player: Arc<Player>,
}

impl FaultStore {
    /// Around this store. Until the test says otherwise every request passes.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(FaultStore { player: Arc::new(Player::new(inner)) })
    }

    /// The store beneath, for a look that is neither faulted nor logged.
    pub fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.player.inner
    }

    /// The next request of this kind on such a key that no earlier rule takes meets this action.
    pub fn on(&self, op: Op, key: impl Into<KeyMatcher>, action: Action) {
        self.player.lock().once.push(Rule { op, key: key.into(), action });
    }

    /// Every request of this kind on such a key meets this action, unless a rule given with
    /// [`on`](Self::on) takes it.
    pub fn always(&self, op: Op, key: impl Into<KeyMatcher>, action: Action) {
        self.player.lock().always.push(Rule { op, key: key.into(), action });
    }

    /// Asks this function about every request that no rule takes: for faults drawn from a seed.
    pub fn decide_with(&self, decide: impl Fn(&Request) -> Action + Send + Sync + 'static) {
        self.player.lock().decide = Some(Arc::new(decide));
    }

    /// From now on every request fails like this, whatever the rules; `None` ends it.
    pub fn set_down(&self, down: Option<Failure>) {
        self.player.lock().down = down;
    }

    /// Forgets all rules, the function, and being down. The log and what lands late stay.
    pub fn clear_rules(&self) {
        let mut state = self.player.lock();
        state.once.clear();
        state.always.clear();
        state.decide = None;
        state.down = None;
    }

    /// How many rules given with [`on`](Self::on) no request has met. A test ends by asserting 0.
    pub fn unused(&self) -> usize {
        self.player.lock().once.len()
    }

    /// Applies what [`Action::Late`] and [`Action::LateAndSilent`] kept, oldest first, and gives
    /// each key with the store's answer.
    pub async fn land_late(&self) -> Vec<(String, Result<()>)> {
        let kept = std::mem::take(&mut self.player.lock().late);
        let mut answers = Vec::new();
        for late in kept {
            answers.push(late.await);
        }
        answers
    }

    /// Every request since the start or the last [`clear_log`](Self::clear_log), in the order begun.
    pub fn log(&self) -> Vec<LoggedRequest> {
        self.player.lock().log.clone()
    }

    /// Empties the log.
    pub fn clear_log(&self) {
        let mut state = self.player.lock();
        state.log.clear();
        state.era = state.era.wrapping_add(1);
    }

    /// How many requests of this kind the log holds.
    pub fn count(&self, op: Op) -> usize {
        self.count_of(op, KeyMatcher::any())
    }

    /// How many requests of this kind on such a key the log holds.
    pub fn count_of(&self, op: Op, key: impl Into<KeyMatcher>) -> usize {
        let key = key.into();
        self.player.lock().log.iter().filter(|e| e.request.op == op && key.matches(&e.request.key)).count()
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.player.inner)
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.player.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        let (ticket, action) = self.player.begin(Request::put(location.to_string(), &payload, &opts));
        if matches!(action, Action::DropMetadata) {
            opts.attributes = Attributes::new();
        }
        let (inner, location) = (self.player.inner.clone(), location.clone());
        let key = location.to_string();
        let act = Box::pin(async move { inner.put_opts(&location, payload, opts).await });
        self.player.play(ticket, &action, &key, act).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let key = location.to_string();
        let request = Request::new(Op::Multipart, key.clone());
        let (ticket, action) = self.player.begin(request);
        let (inner, location) = (self.player.inner.clone(), location.clone());
        let act = Box::pin(async move { inner.put_multipart_opts(&location, opts).await });
        self.player.play(ticket, &action, &key, act).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let key = location.to_string();
        let (ticket, action) = self.player.begin(Request::get(key.clone(), &options));
        let (inner, location) = (self.player.inner.clone(), location.clone());
        let act = Box::pin(async move { inner.get_opts(&location, options).await });
        let mut result = self.player.play(ticket, &action, &key, act).await?;
        match action {
            Action::DropMetadata => result.attributes = Attributes::new(),
            Action::Change(change) => {
                let (meta, range, attributes) = (result.meta.clone(), result.range.clone(), result.attributes.clone());
                let bytes = change.apply(result.bytes().await?);
                let payload = GetResultPayload::Stream(stream::once(async move { Ok(bytes) }).boxed());
                return Ok(GetResult { payload, meta, range, attributes, extensions: Default::default() });
            }
            Action::BreakAfter(length) => {
                let (meta, range, attributes) = (result.meta.clone(), result.range.clone(), result.attributes.clone());
                let mut bytes = result.bytes().await?;
                let broken = (bytes.len() > length).then(|| Err(Failure::Unavailable.error(&key)));
                bytes.truncate(length);
                let body: Vec<Result<Bytes>> = std::iter::once(Ok(bytes)).chain(broken).collect();
                let payload = GetResultPayload::Stream(stream::iter(body).boxed());
                return Ok(GetResult { payload, meta, range, attributes, extensions: Default::default() });
            }
            _ => {}
        }
        Ok(result)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // Each key meets its own rule; the stream must not borrow the store.
        let player = self.player.clone();
        locations
            .and_then(move |location| {
                let player = player.clone();
                async move {
                    let key = location.to_string();
                    let (ticket, action) = player.begin(Request::new(Op::Delete, key.clone()));
                    let (inner, target) = (player.inner.clone(), location.clone());
                    let act = Box::pin(async move { inner.delete(&target).await });
                    player.play(ticket, &action, &key, act).await.map(|()| location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.player.list_through(prefix.map(Path::to_string).unwrap_or_default(), self.player.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.player.list_through(offset.to_string(), self.player.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let key = prefix.map(Path::to_string).unwrap_or_default();
        let (ticket, action) = self.player.begin(Request::new(Op::List, key.clone()));
        let (inner, prefix) = (self.player.inner.clone(), prefix.cloned());
        let act = Box::pin(async move { inner.list_with_delimiter(prefix.as_ref()).await });
        self.player.play(ticket, &action, &key, act).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let key = to.to_string();
        let (ticket, action) = self.player.begin(Request::copy(key.clone(), &options));
        let (inner, from, to) = (self.player.inner.clone(), from.clone(), to.clone());
        let act = Box::pin(async move { inner.copy_opts(&from, &to, options).await });
        self.player.play(ticket, &action, &key, act).await
    }
}
