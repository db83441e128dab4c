//! What the next worker does with what the last one left.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use sessionkeeper::{
    PauseCause, RecoverWhat, RunEnd, SessionHandle, Start, State, Supervisor,
    store::{MemoryStore, SledStore},
    testing::{Call, Interference},
};

use super::kit::{Custom, collect, custom, millis, run_ends, secs, start_on, tap};
use crate::support::{BUDGET, Do, Done, Scripted, Worker, drained};

struct Left {
    active: SessionHandle<Scripted>,
    asked: SessionHandle<Scripted>,
    stopped: SessionHandle<Scripted>,
    completed: SessionHandle<Scripted>,
}

async fn leave(worker: &Worker) -> Left {
    let active = worker.session_with(|start| start.input(Do::Add(1))).await;
    let asked = worker.session_with(|start| start.input(Do::Add(1))).await;
    let stopped = worker.session_with(|start| start.input(Do::Add(1))).await;
    let completed = worker.session_with(|start| start.input(Do::Complete)).await;
    for session in [&active, &asked, &stopped] {
        drained(session).await;
    }
    asked.pause().await.unwrap();
    stopped.stop().await.unwrap().ended().await.unwrap();
    completed.settled().await.unwrap();
    Left { active, asked, stopped, completed }
}

/// How the active one stands in the next worker.
async fn check(what: RecoverWhat, crash: bool, expected: Result<(), PauseCause>) {
    let name = format!("{what:?}, {}", if crash { "crash" } else { "shutdown" });
    let worker = Worker::start().await;
    let left = leave(&worker).await;
    if !crash {
        worker.supervisor.shutdown(BUDGET).await;
    }
    let worker = worker.crash_and_restart_with(|b| b.recover(what)).await;
    let report = worker.supervisor.recovered().await.unwrap();
    let active = worker.again(&left.active).await;
    let status = active.status().await.unwrap();
    match expected {
        Ok(()) => {
            assert_eq!(status.state(), State::Active, "{name}");
            assert_eq!(report.resumed, [active.id()], "{name}");
        }
        Err(cause) => {
            assert_eq!(status.pause_cause(), Some(cause), "{name}");
            assert!(report.resumed.is_empty(), "{name}");
            let interrupted = cause == PauseCause::Interrupted;
            assert_eq!(report.interrupted.len(), usize::from(interrupted), "{name}");
            active.resume().await.unwrap();
        }
    }
    if crash {
        assert_eq!(run_ends(&active).await, [RunEnd::Interrupted], "{name}: the log says so");
    }
    active.send(Do::Add(1)).await.unwrap();
    assert_eq!(drained(&active).await.sum, 2, "{name}");
    let asked = worker.again(&left.asked).await.status().await.unwrap();
    assert_eq!(asked.pause_cause(), Some(PauseCause::Asked), "{name}");
    let stopped = worker.again(&left.stopped).await.status().await.unwrap();
    assert_eq!(stopped.state(), State::Stopped, "{name}");
    let completed = worker.again(&left.completed).await.status().await.unwrap();
    assert_eq!(completed.state(), State::Completed, "{name}");
}

#[tokio::test(start_paused = true)]
async fn recovery_resumes_what_the_policy_says() {
    use PauseCause::{Interrupted, Shutdown};
    check(RecoverWhat::All, true, Ok(())).await;
    check(RecoverWhat::All, false, Ok(())).await;
    check(RecoverWhat::ShutdownOnly, true, Err(Interrupted)).await;
    check(RecoverWhat::ShutdownOnly, false, Ok(())).await;
    check(RecoverWhat::Nothing, true, Err(Interrupted)).await;
    check(RecoverWhat::Nothing, false, Err(Shutdown)).await;
}

#[tokio::test(start_paused = true)]
async fn recovery_finishes_a_stop_that_was_under_way() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Deaf(secs(1000)))).await;
    tokio::time::sleep(secs(1)).await;
    let _ticket = session.stop().await.unwrap();
    let worker = worker.crash_and_restart().await;
    let report = worker.supervisor.recovered().await.unwrap();
    assert_eq!(report.stopped, [session.id()]);
    let session = worker.again(&session).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.state(), State::Stopped);
    assert_eq!(run_ends(&session).await, [RunEnd::Interrupted]);
    assert_eq!(worker.workload.probe.runs(), 1, "it did not run again");
}

/// They are looked at some hundreds at a time.
#[tokio::test(start_paused = true)]
async fn recovery_finds_all_sessions_however_many_there_are() {
    const SESSIONS: usize = 1200;
    let worker = Worker::start().await;
    let mut left = BTreeSet::new();
    for _ in 0..SESSIONS {
        left.insert(worker.session().await.id());
    }
    let Worker { store, workload, supervisor } = worker;
    drop(supervisor);
    let worker = Worker::on(store, workload, |b| b).await;
    let report = worker.supervisor.recovered().await.unwrap();
    assert_eq!(report.resumed.iter().copied().collect::<BTreeSet<_>>(), left);
    assert_eq!(report.resumed.len(), SESSIONS, "each once");
}

#[tokio::test(start_paused = true)]
async fn recovery_forgets_the_abandoned_runs_of_a_worker_that_is_gone() {
    let own = super::kit::OwnRuntime::new();
    let worker = Worker::start_with(|b| b.workload_runtime(own.handle())).await;
    let probe = Arc::clone(&worker.workload.probe);
    let _open = probe.close_gate();
    let session = worker.session_with(|start| start.input(Do::Block)).await;
    super::kit::until("it blocks", || probe.blocked() == 1).await;
    session.stop().await.unwrap().ended().await.unwrap();
    assert_eq!(session.status().await.unwrap().abandoned().len(), 1);
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    session.resume().await.unwrap();
    assert_eq!(drained(&session).await.seen, [1]);
    assert!(session.status().await.unwrap().abandoned().is_empty());
}

#[tokio::test(start_paused = true)]
async fn recovery_resumes_no_more_at_once_than_it_may() {
    // How many runs are in their first 50 ms at the same time says nothing about how many were
    // begun at once; how many places are taken does.
    for (max_active, count) in [(5, 5), (100, 60)] {
        let live = Arc::new(AtomicU32::new(0));
        let most = Arc::new(AtomicU32::new(0));
        let (counted, highest) = (Arc::clone(&live), Arc::clone(&most));
        let workload = Custom::new(move |cx| {
            let now = counted.fetch_add(1, Ordering::SeqCst) + 1;
            highest.fetch_max(now, Ordering::SeqCst);
            let live = Leave(Arc::clone(&counted));
            Box::pin(async move {
                let _live = live;
                collect(cx).await
            })
        });
        let store = MemoryStore::new();
        let supervisor =
            start_on(store.clone(), workload.clone(), |b| b.max_active(max_active)).await;
        let mut sessions = Vec::new();
        for _ in 0..60 {
            sessions.push(custom(&supervisor).await);
        }
        tokio::time::sleep(secs(1)).await;
        assert_eq!(most.swap(0, Ordering::SeqCst), count);
        drop(supervisor);
        tokio::time::sleep(millis(10)).await;
        let supervisor = start_on(store, workload, |b| b.max_active(max_active)).await;
        let report = supervisor.recovered().await.unwrap();
        tokio::time::sleep(secs(1)).await;
        assert_eq!(report.resumed.len(), count as usize);
        assert_eq!(most.load(Ordering::SeqCst), count, "of {max_active} places");
        let mut active = BTreeSet::new();
        for session in &sessions {
            let status = supervisor.session(session.id()).await.unwrap().status().await.unwrap();
            if status.state() == State::Active {
                active.insert(session.id());
            }
        }
        let resumed: BTreeSet<_> = report.resumed.iter().copied().collect();
        assert_eq!(active, resumed, "those that had a place have it again");
    }
}

struct Leave(Arc<AtomicU32>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn recovery_with_fewer_places_than_before_takes_all_in_turn() {
    let worker = Worker::start().await;
    let mut sessions = Vec::new();
    for _ in 0..10 {
        let session = worker.session_with(|start| start.input(Do::Add(1))).await;
        session.send(Do::Beat { every: secs(1), times: 5 }).await.unwrap();
        session.send(Do::Complete).await.unwrap();
        sessions.push(session);
    }
    tokio::time::sleep(secs(1)).await;
    let worker = worker.crash_and_restart_with(|b| b.max_active(2)).await;
    for session in &sessions {
        let session = worker.again(session).await;
        tokio::time::timeout(secs(100), session.settled()).await.expect("it waits").unwrap();
    }
    assert_eq!(worker.workload.probe.closed(), 20);
}

#[tokio::test(start_paused = true)]
async fn recovery_leaves_sessions_usable_while_it_goes_on() {
    for verb in ["pause", "stop", "send", "complete", "resume"] {
        let worker = Worker::start().await;
        let mut sessions = Vec::new();
        for _ in 0..50 {
            sessions.push(worker.session_with(|start| start.input(Do::Add(1))).await);
        }
        for session in &sessions {
            drained(session).await;
        }
        let Worker { store, workload, supervisor } = worker;
        drop(supervisor);
        let worker = Worker::on(store, workload, |b| b.resume_at_once(1)).await;
        let mut again = Vec::new();
        for session in &sessions {
            again.push(worker.again(session).await);
        }
        for session in &again {
            match verb {
                "pause" => drop(session.pause().await.unwrap()),
                "stop" => drop(session.stop().await.unwrap().ended().await.unwrap()),
                "send" => drop(session.send(Do::Add(1)).await.unwrap()),
                "complete" => session.complete().await.unwrap(),
                _ => session.resume().await.unwrap(),
            }
        }
        worker.supervisor.recovered().await.unwrap();
        for session in &again {
            let (expected, sum) = match verb {
                "pause" => (State::Paused, 1),
                "stop" => (State::Stopped, 1),
                "complete" => (State::Completed, 1),
                "send" => (State::Active, 2),
                _ => (State::Active, 1),
            };
            if verb == "send" {
                drained(session).await;
            }
            let status = session.status().await.unwrap();
            assert_eq!(status.state(), expected, "{verb}");
            assert_eq!(session.snapshot().await.unwrap().state.sum, sum, "{verb}");
        }
        let probe = &worker.workload.probe;
        assert!(probe.most_live() <= 50, "{verb}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_supervisor_leaves_its_store_free_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    for round in 1..=5 {
        let store = SledStore::open(&path).unwrap();
        let supervisor = start_on(store, Scripted::default(), |builder| builder).await;
        let start = Start::<Scripted>::new(Done::default()).key("one".parse().unwrap());
        let session = supervisor.start(start).await.unwrap().into_handle();
        session.send(Do::Add(1)).await.unwrap();
        let deadline = tokio::time::timeout(secs(20), drained(&session)).await;
        assert_eq!(deadline.expect("it works").sum, round);
        // As in a crash: nobody shuts it down, and a handle outlives it.
        drop(supervisor);
        assert!(session.status().await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_of_a_worker_that_is_dropped_leaves_no_task() {
    let store = tap();
    let alone = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for call in [Call::Begin, Call::Damaged, Call::List] {
        let delay = Interference::Delay { before: secs(9), after: secs(0) };
        store.next(call, delay);
        let starting = Supervisor::builder(store.clone()).start();
        assert!(tokio::time::timeout(secs(1), starting).await.is_err());
        tokio::time::sleep(secs(60)).await;
        let left = tokio::runtime::Handle::current().metrics().num_alive_tasks() - alone;
        assert_eq!(left, 0, "dropped while it called {call:?}");
    }
}
