//! Stopping and ending: the ladder from a request to an abandoned run, and what is durable when.

use sessionkeeper::{
    Activity, Cause, Policy, RunEnd, RunId, SessionError, SessionHandle, State, WhileAbandoned,
    testing::Gate,
};
use tokio::time::Instant;

use super::{
    HANGS, MINUTE, SECOND, consistent, ends, idle, in_hand, log, moves, policy, state, status,
    until,
};
use crate::support::{Do, Scripted, Worker, drained};

/// A session with this input in hand.
async fn busy_with(worker: &Worker, what: Do) -> SessionHandle<Scripted> {
    let session = worker.session_with(|start| start.input(what)).await;
    in_hand(&session, 1).await;
    session
}

/// G1: whoever sees `stopping` will find it after a crash.
#[tokio::test(start_paused = true)]
async fn stopping_is_visible_and_durable_when_a_stop_is_accepted() {
    let worker = Worker::start().await;
    let session = busy_with(&worker, Do::Deaf(SECOND * 8)).await;
    let stall = worker.store.stall();
    let stopping = tokio::spawn({
        let session = session.clone();
        async move { session.stop().await }
    });
    tokio::time::sleep(SECOND).await;
    assert_eq!(state(&session).await, State::Active, "it is not durable yet");
    assert!(!stopping.is_finished());
    drop(stall);
    let ticket = stopping.await.unwrap().unwrap();
    let midway = status(&session).await;
    assert_eq!(midway.state(), State::Stopping);
    assert_eq!(midway.activity(), &Activity::Stopping);
    assert_eq!(midway.run(), ticket.run());
    assert_eq!(worker.workload.probe.live(), 1);
    let ended = tokio::spawn(async move { ticket.ended().await });
    tokio::time::sleep(SECOND).await;
    assert!(!ended.is_finished(), "its run is still alive");
    let worker = worker.crash_and_restart().await;
    assert!(matches!(ended.await.unwrap(), Err(SessionError::OutcomeUnknown { .. })));
    let session = worker.again(&session).await;
    assert_eq!(state(&session).await, State::Stopped, "the stop is finished");
    consistent(&session).await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_session_has_nothing_alive() {
    let cases: [(Do, f64, RunEnd, u64); 4] = [
        (Do::Add(1), 0.0, RunEnd::Yielded, 1),
        (Do::Deaf(SECOND * 4), 4.0, RunEnd::Yielded, 1),
        (Do::Deaf(SECOND * 60), 10.0, RunEnd::Cancelled, 0),
        (Do::Silent(MINUTE), 10.0, RunEnd::Cancelled, 0),
    ];
    for (what, seconds, end, consumed) in cases {
        let worker = Worker::start().await;
        let session = worker.session_with(|start| start.input(what.clone())).await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        let began = Instant::now();
        let ticket = session.stop().await.unwrap();
        let report = ticket.ended().await.unwrap();
        assert_eq!(worker.workload.probe.live(), 0, "{what:?}");
        assert_eq!(began.elapsed().as_secs_f64().round(), seconds, "{what:?}");
        assert_eq!(report.end, Some(end), "{what:?}");
        assert_eq!(report.run, ticket.run());
        assert_eq!(report.snapshot.unwrap().consumed, consumed, "{what:?}");
        assert_eq!(state(&session).await, State::Stopped);
        consistent(&session).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_cancels_at_once() {
    let worker = Worker::start().await;
    let session = busy_with(&worker, Do::Silent(MINUTE)).await;
    let began = Instant::now();
    let report = session.kill().await.unwrap().ended().await.unwrap();
    assert_eq!(began.elapsed().as_millis(), 0);
    assert_eq!(report.end, Some(RunEnd::Cancelled));
    session.resume().await.unwrap();
    assert_eq!(drained(&session).await.seen, [1], "its turn began again");
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_may_only_shorten_the_grace() {
    let seconds = |first: u64, second: u64| async move {
        let worker = Worker::start().await;
        let session = busy_with(&worker, Do::Silent(MINUTE)).await;
        let began = Instant::now();
        let first = session.stop_within(SECOND * u32::try_from(first).unwrap()).await;
        tokio::time::sleep(SECOND).await;
        let second = session.stop_within(SECOND * u32::try_from(second).unwrap()).await;
        assert_eq!(first.unwrap().run(), second.as_ref().unwrap().run());
        second.unwrap().ended().await.unwrap();
        let stops = moves(&session).await;
        let stops = stops.iter().filter(|(_, to, _)| *to == State::Stopping);
        assert_eq!(stops.count(), 1);
        began.elapsed().as_secs()
    };
    assert_eq!(seconds(20, 5).await, 6, "shortened");
    assert_eq!(seconds(5, 20).await, 5, "not prolonged");
    assert_eq!(seconds(20, 0).await, 1, "killed");
}

#[tokio::test(start_paused = true)]
async fn fifty_callers_who_stop_one_session_share_one_stop() {
    let worker = Worker::start().await;
    let session = busy_with(&worker, Do::Deaf(SECOND * 3)).await;
    let stops = (0..50).map(|_| session.stop());
    let tickets = futures::future::join_all(stops).await;
    let runs: Vec<_> = tickets.iter().map(|t| t.as_ref().unwrap().run()).collect();
    assert!(runs[0].is_some() && runs.iter().all(|run| *run == runs[0]));
    let ended = tickets.iter().map(|ticket| ticket.as_ref().unwrap().ended());
    let reports = futures::future::join_all(ended).await;
    let first = reports[0].as_ref().unwrap();
    assert!(reports.iter().all(|report| report.as_ref().unwrap() == first));
    assert_eq!(
        moves(&session).await[1..],
        [
            (State::Active, State::Stopping, Cause::Asked),
            (State::Stopping, State::Stopped, Cause::RunGone)
        ]
    );
}

/// A worker whose workloads have threads of their own, which they may block.
async fn with_threads(policy: Policy) -> (Worker, tokio::runtime::Runtime) {
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let handle = threads.handle().clone();
    let worker =
        Worker::start_with(|builder| builder.policy(policy).workload_runtime(handle)).await;
    (worker, threads)
}

/// Waits for another thread: the paused clock stands still meanwhile.
async fn spin<F: Future<Output = bool>>(mut done: impl FnMut() -> F) {
    for _ in 0..20_000_000_u32 {
        if done().await {
            return;
        }
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
    panic!("the other thread never came so far");
}

async fn blocked(worker: &Worker) -> (SessionHandle<Scripted>, Gate) {
    let gate = worker.workload.probe.close_gate();
    let session = worker.session_with(|start| start.input(Do::Block)).await;
    let probe = &worker.workload.probe;
    spin(|| async { probe.is_at_gate() }).await;
    (session, gate)
}

async fn returned(session: &SessionHandle<Scripted>) {
    spin(|| async { status(session).await.abandoned().is_empty() }).await;
}

/// G5: a run that blocks its thread is given up, and named until it comes back.
#[tokio::test(start_paused = true)]
async fn a_run_that_blocks_its_thread_is_abandoned_and_named_until_it_returns() {
    let (worker, threads) = with_threads(Policy::default()).await;
    let (session, gate) = blocked(&worker).await;
    let began = Instant::now();
    let report = session.stop().await.unwrap().ended().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 15, "10 s of grace, 5 s to be gone");
    assert_eq!(report.end, Some(RunEnd::Abandoned));
    let run = report.run.unwrap();
    let after = status(&session).await;
    assert_eq!((after.state(), after.abandoned()), (State::Stopped, &[run][..]));
    assert_eq!(worker.workload.probe.live(), 1);
    let refused = session.resume().await.unwrap_err();
    assert!(
        matches!(refused, SessionError::RunStillAlive { run: alive, .. } if alive == run),
        "{refused:?}"
    );
    drop(gate);
    returned(&session).await;
    assert_eq!(worker.workload.probe.live(), 0);
    let last = log(&session).await.pop().unwrap();
    assert_eq!(last.run, Some(run), "{last:?}");
    session.resume().await.unwrap();
    spin(|| async { status(&session).await.record().inbox.waiting() == 0 }).await;
    assert_eq!(session.snapshot().await.unwrap().state.seen, [1]);
    consistent(&session).await;
    drop(worker);
    threads.shutdown_background();
}

/// G3: where policy lets a session go on beside its abandoned run, that run changes nothing.
#[tokio::test(start_paused = true)]
async fn an_abandoned_run_changes_nothing_where_policy_allows_a_resume() {
    let policy = policy(|policy| policy.while_abandoned(WhileAbandoned::AllowResume));
    let (worker, threads) = with_threads(policy).await;
    let (session, gate) = blocked(&worker).await;
    let report = session.kill().await.unwrap().ended().await.unwrap();
    assert_eq!(report.end, Some(RunEnd::Abandoned));
    session.resume().await.unwrap();
    spin(|| async { status(&session).await.record().inbox.waiting() == 0 }).await;
    assert_eq!(worker.workload.probe.live(), 2);
    assert_eq!(status(&session).await.abandoned(), [report.run.unwrap()]);
    drop(gate);
    returned(&session).await;
    session.send(Do::Add(1)).await.unwrap();
    spin(|| async { status(&session).await.record().inbox.waiting() == 0 }).await;
    let done = session.snapshot().await.unwrap().state;
    assert_eq!((done.sum, done.seen), (1, vec![1, 2]));
    consistent(&session).await;
    drop(worker);
    threads.shutdown_background();
}

/// G3: a pause that is taken back when the run is beyond recall may not begin a second one.
#[tokio::test(start_paused = true)]
async fn a_resume_never_puts_a_run_beside_an_abandoned_one() {
    let (worker, threads) = with_threads(policy(|policy| policy.pause_grace(SECOND))).await;
    let (session, gate) = blocked(&worker).await;
    let pausing = tokio::spawn({
        let session = session.clone();
        async move { session.pause().await }
    });
    tokio::time::sleep(SECOND * 2).await;
    session.resume().await.unwrap();
    let superseded = pausing.await.unwrap();
    assert!(matches!(superseded, Err(SessionError::Superseded { .. })));
    let after = until(&session, |status| status.state() != State::Active).await;
    assert_eq!(after.abandoned().len(), 1);
    assert_eq!(worker.workload.probe.most_live(), 1);
    let refused = session.resume().await;
    assert!(matches!(refused, Err(SessionError::RunStillAlive { .. })));
    drop(gate);
    returned(&session).await;
    session.resume().await.unwrap();
    spin(|| async { status(&session).await.record().inbox.waiting() == 0 }).await;
    assert_eq!(worker.workload.probe.most_live(), 1);
    consistent(&session).await;
    drop(worker);
    threads.shutdown_background();
}

/// The end comes first and fences the run; what became of the run follows in the log.
#[tokio::test(start_paused = true)]
async fn an_end_from_outside_is_committed_before_the_run_is_cancelled() {
    for complete in [true, false] {
        let worker = Worker::start().await;
        let session = busy_with(&worker, Do::Deaf(MINUTE)).await;
        let ended = if complete {
            session.complete().await.unwrap();
            State::Completed
        } else {
            session.fail("no more money").await.unwrap();
            State::Failed
        };
        assert_eq!(state(&session).await, ended);
        until(&session, |status| status.last_run().is_some()).await;
        assert_eq!(worker.workload.probe.live(), 0);
        let log = log(&session).await;
        let tail: Vec<_> = log.iter().rev().take(2).map(|event| &event.fact).collect();
        assert!(matches!(
            tail[..],
            [
                sessionkeeper::Fact::Lifecycle(sessionkeeper::Lifecycle::RunEnded { .. }),
                sessionkeeper::Fact::Lifecycle(sessionkeeper::Lifecycle::StateChanged { .. })
            ]
        ));
        assert_eq!(ends(&session).await, [RunEnd::Cancelled]);
        let record = std::sync::Arc::clone(status(&session).await.record());
        assert_eq!(record.inbox.consumed, 0, "the turn was not over");
        let last = record.history.back().unwrap();
        let reason = (!complete).then(|| "no more money".to_owned());
        assert_eq!((last.cause, &last.reason), (Cause::Asked, &reason));
        consistent(&session).await;
    }
}

/// What a stop can meet when nothing runs: it is stopped at once, in one commit.
#[tokio::test(start_paused = true)]
async fn a_session_without_a_run_is_stopped_at_once() {
    let worker = Worker::start_with(|builder| builder.max_active(1)).await;
    let holder = worker.session().await;
    idle(&holder).await;
    let pending = worker.session_with(|start| start.input(Do::Add(1))).await;
    let paused = worker.session().await;
    paused.pause().await.unwrap();
    for session in [&pending, &paused] {
        let ticket = session.stop().await.unwrap();
        assert_eq!(ticket.run(), None);
        assert_eq!(state(session).await, State::Stopped);
        let report = ticket.ended().await.unwrap();
        assert_eq!((report.run, report.end), (None, None));
        assert_eq!(report.snapshot.unwrap().sequence, 1);
        consistent(session).await;
    }
    holder.complete().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(state(&pending).await, State::Stopped);
    pending.resume().await.unwrap();
    assert_eq!(drained(&pending).await.sum, 1, "its input was kept");
}

/// The ticket of a stop is good although the session has gone on since.
#[tokio::test(start_paused = true)]
async fn a_ticket_tells_of_its_own_stop() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    idle(&session).await;
    let first = session.stop().await.unwrap();
    first.ended().await.unwrap();
    session.resume().await.unwrap();
    idle(&session).await;
    let report = tokio::time::timeout(HANGS, first.ended()).await.unwrap();
    assert_eq!(report.unwrap().run, first.run());
    let second = session.stop().await.unwrap();
    assert_ne!(first.run(), second.run());
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_a_run_that_is_over_names_the_present_one_and_stops_nothing() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    let run = async || status(&session).await.record().phase.run();
    let first = run().await.unwrap();
    session.pause().await.unwrap();
    let refused = |error: SessionError, run: RunId| match error {
        SessionError::NotCurrentRun { session: of, run: named, current } => {
            assert_eq!((of, named), (session.id(), run));
            current
        }
        other => panic!("{other}"),
    };
    let error = session.stop_run(first).await.unwrap_err();
    assert_eq!(refused(error, first), None, "it has no run");
    assert_eq!(state(&session).await, State::Paused);
    session.resume().await.unwrap();
    let second = run().await.unwrap();
    let error = session.stop_run(first).await.unwrap_err();
    assert!(error.to_string().ends_with(&format!("that is {second}")), "{error}");
    assert_eq!(refused(error, first), Some(second));
    assert_eq!((state(&session).await, run().await), (State::Active, Some(second)));
    let stop = session.stop_run(second).await.unwrap();
    assert_eq!(stop.run(), Some(second));
    stop.ended().await.unwrap();
    session.stop_run(second).await.unwrap().ended().await.unwrap();
    assert_eq!(refused(session.stop_run(first).await.unwrap_err(), first), None);
    consistent(&session).await;
}

/// Which run it is, is decided with the stop: not before, when it may be on its way out.
#[tokio::test(start_paused = true)]
async fn a_stop_of_a_run_never_stops_the_one_that_replaces_it() {
    let (mut stopped, mut refused) = (0, 0);
    for moment in 0..40 {
        let worker = Worker::start().await;
        let session = worker.session().await;
        let first = status(&session).await.record().phase.run().unwrap();
        session.send(Do::PanicTimes(1)).await.unwrap();
        for _ in 0..moment {
            tokio::task::yield_now().await;
        }
        match session.stop_run(first).await {
            Ok(stop) => {
                stopped += 1;
                stop.ended().await.unwrap();
                assert_eq!(status(&session).await.record().runs.count, 1, "moment {moment}");
            }
            Err(SessionError::NotCurrentRun { current, .. }) => {
                refused += 1;
                assert_ne!(current, Some(first));
                assert_eq!(drained(&session).await.sum, 1, "moment {moment}: it goes on");
            }
            Err(error) => panic!("moment {moment}: {error}"),
        }
    }
    assert!(stopped > 0 || refused > 0, "{stopped} stopped, {refused} refused");
}
