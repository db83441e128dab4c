//! Between two runs: a session waits for its restart, and every verb acts at once.

use sessionkeeper::{Activity, State};

use super::{MINUTE, SECOND, consistent, in_hand, state, status, until};
use crate::support::{Do, Worker, drained};

/// Between two runs nothing is alive, so every verb acts at once, from the last checkpoint.
#[tokio::test(start_paused = true)]
async fn between_two_runs_every_verb_acts_at_once() {
    for verb in ["pause", "stop", "complete", "fail", "shutdown"] {
        let worker = Worker::start().await;
        let session = worker.session_with(|start| start.input(Do::Add(7))).await;
        drained(&session).await;
        session.send(Do::FailAndRetryAfter(MINUTE * 60)).await.unwrap();
        let waiting =
            until(&session, |status| matches!(status.activity(), Activity::Restarting { .. }))
                .await;
        assert_eq!(waiting.state(), State::Active);
        session.send(Do::Add(1)).await.unwrap();
        let began = tokio::time::Instant::now();
        let expected = match verb {
            "pause" => {
                let paused = session.pause().await.unwrap();
                assert_eq!(paused.snapshot.unwrap().consumed, 1);
                State::Paused
            }
            "stop" => {
                let report = session.stop().await.unwrap().ended().await.unwrap();
                assert_eq!(report.run, None);
                State::Stopped
            }
            "complete" => {
                session.complete().await.unwrap();
                State::Completed
            }
            "fail" => {
                session.fail("enough").await.unwrap();
                State::Failed
            }
            _ => {
                worker.supervisor.shutdown(MINUTE).await;
                State::Paused
            }
        };
        assert_eq!(began.elapsed().as_millis(), 0, "{verb}");
        let worker = worker.crash_and_restart().await;
        let session = worker.again(&session).await;
        let after = if verb == "shutdown" { State::Active } else { expected };
        assert_eq!(state(&session).await, after, "{verb}");
        tokio::time::sleep(MINUTE * 120).await;
        let ended = matches!(expected, State::Completed | State::Failed);
        if !ended {
            session.resume().await.unwrap();
            assert_eq!(drained(&session).await.sum, 8, "{verb}");
        }
        consistent(&session).await;
    }
}

/// The backoff is durable, and what it waits for is shown.
#[tokio::test(start_paused = true)]
async fn a_restart_shows_its_attempt_and_when_it_is_due() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::FailAndRetryAfter(MINUTE))).await;
    in_hand(&session, 1).await;
    let waiting = until(&session, |status| status.last_run().is_some()).await;
    let Activity::Restarting { attempt: 1, due } = *waiting.activity() else {
        panic!("{waiting:?}");
    };
    session.resume().await.unwrap();
    assert_eq!(status(&session).await.record().runs.count, 1, "not sooner");
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    let again = status(&session).await;
    assert_eq!(again.activity(), &Activity::Restarting { attempt: 1, due });
    tokio::time::sleep(SECOND * 50).await;
    assert_eq!(status(&session).await.record().runs.count, 1, "not sooner");
    tokio::time::sleep(SECOND * 11).await;
    let after = status(&session).await;
    assert_eq!((after.record().runs.count, after.record().runs.restarts), (2, 1));
}

/// What happens to a session while it waits for its next run adds nothing that waits beside it.
#[tokio::test(start_paused = true)]
async fn a_session_between_two_runs_has_one_timer_and_takes_it_along() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let worker = Worker::start().await;
    let session =
        worker.session_with(|start| start.input(Do::FailAndRetryAfter(MINUTE * 60))).await;
    until(&session, |status| status.last_run().is_some()).await;
    tokio::time::sleep(SECOND).await;
    let waiting = tasks();
    for _ in 0..20 {
        session.send(Do::Add(1)).await.unwrap();
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(tasks(), waiting);
    session.pause().await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(tasks(), waiting - 1);
    session.resume().await.unwrap();
    assert_eq!(drained(&session).await.sum, 20);
    consistent(&session).await;
}
