//! Stores that panic, or answer late, at any call: whoever asks is answered, and nobody else
//! notices.

use std::time::Duration;

use sessionkeeper::{
    Backoff, Origin, SessionError, SessionHandle, Start, StartError, State, Supervisor,
    store::{MemoryStore, StoreError},
    testing::{Call, Do, Done, FaultyStore, Interference, Scripted, audit_log},
};

use super::kit::{log, millis, restarting, secs, start_on, tireless};
use crate::support::{BUDGET, drained};

async fn start() -> (FaultyStore<MemoryStore>, Supervisor, SessionHandle<Scripted>) {
    let store = FaultyStore::new(MemoryStore::new());
    let policy = restarting(sessionkeeper::RestartPolicy { backoff: Backoff::NONE, ..tireless() });
    let supervisor =
        start_on(store.clone(), Scripted::default(), |builder| builder.policy(policy)).await;
    let session = supervisor.start(Start::<Scripted>::new(Done::default())).await.unwrap();
    (store, supervisor, session.into_handle())
}

/// G8: it fails one call, as an error does.
#[tokio::test(start_paused = true)]
async fn a_store_that_panics_while_it_reads_fails_that_call_alone() {
    let (store, supervisor, session) = start().await;
    session.pause().await.unwrap();
    for verb in 0..3 {
        store.next(Call::Load, Interference::Panic);
        let answer = match verb {
            0 => session.status().await.map(drop),
            1 => session.resume().await,
            _ => session.complete().await,
        };
        let Err(SessionError::Store { under_way: false, source, .. }) = &answer else {
            panic!("{answer:?}");
        };
        assert!(matches!(**source, StoreError::Unavailable { .. }), "{source:?}");
        assert_eq!(session.status().await.unwrap().state(), State::Paused);
    }
    session.resume().await.unwrap();
    session.send(Do::Add(1)).await.unwrap();
    assert_eq!(drained(&session).await.sum, 1);
    // The due times are read by tasks of the worker alone.
    store.next(Call::Due, Interference::Panic);
    session.pause().await.unwrap();
    assert_eq!(supervisor.shutdown(BUDGET).await.lines.len(), 0, "all was at rest");
}

/// G10: the report says what became of each.
#[tokio::test(start_paused = true)]
async fn a_store_that_panics_while_it_closes_spoils_no_report() {
    let (store, supervisor, session) = start().await;
    store.next(Call::Close, Interference::Panic);
    let report = supervisor.shutdown(BUDGET).await;
    assert_eq!(report.lines.len(), 1, "{report}");
    assert_eq!(report.lines[0].session, session.id());
}

/// G3: each run has an end, also one that was to begin and never did.
#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_begin_has_an_end() {
    let (store, _supervisor, session) = start().await;
    for call in [Call::Snapshot, Call::Inputs] {
        store.next(call, Interference::Fail);
        session.send(Do::FailTimes(1)).await.unwrap();
        tokio::time::sleep(secs(10)).await;
        let status = session.status().await.unwrap();
        assert_eq!(status.record().inbox.waiting(), 0, "{call:?}: {status:?}");
        assert_eq!(audit_log(status.record(), &log(&session).await), [], "{call:?}");
    }
}

/// G1: what is durable and not shown yet is shown to nobody, and so never taken back.
#[tokio::test(start_paused = true)]
async fn a_status_is_never_ahead_of_the_next() {
    let (store, _supervisor, session) = start().await;
    session.pause().await.unwrap();
    let loads = store.calls(Call::Load);
    // It reads when an actor has a commit under way.
    store.next(Call::Load, Interference::Delay { before: millis(500), after: Duration::ZERO });
    let late = |session: SessionHandle<Scripted>| async move {
        session.status().await.unwrap().record().version
    };
    let looked = tokio::spawn(late(session.clone()));
    tokio::task::yield_now().await;
    assert_eq!(store.calls(Call::Load), loads + 1);
    session.resume().await.unwrap();
    store.next(Call::Commit, Interference::Delay { before: Duration::ZERO, after: secs(1) });
    let sent = tokio::spawn({
        let session = session.clone();
        async move { session.send(Do::Add(1)).await }
    });
    let first = looked.await.unwrap();
    assert!(!sent.is_finished(), "the commit is not answered yet");
    let second = late(session).await;
    assert!(first <= second, "{first} and then {second}");
    sent.await.unwrap().unwrap();
}

/// G3: a start is done once, also if it is repeated while the first waits for its place.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_repeated_while_the_first_waits_is_the_same() {
    let store = FaultyStore::new(MemoryStore::new());
    let supervisor =
        start_on(store.clone(), Scripted::default(), |builder| builder.max_active(1)).await;
    let first = supervisor.start(Start::<Scripted>::new(Done::default())).await.unwrap();
    let id = sessionkeeper::SessionId::from_uuid(uuid::Uuid::from_u128(7));
    let key = sessionkeeper::StartKey::new("the same").unwrap();
    let start = || Start::<Scripted>::new(Done::default()).id(id).key(key.clone());
    let waits = supervisor.start(start()).await.unwrap();
    assert_eq!(waits.status().await.unwrap().state(), State::Pending);
    // Its place becomes free, and it has not got it yet.
    store.next(Call::Due, Interference::Delay { before: secs(5), after: Duration::ZERO });
    first.kill().await.unwrap().ended().await.unwrap();
    let again = supervisor.start(start()).await.unwrap();
    assert_eq!(again.origin(), Origin::Repeated);
    tokio::time::sleep(secs(10)).await;
    again.send(Do::Add(1)).await.unwrap();
    assert_eq!(drained(&again).await.sum, 1);
    let status = again.status().await.unwrap();
    assert_eq!(audit_log(status.record(), &log(&again).await), []);
}

/// G1: a repeated start is answered when the first is durable, and only if it is.
#[tokio::test(start_paused = true)]
async fn a_repetition_of_a_start_that_fails_is_no_success() {
    let store = FaultyStore::new(MemoryStore::new());
    let supervisor =
        start_on(store.clone(), Scripted::default(), |builder| builder.max_active(1)).await;
    let name = sessionkeeper::Name::new("the only one").unwrap();
    let holder = Start::<Scripted>::new(Done::default()).name(name.clone());
    supervisor.start(holder).await.unwrap();
    let id = sessionkeeper::SessionId::from_uuid(uuid::Uuid::from_u128(7));
    let key = sessionkeeper::StartKey::new("the same").unwrap();
    store.next(Call::Commit, Interference::Delay { before: secs(1), after: Duration::ZERO });
    let start = || {
        let start = Start::<Scripted>::new(Done::default()).id(id).key(key.clone());
        supervisor.start(start.name(name.clone()))
    };
    let (first, second, third) = tokio::join!(start(), start(), start());
    for answer in [first, second, third] {
        assert!(matches!(answer, Err(StartError::NameTaken { .. })), "{answer:?}");
    }
}
