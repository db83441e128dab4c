//! A stop against what else would end or move a session.

use std::{sync::Arc, time::Duration};

use sessionkeeper::{Cause, State};

use super::{
    MS, Race, moves, on_paused_time, on_threads, quiet, racer::Then, racer::Turn, refused_from,
    restarts_after, soon, turn,
};

/// How far away the critical moment is.
const AHEAD: Duration = Duration::from_millis(20);

/// The number of the last move to a state.
fn last_to(moves: &[(State, State, Cause)], state: State) -> Option<usize> {
    moves.iter().rposition(|(_, to, _)| *to == state)
}

/// A stop comes while a run fails, between two runs, or while the next one begins.
async fn stop_against_restart(race: Arc<Race>) -> &'static str {
    let wait = [Duration::ZERO, MS, MS * 4][usize::try_from(race.choose(3)).unwrap()];
    let policy = quiet(|policy| policy.restart(restarts_after(wait)));
    let worker = race.worker(|builder| builder.policy(policy).max_active(1)).await;
    let session = race
        .session(&worker, |start| start.input(Turn { takes: AHEAD, then: Then::FailOnce }))
        .await;
    // On threads its place may have been looked at just then.
    race.until(&session, |status| status.state() != State::Pending).await;
    race.about(AHEAD).await;
    let ticket = soon(session.stop()).await.unwrap();
    let alive = ticket.run().is_some();
    let report = soon(ticket.ended()).await.unwrap();
    assert_eq!(report.run, ticket.run());

    let status = session.status().await.unwrap();
    assert_eq!(status.state(), State::Stopped, "a stop that was accepted beats a restart");
    let moves = moves(&session).await;
    let stopping = last_to(&moves, State::Stopping).expect("it was active");
    assert_eq!(
        moves[stopping..],
        [
            (State::Active, State::Stopping, Cause::Asked),
            (State::Stopping, State::Stopped, Cause::RunGone)
        ],
        "nothing comes between, and nothing after"
    );
    let runs = status.record().runs.count;
    let ends = moves.iter().filter(|(_, to, _)| *to == State::Active).count();
    assert_eq!(runs as usize, ends, "each run began once");
    // What the input left is durable, or it still waits.
    let consumed = status.record().inbox.consumed;
    let state = session.snapshot().await.unwrap().state;
    assert_eq!(state, (1..=consumed).collect::<Vec<_>>());
    assert_eq!(race.racer.alive(), 0);
    // Its place is free again.
    drop(soon(worker.slot()).await.unwrap());
    match (runs, alive) {
        (1, true) => "before",
        (1, false) => "between",
        _ => "after",
    }
}

#[test]
fn a_stop_against_a_restart() {
    on_paused_time(&["before", "between", "after"], stop_against_restart);
}

#[test]
fn a_stop_against_a_restart_on_threads() {
    on_threads(stop_against_restart);
}

/// A stop comes while the workload completes by itself.
async fn stop_against_completion(race: Arc<Race>) -> &'static str {
    let worker = race.worker(|builder| builder.policy(quiet(|policy| policy))).await;
    let session = race
        .session(&worker, |start| start.input(Turn { takes: AHEAD, then: Then::Complete }))
        .await;
    race.about(AHEAD).await;
    let stop = soon(session.stop()).await;
    let outcome = match stop {
        Ok(ticket) => {
            assert!(ticket.run().is_some(), "its run was alive");
            soon(ticket.ended()).await.unwrap();
            let moves = moves(&session).await;
            assert_eq!(last_to(&moves, State::Completed), None, "a stop beats a completion");
            assert_eq!(session.status().await.unwrap().state(), State::Stopped);
            "stopped"
        }
        refused => {
            assert_eq!(refused_from(&refused), Some(State::Completed));
            assert_eq!(session.status().await.unwrap().state(), State::Completed);
            "completed"
        }
    };
    // The final state is kept in both cases. On threads the stop may come before the input.
    let consumed = session.status().await.unwrap().record().inbox.consumed;
    let state = session.snapshot().await.unwrap().state;
    assert_eq!(state, (1..=consumed).collect::<Vec<_>>());
    assert!(consumed == 1 || race.real && outcome == "stopped");
    outcome
}

#[test]
fn a_stop_against_a_completion() {
    on_paused_time(&["stopped", "completed"], stop_against_completion);
}

#[test]
fn a_stop_against_a_completion_on_threads() {
    on_threads(stop_against_completion);
}

/// One caller completes a session, another stops it and a third pauses it: the answers fit into
/// one order, and that order is the one of the log.
async fn verbs_against_one_another(race: Arc<Race>) -> &'static str {
    let worker = race.worker(|builder| builder.policy(quiet(|p| p.stop_grace(AHEAD)))).await;
    let session = race.session(&worker, |start| start.input(turn(AHEAD * 1000))).await;
    race.at_work(&session).await;
    let complete = async {
        race.dawdle().await;
        session.complete().await
    };
    let stop = async {
        race.dawdle().await;
        session.stop().await
    };
    let pause = async {
        race.dawdle().await;
        session.pause().await
    };
    let (complete, stop, pause) = soon(async { tokio::join!(complete, stop, pause) }).await;
    if let Ok(ticket) = &stop {
        soon(ticket.ended()).await.unwrap();
    }
    let state = session.status().await.unwrap().state();
    let moves = moves(&session).await;
    let outcome = match (&complete, &stop) {
        (Ok(()), Ok(_)) => {
            // The run was gone before the completion came.
            assert_eq!(moves.last().unwrap().0, State::Stopped);
            assert_eq!(state, State::Completed);
            "both"
        }
        (Ok(()), refused) => {
            assert_eq!(refused_from(refused), Some(State::Completed));
            assert_eq!(last_to(&moves, State::Stopping), None);
            assert_eq!(state, State::Completed);
            "completed"
        }
        (refused, Ok(_)) => {
            assert_eq!(refused_from(refused), Some(State::Stopping));
            assert_eq!(last_to(&moves, State::Completed), None);
            assert_eq!(state, State::Stopped);
            "stopped"
        }
        neither => panic!("one of them wins: {neither:?}"),
    };
    match &pause {
        // The run is at work: nobody can wait for it to rest while others end the session.
        Ok(paused) => panic!("it was never paused: {paused:?}, {moves:?}"),
        Err(error) => assert!(
            super::superseded_by(&pause).is_some() || refused_from(&pause).is_some(),
            "{error}"
        ),
    }
    outcome
}

#[test]
fn verbs_that_end_a_session_against_one_another() {
    on_paused_time(&["completed", "stopped"], verbs_against_one_another);
}

#[test]
fn verbs_that_end_a_session_against_one_another_on_threads() {
    on_threads(verbs_against_one_another);
}
