//! What retention removes, and what it never does.

use std::{num::NonZeroU64, time::Duration};

use serde_json::json;

use crate::{
    model::{
        record::{Lane, SessionRecord},
        time::SupervisedTime,
        trimmed::Trimmed,
    },
    policy::{Limit, Retention},
};

const HOUR: Duration = Duration::from_secs(3600);

fn record(phase: serde_json::Value, ended: Option<u64>) -> SessionRecord {
    let id = "01a20349-f6ae-71e2-9d51-af70611bc216";
    let mut record: SessionRecord = serde_json::from_value(json!({
        "id": id, "kind": "coder", "version": 1, "writer": id,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "phase": phase, "last_event": 1
    }))
    .unwrap();
    record.ended = ended.map(SupervisedTime::from_millis);
    record
}

fn is_over(retention: Retention, phase: serde_json::Value, ended: Option<u64>, now: u64) -> bool {
    retention.is_over(&record(phase, ended), SupervisedTime::from_millis(now))
}

#[test]
fn by_default_nothing_is_removed() {
    for lane in Lane::ALL {
        assert_eq!(Retention::default().keeps(lane), None, "{lane:?}");
    }
    for state in ["completed", "failed", "expired", "stopped"] {
        let phase = json!({ "state": state });
        assert!(!is_over(Retention::default(), phase, Some(0), u64::MAX), "{state}");
    }
}

#[test]
fn a_session_is_over_when_it_was_kept_for_as_long_as_its_state_says() {
    let retention = Retention::default().ended(HOUR).failed(HOUR * 2).expired(Limit::Never);
    let ended = Some(1_000);
    let completed = || json!({ "state": "completed" });
    assert!(!is_over(retention, completed(), ended, 3_600_999));
    assert!(is_over(retention, completed(), ended, 3_601_000));
    let failed = || json!({ "state": "failed" });
    assert!(!is_over(retention, failed(), ended, 7_200_999));
    assert!(is_over(retention, failed(), ended, 7_201_000));
    assert!(!is_over(retention, json!({ "state": "expired" }), ended, u64::MAX));
    assert!(!is_over(retention, json!({ "state": "stopped" }), ended, u64::MAX), "not asked for");
    let retention = retention.stopped(HOUR);
    assert!(is_over(retention, json!({ "state": "stopped" }), ended, u64::MAX));
    assert!(!is_over(retention, completed(), None, u64::MAX), "it is not known since when");
}

#[test]
fn what_has_not_ended_is_never_over() {
    let all = Retention::default().ended(Duration::ZERO).stopped(Duration::ZERO);
    let id = "01a20349-f6ae-71e2-9d51-af70611bc216";
    for phase in [
        json!({ "state": "pending", "since": 0 }),
        json!({ "state": "active", "run": id, "worker": id }),
        json!({ "state": "stopping", "run": id, "worker": id }),
        json!({ "state": "paused", "cause": "asked", "since": 0 }),
        json!({ "state": "paused", "cause": "quarantined", "since": 0 }),
    ] {
        assert!(!is_over(all, phase.clone(), Some(0), u64::MAX), "{phase}");
    }
}

/// Up to which event those of a session are to go.
fn trims(newest: u64, last: u64, trimmed: Option<Trimmed>) -> Option<u64> {
    let retention = Retention::default().events(NonZeroU64::new(newest).unwrap());
    let mut record = record(json!({ "state": "stopped" }), None);
    (record.last_event, record.trimmed) = (last, trimmed.map(Box::new));
    retention.trims(&record)
}

#[test]
fn events_go_when_there_are_half_as_many_more_than_are_kept() {
    for (newest, last, to) in [
        (100, 149, None),
        (100, 150, Some(50)),
        (100, 1_000_000, Some(999_900)),
        (1, 1, None),
        (1, 2, Some(1)),
        (3, 4, None),
        (3, 5, Some(2)),
        (u64::MAX, u64::MAX - 1, None),
    ] {
        assert_eq!(trims(newest, last, None), to, "{newest} of {last}");
    }
    let done = Some(Trimmed { to: 50, since: None });
    assert_eq!(trims(100, 199, done), None);
    assert_eq!(trims(100, 200, done), Some(100));
    let under_way = Some(Trimmed { to: 50, since: Some(SupervisedTime::default()) });
    assert_eq!(trims(100, 9_999, under_way), None, "one thing after the other");
}

#[test]
fn a_limit_of_events_is_read_and_written() {
    let text = r#"{"completed":"7days","events":10000}"#;
    let retention: Retention = serde_json::from_str(text).unwrap();
    let newest = NonZeroU64::new(10_000).unwrap();
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(retention, Retention::default().completed(day * 7).events(newest));
    let again = serde_json::to_string(&retention).unwrap();
    assert_eq!(serde_json::from_str::<Retention>(&again).unwrap(), retention);
    assert!(serde_json::from_str::<Retention>(r#"{"events":0}"#).is_err());
    assert!(!serde_json::to_string(&Retention::default()).unwrap().contains("events"));
}
