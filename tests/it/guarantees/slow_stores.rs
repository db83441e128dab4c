//! Stores that are slow and then fail, or fail for one session alone: whoever waits is told, and
//! what was asked in time is done.

use sessionkeeper::{
    Labels, SendError, SessionError, Start, State,
    store::{Fault, MemoryStore},
    testing::{Call, FaultyStore, Interference},
};

use super::kit::{Custom, collect, custom, millis, secs, slow, start_on};
use crate::support::{BUDGET, Do, Done, Scripted, Worker};

/// G5: nobody waits for a store to heal, not even who asked while it only seemed to be slow.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_slow_store_is_told_when_it_fails() {
    let worker = Worker::start().await;
    let mut paused = Vec::new();
    for _ in 0..4 {
        let session = worker.session().await;
        session.pause().await.unwrap();
        paused.push(session);
    }
    let running = worker.session().await;
    let stall = worker.store.stall();
    type Asked = tokio::task::JoinHandle<Result<(), SessionError>>;
    let mut asked: Vec<Asked> = Vec::new();
    for (number, session) in paused.iter().chain([&running]).cloned().enumerate() {
        asked.push(tokio::spawn(async move {
            match number {
                0 => session.complete().await,
                1 => session.fail("for a test").await,
                2 => session.set_labels(Labels::default()).await,
                3 => session.stop().await.map(drop),
                _ => match session.send(Do::Add(1)).await {
                    Ok(_) => Ok(()),
                    Err(SendError::Session(error)) => Err(error),
                    Err(other) => panic!("{other}"),
                },
            }
        }));
        // The first is handed to the store, and the others wait behind it.
        tokio::time::sleep(millis(10)).await;
    }
    worker.store.fail(Fault::NothingDone);
    drop(stall);
    for (number, asked) in asked.into_iter().enumerate() {
        let answer = tokio::time::timeout(secs(1), asked).await;
        let answer = answer.unwrap_or_else(|_| panic!("{number} hears nothing")).unwrap();
        let is_told = matches!(answer, Err(SessionError::Store { under_way: true, .. }));
        assert!(is_told, "{number}: {answer:?}");
    }
    worker.store.mend();
    tokio::time::sleep(secs(10)).await;
    let states = [State::Completed, State::Failed, State::Paused, State::Stopped, State::Active];
    for (session, state) in paused.iter().chain([&running]).zip(states) {
        assert_eq!(session.status().await.unwrap().state(), state, "it was under way");
    }
}

/// G10: a shutdown leaves nothing under way that was asked before it.
#[tokio::test(start_paused = true)]
async fn what_was_asked_before_a_shutdown_is_done() {
    for seed in 0..10 {
        let store = slow(seed);
        let worker = start_on(store.clone(), Custom::new(|cx| Box::pin(collect(cx))), |b| b).await;
        let mut sessions = Vec::new();
        for _ in 0..5 {
            let session = custom(&worker).await;
            session.pause().await.unwrap();
            sessions.push(session);
        }
        let labels = Labels::new([("asked", "before")]).unwrap();
        let asked: Vec<_> = sessions
            .iter()
            .cloned()
            .map(|session| {
                let labels = labels.clone();
                tokio::spawn(async move { session.set_labels(labels).await })
            })
            .collect();
        // One is on its way to the store, and others may still wait behind it.
        tokio::time::sleep(millis(seed)).await;
        worker.shutdown(BUDGET).await;
        let mut done = Vec::new();
        for asked in asked {
            done.push(asked.await.unwrap().is_ok());
        }
        drop(worker);
        let worker = start_on(store, Custom::new(|cx| Box::pin(collect(cx))), |b| b).await;
        for (session, done) in sessions.iter().zip(done) {
            let session = worker.session(session.id()).await.unwrap();
            let labels = session.status().await.unwrap().record().labels.clone();
            assert_eq!(labels.get("asked").is_some(), done, "seed {seed}");
        }
    }
}

/// G5: a session whose state cannot be read does not try for ever, so that it answers again.
#[tokio::test(start_paused = true)]
async fn a_session_whose_state_cannot_be_read_answers_all_the_same() {
    let store = FaultyStore::new(MemoryStore::new());
    let worker = start_on(store.clone(), Scripted::default(), |b| b).await;
    let start = Start::<Scripted>::new(Done::default());
    let session = worker.start(start).await.unwrap().into_handle();
    drop(worker);
    store.inject(|call| match call {
        Call::Snapshot => Interference::Fail,
        _ => Interference::None,
    });
    let worker = start_on(store.clone(), Scripted::default(), |b| b).await;
    let recovered = tokio::time::timeout(secs(120), worker.recovered()).await;
    let report = recovered.expect("an answer").unwrap();
    assert_eq!(report.failed[0].0, session.id(), "{report:?}");
    let session = worker.session(session.id()).await.unwrap();
    let resumed = tokio::time::timeout(secs(120), session.resume()).await.expect("an answer");
    assert!(matches!(resumed, Err(SessionError::Store { under_way: false, .. })), "{resumed:?}");
    let stopped = tokio::time::timeout(secs(120), session.stop()).await.expect("an answer");
    stopped.unwrap().ended().await.unwrap();
}
