//! What follows a failure: the window, the backoff, and when it is enough.

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    model::{event::RunEnd, record::Failures, time::SupervisedTime},
    policy::{
        Backoff, OnExhausted, Restart, RestartPolicy,
        restart::{Retry, Verdict, on_failure},
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// Three restarts in ten seconds, waits of 1, 2, 4, … up to 8 seconds without jitter.
fn policy() -> RestartPolicy {
    RestartPolicy {
        max_restarts: 3,
        within: 10 * SECOND,
        max_without_checkpoint: 100,
        backoff: Backoff { initial: SECOND, factor: 2.0, max: 8 * SECOND, jitter: 0.0 },
        healthy_after: 60 * SECOND,
        ..RestartPolicy::default()
    }
}

/// A session that fails, and what it remembers of it.
struct Failing {
    policy: RestartPolicy,
    failures: Failures,
}

impl Failing {
    fn new(policy: RestartPolicy) -> Self {
        Self { policy, failures: Failures::default() }
    }

    fn fail(&mut self, at_ms: u64, ran_for: Duration, retry: Retry, random: f64) -> Verdict {
        on_failure(
            &self.policy,
            &mut self.failures,
            RunEnd::Cancelled,
            retry,
            SupervisedTime::from_millis(at_ms),
            ran_for,
            random,
        )
    }

    /// A failure soon after the run began, of which its error says nothing.
    fn fail_at(&mut self, at_ms: u64) -> Verdict {
        self.fail(at_ms, Duration::ZERO, Retry::ByPolicy, 0.0)
    }
}

fn restart(attempt: u32, seconds: u64) -> Verdict {
    Verdict::Restart { attempt, delay: Duration::from_secs(seconds) }
}

fn quarantine(why: &str) -> Verdict {
    Verdict::Quarantine { why: why.to_owned() }
}

/// Fails a session at these times and compares what follows.
fn check(policy: RestartPolicy, expected: &[(u64, Verdict)]) {
    let mut failing = Failing::new(policy);
    for (at, verdict) in expected {
        assert_eq!(failing.fail_at(*at), *verdict, "the failure at {at} ms");
    }
}

#[test]
fn max_restarts_failures_in_the_window_are_answered_and_the_next_exhausts() {
    check(
        policy(),
        &[
            (0, restart(1, 1)),
            (1_000, restart(2, 2)),
            (3_000, restart(3, 4)),
            (7_000, quarantine("4 failures within 10s")),
        ],
    );
}

#[test]
fn a_failure_exactly_one_window_back_does_not_count_any_more() {
    let until_the_last = |last, verdict| {
        [(0, restart(1, 1)), (1_000, restart(2, 2)), (3_000, restart(3, 4)), (last, verdict)]
    };
    check(policy(), &until_the_last(9_999, quarantine("4 failures within 10s")));
    check(policy(), &until_the_last(10_000, restart(4, 8)));
}

#[test]
fn with_no_restarts_allowed_the_first_failure_exhausts() {
    let none = RestartPolicy { max_restarts: 0, ..policy() };
    check(none, &[(0, quarantine("1 failure within 10s"))]);
}

#[test]
fn failures_without_a_checkpoint_exhaust_however_far_apart_they_are() {
    let patient = RestartPolicy { max_without_checkpoint: 2, ..policy() };
    let hour = 3_600_000;
    check(
        patient.clone(),
        &[
            (0, restart(1, 1)),
            (hour, restart(2, 2)),
            (2 * hour, quarantine("3 failures without a checkpoint")),
        ],
    );
    let mut failing = Failing::new(patient);
    for failure in 0..20 {
        let verdict = failing.fail_at(failure * hour);
        assert!(matches!(verdict, Verdict::Restart { .. }), "{verdict:?}");
        // What a checkpoint does.
        failing.failures.without_checkpoint = 0;
    }
}

#[test]
fn exhaustion_fails_the_session_where_the_policy_says_so() {
    let strict = RestartPolicy { max_restarts: 1, on_exhausted: OnExhausted::Fail, ..policy() };
    check(strict, &[(0, restart(1, 1)), (1, Verdict::Fail)]);
}

#[test]
fn a_permanent_error_and_a_policy_of_never_fail_at_once() {
    let verdict = Failing::new(policy()).fail(0, Duration::ZERO, Retry::Never, 0.0);
    assert_eq!(verdict, Verdict::Fail);
    let never = RestartPolicy { restart: Restart::Never, ..policy() };
    for retry in [Retry::ByPolicy, Retry::Never, Retry::After(SECOND)] {
        let verdict = Failing::new(never.clone()).fail(0, Duration::ZERO, retry, 0.0);
        assert_eq!(verdict, Verdict::Fail, "{retry:?}");
    }
}

#[test]
fn an_error_may_name_its_own_wait_but_counts_all_the_same() {
    let mut failing = Failing::new(policy());
    let half_an_hour = Duration::from_secs(1_800);
    for attempt in 1..=3 {
        let verdict = failing.fail(0, Duration::ZERO, Retry::After(half_an_hour), 0.0);
        assert_eq!(verdict, restart(attempt, 1_800));
    }
    let verdict = failing.fail(0, Duration::ZERO, Retry::After(half_an_hour), 0.0);
    assert_eq!(verdict, quarantine("4 failures within 10s"));
}

#[test]
fn an_endless_wait_is_cut_to_a_hundred_years() {
    let verdict = Failing::new(policy()).fail(0, Duration::ZERO, Retry::After(Duration::MAX), 0.0);
    assert_eq!(verdict, restart(1, 100 * 366 * 24 * 3_600));
}

/// The waits after failures that are far enough apart not to exhaust anything, in milliseconds.
fn waits(backoff: Backoff, random: f64, count: u64) -> Vec<u128> {
    let mut failing =
        Failing::new(RestartPolicy { backoff, max_without_checkpoint: u32::MAX, ..policy() });
    (0..count)
        .map(|failure| match failing.fail(failure * 20_000, SECOND, Retry::ByPolicy, random) {
            Verdict::Restart { delay, .. } => delay.as_millis(),
            other @ (Verdict::Quarantine { .. } | Verdict::Fail) => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_wait_grows_by_its_factor_up_to_the_longest() {
    let by_two = policy().backoff;
    assert_eq!(waits(by_two, 0.0, 6), [1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    let steady = Backoff { factor: 1.0, ..by_two };
    assert_eq!(waits(steady, 0.0, 4), [1_000; 4]);
    let by_half = Backoff { factor: 1.5, ..by_two };
    assert_eq!(waits(by_half, 0.0, 4), [1_000, 1_500, 2_250, 3_375]);
}

#[test]
fn jitter_shortens_the_wait_by_its_part_at_most() {
    let jittered = Backoff { jitter: 0.25, ..policy().backoff };
    #[rustfmt::skip]
    let table = [
        (0.0,  [1_000, 2_000, 4_000, 8_000]),
        (0.5,  [875,   1_750, 3_500, 7_000]),
        (1.0,  [750,   1_500, 3_000, 6_000]),
        // A random number out of its range is brought back into it.
        (9.0,  [750,   1_500, 3_000, 6_000]),
        (-9.0, [1_000, 2_000, 4_000, 8_000]),
    ];
    for (random, expected) in table {
        assert_eq!(waits(jittered, random, 4), expected, "random {random}");
    }
}

#[test]
fn no_backoff_stays_no_backoff_after_any_number_of_failures() {
    assert_eq!(waits(Backoff::NONE, 0.5, 3), [0; 3]);
    // Two to the power of 1,100 is infinite, and zero times infinite is not a number.
    let zero = Backoff { initial: Duration::ZERO, ..policy().backoff };
    assert_eq!(waits(zero, 0.5, 1_100), [0; 1_100]);
}

#[test]
fn a_factor_beyond_all_numbers_gives_the_longest_wait() {
    let steep = Backoff { factor: f64::MAX, ..policy().backoff };
    assert_eq!(waits(steep, 0.0, 4), [1_000, 8_000, 8_000, 8_000]);
}

#[test]
fn a_longest_wait_of_decades_is_not_rounded_up() {
    for nanos in 1..100 {
        let max = Duration::new(3_000_000_000, nanos * 1_001);
        let endless = Backoff { factor: f64::MAX, max, ..policy().backoff };
        let mut failing = Failing::new(RestartPolicy { backoff: endless, ..policy() });
        failing.failures.in_a_row = 9;
        match failing.fail_at(0) {
            Verdict::Restart { delay, .. } => assert!(delay <= max, "{delay:?} > {max:?}"),
            other @ (Verdict::Quarantine { .. } | Verdict::Fail) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_healthy_run_makes_the_backoff_start_over() {
    let mut failing = Failing::new(policy());
    let healthy = policy().healthy_after;
    let table = [
        (SECOND, restart(1, 1)),
        (SECOND, restart(2, 2)),
        (healthy.saturating_sub(Duration::from_millis(1)), restart(3, 4)),
        (healthy, restart(1, 1)),
        (SECOND, restart(2, 2)),
    ];
    for (failure, (ran_for, expected)) in (0_u64..).zip(table) {
        let verdict = failing.fail(failure * 100_000, ran_for, Retry::ByPolicy, 0.0);
        assert_eq!(verdict, expected, "failure {failure} after {ran_for:?}");
    }
}

#[test]
fn a_failure_leaves_what_the_record_shows_of_it() {
    let mut failing = Failing::new(policy());
    let _ = failing.fail_at(1_000);
    let _ = failing.fail_at(5_000);
    let expected = Failures {
        recent: vec![SupervisedTime::from_millis(1_000), SupervisedTime::from_millis(5_000)],
        without_checkpoint: 2,
        in_a_row: 2,
        last: Some(RunEnd::Cancelled),
    };
    assert_eq!(failing.failures, expected);
    let _ = failing.fail_at(12_000);
    assert_eq!(failing.failures.recent, [5_000, 12_000].map(SupervisedTime::from_millis));
}

#[test]
fn counters_stay_at_their_end_rather_than_overflow() {
    let mut failing = Failing::new(RestartPolicy { max_without_checkpoint: u32::MAX, ..policy() });
    failing.failures.in_a_row = u32::MAX;
    failing.failures.without_checkpoint = u32::MAX;
    assert_eq!(failing.fail_at(0), restart(u32::MAX, 8));
}

proptest! {
    #[test]
    fn no_wait_is_longer_than_the_longest(
        initial in 0..10_000_u64,
        more in 0..u64::from(u32::MAX),
        factor in 1.0..1e9_f64,
        jitter in 0.0..=1.0_f64,
        random in 0.0..=1.0_f64,
        in_a_row: u32,
    ) {
        let initial = Duration::from_millis(initial);
        let max = initial + Duration::from_nanos(more);
        let backoff = Backoff { initial, factor, max, jitter };
        let mut failing = Failing::new(RestartPolicy { backoff, ..policy() });
        failing.failures.in_a_row = in_a_row;
        let Verdict::Restart { delay, .. } = failing.fail(0, Duration::ZERO, Retry::ByPolicy, random) else {
            panic!("the first failure is answered");
        };
        prop_assert!(delay <= max, "{:?} > {:?}", delay, max);
        let least = initial.mul_f64(1.0 - jitter).saturating_sub(Duration::from_micros(1));
        prop_assert!(delay >= least, "{:?} < {:?}", delay, least);
    }

    #[test]
    fn no_window_ever_holds_more_restarts_than_allowed(
        gaps in proptest::collection::vec(0..6_000_u64, 1..100),
        max_restarts in 0..6_u32,
    ) {
        let mut failing = Failing::new(RestartPolicy { max_restarts, ..policy() });
        let mut now = 0;
        let mut restarts: Vec<u64> = Vec::new();
        for gap in gaps {
            now += gap;
            if let Verdict::Restart { .. } = failing.fail_at(now) {
                restarts.push(now);
            }
            let in_window = restarts.iter().filter(|at| now - **at < 10_000).count();
            prop_assert!(in_window <= max_restarts as usize, "{:?}", restarts);
        }
    }
}
