use proptest::prelude::*;

use super::circuit::{Admitted, BreakerChange, Circuit, Verdict};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn away() -> Verdict {
    Verdict::Away(Error::new(ErrorKind::Unavailable, "the connection broke"))
}

fn state(change: Option<BreakerChange>) -> Option<BreakerState> {
    change.map(|change| change.state)
}

/// A breaker that opens after three failures and pauses for a second.
fn circuit() -> Circuit {
    Circuit::new(BreakerOptions { failures: 3, pause: SECOND })
}

fn admit(circuit: &mut Circuit, now: Duration) -> Admitted {
    circuit.admit(now).0.unwrap()
}

/// Fails until it opens, at the time 0.
fn opened() -> Circuit {
    let mut circuit = circuit();
    for _ in 0..3 {
        let request = admit(&mut circuit, Duration::ZERO);
        drop(circuit.ended(request, away(), Duration::ZERO));
    }
    assert_eq!(circuit.state(), BreakerState::Open);
    circuit
}

#[test]
fn it_opens_at_the_last_of_the_failures_in_a_row() {
    let mut circuit = circuit();
    for expected in [None, None, Some(BreakerState::Open)] {
        let request = admit(&mut circuit, SECOND);
        assert_eq!(state(circuit.ended(request, away(), SECOND)), expected);
    }
    assert_eq!(circuit.failures(), 3);
    assert_eq!(circuit.last().unwrap().message(), "the connection broke");
}

#[test]
fn an_answer_begins_the_count_again() {
    let mut circuit = circuit();
    for _ in 0..5 {
        for verdict in [away(), away(), Verdict::Answered] {
            let request = admit(&mut circuit, SECOND);
            assert_eq!(state(circuit.ended(request, verdict, SECOND)), None);
        }
    }
    assert_eq!((circuit.failures(), circuit.last().is_none()), (0, true));
}

#[test]
fn a_request_that_is_given_up_early_counts_neither_way_and_a_silent_one_counts_as_failed() {
    let mut circuit = circuit();
    for _ in 0..5 {
        let request = admit(&mut circuit, SECOND);
        drop(circuit.ended(request, Verdict::GivenUp, SECOND * 10));
    }
    assert_eq!(circuit.failures(), 0);
    let request = admit(&mut circuit, SECOND);
    drop(circuit.ended(request, Verdict::GivenUp, SECOND * 11));
    assert_eq!((circuit.failures(), circuit.last().unwrap().kind()), (1, ErrorKind::TimedOut));
}

#[test]
fn an_open_breaker_refuses_until_its_pause_is_over_and_then_lets_one_request_through() {
    let mut circuit = opened();
    let almost = SECOND - Duration::from_nanos(1);
    assert!(circuit.admit(almost).0.is_none());
    assert_eq!(circuit.asked_in(almost), Some(Duration::from_nanos(1)));
    let (probe, change) = circuit.admit(SECOND);
    assert_eq!((probe.is_some(), state(change)), (true, Some(BreakerState::HalfOpen)));
    assert!(circuit.admit(SECOND * 2).0.is_none(), "one at a time");
    assert_eq!(circuit.asked_in(SECOND * 2), None);
    assert_eq!(circuit.lasting(SECOND * 2), Some(SECOND * 2));
}

#[test]
fn the_answer_to_the_probe_closes_it() {
    let mut circuit = opened();
    let probe = admit(&mut circuit, SECOND);
    assert_eq!(state(circuit.ended(probe, Verdict::Answered, SECOND)), Some(BreakerState::Closed));
    assert_eq!((circuit.failures(), circuit.lasting(SECOND)), (0, None));
    assert!(circuit.admit(SECOND).0.is_some() && circuit.admit(SECOND).0.is_some());
}

#[test]
fn each_probe_that_fails_doubles_the_pause_up_to_five_seconds() {
    let (mut circuit, mut now) = (opened(), SECOND);
    for (pause, failures) in [(2, 4), (4, 5), (5, 6), (5, 7)] {
        let probe = admit(&mut circuit, now);
        assert_eq!(state(circuit.ended(probe, away(), now)), Some(BreakerState::Open));
        assert_eq!(circuit.asked_in(now), Some(SECOND * pause));
        assert_eq!(circuit.failures(), failures);
        now += SECOND * pause;
    }
}

#[test]
fn a_first_pause_longer_than_five_seconds_stays_as_it_is() {
    let mut circuit = Circuit::new(BreakerOptions { failures: 1, pause: SECOND * 9 });
    let request = admit(&mut circuit, Duration::ZERO);
    drop(circuit.ended(request, away(), Duration::ZERO));
    let probe = admit(&mut circuit, SECOND * 9);
    drop(circuit.ended(probe, away(), SECOND * 9));
    assert_eq!(circuit.asked_in(SECOND * 9), Some(SECOND * 9));
}

#[test]
fn the_next_request_takes_the_place_of_a_probe_that_was_given_up() {
    let mut circuit = opened();
    for _ in 0..3 {
        let probe = admit(&mut circuit, SECOND);
        assert!(circuit.admit(SECOND).0.is_none());
        drop(circuit.ended(probe, Verdict::GivenUp, SECOND));
        assert_eq!(circuit.asked_in(SECOND), Some(Duration::ZERO));
    }
}

#[test]
fn a_probe_without_an_answer_fails_though_its_caller_waits_on() {
    let mut circuit = opened();
    let silent = admit(&mut circuit, SECOND);
    assert!(!circuit.admits(SECOND * 11));
    assert_eq!(circuit.state(), BreakerState::Open, "the probe was sent 10 s before");
    assert!(circuit.admits(SECOND * 13), "and the pause after it is 2 s");
    let probe = admit(&mut circuit, SECOND * 13);
    drop(circuit.ended(silent, away(), SECOND * 14));
    assert_eq!(circuit.state(), BreakerState::HalfOpen, "only the new probe's failure decides");
    drop(circuit.ended(probe, Verdict::Answered, SECOND * 14));
    assert_eq!(circuit.state(), BreakerState::Closed);
}

#[test]
fn an_answer_to_any_request_closes_it_and_a_failure_of_an_earlier_one_changes_no_pause() {
    let mut circuit = circuit();
    let (slow, late) = (admit(&mut circuit, Duration::ZERO), admit(&mut circuit, Duration::ZERO));
    for _ in 0..3 {
        let request = admit(&mut circuit, Duration::ZERO);
        drop(circuit.ended(request, away(), Duration::ZERO));
    }
    let half = SECOND / 2;
    assert_eq!(state(circuit.ended(slow, away(), half)), None);
    assert_eq!((circuit.failures(), circuit.asked_in(half)), (4, Some(half)));
    assert_eq!(state(circuit.ended(late, Verdict::Answered, half)), Some(BreakerState::Closed));
}

#[test]
fn only_what_says_that_the_store_is_away_is_a_failure() {
    let is_away = |kind, status| matches!(verdict(&Error::new(kind, "x"), status), Verdict::Away(_));
    for status in [None, Some(500), Some(502), Some(503), Some(504), Some(408), Some(200)] {
        assert!(is_away(ErrorKind::Unavailable, status) && is_away(ErrorKind::TimedOut, status), "{status:?}");
    }
    for status in [301, 400, 403, 404, 409, 412, 416, 429] {
        assert!(!is_away(ErrorKind::Unavailable, Some(status)), "{status}");
    }
    for kind in [
        ErrorKind::NotFound,
        ErrorKind::PermissionDenied,
        ErrorKind::Conflict,
        ErrorKind::InvalidInput,
        ErrorKind::Unsupported,
        ErrorKind::Corrupt,
    ] {
        assert!(matches!(verdict(&Error::new(kind, "x"), None), Verdict::Answered), "{kind:?}");
    }
    for kind in [ErrorKind::Closed, ErrorKind::Internal] {
        assert!(matches!(verdict(&Error::new(kind, "x"), None), Verdict::GivenUp), "{kind:?}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ask,
    End(usize, u8),
    Pass(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Ask),
        3 => (any::<usize>(), 0..3_u8).prop_map(|(which, how)| Step::End(which, how)),
        2 => (0..15_000_u16).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Whatever ends how and when: while the breaker is not closed no two requests are on probation at a time, unless one had
    /// no answer for 10 s; and it lets a request through again after the longest pause.
    #[test]
    fn no_sequence_lets_two_probes_through_or_leaves_it_stuck(steps in steps()) {
        let (mut circuit, mut now) = (circuit(), Duration::ZERO);
        let mut under_way: Vec<Admitted> = Vec::new();
        // The requests that were let through since the breaker was closed last, and when.
        let mut probes: Vec<(Admitted, Duration)> = Vec::new();
        for step in steps {
            match step {
                Step::Pass(ms) => now += Duration::from_millis(ms.into()),
                Step::Ask => {
                    let closed = circuit.state() == BreakerState::Closed;
                    let would = circuit.admits(now);
                    let (admitted, _) = circuit.admit(now);
                    prop_assert_eq!(would, admitted.is_some());
                    if let Some(admitted) = admitted {
                        under_way.push(admitted);
                        if !closed {
                            let waited_for = probes.iter().filter(|(_, began)| now - *began < SECOND * 10).count();
                            prop_assert_eq!(waited_for, 0, "two probes at {:?}", now);
                            probes.push((admitted, now));
                        }
                    }
                }
                Step::End(which, how) if !under_way.is_empty() => {
                    let request = under_way.swap_remove(which % under_way.len());
                    probes.retain(|(probe, _)| *probe != request);
                    let verdict = [Verdict::Answered, away(), Verdict::GivenUp].into_iter().nth(how.into()).unwrap();
                    drop(circuit.ended(request, verdict, now));
                }
                Step::End(..) => {}
            }
            if circuit.state() == BreakerState::Closed {
                probes.clear();
                prop_assert!(circuit.admits(now));
            }
        }
        // Nobody ends anything any more: the probe's time runs out, and then the longest pause.
        prop_assert!(circuit.admits(now + SECOND * 15));
    }
}
