//! A rollover against what else would end or move a session.

use std::{sync::Arc, time::Duration};

use sessionkeeper::{Cause, Rollover, RolloverError, SessionError, State};

use super::{MS, Race, moves, on_paused_time, on_threads, quiet, racer::Racer, soon, turn};

/// How far away the critical moment is.
const AHEAD: Duration = Duration::from_millis(20);

fn fresh() -> Rollover<Racer> {
    Rollover::new(Vec::new())
}

/// A rollover waits for the end of a turn, and a stop comes about when that ends.
async fn stop_against_rollover(race: Arc<Race>) -> &'static str {
    let worker = race.worker(|builder| builder.policy(quiet(|p| p)).max_active(1)).await;
    let session = race.session(&worker, |start| start.input(turn(AHEAD))).await;
    session.send(turn(MS)).await.unwrap();
    race.until(&session, |status| status.state() != State::Pending).await;
    let rolling = async {
        if race.choose(2) == 0 {
            race.about(AHEAD).await;
        }
        session.rollover(fresh()).await
    };
    let stopping = async {
        race.about(AHEAD).await;
        session.stop().await
    };
    let (rolled, stopped) = soon(async { tokio::join!(rolling, stopping) }).await;
    let outcome = match (rolled, stopped) {
        (Ok(next), Err(SessionError::RolledOver { session: of, successor })) => {
            assert_eq!((of, successor), (session.id(), next.id()));
            let moves = moves(&session).await;
            assert_eq!(moves.last().unwrap().2, Cause::RolledOver);
            let next = next.into_handle();
            race.until(&next, |status| status.record().inbox.waiting() == 0).await;
            soon(soon(next.stop()).await.unwrap().ended()).await.unwrap();
            let done = next.snapshot().await.unwrap().state.len()
                + session.snapshot().await.unwrap().state.len();
            assert_eq!(done, 2, "each input took effect once");
            "rolled over"
        }
        (Err(RolloverError::Refused { session: of, state }), Ok(ticket)) => {
            assert_eq!(of, session.id());
            assert!(matches!(state, State::Stopping | State::Stopped), "{state}");
            soon(ticket.ended()).await.unwrap();
            let status = session.status().await.unwrap();
            assert_eq!(status.state(), State::Stopped);
            assert_eq!(status.record().links().transitioned_to, None);
            "stopped"
        }
        other => panic!("one of them wins: {other:?}"),
    };
    race.until_none_is_alive().await;
    // The one place is free again.
    drop(soon(worker.slot()).await.unwrap());
    outcome
}

#[test]
fn a_stop_against_a_rollover() {
    on_paused_time(&["rolled over", "stopped"], stop_against_rollover);
}

#[test]
fn a_stop_against_a_rollover_on_threads() {
    on_threads(stop_against_rollover);
}

/// Inputs, pauses, resumes and rollovers all at once: there is one chain, and each input took effect once in it.
async fn all_against_a_chain(race: Arc<Race>) -> &'static str {
    let worker = race.worker(|builder| builder.policy(quiet(|p| p)).max_active(1)).await;
    let first = race.session(&worker, |start| start).await;
    let following = first.following();
    let sending = async {
        for _ in 0..12 {
            race.dawdle().await;
            following.send(turn(Duration::ZERO)).await.unwrap();
        }
    };
    let disturbing = async {
        for _ in 0..6 {
            race.dawdle().await;
            let latest = first.latest().await.unwrap();
            // Whoever was faster has won.
            let _ = latest.pause().await;
            let _ = latest.resume().await;
        }
    };
    let rolling = async {
        let mut made = vec![first.clone()];
        while made.len() < 5 {
            race.dawdle().await;
            let last = made.last().unwrap();
            made.push(last.rollover(fresh()).await.unwrap().into_handle());
        }
        made
    };
    let ((), (), made) = soon(async { tokio::join!(sending, disturbing, rolling) }).await;
    let last = made.last().unwrap();
    assert_eq!(first.latest().await.unwrap().id(), last.id());
    let _ = soon(last.resume()).await;
    race.until(last, |status| status.record().inbox.waiting() == 0).await;
    let mut done = 0;
    for session in &made {
        done += session.snapshot().await.unwrap().state.len();
        if session.id() != last.id() {
            assert_eq!(session.status().await.unwrap().state(), State::Completed);
        }
    }
    assert_eq!(done, 12, "each input took effect once");
    "whole"
}

#[test]
fn all_verbs_against_a_growing_chain() {
    on_paused_time(&["whole"], all_against_a_chain);
}

#[test]
fn all_verbs_against_a_growing_chain_on_threads() {
    on_threads(all_against_a_chain);
}
