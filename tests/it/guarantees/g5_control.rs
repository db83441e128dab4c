//! G5: control always answers, and says honestly what became of a run.

use std::{sync::Arc, time::Duration};

use sessionkeeper::{
    Event, Outcome, PauseCause, Policy, RunEnd, SessionError, SessionHandle, Start, State,
    Supervisor, YieldReason,
    store::MemoryStore,
    testing::{Call, Interference},
};
use tokio::time::Instant;

use super::kit::{
    Custom, OwnRuntime, custom, custom_with, millis, run_ends, secs, start_on, tap, until,
};
use crate::support::{BUDGET, Do, Done, Scripted, Worker, drained};

async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let out = tokio::time::timeout(secs(3600), future).await.expect(what);
    assert!(began.elapsed() <= limit, "{what} took {:?}, not {limit:?}", began.elapsed());
    out
}

/// A session with an input, on a store that takes so long for a commit that a flood lasts.
async fn on_a_slow_store(workload: &Scripted, input: Do) -> (Supervisor, SessionHandle<Scripted>) {
    let store = tap();
    store.inject(|call| match call {
        Call::Commit => Interference::Delay { before: millis(40), after: millis(0) },
        _ => Interference::None,
    });
    let supervisor = start_on(store, workload.clone(), |b| b).await;
    let start = Start::<Scripted>::new(Done::default()).input(input);
    let session = supervisor.start(start).await.unwrap().into_handle();
    (supervisor, session)
}

/// Ways to be busy when somebody wants something, and how such a run ends.
fn stuck() -> Vec<(&'static str, Do, RunEnd)> {
    vec![
        ("in an await", Do::Silent(secs(100_000)), RunEnd::Cancelled),
        ("deaf and beating", Do::Deaf(secs(100_000)), RunEnd::Cancelled),
        ("declared busy", Do::Busy { limit: secs(900), takes: secs(900) }, RunEnd::Cancelled),
        ("asking a person", Do::Await(secs(100_000)), RunEnd::Cancelled),
        ("flooding its log", Do::Emit(800_000), RunEnd::Yielded),
        ("soon done", Do::Deaf(secs(3)), RunEnd::Yielded),
    ]
}

#[tokio::test(start_paused = true)]
async fn g5_a_stop_is_answered_at_once_and_ends_within_its_graces() {
    for (name, what, end) in stuck() {
        let workload = Scripted::default();
        let (_supervisor, session) = on_a_slow_store(&workload, what).await;
        tokio::time::sleep(secs(1)).await;
        let stop = within(name, millis(100), session.stop()).await.unwrap();
        assert_eq!(session.status().await.unwrap().state(), State::Stopping, "{name}");
        let report = within(name, secs(16), stop.ended()).await.unwrap();
        assert_eq!(report.end, Some(end), "{name}");
        assert_eq!(session.status().await.unwrap().state(), State::Stopped, "{name}");
        assert_eq!(workload.probe.closed(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn g5_a_kill_is_answered_at_once_and_ends_at_once() {
    for (name, what, _) in stuck() {
        let workload = Scripted::default();
        let (_supervisor, session) = on_a_slow_store(&workload, what).await;
        tokio::time::sleep(secs(1)).await;
        let stop = within(name, millis(100), session.kill()).await.unwrap();
        let report = within(name, millis(200), stop.ended()).await.unwrap();
        assert_eq!(report.end, Some(RunEnd::Cancelled), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn g5_a_pause_ends_within_its_graces() {
    for (name, what, end) in stuck() {
        let (_supervisor, session) = on_a_slow_store(&Scripted::default(), what).await;
        tokio::time::sleep(secs(1)).await;
        let pausing = tokio::spawn({
            let session = session.clone();
            async move { session.pause().await }
        });
        tokio::time::sleep(secs(1)).await;
        let status = within(name, millis(1), session.status()).await.unwrap();
        assert_eq!(status.state(), State::Active, "{name}: paused before it is at rest");
        assert_eq!(status.activity().to_string(), "pausing", "{name}");
        within(name, secs(35), pausing).await.unwrap().unwrap();
        assert_eq!(run_ends(&session).await, [end], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn g5_a_watcher_sees_that_a_session_is_pausing() {
    use futures::StreamExt;
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Deaf(secs(10)))).await;
    tokio::time::sleep(secs(1)).await;
    let mut statuses = session.watch().await.unwrap();
    statuses.next().await.unwrap();
    let _pausing = tokio::spawn({
        let session = session.clone();
        async move { session.pause().await }
    });
    let next = tokio::time::timeout(secs(5), statuses.next()).await.expect("it sees nothing");
    assert_eq!(next.unwrap().activity().to_string(), "pausing");
}

#[tokio::test(start_paused = true)]
async fn g5_control_works_while_all_threads_of_the_workloads_are_blocked() {
    let own = OwnRuntime::new();
    let worker = Worker::start_with(|b| b.workload_runtime(own.handle())).await;
    let probe = Arc::clone(&worker.workload.probe);
    let mut gates = Vec::new();
    let mut blocked = Vec::new();
    for number in 1..=2 {
        gates.push(probe.close_gate());
        blocked.push(worker.session_with(|start| start.input(Do::Block)).await);
        until("it blocks", || probe.blocked() == number).await;
    }
    // Nothing is left to run these on.
    let starving = worker.session_with(|start| start.input(Do::Add(1))).await;
    within("status", millis(1), starving.status()).await.unwrap();
    within("send", millis(10), starving.send(Do::Add(1))).await.unwrap();

    let stop = within("stop", millis(10), blocked[0].stop()).await.unwrap();
    let report = within("the end of it", secs(16), stop.ended()).await.unwrap();
    assert_eq!(report.end, Some(RunEnd::Abandoned));
    let status = blocked[0].status().await.unwrap();
    assert_eq!(status.state(), State::Stopped);
    assert_eq!(status.abandoned(), [report.run.unwrap()]);
    let error = blocked[0].resume().await.unwrap_err();
    assert!(matches!(error, SessionError::RunStillAlive { .. }), "{error}");

    within("pause", secs(36), blocked[1].pause()).await.unwrap();
    assert_eq!(run_ends(&blocked[1]).await, [RunEnd::Abandoned]);
    assert_eq!(probe.closed(), 0, "what is abandoned is not closed yet");
    within("shutdown", BUDGET, worker.supervisor.shutdown(BUDGET)).await;

    drop(gates);
    until("they come back", || probe.closed() >= 2).await;
}

#[tokio::test(start_paused = true)]
async fn g5_a_stop_beats_a_completion_that_comes_later() {
    let workload = Custom::new(|cx| {
        Box::pin(async move {
            let number = cx.next_input().await?.map_or(0, |number| *number);
            cx.state_mut().push(number);
            cx.yield_requested().await;
            tokio::time::sleep(secs(1)).await;
            Ok(Outcome::Completed)
        })
    });
    let supervisor = start_on(MemoryStore::new(), workload, |b| b).await;
    let session = custom_with(&supervisor, 5).await;
    tokio::time::sleep(secs(1)).await;
    let report = session.stop().await.unwrap().ended().await.unwrap();
    assert_eq!(report.end, Some(RunEnd::Completed));
    assert_eq!(session.status().await.unwrap().state(), State::Stopped);
    assert_eq!(session.snapshot().await.unwrap().state, [5], "its last state is kept");
}

#[tokio::test(start_paused = true)]
async fn g5_fifty_stops_are_one_stop_and_the_shortest_grace_counts() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Deaf(secs(1000)))).await;
    tokio::time::sleep(secs(1)).await;
    let began = Instant::now();
    let mut ends = Vec::new();
    for number in 0..50 {
        let session = session.clone();
        ends.push(tokio::spawn(async move {
            let grace = if number == 49 { secs(2) } else { secs(8) };
            session.stop_within(grace).await.unwrap().ended().await.unwrap()
        }));
    }
    for end in ends {
        assert_eq!(end.await.unwrap().end, Some(RunEnd::Cancelled));
    }
    assert!(began.elapsed() < secs(3), "{:?}", began.elapsed());
    let status = session.status().await.unwrap();
    assert_eq!(status.record().runs.count, 1);
    assert_eq!(run_ends(&session).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn g5_the_later_of_pause_and_resume_wins() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Deaf(secs(20)))).await;
    session.send(Do::Add(1)).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    let pause = tokio::spawn({
        let session = session.clone();
        async move { session.pause().await }
    });
    tokio::time::sleep(secs(2)).await;
    session.resume().await.unwrap();
    let error = pause.await.unwrap().unwrap_err();
    assert!(matches!(error, SessionError::Superseded { by: "resume", .. }), "{error}");
    assert_eq!(drained(&session).await.sum, 1);
    assert_eq!(session.status().await.unwrap().record().runs.count, 1, "it was never interrupted");
}

#[tokio::test(start_paused = true)]
async fn g5_a_resume_that_comes_while_a_pause_is_being_committed_is_not_lost() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    tokio::time::sleep(secs(1)).await;
    let stall = worker.store.stall();
    let pause = tokio::spawn({
        let session = session.clone();
        async move { session.pause().await }
    });
    tokio::time::sleep(secs(1)).await;
    let resume = tokio::spawn({
        let session = session.clone();
        async move { session.resume().await }
    });
    tokio::time::sleep(secs(1)).await;
    drop(stall);
    resume.await.unwrap().unwrap();
    let _ = pause.await.unwrap();
    tokio::time::sleep(secs(1)).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.state(), State::Active, "the resume was granted, and came later");
}

#[tokio::test(start_paused = true)]
async fn g5_a_pause_that_comes_while_the_end_of_a_run_is_being_committed_is_not_lost() {
    for what in [Do::PanicTimes(1), Do::FailTimes(1), Do::Yield] {
        let worker = Worker::start().await;
        let session = worker.session().await;
        tokio::time::sleep(secs(1)).await;
        session.send(Do::Beat { every: secs(1), times: 2 }).await.unwrap();
        session.send(what.clone()).await.unwrap();
        tokio::time::sleep(millis(1_500)).await;
        // The commit that ends the turn before it goes through, the one of the end does not.
        tokio::time::sleep(millis(499)).await;
        let stall = worker.store.stall();
        tokio::time::sleep(secs(1)).await;
        drop(stall);
        let stall = worker.store.stall();
        tokio::time::sleep(millis(10)).await;
        let pause = tokio::spawn({
            let session = session.clone();
            async move { session.pause().await }
        });
        tokio::time::sleep(secs(5)).await;
        assert!(!pause.is_finished(), "{what:?}");
        drop(stall);
        let paused = tokio::time::timeout(secs(60), pause).await.unwrap().unwrap();
        paused.unwrap_or_else(|error| panic!("{what:?}: {error}"));
        let status = session.status().await.unwrap();
        assert_eq!(status.pause_cause(), Some(PauseCause::Asked), "{what:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn g5_a_run_hears_why_and_until_when_it_is_to_yield() {
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let workload = Custom::new(move |cx| {
        let hears = Arc::clone(&hears);
        Box::pin(async move {
            let request = cx.yield_requested().await;
            hears.lock().unwrap().push(request.reason);
            assert!(cx.is_yield_requested());
            cx.emit(Event::custom("heard", 1)).await?;
            Ok(Outcome::Yielded)
        })
    });
    let supervisor = start_on(MemoryStore::new(), workload, |b| b).await;
    let session = custom(&supervisor).await;
    tokio::time::sleep(secs(1)).await;
    session.pause().await.unwrap();
    session.resume().await.unwrap();
    session.stop().await.unwrap().ended().await.unwrap();
    session.resume().await.unwrap();
    supervisor.shutdown(BUDGET).await;
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard, [YieldReason::Pause, YieldReason::Stop, YieldReason::Shutdown]);
}

#[tokio::test(start_paused = true)]
async fn g5_a_policy_without_grace_cancels_at_once() {
    let policy = Policy::builder().stop_grace(Duration::ZERO).pause_grace(Duration::ZERO);
    let worker = Worker::with_policy(policy.build().unwrap()).await;
    let session = worker.session_with(|start| start.input(Do::Deaf(secs(100)))).await;
    tokio::time::sleep(secs(1)).await;
    within("pause", millis(100), session.pause()).await.unwrap();
    session.resume().await.unwrap();
    let stop = session.stop().await.unwrap();
    within("stop", millis(100), stop.ended()).await.unwrap();
}
