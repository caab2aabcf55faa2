//! `log.json`: how all writers of an empty partition agree on the first slot (docs/design.md, "Where a log starts").

use bytes::Bytes;
use object_store::PutPayload;

use super::chain::{Chain, ChainStart};
use super::env::{Env, bounded, is_hopeless, not_created};
use super::options::check_start_offset;
use super::outcome::Stop;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{LogIdentity, MAX_LOG_JSON_LEN, PartitionId};
use crate::log::deletion::Deletion;
use crate::log::identity::random_id;
use crate::log::retry::Retry;
use crate::log::state::PartitionState;
use crate::mutant::mutant;
use crate::runtime::Runtime;
use crate::store::{Created, Identity, ReadRange, Store, StoreReader, Version, may_pass};

impl Chain {
    /// Before the first segment: creates `log.json`, or reads and obeys the one that is there.
    pub(super) async fn fix_start(&mut self, env: &Env<'_>) -> Result<(), Stop> {
        let ChainStart::Open { asked, mark } = self.start else { return Ok(()) };
        let wanted = asked.or(mark).unwrap_or(0);
        if skips_log_json() {
            (self.next, self.start) = (wanted.max(mark.unwrap_or(0)), ChainStart::Fixed);
            return Ok(());
        }
        let payload = new_identity(env.state.runtime(), wanted)?;
        let mut retry = env.retry("creating log.json");
        loop {
            let created = create(env.store(), env.id(), payload.clone());
            let created = env.bounded(0, created).await?;
            let (start, version) = match created.unwrap_or_else(Created::Unknown) {
                Created::Yes(version) => (wanted, version),
                Created::SyncFailed { error, .. } => return Err(error.into()),
                Created::Refused(error) if is_hopeless(&error) => return Err(error.into()),
                taken @ (Created::Exists | Created::Unknown(_) | Created::Refused(_)) => {
                    match env.patiently("reading log.json", || read(env.state, env.store())).await? {
                        Some((identity, version)) => (obeyed(&identity, wanted), version),
                        None => {
                            let error = not_created(taken, &env.id().log_json_key());
                            env.again(&mut retry, error).await?;
                            continue;
                        }
                    }
                }
            };
            retry.done();
            obey(env.id(), asked, start)?;
            self.next = start.max(mark.unwrap_or(0));
            self.log = Some(version.clone());
            (self.start, self.log_json) = (ChainStart::Fixed, Some(version));
            return Ok(());
        }
    }
}

/// `true` only as the mutant.
fn skips_log_json() -> bool {
    mutant!(SkipLogJson)
}

/// The start offset of the log that another writer made. The mutant keeps to its own.
fn obeyed(identity: &LogIdentity, wanted: i64) -> i64 {
    if mutant!(DisobeyLogJson) { wanted } else { identity.start_offset }
}

/// Any start offset but the one that is fixed is a conflict.
pub(super) fn obey(id: &PartitionId, asked: Option<i64>, fixed: i64) -> Result<()> {
    match asked {
        Some(asked) if asked != fixed => Err(Error::new(
            ErrorKind::Conflict,
            format!("partition {id} starts at offset {fixed}, {asked} was asked for"),
        )
        .with_key(id.log_json_key())
        .with_hint("leave the start offset out, or use another partition")),
        _ => Ok(()),
    }
}

fn new_identity(runtime: &Runtime, start_offset: i64) -> Result<Bytes> {
    let identity = LogIdentity { log_id: random_id(runtime)?, start_offset, created_ms: runtime.clock().wall_ms() };
    Ok(identity.encode())
}

async fn create(store: &Store, id: &PartitionId, payload: Bytes) -> Created {
    store.create(&id.log_json_key(), PutPayload::from_bytes(payload), &Identity::default()).await
}

/// `log.json` and its version, if it is there.
pub(super) async fn read(state: &PartitionState, store: &StoreReader) -> Result<Option<(LogIdentity, Version)>> {
    let key = state.id.log_json_key();
    match state.get_through(store, &key, ReadRange::AtMost(MAX_LOG_JSON_LEN as u64), None).await {
        Ok(fetched) => {
            let identity = LogIdentity::parse(&fetched.bytes).map_err(|malformed| malformed.into_error(&key))?;
            Ok(Some((identity, fetched.info.version)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates the log without an append.
pub(crate) async fn create_log(state: &PartitionState, start_offset: i64) -> Result<()> {
    state.check_has_segments()?;
    check_start_offset(start_offset)?;
    state.allow_writing().await?;
    let (store, id) = (state.writes(), &state.id);
    let tail = crate::log::locate::find_tail(state, store).await?;
    if tail.first.is_none() && tail.log_start_mark.is_some() {
        Deletion::refuse(state).await?;
    }
    if let Some(fixed) = fixed_start(state, store, tail.log_json.is_some(), tail.first.map(|s| s.base)).await? {
        return obey(id, Some(start_offset), fixed);
    }
    let payload = new_identity(state.runtime(), start_offset)?;
    let mut retry = Retry::begin(&state.retries, state.runtime(), "creating log.json");
    loop {
        let created = bounded(state.runtime(), 0, create(store, id, payload.clone())).await;
        match created.unwrap_or_else(Created::Unknown) {
            Created::Yes(_) => break,
            Created::SyncFailed { error, .. } => return Err(error),
            Created::Refused(error) if !may_pass(&error) => return Err(error),
            taken @ (Created::Exists | Created::Unknown(_) | Created::Refused(_)) => {
                if let Some((identity, _)) = read(state, store).await? {
                    obey(id, Some(start_offset), identity.start_offset)?;
                    break;
                }
                retry.after(not_created(taken, &id.log_json_key())).await;
            }
        }
    }
    retry.done();
    state.watermarks.learn(Some(start_offset), start_offset, state.now_ms());
    Ok(())
}

/// The start offset that is fixed already: `log.json`'s, else the first segment's of a log that has none.
pub(super) async fn fixed_start(
    state: &PartitionState,
    store: &StoreReader,
    has_log_json: bool,
    first: Option<i64>,
) -> Result<Option<i64>> {
    if has_log_json && let Some((identity, _)) = read(state, store).await? {
        return Ok(Some(identity.start_offset));
    }
    Ok(first)
}
