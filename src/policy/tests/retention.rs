//! What retention removes, and what it never does.

use std::time::Duration;

use serde_json::json;

use crate::{
    model::{
        record::{Lane, SessionRecord},
        time::SupervisedTime,
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
