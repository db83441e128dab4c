//! The one table of moves, cell by cell, and what follows from it for any walk through it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use crate::model::{
    ids::{RunId, SessionId, WorkerGeneration},
    sleep::{Alarm, Sleep},
    state::{InvalidTransition, PauseCause, Phase, Restarting, State, Trigger, transition},
    time::{SupervisedTime, Timestamp},
};

use State::{Active, Completed, Expired, Failed, Paused, Pending, Stopped, Stopping};

/// The lifecycle as it is promised: where each state may go, whatever the trigger.
const LIFECYCLE: [(State, &[State]); 8] = [
    (Pending, &[Active, Paused, Stopped, Completed, Failed, Expired]),
    (Active, &[Active, Paused, Stopping, Completed, Failed, Expired]),
    (Paused, &[Active, Stopping, Stopped, Completed, Failed, Expired]),
    (Stopping, &[Stopped]),
    (Stopped, &[Active, Completed]),
    (Completed, &[]),
    (Failed, &[]),
    (Expired, &[]),
];

/// Every cell of state × trigger, a row for each state and a column for each trigger.
#[rustfmt::skip]
const CELLS: [(State, [Option<State>; 8]); 8] = {
    const O: Option<State> = None;
    const A: Option<State> = Some(Active);
    const P: Option<State> = Some(Paused);
    const G: Option<State> = Some(Stopping);
    const S: Option<State> = Some(Stopped);
    const C: Option<State> = Some(Completed);
    const F: Option<State> = Some(Failed);
    const E: Option<State> = Some(Expired);
    [
        //          activate pause stop stop_held settle complete fail expire
        (Pending,   [A,      P,    S,   O,        O,     C,       F,   E]),
        (Active,    [A,      P,    G,   O,        O,     C,       F,   E]),
        (Paused,    [A,      O,    S,   G,        O,     C,       F,   E]),
        (Stopping,  [O,      O,    O,   O,        S,     O,       O,   O]),
        (Stopped,   [A,      O,    O,   O,        O,     C,       O,   O]),
        (Completed, [O,      O,    O,   O,        O,     O,       O,   O]),
        (Failed,    [O,      O,    O,   O,        O,     O,       O,   O]),
        (Expired,   [O,      O,    O,   O,        O,     O,       O,   O]),
    ]
};

const COLUMNS: [Trigger; 8] = [
    Trigger::Activate,
    Trigger::Pause,
    Trigger::Stop,
    Trigger::StopHeld,
    Trigger::Settle,
    Trigger::Complete,
    Trigger::Fail,
    Trigger::Expire,
];

/// Where a state may go, by any trigger.
fn moves_from(from: State) -> BTreeSet<State> {
    Trigger::ALL.into_iter().filter_map(|trigger| transition(from, trigger)).collect()
}

/// Where the lifecycle lets a state go.
fn promised(from: State) -> BTreeSet<State> {
    LIFECYCLE
        .into_iter()
        .filter(|(state, _)| *state == from)
        .flat_map(|(_, to)| to.iter().copied())
        .collect()
}

#[test]
fn all_64_moves_between_states_are_those_of_the_lifecycle() {
    for from in State::ALL {
        for to in State::ALL {
            assert_eq!(
                moves_from(from).contains(&to),
                promised(from).contains(&to),
                "{from} → {to}"
            );
        }
    }
}

#[test]
fn every_cell_of_state_and_trigger_is_as_the_table_says() {
    for (from, row) in CELLS {
        for (trigger, expected) in COLUMNS.into_iter().zip(row) {
            assert_eq!(transition(from, trigger), expected, "{from} × {trigger:?}");
        }
    }
}

#[test]
fn the_tables_name_every_state_and_every_trigger() {
    assert_eq!(LIFECYCLE.map(|(state, _)| state), State::ALL);
    assert_eq!(CELLS.map(|(state, _)| state), State::ALL);
    assert_eq!(COLUMNS, Trigger::ALL);
}

#[test]
fn a_trigger_leads_to_its_target_or_through_stopping_towards_it() {
    for from in State::ALL {
        for trigger in Trigger::ALL {
            match transition(from, trigger) {
                None => {}
                Some(Stopping) => {
                    assert_eq!(trigger.target(), Stopped, "{from} × {trigger:?}");
                    assert_eq!(transition(Stopping, Trigger::Settle), Some(Stopped));
                }
                Some(to) => assert_eq!(trigger.target(), to, "{from} × {trigger:?}"),
            }
        }
    }
}

#[test]
fn the_terminal_states_are_those_that_nothing_leaves() {
    for state in State::ALL {
        assert_eq!(
            state.is_terminal(),
            moves_from(state).is_empty(),
            "{state}: is_terminal against the table"
        );
    }
}

#[test]
fn inputs_are_accepted_while_pending_active_or_paused() {
    for state in State::ALL {
        let expected = [Pending, Active, Paused].contains(&state);
        assert_eq!(state.accepts_input(), expected, "{state}");
    }
}

#[test]
fn a_stop_wins_over_whatever_arrives_after_it() {
    for late in Trigger::ALL {
        let expected = match late {
            Trigger::Settle => Some(Stopped),
            Trigger::Activate
            | Trigger::Pause
            | Trigger::Stop
            | Trigger::StopHeld
            | Trigger::Complete
            | Trigger::Fail
            | Trigger::Expire => None,
        };
        assert_eq!(transition(Stopping, late), expected, "stopping × {late:?}");
    }
}

#[test]
fn a_refused_move_names_the_session_and_both_states() {
    let session = SessionId::from_uuid(Uuid::from_u128(7));
    let refused = InvalidTransition { session, from: Completed, to: Active };
    assert_eq!(
        refused.to_string(),
        "session 00000000-0000-0000-0000-000000000007: \
         invalid state transition: completed → active"
    );
}

#[test]
fn a_pause_is_woken_by_what_its_cause_says() {
    #[rustfmt::skip]
    let table = [
        // cause                   by an input  by the next start
        (PauseCause::Asked,        false,       false),
        (PauseCause::Idle,         true,        false),
        (PauseCause::Shutdown,     false,       true),
        (PauseCause::Interrupted,  false,       true),
        (PauseCause::Quarantined,  false,       false),
        (asleep(None),             false,       false),
        (asleep(Some(0)),          true,        false),
        (PauseCause::AlarmRang,    false,       false),
        (PauseCause::Parent,       false,       false),
    ];
    for (cause, by_input, by_start) in table {
        assert_eq!(cause.woken_by_input(), by_input, "{cause}, by an input");
        assert_eq!(cause.woken_by_start(), by_start, "{cause}, by a start");
    }
}

#[test]
fn states_and_pause_causes_are_stored_under_the_names_they_show() {
    for state in State::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), json!(state.as_str()));
        assert_eq!(state.to_string(), state.as_str());
    }
    for cause in [
        PauseCause::Asked,
        PauseCause::Idle,
        PauseCause::Shutdown,
        PauseCause::Interrupted,
        PauseCause::Quarantined,
        PauseCause::AlarmRang,
        PauseCause::Parent,
    ] {
        assert_eq!(serde_json::to_value(cause).unwrap(), json!(cause.as_str()));
        assert_eq!(cause.to_string(), cause.as_str());
    }
}

fn asleep(woken_after: Option<u64>) -> PauseCause {
    let until = Timestamp::from_timestamp_millis(253_402_300_799_999).unwrap();
    PauseCause::Asleep(Sleep { until, woken_after })
}

#[test]
fn a_sleep_is_stored_with_its_alarm_and_shows_it() {
    for (woken_after, stored) in [
        (None, json!({ "asleep": { "until": "9999-12-31T23:59:59.999Z" } })),
        (Some(4), json!({ "asleep": { "until": "9999-12-31T23:59:59.999Z", "woken_after": 4 } })),
    ] {
        let cause = asleep(woken_after);
        assert_eq!(cause.as_str(), "asleep");
        assert_eq!(cause.to_string(), "asleep until 9999-12-31T23:59:59.999Z");
        assert_eq!(serde_json::to_value(cause).unwrap(), stored);
        let since = SupervisedTime::from_millis(3);
        let phase = Phase::Paused { cause, since, until: None };
        let text = serde_json::to_string(&phase).unwrap();
        assert_eq!(serde_json::from_str::<Phase>(&text).unwrap(), phase, "{text}");
    }
}

#[test]
fn an_alarm_rings_never_early_after_a_second_and_before_the_year_10000() {
    let ms = |ms| Timestamp::from_timestamp_millis(ms).unwrap();
    let now = ms(10_000);
    let micro = chrono::TimeDelta::microseconds(1);
    for (at, rings) in [
        (ms(20_000), 20_000),
        (ms(20_000) + micro, 20_001),
        (ms(10_500), 11_000),
        (ms(-10_500), 11_000),
        (Timestamp::MIN_UTC, 11_000),
        (Timestamp::MAX_UTC, 253_402_300_799_999),
    ] {
        assert_eq!(Alarm::at(at).rings(now), ms(rings), "{at}");
    }
    assert_eq!(Alarm::at(now).rings(Timestamp::MAX_UTC), ms(253_402_300_799_999));
}

/// One phase for each state, with everything in it that can be.
fn phases() -> [Phase; 8] {
    let run = RunId::from_uuid(Uuid::from_u128(1));
    let worker = WorkerGeneration::from_uuid(Uuid::from_u128(2));
    let since = SupervisedTime::from_millis(3);
    let until = Some(SupervisedTime::from_millis(4));
    [
        Phase::Pending { since, until },
        Phase::Active {
            run,
            worker,
            restarting: Some(Restarting { attempt: 5, due: SupervisedTime::from_millis(6) }),
        },
        Phase::Paused { cause: PauseCause::Idle, since, until },
        Phase::Stopping { run, worker },
        Phase::Stopped,
        Phase::Completed,
        Phase::Failed,
        Phase::Expired,
    ]
}

#[test]
fn a_phase_is_stored_whole_and_under_the_name_of_its_state() {
    for (phase, state) in phases().into_iter().zip(State::ALL) {
        assert_eq!(phase.state(), state);
        let stored = serde_json::to_value(&phase).unwrap();
        assert_eq!(stored["state"], json!(state.as_str()));
        assert_eq!(serde_json::from_value::<Phase>(stored).unwrap(), phase);
    }
}

#[test]
fn only_active_and_stopping_sessions_have_a_run_that_may_write() {
    for phase in phases() {
        let expected = [Active, Stopping].contains(&phase.state());
        assert_eq!(phase.run().is_some(), expected, "run of {}", phase.state());
        assert_eq!(phase.worker().is_some(), expected, "worker of {}", phase.state());
        assert_eq!(
            phase.pause_cause().is_some(),
            phase.state() == Paused,
            "pause cause of {}",
            phase.state()
        );
    }
}

#[test]
fn a_phase_that_lacks_what_its_state_needs_is_refused() {
    for stored in [
        json!({ "state": "active" }),
        json!({ "state": "active", "run": Uuid::from_u128(1) }),
        json!({ "state": "paused", "since": 3 }),
        json!({ "state": "stopping", "worker": Uuid::from_u128(2) }),
        json!({ "state": "sleeping" }),
        json!({}),
    ] {
        assert!(serde_json::from_value::<Phase>(stored.clone()).is_err(), "{stored} was taken");
    }
}

fn any_state() -> impl Strategy<Value = State> {
    proptest::sample::select(State::ALL.to_vec())
}

fn any_walk() -> impl Strategy<Value = Vec<Trigger>> {
    proptest::collection::vec(proptest::sample::select(Trigger::ALL.to_vec()), 0..64)
}

/// The states a walk passes through; a refused trigger leaves the session where it is.
fn walk(from: State, triggers: &[Trigger]) -> Vec<State> {
    let mut states = vec![from];
    for trigger in triggers {
        let here = *states.last().expect("it begins with one");
        states.extend(transition(here, *trigger));
    }
    states
}

proptest! {
    #[test]
    fn any_walk_stays_within_the_lifecycle(from in any_state(), triggers in any_walk()) {
        for step in walk(from, &triggers).windows(2) {
            prop_assert!(promised(step[0]).contains(&step[1]), "{} → {}", step[0], step[1]);
        }
    }

    #[test]
    fn a_terminal_state_absorbs_every_walk(from in any_state(), triggers in any_walk()) {
        let states = walk(from, &triggers);
        if let Some(end) = states.iter().position(|state| state.is_terminal()) {
            prop_assert_eq!(end, states.len() - 1, "the walk went on: {:?}", states);
        }
    }

    #[test]
    fn after_a_stop_only_an_explicit_word_moves_a_session(
        from in any_state(),
        before in any_walk(),
        after in any_walk(),
    ) {
        let here = *walk(from, &before).last().expect("it begins with one");
        let Some(stop) = [Trigger::Stop, Trigger::StopHeld]
            .into_iter()
            .find_map(|stop| transition(here, stop))
        else {
            return Ok(());
        };
        // What the supervisor, the clock and a late run may bring; a resume or an external
        // completion of a stopped session is a person's word again.
        let late: Vec<Trigger> = after
            .into_iter()
            .filter(|trigger| !matches!(trigger, Trigger::Activate | Trigger::Complete))
            .collect();
        for state in walk(stop, &late) {
            prop_assert!([Stopping, Stopped].contains(&state), "{here} → {stop} → {state}");
        }
    }

    #[test]
    fn a_session_that_has_begun_is_never_pending_again(from in any_state(), triggers in any_walk()) {
        prop_assert!(!walk(from, &triggers)[1..].contains(&Pending));
    }
}
