//! The record of a session: what is stored is read, also by the next version.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    model::{
        deletion::{Deleted, Removal},
        event::{Cause, Event, EventRecord, Fact, FileAction, Lifecycle, RunEnd},
        family::{Family, OnParent, WhenParentPauses},
        ids::{ExternalId, Kind, Name, RunId, SessionId, StartKey, WorkerGeneration},
        inbox::{InHand, Inbox, MovedInput},
        labels::Labels,
        lineage::{Forked, ForkedFrom, Links},
        record::{
            EndedRun, Failures, Lane, Runs, SessionRecord, SnapshotRef, StartRequest, Transition,
        },
        sleep::Sleep,
        state::{PauseCause, Phase, State},
        step::Turn,
        time::{LaneTime, SupervisedTime, Timestamp},
        usage::Usage,
    },
    policy::Policy,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds, 123_456_789).unwrap()
}

fn supervised(millis: u64) -> SupervisedTime {
    SupervisedTime::from_millis(millis)
}

fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

/// A record in which nothing is left at its default.
fn full() -> SessionRecord {
    let run = RunId::from_uuid(Uuid::from_u128(2));
    let snapshot = |sequence, consumed| SnapshotRef {
        sequence,
        consumed,
        interlude: 0,
        bytes: 77,
        at: at(1_700_000_050),
    };
    SessionRecord {
        id: SessionId::from_uuid(Uuid::from_u128(1)),
        kind: Kind::new("coder").unwrap(),
        version: 12,
        writer: WorkerGeneration::from_uuid(Uuid::from_u128(3)),
        created_at: at(1_700_000_000),
        updated_at: at(1_700_000_100),
        phase: Phase::Active {
            run,
            worker: WorkerGeneration::from_uuid(Uuid::from_u128(3)),
            restarting: None,
        },
        name: Some(Name::new("fix the build").unwrap()),
        external_id: Some(ExternalId::new("agent-7").unwrap()),
        start_key: Some(StartRequest {
            key: StartKey::new("request-1").unwrap(),
            digest: u64::MAX,
        }),
        labels: Labels::new([("repo", "sessionkeeper")]).unwrap(),
        metadata: serde_json::Map::from_iter([("ticket".to_owned(), json!({ "id": 4.25 }))]),
        policy: Some(Box::new(Policy::builder().max_inputs(3_u32).build().unwrap())),
        lineage: Some(Box::new(Links {
            forked_from: Some(ForkedFrom { session: session(21), snapshot: 4 }),
            parent: Some(session(22)),
            on_parent: OnParent { pause: WhenParentPauses::Leave, ..OnParent::default() },
            depth: 2,
            transitioned_from: Some(session(23)),
            transitioned_to: Some(session(24)),
        })),
        last_event: 40,
        trimmed: None,
        footprint: None,
        inbox: Inbox {
            accepted: 9,
            consumed: 7,
            waiting_bytes: 300,
            in_hand: Some(InHand { input: 8, attempt: 2 }),
            out_of_order: None,
            moved: vec![MovedInput { input: 8, from: session(23), was: 5 }],
        },
        snapshots: vec![snapshot(6, 7), snapshot(5, 4)],
        steps: Some(Turn { input: 7, interlude: 2 }),
        usage: Usage::tokens(812, 240),
        runs: Runs {
            count: 3,
            restarts: 1,
            active_ms: 9_000,
            since: Some(supervised(8_000)),
            last: Some(EndedRun {
                run: RunId::from_uuid(Uuid::from_u128(8)),
                end: RunEnd::Yielded,
            }),
        },
        failures: Failures {
            recent: vec![supervised(5_000)],
            without_checkpoint: 1,
            in_a_row: 1,
            last: Some(RunEnd::Panicked { message: "index out of range".to_owned() }),
        },
        recoveries: 1,
        abandoned: vec![RunId::from_uuid(Uuid::from_u128(9))],
        ended: Some(supervised(30)),
        deleted: Some(Deleted { at: supervised(40), by: Removal::Asked, purged: true }),
        history: [Transition {
            at: at(1_700_000_001),
            from: State::Pending,
            to: State::Active,
            cause: Cause::SlotFree,
            reason: Some("a place became free".to_owned()),
        }]
        .into(),
        family: Some(Box::new(super::family::full())),
    }
}

fn stored() -> Value {
    serde_json::to_value(full()).unwrap()
}

#[test]
fn a_full_record_round_trips() {
    let bytes = serde_json::to_vec(&full()).unwrap();
    assert_eq!(serde_json::from_slice::<SessionRecord>(&bytes).unwrap(), full());
}

#[test]
fn what_a_newer_version_adds_is_passed_over() {
    let mut newer = stored();
    newer["shape_of_things_to_come"] = json!({ "any": ["thing"] });
    newer["inbox"]["lanes"] = json!(2);
    newer["usage"]["cached_tokens"] = json!(5);
    newer["runs"]["longest_ms"] = json!(1);
    newer["failures"]["first"] = json!(1);
    newer["phase"]["priority"] = json!("high");
    newer["snapshots"][0]["codec"] = json!("zstd");
    newer["lineage"]["merged_from"] = json!(["thing"]);
    newer["history"][0]["by"] = json!("alice");
    assert_eq!(serde_json::from_value::<SessionRecord>(newer).unwrap(), full());
}

#[test]
fn what_an_older_version_did_not_write_has_its_default() {
    let mut older = stored();
    let fields = older.as_object_mut().unwrap();
    fields.retain(|field, _| {
        ["id", "kind", "version", "writer", "created_at", "updated_at", "phase", "last_event"]
            .contains(&field.as_str())
    });
    let full = full();
    let expected = SessionRecord {
        name: None,
        external_id: None,
        start_key: None,
        labels: Labels::default(),
        metadata: serde_json::Map::new(),
        policy: None,
        lineage: None,
        family: None,
        inbox: Inbox::default(),
        snapshots: Vec::new(),
        steps: None,
        usage: Usage::default(),
        runs: Runs::default(),
        failures: Failures::default(),
        recoveries: 0,
        abandoned: Vec::new(),
        ended: None,
        deleted: None,
        history: [].into(),
        ..full
    };
    assert_eq!(serde_json::from_value::<SessionRecord>(older).unwrap(), expected);
}

#[test]
fn a_record_without_what_it_cannot_do_without_is_refused() {
    for field in ["id", "kind", "version", "writer", "phase", "last_event"] {
        let mut stored = stored();
        stored.as_object_mut().unwrap().remove(field).unwrap();
        let error = serde_json::from_value::<SessionRecord>(stored).unwrap_err();
        assert!(error.to_string().contains(field), "{field}: {error}");
    }
}

#[test]
fn a_record_with_values_no_builder_takes_is_refused() {
    type Spoil = fn(&mut Value);
    let spoil: [(&str, Spoil); 4] = [
        ("kind", |record| record["kind"] = json!("")),
        ("labels", |record| record["labels"] = json!({ "": "x" })),
        ("policy", |record| record["policy"]["max_inputs"] = json!(0)),
        ("state", |record| record["phase"]["state"] = json!("lost")),
    ];
    for (what, spoil) in spoil {
        let mut stored = stored();
        spoil(&mut stored);
        assert!(
            serde_json::from_value::<SessionRecord>(stored).is_err(),
            "a spoilt {what} was taken"
        );
    }
}

#[test]
fn inputs_are_kept_until_the_older_kept_snapshot_covers_them() {
    let with = |consumed: &[u64]| {
        let mut record = full();
        let kept = record.snapshots[0];
        record.snapshots =
            consumed.iter().map(|consumed| SnapshotRef { consumed: *consumed, ..kept }).collect();
        record.inputs_covered()
    };
    assert_eq!(with(&[]), 0);
    assert_eq!(with(&[7]), 7);
    assert_eq!(with(&[7, 4]), 4);
    assert_eq!(with(&[7, 0]), 0);
}

#[test]
fn steps_are_kept_until_the_older_kept_snapshot_covers_their_turn() {
    let turn = |(input, interlude)| Turn { input, interlude };
    let with = |ended: &[(u64, u64)]| {
        let mut record = full();
        let kept = record.snapshots[0];
        let snapshot = |(consumed, interlude): &(u64, u64)| SnapshotRef {
            consumed: *consumed,
            interlude: *interlude,
            ..kept
        };
        record.snapshots = ended.iter().map(snapshot).collect();
        record.steps_covered()
    };
    assert_eq!(with(&[]), Turn::default());
    assert_eq!(with(&[(7, 1)]), turn((7, 1)));
    assert_eq!(with(&[(7, 1), (7, 0)]), turn((7, 0)));
    assert_eq!(with(&[(7, 0), (6, 9)]), turn((6, 9)));
}

#[test]
fn turns_are_ordered_as_they_happen() {
    let start = Turn::default();
    let order = [
        start,
        start.interlude_after(),
        Turn::of_input(1),
        Turn::of_input(1).interlude_after(),
        Turn::of_input(1).interlude_after().interlude_after(),
        Turn::of_input(2),
    ];
    assert!(order.is_sorted());
    let texts = order.map(|turn| turn.to_string());
    assert_eq!(texts, ["0", "0+1", "1", "1+1", "1+2", "2"]);
}

fn check_due(phase: Phase, waiting: u64, ready: Option<u64>, timeout: Option<u64>) {
    let mut record = full();
    record.deleted = None;
    record.phase = phase.clone();
    record.inbox = Inbox { accepted: 5 + waiting, consumed: 5, ..Inbox::default() };
    assert_eq!(
        record.due(Lane::Ready),
        ready.map(LaneTime::from_millis),
        "ready: {phase:?}, {waiting} waiting"
    );
    assert_eq!(
        record.due(Lane::Timeout),
        timeout.map(LaneTime::from_millis),
        "timeout: {phase:?}, {waiting} waiting"
    );
}

#[test]
fn a_session_is_due_when_it_could_run_and_when_its_waiting_ends() {
    let pending =
        |until: Option<u64>| Phase::Pending { since: supervised(10), until: until.map(supervised) };
    let paused = |cause, until: Option<u64>| Phase::Paused {
        cause,
        since: supervised(20),
        until: until.map(supervised),
    };
    check_due(pending(None), 0, Some(10), None);
    check_due(pending(Some(99)), 1, Some(10), Some(99));
    check_due(paused(PauseCause::Idle, None), 0, None, None);
    check_due(paused(PauseCause::Idle, Some(99)), 1, Some(20), Some(99));
    for cause in
        [PauseCause::Asked, PauseCause::Shutdown, PauseCause::Interrupted, PauseCause::Quarantined]
    {
        check_due(paused(cause, Some(99)), 1, None, Some(99));
    }
    check_due(full().phase, 1, None, None);
    for phase in [Phase::Stopped, Phase::Completed, Phase::Failed, Phase::Expired] {
        check_due(phase, 1, None, None);
    }
    // Five inputs were accepted, and a sixth waits.
    let until = Timestamp::from_timestamp_millis(-70).unwrap();
    let asleep = |woken_after| paused(PauseCause::Asleep(Sleep { until, woken_after }), None);
    check_due(asleep(None), 1, None, None);
    check_due(asleep(Some(5)), 0, None, None);
    check_due(asleep(Some(5)), 1, Some(20), None);
    check_due(asleep(Some(6)), 1, None, None);
    check_due(paused(PauseCause::AlarmRang, None), 0, Some(20), None);
    let mut record = full();
    record.deleted = None;
    assert_eq!(record.due(Lane::Alarm), None);
    record.phase = asleep(None);
    assert_eq!(record.due(Lane::Alarm), Some(LaneTime::from_millis(0)), "before 1970");
}

#[test]
fn an_inbox_never_counts_below_zero() {
    let odd = Inbox { accepted: 3, consumed: 4, ..Inbox::default() };
    assert_eq!(odd.waiting(), 0);
}

const CAUSES: [Cause; 19] = [
    Cause::Asked,
    Cause::SlotFree,
    Cause::InputArrived,
    Cause::Restarted,
    Cause::Recovered,
    Cause::Returned,
    Cause::FellAsleep,
    Cause::AlarmRang,
    Cause::IdleTimeout,
    Cause::Silence,
    Cause::PausedTimeout,
    Cause::PendingTimeout,
    Cause::Shutdown,
    Cause::Interrupted,
    Cause::RestartsExhausted,
    Cause::SuspectedOfCrashes,
    Cause::Workload,
    Cause::RunGone,
    Cause::RolledOver,
];

#[test]
fn causes_are_stored_under_the_names_they_show() {
    for cause in CAUSES {
        assert_eq!(serde_json::to_value(cause).unwrap(), json!(cause.as_str()));
        assert_eq!(cause.to_string(), cause.as_str());
    }
}

/// One fact of every shape.
fn facts() -> Vec<Fact> {
    let lifecycle = [
        Lifecycle::Created { kind: Kind::new("coder").unwrap() },
        Lifecycle::Forked(Box::new(Forked::new(ForkedFrom { session: session(3), snapshot: 2 }))),
        Lifecycle::Forked(Box::new(Forked {
            inputs: 3,
            usage: Some(Usage::tokens(1, 2)),
            fell_back: Some("it is missing".to_owned()),
            ..Forked::new(ForkedFrom { session: session(3), snapshot: 1 })
        })),
        Lifecycle::TransitionedFrom { session: session(3), inputs: 0 },
        Lifecycle::TransitionedFrom { session: session(3), inputs: 2 },
        Lifecycle::TransitionedTo { session: session(4), unread: 0 },
        Lifecycle::TransitionedTo { session: session(4), unread: 2 },
        Lifecycle::StateChanged {
            from: State::Active,
            to: State::Paused,
            cause: Cause::IdleTimeout,
            reason: None,
            begins: false,
        },
        Lifecycle::PauseCauseChanged { from: PauseCause::Idle, to: PauseCause::Asked },
        Lifecycle::FellAsleep(Sleep { until: Timestamp::UNIX_EPOCH, woken_after: Some(3) }),
        Lifecycle::RestartScheduled { attempt: 2, delay_ms: 2_000 },
        Lifecycle::SnapshotFellBack {
            from: 6,
            to: 5,
            reason: "the checksum of the snapshot does not match".to_owned(),
        },
        Lifecycle::ExternalIdSet { id: ExternalId::new("agent-7").unwrap() },
        Lifecycle::LabelsSet { labels: Labels::new([("user", "ada")]).unwrap() },
        Lifecycle::MetadataSet,
    ];
    let ends = [
        RunEnd::Yielded,
        RunEnd::Completed,
        RunEnd::Failed { error: "no route to host".to_owned() },
        RunEnd::Panicked { message: String::new() },
        RunEnd::Cancelled,
        RunEnd::Abandoned,
        RunEnd::Interrupted,
    ]
    .map(|how| Lifecycle::RunEnded { how });
    let work = [
        Event::thinking(1, ["edit_file"]),
        Event::terminal("ls", "a\nb", -1),
        Event::file_change("src/lib.rs", FileAction::Renamed),
        Event::completion("done"),
        Event::error("not done"),
        Event::custom("plan", json!({ "steps": [1, 2.5, null] })),
        Event::custom("nothing", Value::Null),
    ];
    lifecycle
        .into_iter()
        .chain(ends)
        .map(Fact::Lifecycle)
        .chain(work.map(Fact::Work))
        .chain([Fact::Usage(Usage::tokens(1, 2))])
        .collect()
}

#[test]
fn every_fact_round_trips() {
    for fact in facts() {
        let event = EventRecord {
            sequence: 1,
            at: at(1_700_000_000),
            run: Some(RunId::from_uuid(Uuid::from_u128(2))),
            input: Some(8),
            fact,
        };
        let text = serde_json::to_string(&event).unwrap();
        let read: EventRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(read, event, "{text}");
    }
}

proptest! {
    #[test]
    fn no_number_in_the_metadata_changes_when_it_is_stored(number in proptest::num::f64::NORMAL) {
        let mut record = full();
        record.metadata.insert("number".to_owned(), json!(number));
        let bytes = serde_json::to_vec(&record).unwrap();
        let read: SessionRecord = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(read.metadata.get("number"), Some(&json!(number)));
    }

    #[test]
    fn any_timestamp_round_trips(seconds in -62_135_596_800_i64..253_402_300_800, nanos in 0..1_000_000_000_u32) {
        let at = Timestamp::from_timestamp(seconds, nanos).unwrap();
        let text = serde_json::to_string(&at).unwrap();
        prop_assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), at);
    }
}

#[test]
fn a_deleted_session_is_due_to_be_removed_and_for_nothing_else() {
    let mut record = full();
    record.family = None;
    record.phase = Phase::Pending { since: supervised(10), until: Some(supervised(99)) };
    for (purged, due) in [(false, 10_040), (true, 24 * 3_600_000 + 40)] {
        record.deleted = Some(Deleted { at: supervised(40), by: Removal::Age, purged });
        for lane in Lane::ALL {
            let expected = (lane == Lane::Removal).then(|| LaneTime::from_millis(due));
            assert_eq!(record.due(lane), expected, "{lane:?}");
        }
    }
}

/// Its children have to hear of its end, whatever becomes of itself.
#[test]
fn a_session_owes_something_since_the_oldest_move_that_is_not_followed() {
    let mut record = full();
    assert_eq!(record.due(Lane::Removal), None, "it is not forgotten before");
    for deleted in [None, Some(Deleted { at: supervised(40), by: Removal::Age, purged: true })] {
        record.deleted = deleted;
        assert_eq!(record.due(Lane::Family), Some(LaneTime::from_millis(4_000)));
    }
    record.family = Some(Box::new(Family { has_children: true, ..Family::default() }));
    assert_eq!(record.due(Lane::Family), None);
}

#[test]
fn a_session_is_in_the_lane_of_the_state_in_which_it_ended() {
    let mut record = full();
    (record.deleted, record.family) = (None, None);
    let ends = [
        (Phase::Stopped, Lane::Stopped),
        (Phase::Completed, Lane::Completed),
        (Phase::Failed, Lane::Failed),
        (Phase::Expired, Lane::Expired),
    ];
    for (phase, own) in ends {
        record.phase = phase;
        for lane in Lane::ALL {
            let expected = (lane == own).then(|| LaneTime::from_millis(30));
            assert_eq!(record.due(lane), expected, "{lane:?}");
        }
    }
    record.ended = None;
    assert_eq!(record.due(Lane::Expired), None, "it is not known since when");
}
