//! G8: a bad session is alone with its trouble.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use sessionkeeper::{
    Backoff, Cause, Kind, Lifecycle, Outcome, PauseCause, Policy, RestartPolicy, SendError,
    SessionError, SessionHandle, SessionId, Start, State,
    store::{MemoryStore, Part, Query},
};

use super::kit::{Custom, collect, custom, custom_with, lifecycle, millis, secs, start_on, tap};
use crate::support::{Do, Done, Scripted, Worker, drained};

/// Sessions that have done something, so that each has two snapshots.
async fn workers_sessions(worker: &Worker, count: usize) -> Vec<SessionHandle<Scripted>> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        let session = worker.session_with(|start| start.input(Do::Add(1))).await;
        session.send(Do::Add(1)).await.unwrap();
        sessions.push(session);
    }
    for session in &sessions {
        drained(session).await;
    }
    sessions
}

/// What may be wrong with one session.
fn damage(what: &str, store: &MemoryStore, id: SessionId) {
    match what {
        "record" => store.damage(id, Part::Record),
        "snapshots" => (1..10).for_each(|number| store.damage(id, Part::Snapshot(number))),
        "input" => store.damage(id, Part::Input(3)),
        "event" => store.damage(id, Part::Event(1)),
        _ => panic!("unknown damage"),
    }
}

#[tokio::test(start_paused = true)]
async fn g8_a_damaged_session_keeps_neither_the_worker_nor_others_from_starting() {
    for what in ["record", "snapshots", "input", "event"] {
        let worker = Worker::start().await;
        let sessions = workers_sessions(&worker, 10).await;
        sessions[3].send(Do::Silent(secs(1000))).await.unwrap();
        sessions[3].send(Do::Add(1)).await.unwrap();
        let Worker { store, workload, supervisor } = worker;
        drop(supervisor);
        damage(what, &store, sessions[3].id());
        let worker = Worker::on(store, workload, |b| b).await;
        let recovered = worker.supervisor.recovered();
        let report = tokio::time::timeout(secs(60), recovered).await.expect(what).unwrap();
        let whole = if what == "event" { 10 } else { 9 };
        assert_eq!(report.resumed.len(), whole, "{what}: {report:?}");
        assert!(!report.damaged.is_empty(), "{what}: it is reported");
        if matches!(what, "snapshots" | "input") {
            let (id, error) = &report.failed[0];
            assert_eq!(*id, sessions[3].id());
            assert!(matches!(error, SessionError::Unreadable { .. }), "{what}: {error}");
        }
        for (number, session) in sessions.iter().enumerate() {
            if number == 3 {
                continue;
            }
            let session = worker.again(session).await;
            session.send(Do::Add(1)).await.unwrap();
            assert_eq!(drained(&session).await.sum, 3, "{what}");
        }
        worker.supervisor.list(Query::default()).await.unwrap();
        let id = sessions[3].id();
        if what == "record" {
            let error = worker.supervisor.session(id).await.unwrap_err();
            assert!(matches!(error, SessionError::Store { .. }), "{error}");
        }
        let shutdown = worker.supervisor.shutdown(secs(10)).await;
        assert_eq!(shutdown.lines.len(), whole, "{what}: {shutdown}");
    }
}

#[tokio::test(start_paused = true)]
async fn g8_a_run_that_cannot_be_restarted_for_damage_is_quarantined_and_not_tried_for_ever() {
    let policy = Policy::builder()
        .restart(RestartPolicy { max_restarts: 100, ..RestartPolicy::default() })
        .build()
        .unwrap();
    let worker = Worker::with_policy(policy).await;
    let session = workers_sessions(&worker, 1).await.remove(0);
    session.send(Do::FailTimes(1)).await.unwrap();
    tokio::time::sleep(millis(100)).await;
    worker.store.damage(session.id(), Part::Input(3));
    tokio::time::sleep(secs(600)).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined));
    assert!(lifecycle(&session).await.len() < 20, "its log is flooded");
}

#[tokio::test(start_paused = true)]
async fn g8_many_damaged_sessions_do_not_hold_up_the_timeouts_of_others() {
    let policy = Policy::builder().paused_timeout(secs(60)).build().unwrap();
    let worker = Worker::with_policy(policy).await;
    let sessions = workers_sessions(&worker, 60).await;
    for session in &sessions {
        session.pause().await.unwrap();
    }
    let good = worker.session().await;
    tokio::time::sleep(secs(1)).await;
    good.pause().await.unwrap();
    for session in &sessions {
        worker.store.damage(session.id(), Part::Record);
    }
    tokio::time::sleep(secs(70)).await;
    assert_eq!(good.status().await.unwrap().state(), State::Expired);
}

#[tokio::test(start_paused = true)]
async fn g8_a_crash_loop_and_a_full_inbox_are_nobody_elses() {
    let restart = RestartPolicy {
        max_restarts: 1000,
        max_without_checkpoint: 100_000,
        backoff: Backoff { initial: millis(1), factor: 1.0, max: millis(1), jitter: 0.0 },
        ..RestartPolicy::default()
    };
    let policy = Policy::builder().restart(restart).build().unwrap();
    let worker = Worker::start().await;
    let looping =
        worker.session_with(|start| start.policy(policy).input(Do::PanicTimes(u32::MAX))).await;
    let full = worker.session_with(|start| start.input(Do::Silent(secs(1000)))).await;
    let refused = loop {
        if let Err(error) = full.send(Do::Add(1)).await {
            break error;
        }
    };
    assert!(matches!(refused, SendError::Full { inputs: 64, .. }), "{refused}");
    let sessions = workers_sessions(&worker, 20).await;
    for session in &sessions {
        assert_eq!(session.status().await.unwrap().record().runs.count, 1);
    }
    let status = full.status().await.unwrap();
    assert_eq!((status.state(), status.record().inbox.accepted), (State::Active, 64));
    full.stop_within(millis(1)).await.unwrap().ended().await.unwrap();
    tokio::time::sleep(secs(10)).await;
    let status = looping.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined), "at last");
    assert_eq!(status.record().runs.count, 1001);
}

#[tokio::test(start_paused = true)]
async fn g8_a_kind_that_is_not_registered_stays_as_it_is_and_is_listed() {
    let tap = tap();
    let both = |b: sessionkeeper::Builder| b.workload(Custom::new(|cx| Box::pin(collect(cx))));
    let supervisor = start_on(tap.clone(), Scripted::default(), both).await;
    let known = supervisor.start(Start::<Scripted>::new(Done::default())).await.unwrap();
    let known = known.into_handle();
    let active = custom_with(&supervisor, 1).await;
    let paused = custom_with(&supervisor, 1).await;
    tokio::time::sleep(secs(1)).await;
    paused.pause().await.unwrap();
    drop(supervisor);

    let supervisor = start_on(tap.clone(), Scripted::default(), |b| b).await;
    let report = supervisor.recovered().await.unwrap();
    assert_eq!(report.resumed, [known.id()]);
    let kind = Kind::new("custom").unwrap();
    assert_eq!(report.unregistered, [(active.id(), kind.clone())]);
    let session = supervisor.session(active.id()).await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Active);
    let error = session.send_json(&serde_json::json!(1)).await.unwrap_err();
    assert!(matches!(error, SendError::Session(SessionError::NoWorkload { .. })), "{error}");
    for session in [&active, &paused] {
        let session = supervisor.session(session.id()).await.unwrap();
        let error = session.resume().await.unwrap_err();
        assert!(matches!(error, SessionError::NoWorkload { .. }), "{error}");
    }
    let query = Query { kind: Some(kind), limit: 10, ..Query::default() };
    assert_eq!(supervisor.list(query).await.unwrap().records.len(), 2);
    supervisor.shutdown(secs(10)).await;

    let supervisor = start_on(tap, Scripted::default(), both).await;
    let report = supervisor.recovered().await.unwrap();
    assert!(report.resumed.contains(&active.id()), "it carries on: {report:?}");
}

#[tokio::test(start_paused = true)]
async fn g8_a_kind_that_is_not_registered_keeps_no_place_from_others() {
    let tap = tap();
    let one = |b: sessionkeeper::Builder| b.max_active(1);
    let both = |b| one(b).workload(Custom::new(|cx| Box::pin(collect(cx))));
    let supervisor = start_on(tap.clone(), Scripted::default(), both).await;
    let running = supervisor.start(Start::<Scripted>::new(Done::default())).await.unwrap();
    // They wait for its place, longer than the one that could use it.
    for number in 0..3 {
        custom_with(&supervisor, number).await;
    }
    let waiting = supervisor.start(Start::<Scripted>::new(Done::default())).await.unwrap();
    assert_eq!(waiting.status().await.unwrap().state(), State::Pending);
    supervisor.shutdown(secs(10)).await;

    let supervisor = start_on(tap, Scripted::default(), one).await;
    let running = supervisor.session(running.id()).await.unwrap();
    running.stop().await.unwrap().ended().await.unwrap();
    tokio::time::sleep(secs(10)).await;
    let waiting = supervisor.session(waiting.id()).await.unwrap();
    assert_eq!(waiting.status().await.unwrap().state(), State::Active);
}

/// Notes when runs begin; never asks for an input.
fn poison(begun: &Arc<Mutex<Vec<SessionId>>>) -> Custom {
    let begun = Arc::clone(begun);
    Custom::new(move |cx| {
        begun.lock().unwrap().push(cx.session());
        Box::pin(async move {
            tokio::time::sleep(secs(100_000)).await;
            Ok(Outcome::Yielded)
        })
    })
}

#[tokio::test(start_paused = true)]
async fn g8_a_session_that_kills_its_worker_is_found_out() {
    let tap = tap();
    let begun = Arc::default();
    let workload = poison(&begun);
    let supervisor = start_on(tap.clone(), workload.clone(), |b| b).await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(custom(&supervisor).await);
    }
    let bad = sessions[2].id();
    tokio::time::sleep(secs(1)).await;
    let mut supervisor = Some(supervisor);
    let mut lost = 0;
    loop {
        begun.lock().unwrap().clear();
        drop(supervisor.take());
        let next = start_on(tap.clone(), workload.clone(), |b| b).await;
        // The worker dies as soon as the bad one runs.
        for _ in 0..1000 {
            tokio::time::sleep(secs(1)).await;
            if begun.lock().unwrap().contains(&bad) {
                break;
            }
        }
        tokio::time::sleep(secs(1)).await;
        let status = next.session(bad).await.unwrap().status().await.unwrap();
        supervisor = Some(next);
        if status.pause_cause() == Some(PauseCause::Quarantined) {
            let last = status.record().history.back().unwrap().clone();
            assert_eq!(last.cause, Cause::SuspectedOfCrashes);
            break;
        }
        lost += 1;
    }
    assert_eq!(lost, 3, "workers that it took with it");
    let supervisor = supervisor.unwrap();
    supervisor.recovered().await.unwrap();
    for session in &sessions {
        let status = supervisor.session(session.id()).await.unwrap().status().await.unwrap();
        let quarantined = status.pause_cause() == Some(PauseCause::Quarantined);
        assert_eq!(quarantined, session.id() == bad, "{:?}", status.record().history);
    }
    // A person may try it once more; its counts begin anew.
    let session = supervisor.session(bad).await.unwrap();
    session.resume().await.unwrap();
    assert_eq!(session.status().await.unwrap().record().recoveries, 0);
}

#[tokio::test(start_paused = true)]
async fn g8_suspects_come_last_and_one_at_a_time() {
    let tap = tap();
    let begun: Arc<Mutex<Vec<SessionId>>> = Arc::default();
    let workload = poison(&begun);
    let supervisor = start_on(tap.clone(), workload.clone(), |b| b).await;
    let suspects = [custom(&supervisor).await, custom(&supervisor).await];
    tokio::time::sleep(secs(1)).await;
    drop(supervisor);
    let supervisor = start_on(tap.clone(), workload.clone(), |b| b).await;
    supervisor.recovered().await.unwrap();
    let fresh = [custom(&supervisor).await, custom(&supervisor).await];
    tokio::time::sleep(secs(1)).await;
    drop(supervisor);

    begun.lock().unwrap().clear();
    let supervisor = start_on(tap, workload, |b| b).await;
    let count = |session: &SessionHandle<Custom>| begun.lock().unwrap().contains(&session.id());
    tokio::time::sleep(secs(5)).await;
    assert!(fresh.iter().all(count), "those without a count are there");
    assert_eq!(suspects.iter().filter(|s| count(s)).count(), 1, "one suspect has its chance");
    tokio::time::sleep(secs(60)).await;
    assert_eq!(suspects.iter().filter(|s| count(s)).count(), 2);
    let report = supervisor.recovered().await.unwrap();
    assert_eq!(report.resumed.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn g8_a_checkpoint_or_a_minute_clears_the_count_of_lost_workers() {
    let worker = Worker::start().await;
    let session = worker.session_with(|s| s.input(Do::Beat { every: secs(1), times: 30 })).await;
    session.send(Do::Beat { every: secs(1), times: 500 }).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    tokio::time::sleep(secs(10)).await;
    assert_eq!(session.status().await.unwrap().record().recoveries, 1);
    tokio::time::sleep(secs(25)).await;
    assert_eq!(session.status().await.unwrap().record().recoveries, 0, "a checkpoint");
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    tokio::time::sleep(secs(55)).await;
    assert_eq!(session.status().await.unwrap().record().recoveries, 1);
    tokio::time::sleep(secs(7)).await;
    assert_eq!(session.status().await.unwrap().record().recoveries, 0, "a minute");
}

#[tokio::test(start_paused = true)]
async fn g8_a_state_that_panics_when_it_is_dropped_ends_its_run_only() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let workload = Custom::new(move |cx| {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                assert!(std::thread::panicking(), "it goes off");
            }
        }
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            if first {
                let _bomb = Bomb;
                std::future::pending::<()>().await;
            }
            collect(cx).await
        })
    });
    let supervisor = start_on(tap(), workload, |b| b).await;
    let bomb = custom(&supervisor).await;
    tokio::time::sleep(secs(1)).await;
    let other = custom(&supervisor).await;
    let paused = tokio::time::timeout(secs(60), bomb.pause()).await.expect("it hangs");
    paused.unwrap();
    other.send(5).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(other.snapshot().await.unwrap().state, [5]);
    let all = lifecycle(&bomb).await;
    assert!(all.iter().any(|what| matches!(what, Lifecycle::RunEnded { .. })));
}
