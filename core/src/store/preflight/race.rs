//! Writers that create one object at the same time: exactly one may succeed, and its bytes are what is there.

use bytes::Bytes;
use object_store::PutPayload;

use super::probe::Probe;
use super::report::PreflightCheck;
use crate::error::{Error, ErrorKind};
use crate::store::{Created, Fetched, ObjectInfo, ReadRange};

/// A store that looks and then writes may let one round pass.
const ROUNDS: usize = 3;
const WRITERS: usize = 8;
/// How many bytes each writer sends. A store that looks first and writes when all bytes have come is found out only by
/// bodies that take some time to come.
const LENGTH: usize = 64 << 10;

const COST: &str = "two writers of a partition would overwrite each other's acked records";

/// How a round ended.
enum RoundEnd {
    /// One writer succeeded, and this is its object.
    OneWinner(ObjectInfo),
    /// What is wrong.
    Wrong(String),
    /// A request failed, and nothing can be said.
    Away(Error),
}

/// Goes through the rounds that have not ended well yet, until one is not as it must be. Gives the objects that are there.
pub(super) async fn create_if_absent(probe: &mut Probe<'_>) -> Option<Vec<ObjectInfo>> {
    let check = PreflightCheck::CreateIfAbsent;
    while probe.raced.len() < ROUNDS {
        let number = probe.raced.len().saturating_add(1);
        // What a round made that was given up may be there.
        let again = if probe.pauses() > 0 { format!("-{}", probe.pauses()) } else { String::new() };
        let key = probe.will_make(&format!("race-{number}{again}"));
        match round(probe, &key).await {
            RoundEnd::OneWinner(object) => probe.raced.push(object),
            RoundEnd::Wrong(found) => {
                probe.fail(check, found, COST);
                return Some(probe.raced.clone());
            }
            RoundEnd::Away(error) => {
                probe.stop(check, error);
                return None;
            }
        }
    }
    probe.fine(check, format!("one winner of {WRITERS}, {ROUNDS} times"));
    Some(probe.raced.clone())
}

/// What the writers of a round were told.
#[derive(Default)]
struct Told {
    created: Vec<usize>,
    /// Writers without an answer, or with one that says nothing.
    unknown: Vec<usize>,
    refused: usize,
    lost: usize,
    /// The last failure.
    error: Option<Error>,
}

impl Told {
    fn take(&mut self, writer: usize, created: Created) {
        match created {
            Created::Yes(_) => self.created.push(writer),
            Created::Exists => self.lost += 1,
            Created::Unknown(error) | Created::SyncFailed { error, .. } => {
                self.unknown.push(writer);
                self.error = Some(error);
            }
            Created::Refused(error) => {
                self.refused += 1;
                self.error = Some(error);
            }
        }
    }

    fn is_refused_for_good(&self) -> bool {
        let lacks = |error: &Error| matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput);
        self.refused == WRITERS && self.error.as_ref().is_some_and(lacks)
    }
}

async fn round(probe: &mut Probe<'_>, key: &str) -> RoundEnd {
    let bodies: Vec<Bytes> = (0..=WRITERS).map(|writer| probe.body(&format!("writer {writer}"), LENGTH)).collect();
    let mut told = Told::default();
    race(probe, key, bodies.iter().take(WRITERS), 0, &mut told).await;
    if told.created.len() > 1 {
        let winners = told.created.len();
        return RoundEnd::Wrong(format!(
            "{winners} of {WRITERS} writers that created one object at the same time were told that they had, so the store \
             ignores the condition of a create (If-None-Match: * on S3)"
        ));
    }
    if told.refused == WRITERS {
        probe.was_not_made(key);
    }
    if told.is_refused_for_good() {
        let said = told.error.map(|error| format!("{error:#}")).unwrap_or_default();
        return RoundEnd::Wrong(format!("the store refuses a create on the condition that the name is free: {said}"));
    }
    let mut found = found(probe, key).await;
    // S3 may answer a conflict and keep nothing while requests for one key meet. A writer that comes alone must succeed.
    if matches!(found, Ok(None)) && told.created.is_empty() && told.unknown.is_empty() && told.refused == 0 {
        race(probe, key, bodies.iter().skip(WRITERS), WRITERS, &mut told).await;
        found = self::found(probe, key).await;
    }
    let found = match found {
        Ok(found) => found.map(|found| (bodies.iter().position(|body| *body == found.bytes), found.info)),
        Err(error) => return RoundEnd::Away(error),
    };
    judge(told, found)
}

/// Lets writers create the object at the same time, each with one of these bodies.
async fn race<'b>(
    probe: &mut Probe<'_>,
    key: &str,
    bodies: impl Iterator<Item = &'b Bytes>,
    first: usize,
    told: &mut Told,
) {
    let store = probe.store.clone();
    let writers = bodies.enumerate().map(|(at, body)| (first + at, body.clone(), probe.identity(first + at)));
    let writers: Vec<(usize, Bytes, _)> = writers.collect();
    let creates = writers.iter().map(|(_, body, identity)| {
        let payload = PutPayload::from_bytes(body.clone());
        store.create(key, payload, identity)
    });
    let answers = probe.put_together(creates.collect()).await;
    for ((writer, _, _), created) in writers.iter().zip(answers) {
        told.take(*writer, created.unwrap_or_else(Created::Unknown));
    }
}

/// The object, if it is there.
async fn found(probe: &mut Probe<'_>, key: &str) -> Result<Option<Fetched>, Error> {
    match probe.get(key, ReadRange::Whole).await {
        Ok(fetched) => Ok(Some(fetched)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Compares what the writers were told with whose bytes are there. `found` is the object with the writer who sent its
/// bytes, or with none for bytes that nobody sent.
fn judge(told: Told, found: Option<(Option<usize>, ObjectInfo)>) -> RoundEnd {
    let wrong = |text: &str| RoundEnd::Wrong(text.to_string());
    match (told.created.as_slice(), found) {
        (_, Some((None, _))) => wrong("the object that was created holds bytes that no writer sent"),
        ([winner], Some((Some(writer), object))) if *winner == writer => RoundEnd::OneWinner(object),
        ([_], Some((Some(_), _))) => wrong("the object holds the bytes of another writer than the one that created it"),
        ([_], None) => wrong("an object that was just created is not there"),
        // The answer to the winner was lost.
        (_, Some((Some(writer), object))) if told.unknown.contains(&writer) => RoundEnd::OneWinner(object),
        (_, Some((Some(_), _))) => {
            wrong("the object holds the bytes of a writer that was told that the name was taken")
        }
        (_, None) => match told.error {
            Some(error) => RoundEnd::Away(error),
            None => wrong("the store says that the name is taken, and holds no object there"),
        },
    }
}
