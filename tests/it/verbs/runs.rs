//! Runs by their ids.

use std::time::Duration;

use sessionkeeper::{
    Delete, EventQuery, EventRecord, Fact, FindError, Lifecycle, RunEnd, RunId, RunState,
    SessionError, SessionHandle, State, Supervisor,
    store::Order,
    testing::{Call, Harness, Interference, audit},
};

use super::{SECOND, idle, log, soon, state, status};
use crate::support::{Do, Scripted, Worker, drained};

async fn current(session: &SessionHandle<Scripted>) -> RunId {
    status(session).await.run().expect("a run")
}

async fn became(supervisor: &Supervisor, run: RunId) -> RunState {
    supervisor.run(run).await.unwrap().state
}

fn is_unknown<T>(answer: Result<T, FindError>, run: RunId) -> bool {
    matches!(answer, Err(FindError::NoSuchRun { run: named }) if named == run)
}

/// A session with three runs: one that was paused, one that failed, and the present one.
async fn with_three(worker: &Worker) -> (SessionHandle<Scripted>, [RunId; 3]) {
    let session = worker.session().await;
    session.send(Do::Add(1)).await.unwrap();
    idle(&session).await;
    let first = current(&session).await;
    session.pause().await.unwrap();
    session.resume().await.unwrap();
    let second = current(&session).await;
    session.send(Do::PanicTimes(1)).await.unwrap();
    drained(&session).await;
    let third = current(&session).await;
    (session, [first, second, third])
}

#[tokio::test(start_paused = true)]
async fn a_run_is_found_by_its_id_as_long_as_its_session() {
    let worker = Worker::start().await;
    let (session, [first, second, third]) = with_three(&worker).await;
    let other = current(&worker.session().await).await;
    let found = worker.supervisor.run(first).await.unwrap();
    assert_eq!((found.run, found.session.id(), found.is_current()), (first, session.id(), false));
    assert_eq!(found.state, RunState::Ended(RunEnd::Yielded));
    let failed = became(&worker.supervisor, second).await;
    assert!(matches!(failed, RunState::Ended(RunEnd::Panicked { .. })), "{failed:?}");
    assert_eq!(became(&worker.supervisor, third).await, RunState::Current);
    assert_ne!(worker.supervisor.run(other).await.unwrap().session.id(), session.id());
    let nobody = RunId::from_uuid(uuid::Uuid::nil());
    assert!(is_unknown(worker.supervisor.run(nobody).await, nobody));

    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    idle(&session).await;
    let fourth = current(&session).await;
    let lost = became(&worker.supervisor, third).await;
    assert_eq!(lost, RunState::Ended(RunEnd::Interrupted));
    assert_eq!(became(&worker.supervisor, first).await, RunState::Ended(RunEnd::Yielded));
    assert_eq!(became(&worker.supervisor, fourth).await, RunState::Current);

    session.delete(Delete::StopFirst).await.unwrap();
    for run in [first, fourth] {
        assert!(is_unknown(worker.supervisor.run(run).await, run));
        assert!(is_unknown(worker.supervisor.stop_run(run).await, run));
        assert!(is_unknown(worker.supervisor.run_events(run, EventQuery::default()).await, run));
    }
    drop(worker.supervisor);
    assert_eq!(audit(&worker.store).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_stop_by_a_run_names_the_present_one_where_that_is_another() {
    let worker = Worker::start().await;
    let (session, [first, second, third]) = with_three(&worker).await;
    for run in [first, second] {
        let refused = worker.supervisor.stop_run(run).await.unwrap_err();
        let FindError::Session(SessionError::NotCurrentRun { run: named, current, .. }) = refused
        else {
            panic!("{refused}");
        };
        assert_eq!((named, current), (run, Some(third)));
    }
    assert_eq!(state(&session).await, State::Active);
    let stop = worker.supervisor.stop_run(third).await.unwrap();
    soon(stop.ended()).await.unwrap();
    assert_eq!(state(&session).await, State::Stopped);
    assert_eq!(became(&worker.supervisor, third).await, RunState::Ended(RunEnd::Yielded));
}

/// Either way, in pages, each run has its own.
#[tokio::test(start_paused = true)]
async fn the_events_of_a_run_begin_and_end_with_it() {
    let worker = Worker::start().await;
    let (session, runs) = with_three(&worker).await;
    let all = log(&session).await;
    for run in runs {
        let mut of_run: Vec<EventRecord> =
            all.iter().filter(|event| event.run == Some(run)).cloned().collect();
        // What the session does next is told with the run too, and is none of it.
        let ended = |fact: &Fact| matches!(fact, Fact::Lifecycle(Lifecycle::RunEnded { .. }));
        if let Some(end) = of_run.iter().position(|event| ended(&event.fact)) {
            of_run.truncate(end + 1);
        }
        assert!(!of_run.is_empty());
        for (order, from) in [(Order::OldestFirst, 1), (Order::NewestFirst, u64::MAX)] {
            let mut query = EventQuery { from, order, limit: 1, ..EventQuery::default() };
            let mut found = Vec::new();
            loop {
                let page = worker.supervisor.run_events(run, query).await.unwrap();
                found.extend(page.events);
                let Some(next) = page.next else { break };
                query.from = next;
            }
            if order == Order::NewestFirst {
                found.reverse();
            }
            assert_eq!(found, of_run, "{order:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_run_that_ends_meanwhile_go_to_its_end() {
    let worker = Harness::start(|builder| builder.workload(Scripted::default())).await;
    let session = worker.supervisor().start(Scripted::start()).await.unwrap().into_handle();
    idle(&session).await;
    let run = current(&session).await;
    let slowly = Interference::Delay { before: Duration::ZERO, after: SECOND };
    worker.store().inject(move |call| if call == Call::Run { slowly } else { Interference::None });
    let query = EventQuery { from: 1, order: Order::OldestFirst, ..EventQuery::default() };
    let (page, stopped) = tokio::join!(worker.supervisor().run_events(run, query), async {
        session.stop().await.unwrap().ended().await
    });
    stopped.unwrap();
    let ended =
        |event: &EventRecord| matches!(event.fact, Fact::Lifecycle(Lifecycle::RunEnded { .. }));
    assert!(page.unwrap().events.last().is_some_and(ended));
    let all = log(&session).await;
    assert!(!all.last().is_some_and(ended), "the session is stopped after that");
}
