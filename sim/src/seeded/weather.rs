//! What becomes of each request of a [`SeededStore`](super::SeededStore), drawn from a seed.

use std::time::Duration;

use kfs_core::testing::{Failure, Op, Prng, Request};

/// How often which fault meets a request. Chances are in thousandths; those of one request must not
/// add up to more than 1000.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// An error before the store acts: a refused connection, 429, 503.
    pub fail: u32,
    /// The store acts, then the reply is lost: a reset, a time-out, 5xx, a reply that breaks off.
    pub lose_reply: u32,
    /// A create or a conditional replace answers a conflict, and keeps nothing (S3's 409).
    pub conflict: u32,
    /// A put that is applied later: an error or silence now, the object after up to [`latest`](Self::latest).
    pub late: u32,
    /// How late such a put is applied at most.
    pub latest: Duration,
    /// Neither applied nor answered. Reads, listings and deletes then fail after [`patience`](Self::patience).
    pub hang: u32,
    /// The client's own time-out for all but puts, where the log has its own.
    pub patience: Duration,
    /// The client sends a put again by itself and answers what the second try said. Not for a store
    /// that is said to send once.
    pub twice: u32,
    /// A put loses its user metadata for ever.
    pub lose_metadata: u32,
    /// A get answers without its user metadata.
    pub hide_metadata: u32,
    /// A get's body ends early, with or without an error.
    pub cut: u32,
    /// A listing breaks off in its midst.
    pub stop_listing: u32,
    /// Permission denied.
    pub deny: u32,
    /// A local store's fsync fails after a create.
    pub sync_fail: u32,
    /// A request or its reply takes up to [`slowest`](Self::slowest).
    pub slow: u32,
    /// How long a slow request takes at most, each way.
    pub slowest: Duration,
    /// How long other requests take at most, each way.
    pub latency: Duration,
    /// A spell begins: for a while every request fails in one way (503, 403, silence, slowness).
    pub spell: u32,
    /// How long a spell lasts at most.
    pub longest_spell: Duration,
    /// A spell that begins has no end.
    pub endless: u32,
    /// Keys in a page of a listing at most; pages are read one after another, at times of their own.
    pub page: usize,
}

macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {
        $(
            #[doc = concat!("Sets [`", stringify!($name), "`](Self::", stringify!($name), ").")]
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            }
        )*
    };
}

impl Faults {
    /// No faults, and replies at once.
    pub fn none() -> Self {
        Faults {
            fail: 0,
            lose_reply: 0,
            conflict: 0,
            late: 0,
            latest: Duration::from_secs(600),
            hang: 0,
            patience: Duration::from_secs(30),
            twice: 0,
            lose_metadata: 0,
            hide_metadata: 0,
            cut: 0,
            stop_listing: 0,
            deny: 0,
            sync_fail: 0,
            slow: 0,
            slowest: Duration::from_secs(60),
            latency: Duration::ZERO,
            spell: 0,
            longest_spell: Duration::from_secs(300),
            endless: 0,
            page: 1000,
        }
    }

    /// No faults; requests take up to 50 ms each way.
    pub fn calm() -> Self {
        Self::none().latency(Duration::from_millis(50))
    }

    /// About one request in six meets a fault.
    pub fn flaky() -> Self {
        Self::calm().fail(40).lose_reply(40).conflict(20).late(20).hang(5).twice(10).cut(10).stop_listing(20).slow(20)
    }

    /// About every second request meets a fault.
    pub fn stormy() -> Self {
        Self::flaky().fail(120).lose_reply(150).conflict(60).late(80).hang(20).twice(30).cut(40).deny(15).spell(10)
    }

    setters! {
        fail: u32, lose_reply: u32, conflict: u32, late: u32, latest: Duration, hang: u32, patience: Duration, twice: u32,
        lose_metadata: u32, hide_metadata: u32, cut: u32, stop_listing: u32, deny: u32, sync_fail: u32, slow: u32,
        slowest: Duration, latency: Duration, spell: u32, longest_spell: Duration, endless: u32, page: usize,
    }
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    Fail(Failure),
    LoseReply(Failure),
    Conflict,
    /// Applied after this long; an error at once, or silence.
    Late(Duration, Option<Failure>),
    Hang,
    Twice,
    LoseMetadata,
    HideMetadata,
    /// Thousandths of the body that arrive, and whether an error follows.
    Cut(u64, bool),
    StopListing,
    SyncFail(bool),
}

/// One request's fate and the times before it is applied and before it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) before: Duration,
    pub(super) fate: Fate,
    pub(super) after: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Spell {
    Away,
    Denied,
    Silent,
    Slow,
}

/// Draws fates, and remembers the spell that is on.
#[derive(Debug)]
pub(super) struct Weather {
    pub(super) faults: Faults,
    prng: Prng,
    /// Until when; `None` for ever.
    spell: Option<(Spell, Option<Duration>)>,
}

impl Weather {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Weather { faults, prng: Prng::new(seed), spell: None }
    }

    pub(super) fn set(&mut self, faults: Faults) {
        self.faults = faults;
        self.spell = None;
    }

    /// Up to `most`, short times as likely as long ones.
    fn up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let bits = 64 - u64::from(most.leading_zeros());
        let bound = 1_u64.checked_shl(self.prng.below(bits + 1) as u32).unwrap_or(u64::MAX);
        Duration::from_millis(self.prng.below(bound.min(most.saturating_add(1))))
    }

    fn way(&mut self, slow: bool) -> Duration {
        if slow {
            let slowest = self.faults.slowest;
            return self.up_to(slowest);
        }
        let most = u64::try_from(self.faults.latency.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.prng.below(most.saturating_add(1)))
    }

    fn failure(&mut self) -> Failure {
        if self.prng.one_in(4) { Failure::TimedOut } else { Failure::Unavailable }
    }

    fn spell(&mut self, now: Duration) -> Option<Spell> {
        match self.spell {
            Some((spell, until)) if until.is_none_or(|until| now < until) => return Some(spell),
            _ => self.spell = None,
        }
        if self.prng.below(1000) >= u64::from(self.faults.spell) {
            return None;
        }
        let longest = self.faults.longest_spell;
        let length = self.up_to(longest);
        let spell = match self.prng.below(8) {
            0 => Spell::Silent,
            1 | 2 => Spell::Slow,
            3 | 4 => Spell::Denied,
            _ => Spell::Away,
        };
        let endless = self.prng.below(1000) < u64::from(self.faults.endless);
        self.spell = Some((spell, (!endless).then(|| now.saturating_add(length))));
        Some(spell)
    }

    pub(super) fn draw(&mut self, request: &Request, now: Duration) -> Plan {
        let spell = self.spell(now);
        let slow = matches!(spell, Some(Spell::Slow)) || self.prng.below(1000) < u64::from(self.faults.slow);
        let (before, after) = (self.way(slow), self.way(slow));
        let fate = match spell {
            Some(Spell::Away) => Fate::Fail(Failure::Unavailable),
            Some(Spell::Denied) => Fate::Fail(Failure::PermissionDenied),
            Some(Spell::Silent) => Fate::Hang,
            Some(Spell::Slow) | None => self.fate(request),
        };
        Plan { before, fate, after }
    }

    fn fate(&mut self, request: &Request) -> Fate {
        let (put, get, list) = (request.op == Op::Put, request.op == Op::Get, request.op == Op::List);
        let create = put && request.create;
        let failure = self.failure();
        let f = &self.faults;
        let chances = [
            (f.fail, true),
            (f.lose_reply, true),
            (f.conflict, create || put && request.update),
            (f.late, put),
            (f.hang, true),
            (f.twice, put),
            (f.lose_metadata, put),
            (f.hide_metadata, get),
            (f.cut, get),
            (f.stop_listing, list),
            (f.deny, true),
            (f.sync_fail, create),
        ];
        let mut drawn = self.prng.below(1000);
        let found = chances.iter().position(|(chance, fits)| {
            let chance = if *fits { u64::from(*chance) } else { 0 };
            let hit = drawn < chance;
            drawn = drawn.saturating_sub(chance);
            hit
        });
        match found {
            Some(0) => Fate::Fail(failure),
            Some(1) => Fate::LoseReply(failure),
            Some(2) => Fate::Conflict,
            Some(3) => {
                let latest = self.faults.latest;
                let late = self.up_to(latest);
                Fate::Late(late, (!self.prng.one_in(3)).then_some(failure))
            }
            Some(4) => Fate::Hang,
            Some(5) => Fate::Twice,
            Some(6) => Fate::LoseMetadata,
            Some(7) => Fate::HideMetadata,
            Some(8) => Fate::Cut(self.prng.below(1000), self.prng.one_in(2)),
            Some(9) => Fate::StopListing,
            Some(10) => Fate::Fail(Failure::PermissionDenied),
            Some(11) => Fate::SyncFail(self.prng.one_in(2)),
            _ => Fate::Pass,
        }
    }
}
