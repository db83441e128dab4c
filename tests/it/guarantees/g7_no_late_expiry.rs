//! G7: the verdict on a silent session falls within 100 ms of its deadline.

use std::sync::{Arc, Mutex};

use futures::future::join_all;
use sessionkeeper::{
    Backoff, OnIdle, OnSilence, Outcome, PauseCause, Policy, RestartPolicy, RunEnd, SessionHandle,
    State,
};
use tokio::time::Instant;

use super::kit::{Custom, OwnRuntime, custom_with, millis, run_ends, secs, start_on, tap, until};
use crate::support::{Do, Scripted, Worker, drained};

type Ends = Arc<Mutex<Vec<(u64, Instant)>>>;

/// Gives signs of life for a while, then none. The input says how long; the book when it was
/// cancelled.
fn falls_silent(gone: &Ends) -> Custom {
    struct Gone(Ends, u64);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.lock().unwrap().push((self.1, Instant::now()));
        }
    }
    let gone = Arc::clone(gone);
    Custom::new(move |cx| {
        let gone = Arc::clone(&gone);
        Box::pin(async move {
            let Some(input) = cx.next_input().await? else { return Ok(Outcome::Yielded) };
            let until = *input;
            let _gone = Gone(gone, until);
            let began = Instant::now();
            while began.elapsed() < millis(until) {
                let rest = millis(until) - began.elapsed();
                tokio::time::sleep(rest.min(millis(7_000))).await;
                cx.heartbeat();
            }
            std::future::pending::<()>().await;
            Ok(Outcome::Yielded)
        })
    })
}

#[tokio::test(start_paused = true)]
async fn g7_the_verdict_on_each_of_thousands_falls_within_100_ms_of_its_deadline() {
    const SESSIONS: u64 = 3000;
    let gone = Ends::default();
    let policy = Policy::builder().heartbeat_timeout(secs(20)).build().unwrap();
    let supervisor = start_on(tap(), falls_silent(&gone), |b| b.policy(policy)).await;
    let mut rng = fastrand::Rng::with_seed(7);
    let began = Instant::now();
    let mut spans = Vec::new();
    let starts = (0..SESSIONS).map(|_| {
        spans.push(rng.u64(1..100_000));
        custom_with(&supervisor, *spans.last().unwrap())
    });
    let sessions = join_all(starts.collect::<Vec<_>>()).await;
    let started = began.elapsed();
    tokio::time::sleep(secs(130)).await;
    let gone = gone.lock().unwrap().clone();
    assert_eq!(gone.len() as u64, SESSIONS);
    for (silent_after, at) in gone {
        let deadline = began + millis(silent_after) + secs(20);
        assert!(at >= deadline, "too early by {:?}", deadline - at);
        assert!(at <= deadline + started + millis(100), "late by {:?}", at - deadline);
    }
    for session in &sessions {
        assert_eq!(session.status().await.unwrap().state(), State::Expired);
    }
}

#[tokio::test(start_paused = true)]
async fn g7_a_verdict_waits_for_no_commit() {
    let gone = Ends::default();
    let policy = Policy::builder().heartbeat_timeout(secs(20)).build().unwrap();
    let tap = tap();
    let supervisor = start_on(tap.clone(), falls_silent(&gone), |b| b.policy(policy)).await;
    let session = custom_with(&supervisor, 1000).await;
    tokio::time::sleep(secs(5)).await;
    let stall = tap.inner().stall();
    let labels = tokio::spawn({
        let session = session.clone();
        async move { session.set_labels(Default::default()).await }
    });
    tokio::time::sleep(secs(16) + millis(100)).await;
    assert_eq!(gone.lock().unwrap().len(), 1, "it is cancelled while the store stalls");
    assert_eq!(session.status().await.unwrap().state(), State::Active, "G1 holds all the same");
    drop(stall);
    let _ = labels.await.unwrap();
    session.wait_for(&[State::Expired]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn g7_beats_leave_no_timers_behind() {
    // A timer for each beat would be a task for each beat, until it is due.
    let policy = Policy::builder().heartbeat_timeout(secs(60)).build().unwrap();
    let worker = Worker::with_policy(policy).await;
    let mut sessions = Vec::new();
    for _ in 0..100 {
        let what = Do::Beat { every: secs(1), times: 100_000 };
        sessions.push(worker.session_with(|start| start.input(what)).await);
    }
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    tokio::time::sleep(secs(600)).await;
    let after = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(after <= before, "timers pile up: {before} tasks, then {after}");
    for session in &sessions {
        assert_eq!(session.status().await.unwrap().state(), State::Active);
    }
}

async fn silent(policy: Policy) -> (Worker, SessionHandle<Scripted>) {
    let worker = Worker::with_policy(policy).await;
    let session = worker.session_with(|start| start.input(Do::Add(1))).await;
    drained(&session).await;
    session.send(Do::Silent(secs(100_000))).await.unwrap();
    (worker, session)
}

#[tokio::test(start_paused = true)]
async fn g7_on_silence_does_what_the_policy_says() {
    let policy = Policy::builder().heartbeat_timeout(secs(60));
    for action in [OnSilence::Expire, OnSilence::Restart, OnSilence::Pause] {
        let (worker, session) = silent(policy.clone().on_silence(action).build().unwrap()).await;
        tokio::time::sleep(secs(59)).await;
        assert_eq!(session.status().await.unwrap().record().runs.last, None, "{action:?}");
        tokio::time::sleep(secs(3)).await;
        let status = session.status().await.unwrap();
        assert_eq!(run_ends(&session).await, [RunEnd::Cancelled], "{action:?}");
        match action {
            OnSilence::Expire => assert_eq!(status.state(), State::Expired),
            OnSilence::Restart => {
                assert_eq!(status.state(), State::Active);
                assert_eq!(status.record().runs.restarts, 1);
            }
            OnSilence::Pause => {
                assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined));
                session.resume().await.unwrap();
            }
        }
        assert_eq!(session.snapshot().await.unwrap().state.sum, 1, "{action:?}");
        assert_eq!(worker.workload.probe.most_live(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn g7_an_expired_run_that_cannot_be_cancelled_is_fenced_all_the_same() {
    let own = OwnRuntime::new();
    let policy = Policy::builder().heartbeat_timeout(secs(60)).build().unwrap();
    let worker = Worker::start_with(|b| b.policy(policy).workload_runtime(own.handle())).await;
    let open = worker.workload.probe.close_gate();
    let session = worker.session_with(|start| start.input(Do::Block)).await;
    let probe = Arc::clone(&worker.workload.probe);
    until("it blocks", || probe.blocked() == 1).await;
    session.wait_for(&[State::Expired]).await.unwrap();
    tokio::time::sleep(secs(10)).await;
    let version = session.status().await.unwrap().record().snapshots.clone();
    drop(open);
    until("it is gone", || probe.live() == 0).await;
    assert_eq!(session.status().await.unwrap().record().snapshots, version);
    assert_eq!(session.snapshot().await.unwrap().state.seen, [0; 0]);
    assert_eq!(run_ends(&session).await, [RunEnd::Abandoned]);
}

#[tokio::test(start_paused = true)]
async fn g7_silence_counts_towards_the_limit_of_restarts() {
    let restart = RestartPolicy {
        max_restarts: 2,
        within: secs(100_000),
        backoff: Backoff::NONE,
        ..Default::default()
    };
    let policy = Policy::builder().heartbeat_timeout(secs(60)).on_silence(OnSilence::Restart);
    let (_worker, session) = silent(policy.restart(restart).build().unwrap()).await;
    tokio::time::sleep(secs(200)).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined));
    assert_eq!(status.record().runs.count, 3);
}

#[tokio::test(start_paused = true)]
async fn g7_on_idle_does_what_the_policy_says() {
    for (action, state) in [(OnIdle::Pause, State::Paused), (OnIdle::Expire, State::Expired)] {
        let policy = Policy::builder().idle_timeout(secs(60)).on_idle(action).build().unwrap();
        let worker = Worker::with_policy(policy).await;
        let session = worker.session_with(|start| start.input(Do::Add(1))).await;
        tokio::time::sleep(secs(59)).await;
        assert_eq!(session.status().await.unwrap().state(), State::Active, "{action:?}");
        tokio::time::sleep(secs(1) + millis(200)).await;
        assert_eq!(session.status().await.unwrap().state(), state, "{action:?}");
        assert_eq!(session.snapshot().await.unwrap().state.sum, 1, "{action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn g7_limits_on_waiting_count_supervised_time_across_workers() {
    let policy = Policy::builder().paused_timeout(secs(600)).pending_timeout(secs(600));
    let policy = policy.build().unwrap();
    let set = |b: sessionkeeper::Builder| b.policy(policy.clone()).max_active(1);
    let mut worker = Worker::start_with(set).await;
    let running = worker.session_with(|s| s.input(Do::Await(secs(1_000_000)))).await;
    let pending = worker.session().await;
    let paused = worker.session().await;
    paused.pause().await.unwrap();
    for _ in 0..5 {
        tokio::time::sleep(secs(100)).await;
        for session in [&pending, &paused] {
            let state = worker.again(session).await.status().await.unwrap().state();
            assert!(matches!(state, State::Pending | State::Paused), "too early: {state}");
        }
        let Worker { store, workload, supervisor } = worker;
        drop(supervisor);
        // A weekend without a worker.
        tokio::time::sleep(secs(200_000)).await;
        worker = Worker::on(store, workload, set).await;
        worker.supervisor.recovered().await.unwrap();
    }
    // A crash may lose what is not stored yet, which is up to 15 s each time.
    tokio::time::sleep(secs(100 + 5 * 15 + 1)).await;
    for session in [&pending, &paused] {
        let session = worker.again(session).await;
        assert_eq!(session.status().await.unwrap().state(), State::Expired);
    }
    let running = worker.again(&running).await;
    assert_eq!(running.status().await.unwrap().state(), State::Active);
}

#[tokio::test(start_paused = true)]
async fn g7_a_shutdown_forgets_no_supervised_time() {
    let policy = Policy::builder().paused_timeout(secs(60)).build().unwrap();
    let mut worker = Worker::start().await;
    let paused = worker.session_with(|start| start.policy(policy)).await;
    paused.pause().await.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(secs(14)).await;
        worker = worker.replace().await;
    }
    let paused = worker.again(&paused).await;
    tokio::time::sleep(millis(3_900)).await;
    assert_eq!(paused.status().await.unwrap().state(), State::Paused);
    tokio::time::sleep(millis(200)).await;
    assert_eq!(paused.status().await.unwrap().state(), State::Expired);
}

#[tokio::test(start_paused = true)]
async fn g7_a_limit_on_waiting_is_kept_from_the_moment_it_begins() {
    let worker = Worker::start().await;
    let mut sessions = Vec::new();
    // Each is due before those that are known already.
    for limit in [600, 300, 60] {
        let policy = Policy::builder().paused_timeout(secs(limit)).build().unwrap();
        let session = worker.session_with(|start| start.policy(policy)).await;
        session.pause().await.unwrap();
        sessions.push((limit, session, Instant::now()));
        tokio::time::sleep(secs(1)).await;
    }
    for (limit, session, paused) in sessions.into_iter().rev() {
        tokio::time::sleep_until(paused + secs(limit) - millis(100)).await;
        assert_eq!(session.status().await.unwrap().state(), State::Paused, "{limit} s");
        tokio::time::sleep(millis(200)).await;
        assert_eq!(session.status().await.unwrap().state(), State::Expired, "{limit} s");
    }
}

#[tokio::test(start_paused = true)]
async fn g7_a_quarantined_session_waits_without_limit() {
    let restart = RestartPolicy { max_restarts: 0, ..Default::default() };
    let policy = Policy::builder().paused_timeout(secs(60)).restart(restart).build().unwrap();
    let worker = Worker::with_policy(policy).await;
    let session = worker.session_with(|start| start.input(Do::FailTimes(1))).await;
    tokio::time::sleep(secs(1000)).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined));
    session.resume().await.unwrap();
    assert_eq!(drained(&session).await.sum, 1);
}
