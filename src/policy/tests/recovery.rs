//! What a new worker does with what another one left: every phase against every choice.

use uuid::Uuid;

use crate::{
    model::{
        ids::{Kind, RunId, SessionId, WorkerGeneration},
        inbox::Inbox,
        labels::Labels,
        record::{Failures, Runs, SessionRecord},
        sleep::Sleep,
        state::{PauseCause, Phase},
        time::{SupervisedTime, Timestamp},
        usage::Usage,
    },
    policy::recovery::{MAX_RECOVERIES, Plan, RecoverWhat, plan},
};

use RecoverWhat::{All, Nothing, ShutdownOnly};

/// A worker that is known to be gone, and one that is not.
const LOST: WorkerGeneration = WorkerGeneration::from_uuid(Uuid::from_u128(1));
const OTHER: WorkerGeneration = WorkerGeneration::from_uuid(Uuid::from_u128(2));
const RUN: RunId = RunId::from_uuid(Uuid::from_u128(3));
const SINCE: SupervisedTime = SupervisedTime::from_millis(0);

const CHOICES: [RecoverWhat; 3] = [All, ShutdownOnly, Nothing];

fn record(phase: Phase, recoveries: u32) -> SessionRecord {
    SessionRecord {
        id: SessionId::from_uuid(Uuid::from_u128(4)),
        kind: Kind::new("coder").unwrap(),
        version: 1,
        writer: LOST,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        phase,
        name: None,
        external_id: None,
        start_key: None,
        labels: Labels::default(),
        metadata: serde_json::Map::new(),
        policy: None,
        lineage: None,
        last_event: 1,
        trimmed: None,
        footprint: None,
        inbox: Inbox::default(),
        snapshots: Vec::new(),
        steps: None,
        usage: Usage::default(),
        runs: Runs::default(),
        failures: Failures::default(),
        recoveries,
        abandoned: Vec::new(),
        ended: None,
        deleted: None,
        history: [].into(),
        family: None,
    }
}

const fn active(worker: WorkerGeneration) -> Phase {
    Phase::Active { run: RUN, worker, restarting: None }
}

const ASLEEP: PauseCause =
    PauseCause::Asleep(Sleep { until: Timestamp::UNIX_EPOCH, woken_after: Some(0) });

const fn paused(cause: PauseCause) -> Phase {
    Phase::Paused { cause, since: SINCE, until: None }
}

fn check(phase: &Phase, recoveries: u32, what: RecoverWhat, registered: bool, expected: Plan) {
    let record = record(phase.clone(), recoveries);
    assert_eq!(
        plan(&record, what, registered, |worker| worker == LOST),
        expected,
        "{phase:?}, {recoveries} recoveries, {what:?}, registered: {registered}"
    );
}

#[test]
fn what_a_crash_interrupted_is_resumed_or_paused_as_interrupted() {
    check(&active(LOST), 0, All, true, Plan::Resume);
    check(&active(LOST), 0, ShutdownOnly, true, Plan::Interrupt);
    check(&active(LOST), 0, Nothing, true, Plan::Interrupt);
}

#[test]
fn what_was_paused_is_resumed_only_if_its_cause_and_the_choice_say_so() {
    #[rustfmt::skip]
    let table = [
        // cause                  all           shutdown only  nothing
        (PauseCause::Asked,       [Plan::Leave,  Plan::Leave,  Plan::Leave]),
        (PauseCause::Idle,        [Plan::Leave,  Plan::Leave,  Plan::Leave]),
        (PauseCause::Quarantined, [Plan::Leave,  Plan::Leave,  Plan::Leave]),
        (PauseCause::AlarmRang,   [Plan::Leave,  Plan::Leave,  Plan::Leave]),
        (PauseCause::Parent,      [Plan::Leave,  Plan::Leave,  Plan::Leave]),
        (ASLEEP,                  [Plan::Leave,  Plan::Leave,  Plan::Leave]),
        (PauseCause::Shutdown,    [Plan::Resume, Plan::Resume, Plan::Leave]),
        (PauseCause::Interrupted, [Plan::Resume, Plan::Leave,  Plan::Leave]),
    ];
    for (cause, plans) in table {
        for (what, expected) in CHOICES.into_iter().zip(plans) {
            check(&paused(cause), 0, what, true, expected);
            if !cause.woken_by_start() {
                assert_eq!(expected, Plan::Leave, "{cause}: the words and the plan differ");
            }
        }
    }
}

#[test]
fn a_session_that_took_workers_with_it_is_resumed_last_and_then_quarantined() {
    let left = [active(LOST), paused(PauseCause::Interrupted), paused(PauseCause::Shutdown)];
    for phase in left {
        check(&phase, 0, All, true, Plan::Resume);
        check(&phase, 1, All, true, Plan::ResumeSuspect);
        check(&phase, MAX_RECOVERIES - 1, All, true, Plan::ResumeSuspect);
        check(&phase, MAX_RECOVERIES, All, true, Plan::Quarantine);
        check(&phase, u32::MAX, All, true, Plan::Quarantine);
    }
    assert_eq!(MAX_RECOVERIES, 3);
}

#[test]
fn a_pause_that_no_start_wakes_is_left_alone_even_of_a_suspect() {
    for cause in [PauseCause::Asked, PauseCause::Idle, PauseCause::Quarantined] {
        for recoveries in [0, 1, MAX_RECOVERIES] {
            check(&paused(cause), recoveries, All, true, Plan::Leave);
        }
    }
}

#[test]
fn a_stop_is_finished_whatever_else_holds() {
    let stopping = Phase::Stopping { run: RUN, worker: LOST };
    for what in CHOICES {
        for registered in [true, false] {
            check(&stopping, MAX_RECOVERIES, what, registered, Plan::FinishStop);
        }
    }
}

#[test]
fn the_sessions_of_a_living_worker_are_not_ours() {
    let stopping = Phase::Stopping { run: RUN, worker: OTHER };
    for what in CHOICES {
        check(&active(OTHER), 0, what, true, Plan::Leave);
        check(&stopping, 0, what, true, Plan::Leave);
    }
}

#[test]
fn a_session_without_a_workload_waits_as_it_is() {
    for what in CHOICES {
        check(&active(LOST), 1, what, false, Plan::Leave);
        check(&paused(PauseCause::Shutdown), 0, what, false, Plan::Leave);
        check(&paused(PauseCause::Interrupted), 0, what, false, Plan::Leave);
    }
}

#[test]
fn what_waits_or_has_ended_is_left_as_it_is() {
    let phases = [
        Phase::Pending { since: SINCE, until: None },
        Phase::Stopped,
        Phase::Completed,
        Phase::Failed,
        Phase::Expired,
    ];
    for phase in phases {
        for what in CHOICES {
            for registered in [true, false] {
                check(&phase, 0, what, registered, Plan::Leave);
            }
        }
    }
}
