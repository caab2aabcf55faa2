//! Gives object_store the credentials that the caller supplies.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::client::CredentialProvider;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::{Secrets, bad_character};
use crate::error::{Error, ErrorKind, Result, causes};
use crate::observer;
use crate::runtime::{Clock, SystemClock};
use crate::store::credentials::{CredentialKind, CredentialSource, Credentials, Unfit};
use crate::store::failure::{Effect, StoreFailure};
use crate::store::secrets::strip_by_pattern;

/// Credentials are asked for again this long before they run out.
const EARLIER_MS: i64 = 300_000;
/// How long those are used that do not say when they run out.
const WITHOUT_END_MS: i64 = 60_000;

/// What to do where the source does not say.
const OF_SOURCE: &str = "the source of credentials that the program gave to this bucket says so: look there";

/// Asks the caller's source, and holds what it gave.
pub(in crate::store) struct Supplied<C> {
    source: Arc<dyn CredentialSource>,
    /// The form that the store's client takes.
    form: fn(&CredentialKind) -> std::result::Result<C, Unfit>,
    /// What the store takes, for messages.
    takes: AcceptedCredentials,
    /// What the source gave, so that no message repeats it.
    secrets: Arc<Secrets>,
    state: Mutex<State<C>>,
}

/// What a store takes, for messages.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct AcceptedCredentials {
    /// The store's name.
    pub(in crate::store) store: &'static str,
    /// The credentials that it takes.
    pub(in crate::store) takes: &'static str,
    /// How to give them from each language.
    pub(in crate::store) how: &'static str,
}

struct State<C> {
    held: Option<Held<C>>,
    /// The call of the source that has not ended. The request that made it may have given up.
    call: Option<Call>,
}

struct Call {
    running: JoinHandle<Result<Credentials>>,
    asked_ms: i64,
}

struct Held<C> {
    credential: Arc<C>,
    /// Unix times in milliseconds.
    asked_ms: i64,
    expires_ms: Option<i64>,
}

impl<C> Held<C> {
    /// Whether nothing needs to be asked yet.
    fn is_fresh(&self, now: i64) -> bool {
        match self.expires_ms {
            Some(ends) => now.saturating_add(EARLIER_MS) < ends,
            None => (0..WITHOUT_END_MS).contains(&now.saturating_sub(self.asked_ms)),
        }
    }

    fn is_good(&self, now: i64) -> bool {
        self.expires_ms.is_none_or(|ends| now < ends)
    }
}

impl<C> Supplied<C> {
    pub(in crate::store) fn new(
        source: Arc<dyn CredentialSource>,
        form: fn(&CredentialKind) -> std::result::Result<C, Unfit>,
        takes: AcceptedCredentials,
        secrets: Arc<Secrets>,
    ) -> Self {
        Supplied { source, form, takes, secrets, state: Mutex::new(State { held: None, call: None }) }
    }

    /// The credentials to use now; and why they are the last ones still, where the source did not renew them.
    async fn current(&self) -> (Result<Arc<C>>, Option<Error>) {
        let State { held, call } = &mut *self.state.lock().await;
        let now = SystemClock.wall_ms();
        if let Some(held) = held.as_ref().filter(|held| held.is_fresh(now)) {
            return (Ok(held.credential.clone()), None);
        }
        match (self.ask(call, now).await, held.as_ref()) {
            (Ok(given), _) => (Ok(held.insert(given).credential.clone()), None),
            (Err(error), Some(last)) if last.is_good(now) && last.expires_ms.is_some() => {
                (Ok(last.credential.clone()), Some(error))
            }
            (Err(error), _) => (Err(error), None),
        }
    }

    /// Asks the source. It is never called twice at a time: a source that hangs would take one thread after another.
    async fn ask(&self, call: &mut Option<Call>, now: i64) -> Result<Held<C>> {
        // What a call gave to nobody may be old by now.
        call.take_if(|call| call.running.is_finished());
        let Call { running, asked_ms } = call.get_or_insert_with(|| {
            let source = self.source.clone();
            Call { running: tokio::task::spawn_blocking(move || source.credentials()), asked_ms: now }
        });
        let (given, asked_ms) = (running.await, *asked_ms);
        *call = None;
        let given = given.unwrap_or_else(|failed| {
            // What it panicked with may be a secret.
            let what = if failed.is_panic() { "panicked" } else { "was interrupted" };
            Err(Error::new(ErrorKind::Unavailable, format!("the caller's source of credentials {what}")))
        });
        let given = given.map_err(|error| self.without_secrets(error))?;
        given.kind.secrets().for_each(|secret| self.secrets.add(secret.reveal()));
        // object_store panics when it puts such a text into a header.
        if let Some(what) = given.kind.secrets().find_map(|secret| bad_character(secret.reveal())) {
            let message = format!("the caller's source of credentials gave {}, which {what}", given.kind.name());
            let error = Error::new(ErrorKind::PermissionDenied, message);
            return Err(error.with_hint("give it without line ends and blanks around it"));
        }
        let credential = (self.form)(&given.kind).map_err(|unfit| self.unfit(&given.kind, unfit))?;
        Ok(Held { credential: Arc::new(credential), asked_ms, expires_ms: given.expires_ms })
    }

    fn unfit(&self, given: &CredentialKind, unfit: Unfit) -> Error {
        let (AcceptedCredentials { store, takes, how }, given) = (self.takes, given.name());
        let message = match unfit {
            Unfit::OtherKind => {
                format!("{store} takes {takes}, and the caller's source of credentials gave {given}")
            }
            Unfit::Value(what) => format!("the caller's source of credentials gave {given} that {what}"),
        };
        Error::new(ErrorKind::InvalidInput, message).with_hint(how)
    }

    /// The source's error without what it gave before, and without what looks like a secret. Nobody knows whom the source
    /// quotes.
    fn without_secrets(&self, error: Error) -> Error {
        let strip = |text: &str| strip_by_pattern(&self.secrets.strip(text, &[]));
        let said = causes::continued(String::new(), error.source());
        let shown = strip(&said);
        let mut stripped = match shown == said {
            true => error.clone().with_message(strip(error.message())),
            // The cause itself can't be changed, so its words take its place.
            false => Error::new(error.kind(), format!("{}: {shown}", strip(error.message()))),
        };
        stripped = stripped.with_hint(match error.hint() {
            Some(hint) => strip(hint),
            None => OF_SOURCE.to_string(),
        });
        stripped
    }
}

impl<C> fmt::Debug for Supplied<C> {
    /// Without the source: the caller's `Debug` may show anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supplied").finish_non_exhaustive()
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for Supplied<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let (given, kept_for) = self.current().await;
        // Under no lock: a subscriber is the program's code.
        if let Some(error) = kept_for {
            observer::credentials_kept(&error);
        }
        given.map_err(|error| StoreFailure::new(Effect::None, error).into_object_store(""))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use futures_util::FutureExt;

    use super::*;
    use crate::store::config::Secret;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG";

    /// Says that it was asked, and gives what it is sent.
    struct Scripted {
        asked: Sender<()>,
        answers: Mutex<Receiver<Result<Credentials>>>,
    }

    impl fmt::Debug for Scripted {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(SECRET)
        }
    }

    impl CredentialSource for Scripted {
        fn credentials(&self) -> Result<Credentials> {
            self.asked.send(()).unwrap();
            self.answers.lock().unwrap().recv().unwrap()
        }
    }

    fn supplied() -> (Supplied<Secret>, Sender<Result<Credentials>>, Receiver<()>) {
        let (asked, was_asked) = channel();
        let (answer, answers) = channel();
        let source = Arc::new(Scripted { asked, answers: Mutex::new(answers) });
        let form = |kind: &CredentialKind| match kind {
            CredentialKind::Bearer(token) => Ok(token.clone()),
            _ => Err(Unfit::OtherKind),
        };
        (
            Supplied::new(
                source,
                form,
                AcceptedCredentials { store: "this store", takes: "a bearer token", how: "" },
                Arc::default(),
            ),
            answer,
            was_asked,
        )
    }

    #[tokio::test]
    async fn a_source_that_hangs_is_called_once_however_many_requests_give_up() {
        let (supplied, answer, was_asked) = supplied();
        for _ in 0..5 {
            assert!(supplied.get_credential().now_or_never().is_none());
        }
        // It waits for that call before the call ends: what a call gives to nobody is not used.
        let mut waiting = supplied.get_credential();
        assert!((&mut waiting).now_or_never().is_none());
        answer.send(Ok(Credentials::bearer(SECRET))).unwrap();
        assert_eq!(waiting.await.unwrap().reveal(), SECRET);
        assert_eq!(was_asked.try_iter().count(), 1);
    }

    #[tokio::test]
    async fn a_source_that_quotes_a_secret_is_told_without_it() {
        let (supplied, answer, _was_asked) = supplied();
        answer.send(Ok(Credentials::bearer(SECRET).expires_at(1))).unwrap();
        supplied.get_credential().await.unwrap();
        let cause = std::io::Error::other(format!("the vault refused password=planted1 {SECRET}"));
        let error = Error::new(ErrorKind::PermissionDenied, format!("{SECRET} ran out"));
        answer.send(Err(error.with_source(cause).with_hint(format!("renew {SECRET}")))).unwrap();
        let error = supplied.get_credential().await.unwrap_err();
        let error = &StoreFailure::find(&error).unwrap().error;
        let shown = format!("{error:#} {error:?} {:?} {supplied:?}", error.hint());
        assert!(!shown.contains(SECRET) && !shown.contains("planted1"), "{shown}");
        let expected = "permission denied: [removed] ran out: the vault refused password=[removed] [removed]";
        assert_eq!(format!("{error:#}"), expected);
        assert_eq!(error.hint(), Some("renew [removed]"));
    }
}
