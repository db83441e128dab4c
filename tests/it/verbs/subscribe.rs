//! The events of a session as a stream: those that are there and those to come.

use futures::{Stream, StreamExt};
use sessionkeeper::{
    RecoverWhat, Session, SessionError, SessionHandle, SessionId, Start, SubscribeError,
    Supervisor, Update,
    store::{MemoryStore, Part},
    testing::{Call, FaultyStore, Interference},
};

use super::{SECOND, idle, log, soon};
use crate::support::{BUDGET, Do, Done, Scripted, Worker};

type Updates = std::pin::Pin<Box<dyn Stream<Item = Result<Update, SessionError>> + Send>>;

async fn subscribe(session: &Session, from: u64) -> Updates {
    Box::pin(session.subscribe(from).await.unwrap())
}

fn number(update: Result<Update, SessionError>) -> u64 {
    match update.unwrap() {
        Update::Event(event) => event.sequence,
        Update::Gap { from, to } => panic!("{from} to {to} are gone"),
    }
}

/// The numbers of the next events.
async fn take(updates: &mut Updates, count: usize) -> Vec<u64> {
    soon(updates.take(count).map(number).collect()).await
}

async fn newest(session: &Session) -> u64 {
    session.status().await.unwrap().record().last_event
}

/// Lets a session record so many events more.
async fn emit(session: &SessionHandle<Scripted>, events: u32) {
    session.send(Do::Emit(events)).await.unwrap();
    idle(session).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_there_and_what_comes_is_one_stream() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    emit(&session, 10).await;
    let before = newest(&session).await;
    let mut updates = subscribe(&session, 1).await;
    let writing = session.clone();
    let writing = tokio::spawn(async move {
        for _ in 0..50 {
            emit(&writing, 7).await;
        }
    });
    let all: Vec<u64> = (1..=before + 350).collect();
    assert_eq!(take(&mut updates, all.len()).await, all);
    writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_given_is_what_is_stored() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    // One reads as it comes, the other from the store.
    let mut live = subscribe(&session, 1).await;
    emit(&session, 20).await;
    let stored = log(&session).await;
    let mut late = subscribe(&session, 1).await;
    for expected in stored {
        for updates in [&mut live, &mut late] {
            let Some(Ok(Update::Event(event))) = soon(updates.next()).await else {
                panic!("an event")
            };
            assert_eq!(*event, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_back_goes_on_where_it_was() {
    let mut worker = Worker::start().await;
    let mut session = worker.session().await;
    let mut seen = Vec::new();
    for round in 0..10 {
        emit(&session, 1_000).await;
        let mut updates = subscribe(&session, seen.len() as u64 + 1).await;
        // It does not come to the end before it is gone again.
        seen.extend(take(&mut updates, 700 + round).await);
        if round % 3 == 0 {
            worker = worker.crash_and_restart().await;
            session = worker.again(&session).await;
            idle(&session).await;
        }
    }
    let left = newest(&session).await - seen.len() as u64;
    let mut updates = subscribe(&session, seen.len() as u64 + 1).await;
    seen.extend(take(&mut updates, usize::try_from(left).unwrap()).await);
    assert_eq!(seen, (1..=newest(&session).await).collect::<Vec<_>>());
    assert!(seen.len() > 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_are_served_and_one_that_does_not_read_hinders_nobody() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    let mut lazy = subscribe(&session, 1).await;
    let before = newest(&session).await;
    let mut readers = Vec::new();
    for _ in 0..1_000 {
        let mut updates = subscribe(&session, before + 1).await;
        readers.push(tokio::spawn(async move { take(&mut updates, 500).await }));
    }
    for _ in 0..50 {
        emit(&session, 10).await;
    }
    let expected: Vec<u64> = (before + 1..=before + 500).collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), expected);
    }
    let newest = newest(&session).await;
    let all = take(&mut lazy, usize::try_from(newest).unwrap()).await;
    assert_eq!(all, (1..=newest).collect::<Vec<_>>());
}

/// Whoever keeps up is given what it committed last, though the store is closed by then.
#[tokio::test(start_paused = true)]
async fn the_stream_ends_with_its_worker() {
    let mut worker = Worker::start().await;
    let mut session = worker.session().await;
    emit(&session, 3).await;
    let mut updates = subscribe(&session, 1).await;
    let mut late = subscribe(&session, 1).await;
    let mut seen = take(&mut updates, usize::try_from(newest(&session).await).unwrap()).await;
    worker.supervisor.shutdown(BUDGET).await;
    seen.extend(soon(updates.map(number).collect::<Vec<_>>()).await);
    assert!(soon(late.next()).await.is_none(), "it has read nothing, and nothing can be read");
    worker = worker.crash_and_restart_with(|builder| builder.recover(RecoverWhat::Nothing)).await;
    session = worker.again(&session).await;
    assert_eq!(seen, (1..=newest(&session).await).collect::<Vec<_>>(), "to the pause");
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_session_at_rest_are_followed_too() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.pause().await.unwrap();
    let next = newest(&session).await + 1;
    let mut updates = subscribe(&session, next).await;
    let nothing = tokio::time::timeout(SECOND, updates.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    session.stop().await.unwrap().ended().await.unwrap();
    assert_eq!(take(&mut updates, 1).await, [next]);
}

#[tokio::test(start_paused = true)]
async fn a_number_from_elsewhere_is_refused() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    let newest = newest(&session).await;
    let refused = session.subscribe(newest + 2).await.err().unwrap();
    assert!(
        matches!(refused, SubscribeError::Ahead { session: id, from, newest: last }
            if id == session.id() && from == newest + 2 && last == newest),
        "{refused}"
    );
    assert!(session.subscribe(newest + 1).await.is_ok());
    assert!(session.subscribe(0).await.is_ok(), "as 1");
}

/// G8, G9: what cannot be read is told to be gone, and what comes after it is given.
#[tokio::test(start_paused = true)]
async fn damaged_events_are_told_as_gaps() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    emit(&session, 100).await;
    let newest = newest(&session).await;
    for damaged in [20, 21, 50, newest] {
        worker.store.damage(session.id(), Part::Event(damaged));
    }
    let mut updates = subscribe(&session, 1).await;
    let (mut next, mut gaps) = (1, Vec::new());
    while next <= newest {
        match soon(updates.next()).await.unwrap().unwrap() {
            Update::Event(event) => {
                assert_eq!(event.sequence, next);
                next += 1;
            }
            Update::Gap { from, to } => {
                assert_eq!(from, next);
                gaps.push((from, to));
                next = to + 1;
            }
        }
    }
    assert_eq!(gaps, [(20, 21), (50, 50), (newest, newest)]);
    emit(&session, 1).await;
    assert_eq!(take(&mut updates, 1).await, [newest + 1]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_the_stream_with_its_error() {
    let store = FaultyStore::new(MemoryStore::new());
    let builder = Supervisor::builder(store.clone()).workload(Scripted::default());
    let supervisor = builder.start().await.unwrap();
    let start = Start::<Scripted>::new(Done::default());
    let session = supervisor.start(start).await.unwrap().into_handle();
    emit(&session, 10).await;
    let mut updates = subscribe(&session, 1).await;
    store.next(Call::Events, Interference::Fail);
    let id: SessionId = session.id();
    let failed = soon(updates.next()).await.unwrap().unwrap_err();
    assert!(matches!(failed, SessionError::Store { session, .. } if session == id), "{failed}");
    assert!(soon(updates.next()).await.is_none(), "it is over");
    assert_eq!(take(&mut subscribe(&session, 1).await, 3).await, [1, 2, 3]);
}
