//! The values of a policy: how people write them, and which are refused with which words.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::policy::{
    Backoff, Limit, OnExhausted, OnIdle, OnSilence, Policy, PolicyBuilder, Restart, RestartPolicy,
    WhileAbandoned, builder::MAX_SPAN,
};

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn read(policy: Value) -> Result<Policy, String> {
    serde_json::from_value(policy).map_err(|error| error.to_string())
}

fn check_limit(text: &str, expected: Limit) {
    let policy = read(json!({ "idle_timeout": text })).unwrap();
    assert_eq!(policy.idle_timeout(), expected, "{text}");
}

#[test]
fn limits_are_read_as_people_write_them() {
    let minutes = |minutes: u64| Limit::After(Duration::from_secs(minutes * 60));
    check_limit("30m", minutes(30));
    check_limit("30 min", minutes(30));
    check_limit("1h 30m", minutes(90));
    check_limit("1h30m", minutes(90));
    check_limit("2days", minutes(2 * 24 * 60));
    check_limit("5ms", Limit::After(Duration::from_millis(5)));
    check_limit("never", Limit::Never);
}

fn check_refused(policy: Value, words: &[&str]) {
    let error = read(policy.clone()).expect_err(&format!("{policy} was taken"));
    for word in words {
        assert!(error.contains(word), "{policy}: {word:?} not in {error:?}");
    }
}

#[test]
fn durations_that_make_no_sense_are_refused_with_a_clear_text() {
    let how = "write it as 30m or 1h 30m";
    for wrong in ["", " ", "-5s", "30", "m", "30 parsecs", "soon", "1h -30m"] {
        let named = format!("invalid duration {wrong:?}");
        check_refused(json!({ "stop_grace": wrong }), &[&named, how]);
        check_refused(json!({ "idle_timeout": wrong }), &[&named, how, "never for no limit"]);
        check_refused(json!({ "restart": { "within": wrong } }), &[&named, how]);
    }
    // A grace cannot be endless.
    check_refused(json!({ "stop_grace": "never" }), &["invalid duration", how]);
    check_refused(json!({ "stop_grace": 30 }), &["integer `30`", "a string"]);
    check_refused(json!({ "idle_timeout": null }), &["null", "a string"]);
    check_refused(json!({ "idle_timeout": "99999999999999999999y" }), &["invalid duration"]);
}

#[test]
fn unknown_fields_and_words_are_refused_by_name() {
    check_refused(json!({ "heartbeet_timeout": "1h" }), &["heartbeet_timeout"]);
    check_refused(json!({ "restart": { "max_restart": 1 } }), &["max_restart`"]);
    check_refused(json!({ "restart": { "backoff": { "base": "1s" } } }), &["base"]);
    check_refused(json!({ "on_silence": "panic" }), &["panic", "expire"]);
    check_refused(json!({ "max_inputs": -1 }), &["-1"]);
}

#[test]
fn values_out_of_range_are_refused_with_their_setting() {
    #[rustfmt::skip]
    let table = [
        (json!({ "heartbeat_timeout": "0s" }),               "heartbeat_timeout must be at least 1ms, or never"),
        (json!({ "idle_timeout": "999us" }),                 "idle_timeout must be at least 1ms, or never"),
        (json!({ "paused_timeout": "0s" }),                  "paused_timeout must be at least 1ms, or never"),
        (json!({ "pending_timeout": "0s" }),                 "pending_timeout must be at least 1ms, or never"),
        (json!({ "idle_timeout": "101y" }),                  "idle_timeout must be at most 100 years"),
        (json!({ "pause_grace": "101y" }),                   "pause_grace must be at most 100 years"),
        (json!({ "stop_grace": "101y" }),                    "stop_grace must be at most 100 years"),
        (json!({ "cancel_grace": "101y" }),                  "cancel_grace must be at most 100 years"),
        (json!({ "cancel_grace": "0s" }),                    "cancel_grace must be at least 10ms: a cancelled run needs a moment to be gone"),
        (json!({ "max_inputs": 0 }),                         "max_inputs must be at least 1"),
        (json!({ "max_input_bytes": 0 }),                    "max_input_bytes must be at least 1"),
        (json!({ "max_snapshot_bytes": 0 }),                 "max_snapshot_bytes must be at least 1"),
        (json!({ "max_snapshot_bytes": (1 << 30) + 1 }),     "max_snapshot_bytes must be at most 1 GiB"),
        (json!({ "restart": { "max_restarts": 1001 } }),     "restart.max_restarts must be at most 1000"),
        (json!({ "restart": { "within": "0s" } }),           "restart.within must be longer than nothing"),
        (json!({ "restart": { "within": "101y" } }),         "restart.within must be at most 100 years"),
        (json!({ "restart": { "healthy_after": "101y" } }),  "restart.healthy_after must be at most 100 years"),
        (json!({ "restart": { "backoff": { "max": "101y" } } }),    "restart.backoff.max must be at most 100 years"),
        (json!({ "restart": { "backoff": { "initial": "6m" } } }),  "restart.backoff.initial must be no longer than backoff.max"),
        (json!({ "restart": { "backoff": { "factor": 0.99 } } }),   "restart.backoff.factor must be a finite number of at least 1"),
        (json!({ "restart": { "backoff": { "jitter": 1.01 } } }),   "restart.backoff.jitter must be between 0 and 1"),
        (json!({ "restart": { "backoff": { "jitter": -0.1 } } }),   "restart.backoff.jitter must be between 0 and 1"),
    ];
    for (policy, words) in table {
        check_refused(policy, &["invalid policy: ", words]);
    }
}

#[test]
fn numbers_that_are_none_are_refused() {
    for (setting, backoff) in [
        ("restart.backoff.factor", Backoff { factor: f64::NAN, ..Backoff::default() }),
        ("restart.backoff.factor", Backoff { factor: f64::INFINITY, ..Backoff::default() }),
        ("restart.backoff.jitter", Backoff { jitter: f64::NAN, ..Backoff::default() }),
    ] {
        let restart = RestartPolicy { backoff, ..RestartPolicy::default() };
        let error = Policy::builder().restart(restart).build().unwrap_err();
        assert_eq!(error.setting(), setting, "{backoff:?}");
    }
}

#[test]
fn values_at_the_edge_of_their_range_are_taken() {
    for policy in [
        json!({ "heartbeat_timeout": "1ms" }),
        json!({ "stop_grace": "0s", "pause_grace": "0s", "cancel_grace": "10ms" }),
        json!({ "max_snapshot_bytes": 1 << 30 }),
        json!({ "restart": { "max_restarts": 0 } }),
        json!({ "restart": { "max_restarts": 1000 } }),
        json!({ "restart": { "backoff": { "initial": "0s", "max": "0s", "factor": 1, "jitter": 1 } } }),
        json!({ "restart": { "backoff": { "initial": "5m" } } }),
    ] {
        assert!(read(policy.clone()).is_ok(), "{policy}");
    }
    let backoff = Backoff { initial: MAX_SPAN, max: MAX_SPAN, ..Backoff::default() };
    let (within, healthy_after) = (MAX_SPAN, MAX_SPAN);
    let restart = RestartPolicy { within, healthy_after, backoff, ..RestartPolicy::default() };
    let longest = Policy::builder().stop_grace(MAX_SPAN).heartbeat_timeout(MAX_SPAN);
    longest.restart(restart).build().unwrap();
}

#[test]
fn what_is_not_written_has_its_documented_default() {
    let policy = read(json!({})).unwrap();
    assert_eq!(policy, Policy::default());
    assert_eq!(Policy::builder().build().unwrap(), Policy::default());
    let half_an_hour = Limit::After(Duration::from_secs(1_800));
    assert_eq!(policy.heartbeat_timeout(), half_an_hour);
    assert_eq!(policy.on_silence(), OnSilence::Expire);
    assert_eq!(policy.idle_timeout(), half_an_hour);
    assert_eq!(policy.on_idle(), OnIdle::Pause);
    assert_eq!(policy.pause_grace(), Duration::from_secs(30));
    assert_eq!(policy.stop_grace(), Duration::from_secs(10));
    assert_eq!(policy.cancel_grace(), Duration::from_secs(5));
    assert_eq!(policy.paused_timeout(), Limit::Never);
    assert_eq!(policy.pending_timeout(), Limit::Never);
    assert_eq!(policy.while_abandoned(), WhileAbandoned::RefuseResume);
    assert_eq!(policy.restart(), &RestartPolicy::default());
    assert_eq!(policy.max_inputs(), 64);
    assert_eq!(policy.max_input_bytes(), 4 << 20);
    assert_eq!(policy.max_snapshot_bytes(), 16 << 20);
}

#[test]
fn a_policy_is_written_as_people_read_it() {
    let policy = Policy::builder()
        .heartbeat_timeout(Duration::from_secs(5_400))
        .idle_timeout(Limit::Never)
        .stop_grace(Duration::from_millis(1_500))
        .build()
        .unwrap();
    let written = serde_json::to_value(&policy).unwrap();
    assert_eq!(written["heartbeat_timeout"], "1h 30m");
    assert_eq!(written["idle_timeout"], "never");
    assert_eq!(written["stop_grace"], "1s 500ms");
    assert_eq!(written["on_silence"], "expire");
    assert_eq!(written["restart"]["on_exhausted"], "quarantine");
}

fn any_span() -> impl Strategy<Value = Duration> {
    (1_000_000..u64::MAX / 8, 0..1_000_000_000_u32).prop_map(|(nanos, more)| {
        (Duration::from_nanos(nanos) + Duration::from_nanos(more.into())).min(36_000 * DAY)
    })
}

fn any_limit() -> impl Strategy<Value = Limit> {
    prop_oneof![Just(Limit::Never), any_span().prop_map(Limit::After)]
}

fn any_restart() -> impl Strategy<Value = RestartPolicy> {
    let backoff = (any_span(), any_span(), 1.0..1e6_f64, 0.0..=1.0_f64).prop_map(
        |(one, other, factor, jitter)| Backoff {
            initial: one.min(other),
            factor,
            max: one.max(other),
            jitter,
        },
    );
    let words = (any::<bool>(), any::<bool>()).prop_map(|(never, fail)| {
        let restart = if never { Restart::Never } else { Restart::OnFailure };
        let on_exhausted = if fail { OnExhausted::Fail } else { OnExhausted::Quarantine };
        (restart, on_exhausted)
    });
    (0..=1_000_u32, any_span(), any::<u32>(), backoff, any_span(), words).prop_map(
        |(max_restarts, within, without, backoff, healthy_after, (restart, on_exhausted))| {
            RestartPolicy {
                restart,
                max_restarts,
                within,
                max_without_checkpoint: without,
                backoff,
                healthy_after,
                on_exhausted,
            }
        },
    )
}

fn any_builder() -> impl Strategy<Value = PolicyBuilder> {
    let limits = [any_limit(), any_limit(), any_limit(), any_limit()];
    let graces = [any_span(), any_span(), any_span()];
    let counts = (1..u32::MAX, 1..u64::MAX, 1..=1_u64 << 30);
    let silence =
        proptest::sample::select(vec![OnSilence::Expire, OnSilence::Restart, OnSilence::Pause]);
    (limits, graces, counts, silence, any::<bool>(), any_restart()).prop_map(
        |(limits, graces, (inputs, bytes, snapshot), silence, other, restart)| {
            let builder = Policy::builder()
                .heartbeat_timeout(limits[0])
                .idle_timeout(limits[1])
                .paused_timeout(limits[2])
                .pending_timeout(limits[3])
                .pause_grace(graces[0])
                .stop_grace(graces[1])
                .cancel_grace(graces[2].max(Duration::from_millis(10)))
                .max_inputs(inputs)
                .max_input_bytes(bytes)
                .max_snapshot_bytes(snapshot)
                .on_silence(silence)
                .restart(restart);
            if other {
                builder.on_idle(OnIdle::Expire).while_abandoned(WhileAbandoned::AllowResume)
            } else {
                builder
            }
        },
    )
}

proptest! {
    #[test]
    fn any_policy_round_trips(builder in any_builder()) {
        let policy = builder.build().unwrap();
        let text = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy.clone(), "{}", text);
        prop_assert_eq!(policy.to_builder().build().unwrap(), policy);
    }

    #[test]
    fn no_text_of_a_duration_panics(text in "[0-9a-zµ .+-]{0,24}|.{0,24}") {
        let _ = read(json!({ "idle_timeout": text.clone(), "stop_grace": text }));
    }
}
