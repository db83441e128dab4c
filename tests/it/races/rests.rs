//! What wakes a session against what brings it to rest.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use sessionkeeper::{Cause, OnIdle, OnSilence, PauseCause, SessionError, State};

use super::{
    MS, Race, SECOND, moves, on_paused_time, on_threads, quiet, refused_from, restarts_after, soon,
    superseded_by, turn,
};

const LIMIT: Duration = Duration::from_millis(20);

/// A pause comes when the silence of a run has lasted for as long as it may.
async fn pause_against_expiry(race: Arc<Race>) -> &'static str {
    let policy = quiet(|policy| policy.heartbeat_timeout(LIMIT).pause_grace(MS * 30));
    let worker = race.worker(|builder| builder.policy(policy)).await;
    let session = race.session(&worker, |start| start.input(turn(SECOND * 30))).await;
    race.about(LIMIT).await;
    let pause = soon(session.pause()).await;
    let status = session.status().await.unwrap();
    match &pause {
        Ok(_) => {
            assert_eq!(status.pause_cause(), Some(PauseCause::Asked), "{pause:?}");
            "paused"
        }
        refused => {
            assert_eq!(refused_from(refused), Some(State::Expired), "{refused:?}");
            race.until(&session, |status| status.last_run().is_some()).await;
            let moves = moves(&session).await;
            assert_eq!(moves.last(), Some(&(State::Active, State::Expired, Cause::Silence)));
            "expired"
        }
    }
}

#[test]
fn a_pause_against_an_expiry() {
    on_paused_time(&["paused", "expired"], pause_against_expiry);
}

#[test]
fn a_pause_against_an_expiry_on_threads() {
    on_threads(pause_against_expiry);
}

/// The same where silence leads to a restart: the pause is served by one run or by the next.
async fn pause_against_silence(race: Arc<Race>) -> &'static str {
    let wait = [Duration::ZERO, MS * 3][usize::try_from(race.choose(2)).unwrap()];
    let policy = quiet(|policy| {
        let policy = policy.heartbeat_timeout(LIMIT).on_silence(OnSilence::Restart);
        policy.pause_grace(MS * 5).restart(restarts_after(wait))
    });
    let worker = race.worker(|builder| builder.policy(policy)).await;
    let session = race.session(&worker, |start| start.input(turn(SECOND * 30))).await;
    race.about(LIMIT).await;
    soon(session.pause()).await.unwrap();
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Asked), "a pause outlasts a restart");
    assert_eq!(race.racer.alive(), 0);
    let silent = status.record().failures.recent.len();
    let runs = status.record().runs.count as usize;
    assert!(runs == silent || runs == silent + 1, "{runs} runs, {silent} of them silent");
    if silent == 0 { "before" } else { "after" }
}

#[test]
fn a_pause_against_silence() {
    on_paused_time(&["before", "after"], pause_against_silence);
}

#[test]
fn a_pause_against_silence_on_threads() {
    on_threads(pause_against_silence);
}

/// A resume comes when a session has been paused for as long as it may.
async fn resume_against_expiry(race: Arc<Race>) -> &'static str {
    let policy = quiet(|policy| policy.paused_timeout(LIMIT));
    let worker = race.worker(|builder| builder.policy(policy)).await;
    let session = race.session(&worker, |start| start).await;
    race.idle(&session).await;
    soon(session.pause()).await.unwrap();
    race.about(LIMIT).await;
    let resume = soon(session.resume()).await;
    let outcome = match &resume {
        Ok(()) => "resumed",
        refused => {
            assert_eq!(refused_from(refused), Some(State::Expired), "{refused:?}");
            "expired"
        }
    };
    // Long after its limit it is still what the caller was told.
    if !race.real {
        tokio::time::sleep(LIMIT * 10).await;
    }
    let state = session.status().await.unwrap().state();
    assert_eq!(state, if resume.is_ok() { State::Active } else { State::Expired });
    outcome
}

#[test]
fn a_resume_against_an_expiry() {
    on_paused_time(&["resumed", "expired"], resume_against_expiry);
}

#[test]
fn a_resume_against_an_expiry_on_threads() {
    on_threads(resume_against_expiry);
}

/// Inputs come when a run has rested for as long as it may: none of them waits for ever.
async fn send_against_idle_pause(race: Arc<Race>) -> &'static str {
    let policy = quiet(|policy| policy.idle_timeout(LIMIT));
    let worker = race.worker(|builder| builder.policy(policy).max_active(1)).await;
    let session = race.session(&worker, |start| start).await;
    race.idle(&session).await;
    race.about(LIMIT).await;
    for _ in 0..=race.choose(2) {
        soon(session.send(turn(Duration::ZERO))).await.unwrap();
        race.dawdle().await;
    }
    race.until(&session, |status| status.record().inbox.waiting() == 0).await;
    let accepted = session.status().await.unwrap().record().inbox.accepted;
    let state = session.snapshot().await.unwrap().state;
    assert_eq!(state, (1..=accepted).collect::<Vec<_>>(), "each had its effect once");
    let moves = moves(&session).await;
    let wakes = moves.iter().filter(|(_, _, cause)| *cause == Cause::InputArrived).count();
    let pauses = moves.iter().filter(|(_, _, cause)| *cause == Cause::IdleTimeout).count();
    assert!(wakes == pauses || wakes + 1 == pauses, "{moves:?}");
    if wakes == 0 { "in time" } else { "woken" }
}

#[test]
fn a_send_against_an_idle_pause() {
    on_paused_time(&["in time", "woken"], send_against_idle_pause);
}

#[test]
fn a_send_against_an_idle_pause_on_threads() {
    on_threads(send_against_idle_pause);
}

/// The same where idleness ends the session: an input is refused, or it is worked off.
async fn send_against_idle_expiry(race: Arc<Race>) -> &'static str {
    let policy = quiet(|policy| policy.idle_timeout(LIMIT).on_idle(OnIdle::Expire));
    let worker = race.worker(|builder| builder.policy(policy)).await;
    let session = race.session(&worker, |start| start).await;
    race.idle(&session).await;
    race.about(LIMIT).await;
    match soon(session.send(turn(Duration::ZERO))).await {
        Ok(_) => {
            race.until(&session, |status| status.record().inbox.waiting() == 0).await;
            assert_eq!(session.snapshot().await.unwrap().state, [1]);
            "in time"
        }
        Err(error) => {
            assert!(error.to_string().contains("expired"), "{error}");
            assert_eq!(session.status().await.unwrap().state(), State::Expired);
            assert_eq!(session.status().await.unwrap().record().inbox.accepted, 0);
            "expired"
        }
    }
}

#[test]
fn a_send_against_an_idle_expiry() {
    on_paused_time(&["in time", "expired"], send_against_idle_expiry);
}

#[test]
fn a_send_against_an_idle_expiry_on_threads() {
    on_threads(send_against_idle_expiry);
}

/// Fifty callers resume one session at once: it gets one run, and all of them hear so.
async fn fifty_resumes(race: Arc<Race>) -> &'static str {
    let worker = race.worker(|builder| builder.policy(quiet(|p| p)).max_active(1)).await;
    let session = race.session(&worker, |start| start).await;
    race.idle(&session).await;
    let stopped = race.choose(2) == 0;
    if stopped {
        soon(async { session.stop().await.unwrap().ended().await.unwrap() }).await;
    } else {
        soon(session.pause()).await.unwrap();
    }
    let holder = race.session(&worker, |start| start).await;
    let waits = race.choose(2) == 0;
    if !waits {
        soon(holder.complete()).await.unwrap();
    }
    let resumes = (0..50).map(|_| {
        let (race, session) = (Arc::clone(&race), session.clone());
        tokio::spawn(async move {
            race.dawdle().await;
            session.resume().await
        })
    });
    let resumes: Vec<_> = resumes.collect();
    race.dawdle().await;
    if waits {
        soon(holder.complete()).await.unwrap();
    }
    for resume in soon(join_all(resumes)).await {
        resume.unwrap().unwrap();
    }
    let status = session.status().await.unwrap();
    let told = (status.state(), status.record().runs.count);
    assert_eq!(told, (State::Active, 2), "{:#?}", moves(&session).await);
    race.idle(&session).await;
    assert_eq!(race.racer.alive(), 1);
    let from = if stopped { State::Stopped } else { State::Paused };
    let moves = moves(&session).await;
    assert_eq!(moves.last(), Some(&(from, State::Active, Cause::Asked)), "one move for all");
    if waits { "after waiting" } else { "at once" }
}

#[test]
fn fifty_resumes_at_once() {
    on_paused_time(&["after waiting", "at once"], fifty_resumes);
}

#[test]
fn fifty_resumes_at_once_on_threads() {
    on_threads(fifty_resumes);
}

/// A resume waits for a place; the place becomes free while somebody says pause, and pause came
/// later.
async fn pause_against_a_place(race: Arc<Race>) -> &'static str {
    let worker = race.worker(|builder| builder.policy(quiet(|p| p)).max_active(1)).await;
    let session = race.session(&worker, |start| start).await;
    race.idle(&session).await;
    soon(session.pause()).await.unwrap();
    let holder = race.session(&worker, |start| start).await;
    race.idle(&holder).await;
    let resume = tokio::spawn({
        let session = session.clone();
        async move { session.resume().await }
    });
    // The resume is asked for before the pause.
    for _ in 0..30 {
        tokio::task::yield_now().await;
    }
    if !race.real {
        tokio::time::sleep(MS * 20).await;
    }
    let free = async {
        race.dawdle().await;
        holder.complete().await.unwrap();
    };
    let pause = async {
        race.dawdle().await;
        session.pause().await.unwrap();
    };
    soon(async { tokio::join!(free, pause) }).await;
    let resume = soon(resume).await.unwrap();
    let outcome = match &resume {
        Ok(()) => "resumed",
        Err(SessionError::Superseded { .. }) => {
            assert_eq!(superseded_by(&resume), Some("pause"));
            "superseded"
        }
        Err(error) => panic!("{error}"),
    };
    if race.real {
        // There the pause may have come before the resume, which then wins.
        soon(session.pause()).await.unwrap();
    } else {
        tokio::time::sleep(SECOND).await;
    }
    let cause = session.status().await.unwrap().pause_cause();
    assert_eq!(cause, Some(PauseCause::Asked), "the later wins");
    race.until_none_is_alive().await;
    drop(soon(worker.slot()).await.unwrap());
    outcome
}

#[test]
fn a_pause_against_a_place_for_a_resume() {
    on_paused_time(&["resumed", "superseded"], pause_against_a_place);
}

#[test]
fn a_pause_against_a_place_for_a_resume_on_threads() {
    on_threads(pause_against_a_place);
}
