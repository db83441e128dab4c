//! The end of a worker against what goes on in it.

use std::{sync::Arc, time::Duration};

use sessionkeeper::{
    PauseCause, SendError, SessionError, SessionHandle, ShutdownOutcome, ShutdownReport, State,
    Supervisor,
};

use super::{
    MS, Race, on_paused_time, on_threads, quiet, racer::Racer, racer::Then, racer::Turn,
    restarts_after, soon, turn,
};

const BUDGET: Duration = Duration::from_millis(500);

/// Five sessions, each in another situation.
async fn five(race: &Race, worker: &Supervisor) -> Vec<SessionHandle<Racer>> {
    let fails = Turn { takes: Duration::ZERO, then: Then::FailOnce };
    let sessions = [
        race.session(worker, |start| start).await,
        race.session(worker, |start| start.input(turn(MS * 5))).await,
        race.session(worker, |start| start.input(fails)).await,
        race.session(worker, |start| start.input(turn(Duration::ZERO))).await,
        race.session(worker, |start| start).await,
    ];
    soon(sessions[4].pause()).await.unwrap();
    sessions.into()
}

fn policy() -> sessionkeeper::Policy {
    quiet(|policy| policy.restart(restarts_after(MS * 20)))
}

/// Each session has at most one line, and those that came to rest are paused.
fn check_report(report: &ShutdownReport) {
    let mut lines: Vec<_> = report.lines.iter().map(|line| line.session).collect();
    lines.dedup();
    assert_eq!(lines.len(), report.lines.len(), "one line for each session: {report}");
    for line in &report.lines {
        match &line.outcome {
            ShutdownOutcome::Rested { state, .. } => assert_eq!(*state, State::Paused, "{report}"),
            outcome => panic!("{outcome:?}: the budget is ample"),
        }
    }
}

/// The next worker takes everything up, and each input that was accepted has its effect once.
async fn check_next(race: &Race, sessions: &[SessionHandle<Racer>], accepted: &[u64]) {
    assert_eq!(race.racer.alive(), 0, "no run outlives its worker");
    let worker = race.worker(|builder| builder.policy(policy())).await;
    let report = soon(worker.recovered()).await.unwrap();
    assert!(report.failed.is_empty() && report.quarantined.is_empty(), "{report:?}");
    for (session, accepted) in sessions.iter().zip(accepted) {
        let session: SessionHandle<Racer> =
            worker.session(session.id()).await.unwrap().typed().unwrap();
        let status = session.status().await.unwrap();
        assert!(status.record().inbox.accepted >= *accepted, "what was acknowledged is there");
        assert_eq!(status.record().recoveries, 0, "a shutdown counts against nobody");
        if status.pause_cause() == Some(PauseCause::Asked) {
            soon(session.resume()).await.unwrap();
        }
        let status = race.until(&session, |status| status.record().inbox.waiting() == 0).await;
        let all: Vec<u64> = (1..=status.record().inbox.accepted).collect();
        assert_eq!(session.snapshot().await.unwrap().state, all, "each had its effect once");
    }
}

/// Two callers shut the worker down, while a third sends.
async fn double_shutdown(race: Arc<Race>) -> &'static str {
    let worker = race.worker(|builder| builder.policy(policy())).await;
    let sessions = five(&race, &worker).await;
    let shut_down = |budget: Duration| {
        let (race, worker) = (Arc::clone(&race), worker.clone());
        tokio::spawn(async move {
            for _ in 0..race.choose(10) {
                race.dawdle().await;
            }
            worker.shutdown(budget).await
        })
    };
    let (one, other) = (shut_down(BUDGET), shut_down(BUDGET * 2));
    let mut accepted = [0; 5];
    let mut late = false;
    for (session, accepted) in sessions.iter().zip(&mut accepted) {
        race.dawdle().await;
        match soon(session.send(turn(Duration::ZERO))).await {
            Ok(receipt) => *accepted = receipt.sequence,
            Err(SendError::Session(SessionError::ShuttingDown { .. })) => late = true,
            // The store was closed while the answer was on its way.
            Err(SendError::Session(SessionError::OutcomeUnknown { .. })) => late = true,
            Err(error) => panic!("{error}"),
        }
    }
    let (one, other) = (soon(one).await.unwrap(), soon(other).await.unwrap());
    assert!(Arc::ptr_eq(&one, &other), "both hear the same");
    assert!(one.took <= BUDGET * 2, "{one}");
    check_report(&one);
    assert!(matches!(sessions[0].pause().await, Err(SessionError::ShuttingDown { .. })));
    drop(worker);
    check_next(&race, &sessions, &accepted).await;
    if late { "refused" } else { "accepted" }
}

#[test]
fn a_double_shutdown() {
    on_paused_time(&["accepted", "refused"], double_shutdown);
}

#[test]
fn a_double_shutdown_on_threads() {
    on_threads(double_shutdown);
}

/// A worker is lost, and the next one is told to shut down while it recovers.
async fn shutdown_during_recovery(race: Arc<Race>) -> &'static str {
    let worker = race.worker(|builder| builder.policy(policy())).await;
    let sessions = five(&race, &worker).await;
    race.idle(&sessions[0]).await;
    drop(worker);
    race.until_none_is_alive().await;

    let worker = race.worker(|builder| builder.policy(policy()).resume_at_once(2)).await;
    race.about(MS * 6).await;
    let report = soon(worker.shutdown(BUDGET)).await;
    assert!(report.took <= BUDGET, "{report}");
    check_report(&report);
    let recovered = soon(worker.recovered()).await.is_ok();
    drop(worker);
    check_next_after_loss(&race, &sessions).await;
    if recovered { "recovered" } else { "recovering" }
}

/// As [`check_next`], where a worker was lost before.
async fn check_next_after_loss(race: &Race, sessions: &[SessionHandle<Racer>]) {
    assert_eq!(race.racer.alive(), 0, "no run outlives its worker");
    let worker = race.worker(|builder| builder.policy(policy())).await;
    let report = soon(worker.recovered()).await.unwrap();
    assert!(report.failed.is_empty() && report.quarantined.is_empty(), "{report:?}");
    for (index, session) in sessions.iter().enumerate() {
        let session: SessionHandle<Racer> =
            worker.session(session.id()).await.unwrap().typed().unwrap();
        let status = session.status().await.unwrap();
        assert!(status.record().recoveries <= 1, "one worker was lost");
        if index == 4 {
            assert_eq!(status.pause_cause(), Some(PauseCause::Asked));
            continue;
        }
        let status = race.until(&session, |status| status.record().inbox.waiting() == 0).await;
        let all: Vec<u64> = (1..=status.record().inbox.accepted).collect();
        assert_eq!(session.snapshot().await.unwrap().state, all, "each had its effect once");
    }
}

#[test]
fn a_shutdown_during_a_recovery() {
    on_paused_time(&["recovered", "recovering"], shutdown_during_recovery);
}

#[test]
fn a_shutdown_during_a_recovery_on_threads() {
    on_threads(shutdown_during_recovery);
}
