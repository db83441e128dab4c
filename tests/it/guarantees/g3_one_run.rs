//! G3: one current run per session; a stale run can change nothing.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use sessionkeeper::{
    Activity, Builder, EmitError, Event, OnSilence, Outcome, PauseCause, Policy, RunEnd, RunError,
    SendError, SessionError, SessionHandle, State, Usage, WhileAbandoned,
};

use super::kit::{
    Custom, OwnRuntime, custom, log, millis, run_ends, secs, start_on, tap, tireless, until,
};
use crate::support::{Do, Scripted, Worker, drained};

/// Blocks on its first input until the gate opens, then tries whatever a run can try.
fn stubborn(tried: &Arc<Mutex<Vec<String>>>, gate: std::sync::mpsc::Receiver<()>) -> Custom {
    let tried = Arc::clone(tried);
    let gate = Arc::new(Mutex::new(Some(gate)));
    Custom::new(move |cx| {
        let (tried, gate) = (Arc::clone(&tried), Arc::clone(&gate));
        Box::pin(async move {
            while let Some(number) = cx.next_input().await? {
                cx.state_mut().push(*number);
                let gate = gate.lock().unwrap().take();
                let Some(gate) = gate else { continue };
                tried.lock().unwrap().push("blocked".to_owned());
                let _ = gate.recv();
                cx.state_mut().push(999);
                let emitted = cx.emit(Event::custom("stale", 1)).await;
                let emitted = matches!(emitted, Err(EmitError::Fenced { .. }));
                cx.record_usage(Usage::tokens(1_000_000, 0));
                let saved = matches!(cx.save_progress().await, Err(RunError::Fenced { .. }));
                let checkpoint = matches!(cx.checkpoint().await, Err(RunError::Fenced { .. }));
                let next = matches!(cx.next_input().await, Err(RunError::Fenced { .. }));
                let all = format!("{emitted} {saved} {checkpoint} {next}");
                tried.lock().unwrap().push(all);
            }
            Ok(Outcome::Yielded)
        })
    })
}

#[tokio::test(start_paused = true)]
async fn g3_a_run_that_outlives_its_worker_can_change_nothing() {
    let own = OwnRuntime::new();
    let tap = tap();
    let (open, gate) = std::sync::mpsc::channel();
    let tried = Arc::default();
    let workload = stubborn(&tried, gate);
    let supervisor =
        start_on(tap.clone(), workload.clone(), |b| b.workload_runtime(own.handle())).await;
    let session = custom(&supervisor).await;
    session.send(1).await.unwrap();
    until("it blocks", || tried.lock().unwrap().len() == 1).await;
    drop(supervisor);

    let supervisor = start_on(tap.clone(), workload, |b| b).await;
    supervisor.recovered().await.unwrap();
    let session: SessionHandle<Custom> =
        supervisor.session(session.id()).await.unwrap().typed().unwrap();
    session.send(2).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    let before = log(&session).await.len();
    drop(open);
    until("the stale run has tried", || tried.lock().unwrap().len() == 2).await;
    assert_eq!(tried.lock().unwrap()[1], "true true true true", "what was refused to it");
    tokio::time::sleep(secs(1)).await;
    assert_eq!(session.snapshot().await.unwrap().state, [1, 2]);
    assert_eq!(log(&session).await.len(), before, "it left no event");
    assert_eq!(session.status().await.unwrap().record().usage.input_tokens(), 0);
}

#[tokio::test(start_paused = true)]
async fn g3_an_abandoned_run_can_change_nothing_and_keeps_the_next_one_waiting() {
    let own = OwnRuntime::new();
    let tap = tap();
    let (open, gate) = std::sync::mpsc::channel();
    let tried = Arc::default();
    let workload = stubborn(&tried, gate);
    let supervisor = start_on(tap.clone(), workload, |b| b.workload_runtime(own.handle())).await;
    let session = custom(&supervisor).await;
    session.send(1).await.unwrap();
    until("it blocks", || tried.lock().unwrap().len() == 1).await;
    session.pause().await.unwrap();
    let status = session.status().await.unwrap();
    assert_eq!(status.abandoned().len(), 1);
    let error = session.resume().await.unwrap_err();
    assert!(matches!(error, SessionError::RunStillAlive { .. }), "{error}");
    drop(open);
    until("the stale run has tried", || tried.lock().unwrap().len() == 2).await;
    assert_eq!(tried.lock().unwrap()[1], "true true true true", "what was refused to it");
    for _ in 0..1000 {
        if session.status().await.unwrap().abandoned().is_empty() {
            break;
        }
        until("it has returned", || true).await;
        tokio::time::sleep(millis(1)).await;
    }
    session.resume().await.unwrap();
    for _ in 0..1000 {
        if session.snapshot().await.unwrap().state == [1] {
            return;
        }
        std::thread::yield_now();
        tokio::time::sleep(millis(1)).await;
    }
    panic!("the input is not worked off: {:?}", session.snapshot().await);
}

#[tokio::test(start_paused = true)]
async fn g3_a_resume_while_a_blocked_run_is_given_up_begins_no_second_one() {
    for allowed in [WhileAbandoned::RefuseResume, WhileAbandoned::AllowResume] {
        let own = OwnRuntime::new();
        let policy = Policy::builder().while_abandoned(allowed).build().unwrap();
        let worker = Worker::start_with(|b| b.policy(policy).workload_runtime(own.handle())).await;
        let _open = worker.workload.probe.close_gate();
        let session = worker.session_with(|start| start.input(Do::Block)).await;
        let probe = Arc::clone(&worker.workload.probe);
        until("it blocks", || probe.blocked() == 1).await;
        let pause = tokio::spawn({
            let session = session.clone();
            async move { session.pause().await }
        });
        // Past the grace of the pause, and before the run is given up.
        tokio::time::sleep(secs(31)).await;
        session.resume().await.unwrap();
        assert!(matches!(pause.await.unwrap(), Err(SessionError::Superseded { .. })));
        tokio::time::sleep(secs(60)).await;
        let status = session.status().await.unwrap();
        assert_eq!(run_ends(&session).await.first(), Some(&RunEnd::Abandoned));
        match allowed {
            WhileAbandoned::RefuseResume => {
                assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined));
                assert_eq!(probe.runs(), 1);
            }
            WhileAbandoned::AllowResume => {
                until("the next run begins", || probe.runs() == 2).await;
            }
        }
    }
}

/// It blocks its thread until it is taken for dead, and comes back before it is given up.
#[tokio::test(start_paused = true)]
async fn g3_a_silent_run_that_comes_back_can_change_nothing() {
    for (action, waiting, state) in
        [(OnSilence::Pause, 1, vec![]), (OnSilence::Restart, 0, vec![7])]
    {
        let own = OwnRuntime::new();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(Some(gate)));
        let blocked = Arc::clone(&gate);
        let workload = Custom::new(move |cx| {
            let gate = Arc::clone(&gate);
            Box::pin(async move {
                while let Some(number) = cx.next_input().await? {
                    let gate = gate.lock().unwrap().take();
                    if let Some(gate) = gate {
                        let _ = gate.recv();
                        cx.state_mut().push(999);
                        cx.checkpoint().await?;
                    }
                    cx.state_mut().push(*number);
                }
                Ok(Outcome::Yielded)
            })
        });
        let policy = Policy::builder().heartbeat_timeout(secs(60)).cancel_grace(secs(1_000));
        let policy = policy.on_silence(action).restart(tireless()).build().unwrap();
        let set = |b: Builder| b.policy(policy).workload_runtime(own.handle());
        let supervisor = start_on(tap(), workload.clone(), set).await;
        let session = custom(&supervisor).await;
        session.send(7).await.unwrap();
        until("it blocks", || blocked.lock().unwrap().is_none()).await;
        tokio::time::sleep(secs(61)).await;
        drop(open);
        until("it is gone", || workload.ends().len() == 1).await;
        // Its thread takes its own time, and virtual time stands still for it.
        for _ in 0..1_000_000 {
            let status = session.status().await.unwrap();
            let goes_on = status.record().runs.count == 2 && status.activity() == &Activity::Idle;
            if goes_on || status.state() == State::Paused {
                break;
            }
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
        assert_eq!(run_ends(&session).await, [RunEnd::Cancelled], "{action:?}");
        assert_eq!(session.snapshot().await.unwrap().state, state, "{action:?}");
        let status = session.status().await.unwrap();
        assert_eq!(status.record().inbox.waiting(), waiting, "{action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn g3_a_second_worker_on_the_store_fences_the_first() {
    let worker = Worker::start().await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(worker.session_with(|start| start.input(Do::Add(1))).await);
    }
    for session in &sessions {
        drained(session).await;
    }
    let second = Worker::on(worker.store.clone(), Scripted::default(), |b| b).await;
    let report = second.supervisor.recovered().await.unwrap();
    assert_eq!(report.resumed.len(), 20);

    let error = sessions[0].send(Do::Add(1_000_000)).await.unwrap_err();
    assert!(
        matches!(
            error,
            SendError::Session(
                SessionError::OutcomeUnknown { .. } | SessionError::ShuttingDown { .. }
            )
        ),
        "{error}"
    );
    tokio::time::sleep(secs(30)).await;
    let live = worker.workload.probe.live();
    assert_eq!(live, 0, "runs of a worker that was taken over go on");
    for session in &sessions {
        let error = session.pause().await.unwrap_err();
        assert!(matches!(error, SessionError::ShuttingDown { .. }), "{error}");
    }
    for session in &sessions {
        let session = second.again(session).await;
        session.send(Do::Add(10)).await.unwrap();
        let done = drained(&session).await;
        assert_eq!((done.sum, done.seen), (11, vec![1, 2]));
        assert_eq!(session.status().await.unwrap().state(), State::Active);
    }
    let report = worker.supervisor.shutdown(secs(10)).await;
    assert!(report.took <= secs(10));
    assert_eq!(second.workload.probe.live(), 20);
}

#[tokio::test(start_paused = true)]
async fn g3_whatever_is_asked_of_a_session_it_has_one_run_at_a_time() {
    for seed in 0..10 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let worker = Worker::start().await;
        let session = worker.session().await;
        let mut asked = Vec::new();
        for _ in 0..200 {
            let session = session.clone();
            let what = rng.u32(0..8);
            asked.push(tokio::spawn(async move {
                match what {
                    0 => drop(session.pause().await),
                    1 => drop(session.stop().await),
                    2 => drop(session.kill().await),
                    3 | 4 => drop(session.resume().await),
                    5 => drop(session.send(Do::PanicTimes(1)).await),
                    6 => drop(session.send(Do::Deaf(secs(2))).await),
                    _ => drop(session.send(Do::Add(1)).await),
                }
            }));
            if rng.u32(0..3) > 0 {
                tokio::time::sleep(millis(rng.u64(0..3000))).await;
            }
        }
        for asked in asked {
            tokio::time::timeout(secs(600), asked).await.expect("a caller hears nothing").unwrap();
        }
        let probe = &worker.workload.probe;
        assert_eq!(probe.most_live(), 1, "seed {seed}");
        assert!(probe.runs() > 10, "seed {seed}: hardly any runs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g3_no_run_outlives_a_worker_that_is_lost_while_it_starts_them() {
    let live = Arc::new(AtomicU32::new(0));
    for round in 0..60_u32 {
        let counted = Arc::clone(&live);
        let workload = Custom::new(move |cx| {
            let live = Arc::clone(&counted);
            Box::pin(async move {
                live.fetch_add(1, Ordering::SeqCst);
                let _gone = Gone(live);
                super::kit::collect(cx).await
            })
        });
        let supervisor = start_on(tap(), workload, |b| b).await;
        for _ in 0..8 {
            custom(&supervisor).await;
        }
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        drop(supervisor);
    }
    let ended = tokio::time::timeout(secs(15), async {
        while live.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(millis(1)).await;
        }
    });
    assert!(ended.await.is_ok(), "{} runs are left behind", live.load(Ordering::SeqCst));
}

struct Gone(Arc<AtomicU32>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
