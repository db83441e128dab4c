//! G10: a shutdown fits its budget, and says what became of each session.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sessionkeeper::{
    Backoff, Cause, Fact, Lifecycle, Policy, RestartPolicy, RunEnd, SendError, SessionError,
    SessionHandle, ShutdownOutcome, StartError, State, store::Fault,
};
use tokio::time::Instant;

use super::kit::{OwnRuntime, millis, secs, until};
use crate::support::{BUDGET, Do, Done, Scripted, Worker, drained};

/// Shuts down, and checks that it takes no longer than it may and names each session once.
async fn shut_down(
    name: &str,
    worker: &Worker,
    budget: Duration,
    sessions: &[SessionHandle<Scripted>],
) -> Arc<sessionkeeper::ShutdownReport> {
    let began = Instant::now();
    let shutdown = worker.supervisor.shutdown(budget);
    let report = tokio::time::timeout(budget + secs(3600), shutdown).await.expect(name);
    assert!(began.elapsed() <= budget, "{name}: took {:?} of {budget:?}", began.elapsed());
    assert!(report.took <= budget, "{name}");
    let named: Vec<_> = report.lines.iter().map(|line| line.session).collect();
    let expected: BTreeSet<_> = sessions.iter().map(|session| session.id()).collect();
    assert_eq!(named.len(), expected.len(), "{name}: one line each\n{report}");
    assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), expected, "{name}\n{report}");
    assert_eq!(report.to_string().lines().count(), sessions.len() + 1, "{name}");
    report
}

fn outcomes(report: &sessionkeeper::ShutdownReport) -> Vec<&ShutdownOutcome> {
    report.lines.iter().map(|line| &line.outcome).collect()
}

const RESTED: ShutdownOutcome =
    ShutdownOutcome::Rested { state: State::Paused, end: Some(RunEnd::Yielded) };
const CANCELLED: ShutdownOutcome =
    ShutdownOutcome::Rested { state: State::Paused, end: Some(RunEnd::Cancelled) };

#[tokio::test(start_paused = true)]
async fn g10_whatever_sessions_do_a_shutdown_fits_its_budget() {
    let kinds: &[(&str, Do, ShutdownOutcome, Duration)] = &[
        ("resting", Do::Add(1), RESTED, millis(100)),
        ("soon done", Do::Deaf(secs(4)), RESTED, secs(5)),
        ("deaf", Do::Deaf(secs(100_000)), CANCELLED, BUDGET),
        ("silent", Do::Silent(secs(100_000)), CANCELLED, BUDGET),
        ("awaiting", Do::Await(secs(100_000)), CANCELLED, BUDGET),
        ("busy", Do::Busy { limit: secs(100_000), takes: secs(100_000) }, CANCELLED, BUDGET),
    ];
    for (name, what, outcome, time) in kinds {
        let worker = Worker::start().await;
        let mut sessions = Vec::new();
        for _ in 0..20 {
            sessions.push(worker.session_with(|start| start.input(what.clone())).await);
        }
        tokio::time::sleep(secs(1)).await;
        let report = shut_down(name, &worker, BUDGET, &sessions).await;
        assert!(report.took <= *time, "{name}: {:?}", report.took);
        assert!(outcomes(&report).into_iter().all(|o| o == outcome), "{name}: {report}");
        let live = worker.workload.probe.live();
        assert_eq!(live, 0, "{name}: runs are left");
        // Whatever it was, it goes on.
        let worker = Worker::on(worker.store, worker.workload, |b| b).await;
        let recovered = worker.supervisor.recovered().await.unwrap();
        assert_eq!(recovered.resumed.len(), 20, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn g10_even_a_tiny_budget_names_each_session() {
    for budget in [0, 1, 2, 10, 100, 1000] {
        let worker = Worker::start().await;
        let mut sessions = Vec::new();
        for what in [Do::Add(1), Do::Deaf(secs(1000)), Do::Silent(secs(1000))] {
            sessions.push(worker.session_with(|start| start.input(what)).await);
        }
        tokio::time::sleep(secs(1)).await;
        let stall = worker.store.stall();
        let name = format!("{budget} ms, stalled");
        let report = shut_down(&name, &worker, millis(budget), &sessions).await;
        assert!(outcomes(&report).into_iter().all(|o| *o == ShutdownOutcome::Unsettled));
        drop(stall);
        let worker = Worker::on(worker.store, worker.workload, |b| b).await;
        assert_eq!(worker.supervisor.recovered().await.unwrap().resumed.len(), 3, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn g10_a_store_that_stalls_or_fails_does_not_hold_a_shutdown_up() {
    for stalls in [true, false] {
        let worker = Worker::start().await;
        let mut sessions = Vec::new();
        for what in [Do::Add(1), Do::Deaf(secs(3)), Do::Silent(secs(1000))] {
            sessions.push(worker.session_with(|start| start.input(what)).await);
        }
        tokio::time::sleep(secs(1)).await;
        let stall = stalls.then(|| worker.store.stall());
        if !stalls {
            worker.store.fail(Fault::NothingDone);
        }
        let name = if stalls { "stalls" } else { "fails" };
        let report = shut_down(name, &worker, secs(10), &sessions).await;
        assert!(
            outcomes(&report).into_iter().all(|o| *o == ShutdownOutcome::Unsettled),
            "{report}"
        );
        drop(stall);
        worker.store.mend();
        let _ = sessionkeeper::store::Store::heal(&worker.store).await;
        let worker = Worker::on(worker.store, worker.workload, |b| b).await;
        assert_eq!(worker.supervisor.recovered().await.unwrap().resumed.len(), 3, "{name}");
        let session = worker.again(&sessions[0]).await;
        assert_eq!(drained(&session).await.sum, 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn g10_a_store_that_stalls_for_a_while_lets_a_shutdown_end_well() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Add(1))).await;
    drained(&session).await;
    let stall = worker.store.stall();
    tokio::spawn(async move {
        tokio::time::sleep(secs(5)).await;
        drop(stall);
    });
    let report = shut_down("stalls for 5 s", &worker, BUDGET, &[session]).await;
    assert_eq!(outcomes(&report), [&RESTED]);
}

#[tokio::test(start_paused = true)]
async fn g10_blocked_runs_are_abandoned_and_resume_from_their_last_checkpoint() {
    let own = OwnRuntime::new();
    let worker = Worker::start_with(|b| b.workload_runtime(own.handle())).await;
    let probe = Arc::clone(&worker.workload.probe);
    let session = worker.session().await;
    let gate = probe.close_gate();
    session.send(Do::Block).await.unwrap();
    until("it blocks", || probe.blocked() == 1).await;
    let report = shut_down("blocked", &worker, BUDGET, std::slice::from_ref(&session)).await;
    let abandoned = ShutdownOutcome::Rested { state: State::Paused, end: Some(RunEnd::Abandoned) };
    assert_eq!(outcomes(&report), [&abandoned]);
    let worker = Worker::on(worker.store, worker.workload, |b| b).await;
    worker.supervisor.recovered().await.unwrap();
    let session = worker.again(&session).await;
    assert_eq!(drained(&session).await.seen, [1]);
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn g10_sessions_without_a_run_are_taken_care_of_too() {
    let restart = RestartPolicy {
        backoff: Backoff { initial: secs(100), factor: 1.0, max: secs(100), jitter: 0.0 },
        ..RestartPolicy::default()
    };
    let policy = Policy::builder().restart(restart).build().unwrap();
    let worker = Worker::start_with(|b| b.policy(policy).max_active(2)).await;
    let restarting = worker.session_with(|start| start.input(Do::FailTimes(1))).await;
    let running = worker.session().await;
    let pending = worker.session_with(|start| start.input(Do::Add(1))).await;
    tokio::time::sleep(secs(1)).await;
    assert!(restarting.status().await.unwrap().activity().to_string().starts_with("restarting"));
    let report = shut_down("between runs", &worker, BUDGET, &[restarting.clone(), running]).await;
    assert!(report.took < secs(1), "{:?}", report.took);
    let worker = Worker::on(worker.store, worker.workload, |b| b).await;
    worker.supervisor.recovered().await.unwrap();
    let restarting = worker.again(&restarting).await;
    assert_eq!(drained(&restarting).await.sum, 1);
    let pending = worker.again(&pending).await;
    assert_eq!(drained(&pending).await.sum, 1);
}

#[tokio::test(start_paused = true)]
async fn g10_a_second_shutdown_shares_the_first() {
    let worker = Worker::start().await;
    let _deaf = worker.session_with(|start| start.input(Do::Deaf(secs(1000)))).await;
    tokio::time::sleep(secs(1)).await;
    let mut calls = Vec::new();
    for _ in 0..10 {
        let supervisor = worker.supervisor.clone();
        calls.push(tokio::spawn(async move { supervisor.shutdown(BUDGET).await }));
        tokio::time::sleep(millis(100)).await;
    }
    let mut reports = Vec::new();
    for call in calls {
        reports.push(call.await.unwrap());
    }
    let again = worker.supervisor.shutdown(secs(1)).await;
    assert!(reports.iter().all(|report| Arc::ptr_eq(report, &again)));
    // Dropping the call withdraws nothing.
    let worker = Worker::start().await;
    let session = worker.session().await;
    let dropped = tokio::time::timeout(millis(1), worker.supervisor.shutdown(BUDGET)).await;
    drop(dropped);
    let _ = worker.supervisor.shutdown(BUDGET).await;
    assert!(session.pause().await.is_err());
}

/// What was begun goes on, though nobody waits for it or has the supervisor any more.
#[tokio::test(start_paused = true)]
async fn g10_a_shutdown_outlives_the_last_clone_of_its_supervisor() {
    let Worker { store, workload, supervisor } = Worker::start().await;
    let start = Scripted::start().input(Do::Deaf(secs(8)));
    let session = supervisor.start(start).await.unwrap().into_handle();
    tokio::time::sleep(secs(1)).await;
    let dropped = tokio::time::timeout(secs(1), supervisor.shutdown(BUDGET)).await;
    assert!(dropped.is_err(), "the run is deaf for longer");
    drop(supervisor);
    tokio::time::sleep(BUDGET).await;
    let worker = Worker::on(store, workload, |builder| builder).await;
    let session = worker.again(&session).await;
    let events = session.events(1..=99, 99).await.unwrap();
    let paused = events.iter().any(|event| {
        let to_pause = (State::Active, State::Paused, Cause::Shutdown);
        matches!(
            &event.fact,
            Fact::Lifecycle(Lifecycle::StateChanged { from, to, cause, .. })
                if (*from, *to, *cause) == to_pause
        )
    });
    assert!(paused, "{events:?}");
    assert_eq!(drained(&session).await.seen, [1], "its turn had come to its end");
}

#[tokio::test(start_paused = true)]
async fn g10_afterwards_every_verb_says_so() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    let waiting = tokio::spawn({
        let session = session.clone();
        async move { session.settled().await }
    });
    tokio::time::sleep(secs(1)).await;
    worker.supervisor.shutdown(BUDGET).await;
    let over = |error: &SessionError| matches!(error, SessionError::ShuttingDown { .. });
    assert!(over(&session.pause().await.unwrap_err()));
    assert!(over(&session.resume().await.unwrap_err()));
    assert!(over(&session.stop().await.unwrap_err()));
    assert!(over(&session.complete().await.unwrap_err()));
    assert!(over(&session.fail("why").await.unwrap_err()));
    assert!(over(&session.set_labels(Default::default()).await.unwrap_err()));
    let sent = session.send(Do::Add(1)).await.unwrap_err();
    assert!(matches!(&sent, SendError::Session(error) if over(error)), "{sent}");
    let start = sessionkeeper::Start::<Scripted>::new(Done::default());
    let start = worker.supervisor.start(start).await.unwrap_err();
    assert!(matches!(&start, StartError::Session(error) if over(error)), "{start}");
    assert!(worker.supervisor.slot().await.is_err());
    assert!(waiting.await.unwrap().is_err(), "who waits is told");
}

#[tokio::test(start_paused = true)]
async fn g10_a_shutdown_during_a_recovery_loses_nothing() {
    for after in [0, 1, 5, 20, 100] {
        let worker = Worker::start().await;
        let mut sessions = Vec::new();
        for _ in 0..100 {
            let session = worker.session_with(|start| start.input(Do::Add(1))).await;
            session.send(Do::Beat { every: secs(1), times: 5 }).await.unwrap();
            sessions.push(session);
        }
        tokio::time::sleep(secs(1)).await;
        let Worker { store, workload, supervisor } = worker;
        drop(supervisor);
        let worker = Worker::on(store, workload, |b| b.resume_at_once(4)).await;
        tokio::time::sleep(millis(after)).await;
        let began = Instant::now();
        worker.supervisor.shutdown(secs(10)).await;
        assert!(began.elapsed() <= secs(10));
        let worker = Worker::on(worker.store, worker.workload, |b| b).await;
        worker.supervisor.recovered().await.unwrap();
        for session in &sessions {
            let session = worker.again(session).await;
            assert_eq!(drained(&session).await.seen, [1, 2], "after {after} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g10_a_shutdown_in_the_middle_of_everything_answers_everybody() {
    for seed in 0..12 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let worker = Worker::start_with(|b| b.max_active(6)).await;
        let mut sessions = Vec::new();
        for _ in 0..10 {
            let what = if rng.bool() { Do::Add(1) } else { Do::Deaf(secs(rng.u64(1..30))) };
            sessions.push(worker.session_with(|start| start.input(what)).await);
        }
        tokio::time::sleep(millis(rng.u64(0..2000))).await;
        let mut calls = Vec::new();
        for _ in 0..60 {
            let session = sessions[rng.usize(0..10)].clone();
            let (what, when) = (rng.u32(0..6), millis(rng.u64(0..4000)));
            calls.push(tokio::spawn(async move {
                tokio::time::sleep(when).await;
                match what {
                    0 => drop(session.pause().await),
                    1 => drop(session.resume().await),
                    2 => drop(session.stop().await),
                    3 => drop(session.send(Do::Add(1)).await),
                    4 => drop(session.set_labels(Default::default()).await),
                    _ => drop(session.complete().await),
                }
            }));
        }
        tokio::time::sleep(millis(rng.u64(0..3000))).await;
        let began = Instant::now();
        let report = worker.supervisor.shutdown(secs(8)).await;
        assert!(began.elapsed() <= secs(8), "seed {seed}: {:?}", began.elapsed());
        let mut named: Vec<_> = report.lines.iter().map(|line| line.session).collect();
        named.dedup();
        assert_eq!(named.len(), report.lines.len(), "seed {seed}: twice\n{report}");
        for call in calls {
            let answered = tokio::time::timeout(secs(10), call).await;
            answered.unwrap_or_else(|_| panic!("seed {seed}: a caller hears nothing")).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g10_a_budget_without_an_end_is_as_good_as_a_long_one() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Deaf(secs(3600)))).await;
    tokio::time::sleep(secs(1)).await;
    let report = worker.supervisor.shutdown(Duration::MAX).await;
    assert_eq!(report.lines.len(), 1, "{report}");
    assert_eq!(report.lines[0].session, session.id());
    assert!(report.to_string().contains("paused, its run yielded"), "{report}");
}
