//! Which of two verbs wins, however they meet.

use sessionkeeper::{
    Activity, Cause, InvalidTransition, PauseCause, RunEnd, SessionError, SessionHandle, State,
};
use tokio::task::JoinHandle;

use super::{
    MINUTE, SECOND, consistent, ends, idle, in_hand, moves, policy, soon, state, status, until,
};
use crate::support::{Do, Scripted, Worker, drained};

type Handle = SessionHandle<Scripted>;

async fn busy_with(worker: &Worker, what: Do) -> Handle {
    let session = worker.session_with(|start| start.input(what)).await;
    in_hand(&session, 1).await;
    session
}

/// A verb that goes on by itself, and has been seen by whoever keeps the session.
async fn under_way<F>(session: &Handle, verb: impl FnOnce(Handle) -> F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let task = tokio::spawn(verb(session.clone()));
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    task
}

fn superseded<T: std::fmt::Debug>(answer: Result<T, SessionError>, winner: &str) {
    match answer {
        Err(SessionError::Superseded { by, .. }) => assert_eq!(by, winner),
        other => panic!("{other:?}"),
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, SessionError>, was: State, asked: State) {
    match answer {
        Err(SessionError::Refused(InvalidTransition { from, to, .. })) => {
            assert_eq!((from, to), (was, asked));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_wins_over_a_late_completion() {
    let worker = Worker::start().await;
    let session = busy_with(&worker, Do::CompleteAfter(SECOND * 3)).await;
    let ticket = session.stop().await.unwrap();
    let report = ticket.ended().await.unwrap();
    assert_eq!(state(&session).await, State::Stopped);
    assert_eq!(report.end, Some(RunEnd::Completed));
    let snapshot = session.snapshot().await.unwrap();
    assert_eq!(snapshot.state.seen, [1], "its final snapshot is kept");
    assert_eq!(report.snapshot, Some(snapshot.at));
    consistent(&session).await;
}

/// They reach the store in one commit: the one that was asked for first wins.
#[tokio::test(start_paused = true)]
async fn of_a_stop_and_a_completion_in_one_commit_the_first_wins() {
    for stop_first in [true, false] {
        let worker = Worker::start().await;
        let session = busy_with(&worker, Do::CompleteAfter(SECOND * 3)).await;
        let stall = worker.store.stall();
        let _writing =
            under_way(
                &session,
                |s| async move { s.set_metadata(sessionkeeper::Metadata::new()).await },
            )
            .await;
        if !stop_first {
            tokio::time::sleep(SECOND * 4).await;
        }
        let stopping = under_way(&session, |s| async move { s.stop().await }).await;
        tokio::time::sleep(SECOND * 4).await;
        drop(stall);
        let answer = soon(stopping).await.unwrap();
        if stop_first {
            let report = answer.unwrap().ended().await.unwrap();
            assert_eq!(report.snapshot.unwrap().consumed, 1);
            assert_eq!(state(&session).await, State::Stopped);
        } else {
            refused(answer, State::Completed, State::Stopped);
        }
        consistent(&session).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_wins_over_a_stop() {
    let worker = Worker::start().await;
    let session = busy_with(&worker, Do::Deaf(SECOND * 8)).await;
    let ticket = session.stop().await.unwrap();
    refused(session.pause().await, State::Stopping, State::Paused);
    refused(session.resume().await, State::Stopping, State::Active);
    refused(session.complete().await, State::Stopping, State::Completed);
    refused(session.fail("x").await, State::Stopping, State::Failed);
    ticket.ended().await.unwrap();
    refused(session.pause().await, State::Stopped, State::Paused);
    refused(session.fail("x").await, State::Stopped, State::Failed);
    assert_eq!(state(&session).await, State::Stopped);
    consistent(&session).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_or_an_end_wins_over_a_pause_under_way() {
    for winner in ["stop", "complete", "fail"] {
        let worker = Worker::start().await;
        let session = busy_with(&worker, Do::Deaf(SECOND * 3)).await;
        let pausing = under_way(&session, |s| async move { s.pause().await }).await;
        let expected = match winner {
            "stop" => {
                session.stop().await.unwrap().ended().await.unwrap();
                State::Stopped
            }
            "complete" => {
                session.complete().await.unwrap();
                State::Completed
            }
            _ => {
                session.fail("enough").await.unwrap();
                State::Failed
            }
        };
        superseded(soon(pausing).await.unwrap(), winner);
        tokio::time::sleep(MINUTE).await;
        assert_eq!(state(&session).await, expected);
        consistent(&session).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_completion_beats_a_pause() {
    let worker = Worker::start().await;
    let session = busy_with(&worker, Do::CompleteAfter(SECOND * 3)).await;
    let answer = session.pause().await;
    refused(answer, State::Completed, State::Paused);
    assert_eq!(state(&session).await, State::Completed);
    assert_eq!(session.snapshot().await.unwrap().state.seen, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_later_resume_wins_over_a_pause() {
    let worker = Worker::start().await;
    let session = busy_with(&worker, Do::Deaf(SECOND * 3)).await;
    let pausing = under_way(&session, |s| async move { s.pause().await }).await;
    assert_eq!(status(&session).await.activity(), &Activity::Pausing);
    session.resume().await.unwrap();
    superseded(pausing.await.unwrap(), "resume");
    assert_eq!(status(&session).await.activity(), &Activity::Running);
    session.send(Do::Add(1)).await.unwrap();
    assert_eq!(drained(&session).await.seen, [1, 2]);
    assert_eq!(status(&session).await.record().runs.count, 1, "it went on");
}

/// The run has yielded and its end is on the way to the store: too late to take the pause back,
/// but the resume is not lost.
#[tokio::test(start_paused = true)]
async fn a_resume_wins_over_a_pause_whose_commit_is_under_way() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    idle(&session).await;
    let stall = worker.store.stall();
    let pausing = under_way(&session, |s| async move { s.pause().await }).await;
    let resuming = under_way(&session, |s| async move { s.resume().await }).await;
    tokio::time::sleep(SECOND).await;
    drop(stall);
    soon(resuming).await.unwrap().unwrap();
    let paused = soon(pausing).await.unwrap();
    assert!(matches!(paused, Ok(_) | Err(SessionError::Superseded { .. })), "{paused:?}");
    session.send(Do::Add(1)).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(state(&session).await, State::Active, "the later verb won");
    assert_eq!(drained(&session).await.sum, 1);
    consistent(&session).await;
}

/// The run has failed and its end is on the way to the store: the pause is not lost.
#[tokio::test(start_paused = true)]
async fn a_pause_that_meets_a_failing_run_is_carried_out() {
    let worker = Worker::start().await;
    let session = busy_with(&worker, Do::FailAfter(SECOND)).await;
    let stall = worker.store.stall();
    tokio::time::sleep(SECOND * 2).await;
    let pausing = under_way(&session, |s| async move { s.pause().await }).await;
    tokio::time::sleep(SECOND).await;
    drop(stall);
    soon(pausing).await.unwrap().unwrap();
    let after = status(&session).await;
    assert_eq!(after.pause_cause(), Some(PauseCause::Asked));
    assert_eq!(after.record().failures.in_a_row, 1, "it failed before");
    consistent(&session).await;
}

/// A silent run is on its way out when the pause comes: the pause is not lost.
#[tokio::test(start_paused = true)]
async fn a_pause_that_meets_a_silent_run_is_carried_out() {
    let policy = policy(|policy| {
        policy.heartbeat_timeout(SECOND).on_silence(sessionkeeper::OnSilence::Restart)
    });
    let worker = Worker::with_policy(policy).await;
    let session = busy_with(&worker, Do::Silent(MINUTE)).await;
    let stall = worker.store.stall();
    tokio::time::sleep(SECOND * 2).await;
    let pausing = under_way(&session, |s| async move { s.pause().await }).await;
    drop(stall);
    soon(pausing).await.unwrap().unwrap();
    let after = status(&session).await;
    assert_eq!(after.pause_cause(), Some(PauseCause::Asked));
    consistent(&session).await;
}

/// A caller hears of a failing store at once, whatever the verb; the request takes effect later.
#[tokio::test(start_paused = true)]
async fn a_pause_says_that_the_store_fails_and_takes_effect_when_it_heals() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    idle(&session).await;
    worker.store.fail(sessionkeeper::store::Fault::NothingDone);
    let answer = tokio::time::timeout(MINUTE, session.pause()).await.unwrap();
    assert!(matches!(answer, Err(SessionError::Store { under_way: true, .. })), "{answer:?}");
    assert_eq!(status(&session).await.activity(), &Activity::Pausing);
    worker.store.mend();
    until(&session, |status| status.state() == State::Paused).await;
    consistent(&session).await;
}

#[tokio::test(start_paused = true)]
async fn a_later_pause_wins_over_a_resume_that_waits_for_its_place() {
    let verbs: [(&str, State); 4] = [
        ("pause", State::Paused),
        ("stop", State::Stopped),
        ("complete", State::Completed),
        ("fail", State::Failed),
    ];
    for (verb, expected) in verbs {
        let worker = Worker::start_with(|builder| builder.max_active(1)).await;
        let session = worker.session().await;
        session.pause().await.unwrap();
        let holder = worker.session().await;
        let resuming = under_way(&session, |s| async move { s.resume().await }).await;
        tokio::time::sleep(SECOND).await;
        assert!(!resuming.is_finished());
        match verb {
            "pause" => drop(session.pause().await.unwrap()),
            "stop" => drop(session.stop().await.unwrap()),
            "complete" => session.complete().await.unwrap(),
            _ => session.fail("enough").await.unwrap(),
        }
        superseded(soon(resuming).await.unwrap(), verb);
        holder.complete().await.unwrap();
        tokio::time::sleep(MINUTE).await;
        assert_eq!(state(&session).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn asking_for_what_already_holds_succeeds_and_changes_nothing() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    idle(&session).await;
    let version = |session: Handle| async move { status(&session).await.record().version };
    let before = version(session.clone()).await;
    session.resume().await.unwrap();
    assert_eq!(version(session.clone()).await, before, "resume of active");
    session.pause().await.unwrap();
    let before = version(session.clone()).await;
    session.pause().await.unwrap();
    assert_eq!(version(session.clone()).await, before, "pause of paused");
    session.stop().await.unwrap().ended().await.unwrap();
    let before = version(session.clone()).await;
    session.stop().await.unwrap().ended().await.unwrap();
    session.kill().await.unwrap().ended().await.unwrap();
    assert_eq!(version(session.clone()).await, before, "stop of stopped");
    session.complete().await.unwrap();
    let before = version(session.clone()).await;
    session.complete().await.unwrap();
    assert_eq!(version(session.clone()).await, before, "complete of completed");
    refused(session.fail("x").await, State::Completed, State::Failed);
    refused(session.stop().await, State::Completed, State::Stopped);
    refused(session.resume().await, State::Completed, State::Active);
    refused(session.pause().await, State::Completed, State::Paused);
    let failed = worker.session().await;
    failed.fail("first").await.unwrap();
    until(&failed, |status| status.last_run().is_some()).await;
    failed.fail("second").await.unwrap();
    let last = status(&failed).await.record().history.back().unwrap().clone();
    assert_eq!(last.reason.as_deref(), Some("first"));
}

/// The end of a live session is asked for twice, before its run is gone.
#[tokio::test(start_paused = true)]
async fn an_end_may_be_asked_for_again_before_the_run_is_gone() {
    let worker = Worker::start().await;
    let session = busy_with(&worker, Do::Silent(MINUTE)).await;
    let ends_at_once = [session.complete(), session.complete(), session.complete()];
    for ended in futures::future::join_all(ends_at_once).await {
        ended.unwrap();
    }
    until(&session, |status| status.last_run().is_some()).await;
    let completed = (State::Active, State::Completed, Cause::Asked);
    assert_eq!(moves(&session).await[1..], [completed]);
    assert_eq!(ends(&session).await, [RunEnd::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn a_verb_whose_future_is_dropped_is_carried_out() {
    use futures::FutureExt;
    for verb in ["pause", "stop", "complete", "fail", "send"] {
        let worker = Worker::start().await;
        let session = worker.session().await;
        idle(&session).await;
        let polled_once = match verb {
            "pause" => session.pause().now_or_never().is_none(),
            "stop" => session.stop().now_or_never().is_none(),
            "complete" => session.complete().now_or_never().is_none(),
            "fail" => session.fail("enough").now_or_never().is_none(),
            _ => session.send(Do::Add(1)).now_or_never().is_none(),
        };
        assert!(polled_once, "{verb} was not done at once");
        tokio::time::sleep(SECOND).await;
        let expected = match verb {
            "pause" => State::Paused,
            "stop" => State::Stopped,
            "complete" => State::Completed,
            "fail" => State::Failed,
            _ => State::Active,
        };
        assert_eq!(state(&session).await, expected, "{verb}");
        if verb == "send" {
            assert_eq!(drained(&session).await.sum, 1);
        }
        if verb == "pause" {
            assert!(session.resume().now_or_never().is_none());
            tokio::time::sleep(SECOND).await;
            assert_eq!(state(&session).await, State::Active);
        }
    }
}
