//! A run that rolls its own session over.

use super::*;
use sessionkeeper::testing::{Call, Interference};

/// The command's own turn is over with the old session, what comes after it is for the new one.
#[tokio::test(start_paused = true)]
async fn a_run_rolls_its_session_over() {
    let worker = Worker::start_with(|builder| builder.max_active(1)).await;
    let first = worker.session_with(|start| start.name(name("chat"))).await;
    first.pause().await.unwrap();
    for what in [Do::Add(1), Do::RollOver(10), Do::Add(2), Do::RollOver(20), Do::Add(3)] {
        first.send(what).await.unwrap();
    }
    first.resume().await.unwrap();
    until(&first, |status| status.state() == State::Completed).await;
    let last = async || first.latest().await.unwrap();
    soon(async {
        while chain(&worker, &last().await).await.len() < 3 {
            tokio::time::sleep(SECOND).await;
        }
    })
    .await;
    let chain = chain(&worker, &last().await).await;
    let mut sums = Vec::new();
    for id in chain {
        let session = worker.supervisor.session(id).await.unwrap().typed::<Scripted>().unwrap();
        if id == last().await.id() {
            drained(&session).await;
        }
        sums.push(session.snapshot().await.unwrap().state.sum);
        consistent(&session).await;
        let ended = ends(&session).await;
        if id != last().await.id() {
            assert_eq!(ended.last(), Some(&RunEnd::Completed));
            assert_eq!(status(&session).await.record().inbox.consumed, 2);
        }
    }
    assert_eq!(sums, [1, 12, 23]);
    assert_eq!(worker.workload.probe.most_live(), 1);
    let found = worker.supervisor.find(Key::Name(name("chat"))).await.unwrap().unwrap();
    assert_eq!(found.id(), last().await.id());
    sound(worker).await;
}

/// A stop that was accepted before beats it, as it beats a completion; a pause does not.
#[tokio::test(start_paused = true)]
async fn a_stop_beats_the_rollover_of_a_run_and_a_pause_does_not() {
    for verb in ["stop", "pause", "rollover"] {
        let worker = Worker::start().await;
        let session = worker.session().await;
        session.send(Do::Deaf(SECOND * 5)).await.unwrap();
        in_hand(&session, 1).await;
        session.send(Do::RollOver(10)).await.unwrap();
        tokio::time::sleep(SECOND).await;
        match verb {
            "stop" => {
                soon(session.stop()).await.unwrap().ended().await.unwrap();
                assert_eq!(state(&session).await, State::Stopped);
                assert_eq!(count(&worker).await, 1);
            }
            // Its turn comes before the next input, so the run never gets that.
            "pause" => {
                soon(session.pause()).await.unwrap();
                assert_eq!(state(&session).await, State::Paused);
            }
            _ => {
                let next = roll(&session, 5).await;
                until(&next, |status| status.state() == State::Completed).await;
                let last = next.latest().await.unwrap();
                let chain = chain(&worker, &last).await;
                assert_eq!(chain, [session.id(), next.id(), last.id()]);
                assert_eq!(drained(&last).await.sum, 10);
            }
        }
        sound(worker).await;
    }
}

/// A store that fails delays the rollover, and loses or doubles nothing.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_the_commit_delays_it() {
    for interference in [Interference::Fail, Interference::LoseAnswer] {
        let mut harness = Harness::start(|builder| builder.workload(Scripted::default())).await;
        let start = Scripted::start();
        let session = harness.supervisor().start(start).await.unwrap().into_handle();
        harness.drained(&session).await;
        harness.store().next(Call::Commit, interference);
        let rolled = session.rollover(fresh(4)).await;
        if let Err(error) = rolled {
            let under_way = matches!(
                error,
                RolloverError::Session(SessionError::Store { under_way: true, .. })
            );
            assert!(under_way, "{error:?}");
        }
        until(&session, |status| status.state() == State::Completed).await;
        let next = session.latest().await.unwrap();
        assert_eq!(harness.drained(&next).await.sum, 4);
        let all = harness.supervisor().list(Query::default()).await.unwrap().records;
        assert_eq!(all.len(), 2);
        harness.crash_and_reopen().await;
        let all = harness.supervisor().list(Query::default()).await.unwrap().records;
        assert_eq!(all.len(), 2);
    }
}
