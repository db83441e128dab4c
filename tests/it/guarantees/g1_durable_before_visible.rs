//! G1: a transition, checkpoint, accepted input or event is on disk before anybody can see it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use sessionkeeper::{
    Event, ExternalId, Labels, Metadata, SessionHandle, Start, State, store::Store, testing::Call,
};

use super::kit::{Custom, collect, custom, custom_with, log, millis, secs, slow, start_on, tap};
use crate::support::{Do, Done, Scripted, Worker, drained};

type Session = SessionHandle<Scripted>;
type Verb = fn(Session) -> BoxFuture<'static, ()>;

/// What the session is when the verb comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Active,
    Paused,
}

const VERBS: &[(&str, At, Verb)] = &[
    ("send", At::Active, |s| {
        async move {
            let _ = s.send(Do::Add(1)).await.unwrap();
        }
        .boxed()
    }),
    ("send", At::Paused, |s| {
        async move {
            let _ = s.send(Do::Add(1)).await.unwrap();
        }
        .boxed()
    }),
    ("pause", At::Active, |s| {
        async move {
            let _ = s.pause().await.unwrap();
        }
        .boxed()
    }),
    ("resume", At::Paused, |s| async move { s.resume().await.unwrap() }.boxed()),
    ("stop", At::Active, |s| {
        async move {
            let _ = s.stop().await.unwrap();
        }
        .boxed()
    }),
    ("stop", At::Paused, |s| {
        async move {
            let _ = s.stop().await.unwrap();
        }
        .boxed()
    }),
    ("kill", At::Active, |s| {
        async move {
            let _ = s.kill().await.unwrap();
        }
        .boxed()
    }),
    ("complete", At::Active, |s| async move { s.complete().await.unwrap() }.boxed()),
    ("complete", At::Paused, |s| async move { s.complete().await.unwrap() }.boxed()),
    ("fail", At::Active, |s| async move { s.fail("why").await.unwrap() }.boxed()),
    ("fail", At::Paused, |s| async move { s.fail("why").await.unwrap() }.boxed()),
    ("labels", At::Active, |s| {
        async move { s.set_labels(Labels::new([("a", "b")]).unwrap()).await.unwrap() }.boxed()
    }),
    ("metadata", At::Paused, |s| {
        async move { s.set_metadata(Metadata::new()).await.unwrap() }.boxed()
    }),
    ("external id", At::Active, |s| {
        async move { s.set_external_id(ExternalId::new("x").unwrap()).await.unwrap() }.boxed()
    }),
];

/// Everything about a session that is seen from outside.
async fn seen(session: &Session) -> (u64, State, u64, usize, Vec<u64>) {
    let status = session.status().await.unwrap();
    let record = status.record();
    let snapshot = session.snapshot().await.unwrap().state;
    let events = log(session).await.len();
    (record.version, status.state(), record.inbox.accepted, events, snapshot.seen)
}

#[tokio::test(start_paused = true)]
async fn g1_no_verb_is_answered_or_seen_before_it_is_durable() {
    for (name, at, act) in VERBS {
        let name = format!("{name} of an {at:?} one");
        let worker = Worker::start().await;
        let session = worker.session_with(|start| start.input(Do::Add(1))).await;
        drained(&session).await;
        if *at == At::Paused {
            session.pause().await.unwrap();
        }
        let before = seen(&session).await;
        let mut watcher = session.watch().await.unwrap();
        assert_eq!(watcher.next().await.unwrap().record().version, before.0);

        let stall = worker.store.stall();
        let answer = tokio::spawn(act(session.clone()));
        let news = Arc::new(AtomicBool::new(false));
        let watching = tokio::spawn({
            let news = Arc::clone(&news);
            async move {
                while let Some(status) = watcher.next().await {
                    if status.record().version > before.0 {
                        return news.store(true, Ordering::SeqCst);
                    }
                }
            }
        });
        tokio::time::sleep(secs(5)).await;
        assert!(!answer.is_finished(), "{name}: answered before it was durable");
        assert_eq!(seen(&session).await, before, "{name}: visible before it was durable");
        assert!(!news.load(Ordering::SeqCst), "{name}: watched before it was durable");

        drop(stall);
        tokio::time::timeout(secs(1), answer).await.expect(&name).unwrap();
        tokio::time::timeout(secs(1), watching).await.expect(&name).unwrap();
        assert!(seen(&session).await.0 > before.0, "{name}: nothing came of it");
    }
}

#[tokio::test(start_paused = true)]
async fn g1_a_start_is_not_answered_or_found_before_it_is_durable() {
    let worker = Worker::start().await;
    let stall = worker.store.stall();
    let supervisor = worker.supervisor.clone();
    let start = Start::<Scripted>::new(Done::default())
        .external_id(ExternalId::new("x").unwrap())
        .input(Do::Add(1));
    let started = tokio::spawn(async move { supervisor.start(start).await.unwrap().into_handle() });
    tokio::time::sleep(secs(5)).await;
    assert!(!started.is_finished());
    let list = worker.supervisor.list(Default::default()).await.unwrap();
    assert!(list.records.is_empty(), "it is listed already");
    assert_eq!(worker.workload.probe.runs(), 0, "it runs already");
    drop(stall);
    let session = tokio::time::timeout(secs(1), started).await.unwrap().unwrap();
    assert_eq!(drained(&session).await.sum, 1);
}

#[tokio::test(start_paused = true)]
async fn g1_a_run_gets_no_input_before_that_is_durable() {
    let tap = tap();
    let supervisor = start_on(tap.clone(), Custom::new(|cx| Box::pin(collect(cx))), |b| b).await;
    let session = custom(&supervisor).await;
    tokio::time::sleep(secs(1)).await;
    let held = tap.hold_answers(Call::Commit);
    let sent = tokio::spawn({
        let session = session.clone();
        async move { session.send(7).await }
    });
    tokio::time::sleep(secs(5)).await;
    let stored = tap.inner().load(session.id()).await.unwrap().unwrap();
    assert_eq!(stored.inbox.accepted, 1, "it is in the store, only its answer is held up");
    assert!(!sent.is_finished());
    let status = session.status().await.unwrap();
    assert_eq!(status.record().inbox.accepted, 0);
    assert_eq!(status.activity().to_string(), "idle", "the run still rests");
    drop(held);
    sent.await.unwrap().unwrap();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(session.snapshot().await.unwrap().state, [7]);
}

#[tokio::test(start_paused = true)]
async fn g1_a_run_gets_no_further_input_before_its_last_turn_is_durable() {
    let given: Arc<std::sync::Mutex<Vec<u64>>> = Arc::default();
    let noted = Arc::clone(&given);
    let workload = Custom::new(move |cx| {
        let noted = Arc::clone(&noted);
        Box::pin(async move {
            while let Some(number) = cx.next_input().await? {
                noted.lock().unwrap().push(*number);
                tokio::time::sleep(secs(2)).await;
                cx.state_mut().push(*number);
            }
            Ok(sessionkeeper::Outcome::Yielded)
        })
    });
    let tap = tap();
    let supervisor = start_on(tap.clone(), workload, |b| b).await;
    let session = custom(&supervisor).await;
    session.send(1).await.unwrap();
    session.send(2).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    let stall = tap.inner().stall();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(*given.lock().unwrap(), [1], "the second while the first is not covered");
    drop(stall);
    tokio::time::sleep(secs(5)).await;
    assert_eq!(*given.lock().unwrap(), [1, 2]);
    assert_eq!(session.snapshot().await.unwrap().state, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn g1_a_checkpoint_and_the_events_before_it_return_when_they_are_durable() {
    let returned = Arc::new(AtomicBool::new(false));
    let body = Arc::clone(&returned);
    let workload = Custom::new(move |cx| {
        let returned = Arc::clone(&body);
        Box::pin(async move {
            while let Some(number) = cx.next_input().await? {
                tokio::time::sleep(secs(1)).await;
                cx.emit(Event::custom("tick", *number)).await?;
                cx.state_mut().push(*number);
                cx.checkpoint().await?;
                returned.store(true, Ordering::SeqCst);
            }
            Ok(sessionkeeper::Outcome::Yielded)
        })
    });
    let tap = tap();
    let supervisor = start_on(tap.clone(), workload, |b| b).await;
    let session = custom(&supervisor).await;
    session.send(1).await.unwrap();
    let stall = tap.inner().stall();
    tokio::time::sleep(secs(5)).await;
    assert!(!returned.load(Ordering::SeqCst), "the checkpoint returned while its commit stalls");
    assert!(session.snapshot().await.unwrap().state.is_empty());
    let before = log(&session).await.len();
    drop(stall);
    tokio::time::sleep(secs(1)).await;
    assert!(returned.load(Ordering::SeqCst));
    assert_eq!(session.snapshot().await.unwrap().state, [1]);
    assert_eq!(log(&session).await.len(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn g1_whatever_a_watcher_sees_is_in_the_store() {
    for seed in 0..8 {
        let tap = slow(seed);
        let supervisor =
            start_on(tap.clone(), Custom::new(|cx| Box::pin(collect(cx))), |b| b).await;
        let session = custom_with(&supervisor, 0).await;
        let watching = tokio::spawn({
            let (tap, session) = (tap.clone(), session.clone());
            async move {
                let mut seen = 0;
                let mut statuses = session.watch().await.unwrap();
                while let Some(status) = statuses.next().await {
                    let stored = tap.inner().load(session.id()).await.unwrap().unwrap();
                    let shown = status.record();
                    assert!(shown.version <= stored.version, "seed {seed}: shown too early");
                    assert!(shown.last_event <= stored.last_event);
                    assert!(shown.inbox.accepted <= stored.inbox.accepted);
                    let events = tap.inner().events(session.id(), 1..=u64::MAX, usize::MAX);
                    assert!(events.await.unwrap().len() as u64 >= shown.last_event);
                    seen += 1;
                    if status.state().is_terminal() {
                        break;
                    }
                }
                seen
            }
        });
        let mut rng = fastrand::Rng::with_seed(seed);
        for number in 1..60 {
            tokio::time::sleep(millis(rng.u64(0..50))).await;
            match rng.u32(0..8) {
                0 => drop(session.pause().await.unwrap()),
                1 => session.resume().await.unwrap(),
                _ => {
                    let receipt = session.send(number).await.unwrap();
                    let stored = tap.inner().load(session.id()).await.unwrap().unwrap();
                    assert!(stored.inbox.accepted >= receipt.sequence);
                }
            }
        }
        session.complete().await.unwrap();
        assert!(watching.await.unwrap() > 30, "seed {seed}: the watcher saw hardly anything");
    }
}
