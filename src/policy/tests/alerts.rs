use std::time::Duration;

use super::super::alerts::{Alert, Observed, Thresholds, alerts};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn an_alert_is_raised_from_its_threshold_on() {
    let observed = |expired, ended| Observed { expired, ended, ..Observed::default() };
    let quiet = |active, events, minutes: u32| Observed {
        active,
        events: Some((events, MINUTE * minutes)),
        ..Observed::default()
    };
    let fails = Observed { store_error: Some("it is full".to_owned()), ..Observed::default() };
    let default = Thresholds::default();
    let strict = default.expiration_rate(0.0).least_ended(0).quiet_for(MINUTE);
    let cases: [(Observed, Thresholds, &[&str]); 14] = [
        (Observed::default(), default, &[]),
        (observed(1, 10), default, &[]),
        (
            observed(2, 10),
            default,
            &["2 of 10 sessions that ended have expired: 20.0 %, where 10.0 % are allowed"],
        ),
        (observed(9, 9), default, &[]),
        (
            observed(9, 9),
            default.least_ended(9),
            &["9 of 9 sessions that ended have expired: 100.0 %, where 10.0 % are allowed"],
        ),
        (observed(1000, 10_000), default, &[]),
        (
            observed(1, 1),
            strict,
            &["1 of 1 sessions that ended have expired: 100.0 %, where 0.0 % are allowed"],
        ),
        (observed(0, 0), strict, &[]),
        (quiet(3, 0, 35), default, &["3 sessions are active, and nothing has happened for 35m"]),
        (quiet(3, 1, 35), default, &[]),
        (quiet(0, 0, 35), default, &[]),
        (quiet(3, 0, 34), default, &[]),
        (Observed { active: 3, ..Observed::default() }, default, &[]),
        (fails, default, &["the store fails: it is full"]),
    ];
    for (observed, thresholds, expected) in cases {
        let raised = alerts(&observed, &thresholds);
        let said: Vec<_> = raised.iter().map(Alert::to_string).collect();
        assert_eq!(said, expected, "{observed:?}");
    }
}

#[test]
fn thresholds_are_written_as_people_do() {
    let read: Thresholds =
        serde_json::from_str(r#"{ "expiration_rate": 0.25, "quiet_for": "1h" }"#)
            .expect("thresholds");
    assert_eq!(read, Thresholds::default().expiration_rate(0.25).quiet_for(MINUTE * 60));
    serde_json::from_str::<Thresholds>(r#"{ "quiet": "1h" }"#).expect_err("a word too many");
}
