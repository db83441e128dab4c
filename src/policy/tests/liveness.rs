//! Whether a run is alive: one table, and the promise that no sign of life is overlooked.

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    model::time::WorkerTime,
    policy::{
        Limit,
        liveness::{Doing, Verdict, verdict},
    },
};

const fn at(millis: u64) -> WorkerTime {
    WorkerTime::from_millis(millis)
}

const fn alive_until(millis: u64) -> Verdict {
    Verdict::Alive { until: Some(at(millis)) }
}

const FOR_EVER: Verdict = Verdict::Alive { until: None };

const fn after(millis: u64) -> Limit {
    Limit::After(Duration::from_millis(millis))
}

#[test]
fn a_run_is_judged_by_what_it_does() {
    let working = Doing::Working { last_sign: at(100) };
    let busy = Doing::Busy { until: at(100) };
    let resting = Doing::Resting { since: at(100) };
    #[rustfmt::skip]
    let table = [
        // now  doing           heartbeat     idle          verdict
        (100,   working,        after(50),    after(9),     alive_until(150)),
        (149,   working,        after(50),    after(9),     alive_until(150)),
        (150,   working,        after(50),    after(9),     Verdict::Silent),
        (9_999, working,        after(50),    after(9),     Verdict::Silent),
        (9_999, working,        Limit::Never, after(9),     FOR_EVER),
        // A sign that is newer than the clock that judges it.
        (99,    working,        after(50),    after(9),     alive_until(150)),
        // Inside its limit, and after it a full window of its own.
        (10,    busy,           after(50),    after(9),     alive_until(150)),
        (100,   busy,           after(50),    after(9),     alive_until(150)),
        (149,   busy,           after(50),    after(9),     alive_until(150)),
        (150,   busy,           after(50),    after(9),     Verdict::Silent),
        (9_999, busy,           Limit::Never, after(9),     FOR_EVER),
        (9_999, Doing::Awaiting, after(50),   after(9),     FOR_EVER),
        // At rest only the idle limit counts.
        (159,   resting,        after(50),    after(60),    alive_until(160)),
        (160,   resting,        after(50),    after(60),    Verdict::Idle),
        (9_999, resting,        after(50),    Limit::Never, FOR_EVER),
        (109,   resting,        Limit::Never, after(9),     Verdict::Idle),
    ];
    for (now, doing, heartbeat, idle, expected) in table {
        assert_eq!(
            verdict(at(now), doing, heartbeat, idle),
            expected,
            "at {now}: {doing:?}, heartbeat {heartbeat}, idle {idle}"
        );
    }
}

#[test]
fn a_limit_at_the_end_of_time_does_not_wrap_around() {
    let doing = Doing::Busy { until: at(u64::MAX - 1) };
    assert_eq!(
        verdict(at(0), doing, Limit::After(Duration::MAX), Limit::Never),
        alive_until(u64::MAX)
    );
}

fn any_doing() -> impl Strategy<Value = Doing> {
    prop_oneof![
        any::<u64>().prop_map(|sign| Doing::Working { last_sign: at(sign) }),
        any::<u64>().prop_map(|until| Doing::Busy { until: at(until) }),
        Just(Doing::Awaiting),
        any::<u64>().prop_map(|since| Doing::Resting { since: at(since) }),
    ]
}

proptest! {
    #[test]
    fn a_run_stays_alive_until_the_moment_its_verdict_names(
        now: u64,
        doing in any_doing(),
        limit in 1..u64::MAX,
    ) {
        if let Verdict::Alive { until: Some(until) } = verdict(at(now), doing, after(limit), after(limit)) {
            prop_assert!(until > at(now));
            let before = at(until.as_millis() - 1);
            prop_assert_eq!(
                verdict(before, doing, after(limit), after(limit)),
                Verdict::Alive { until: Some(until) }
            );
            let then = verdict(until, doing, after(limit), after(limit));
            prop_assert!(matches!(then, Verdict::Silent | Verdict::Idle), "{:?}", then);
        }
    }

    #[test]
    fn a_fresh_sign_of_life_keeps_any_run_alive(now in 0..u64::MAX, limit in 1..u64::MAX) {
        let doing = Doing::Working { last_sign: at(now) };
        let alive = verdict(at(now), doing, after(limit), after(1));
        prop_assert!(matches!(alive, Verdict::Alive { .. }), "{:?}", alive);
    }
}
