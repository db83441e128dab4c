//! Places under `max_active`: never more runs than places, and everybody's turn comes.

use std::time::Duration;

use futures::{FutureExt, future::join_all};
use sessionkeeper::{Activity, Cause, Origin, SessionError, SessionHandle, State};

use super::{MINUTE, SECOND, consistent, idle, moves, soon, state, status, until};
use crate::support::{BUDGET, Do, Done, Scripted, Worker, drained};

async fn with_places(places: usize) -> Worker {
    Worker::start_with(|builder| builder.max_active(places)).await
}

fn new() -> sessionkeeper::Start<Scripted> {
    sessionkeeper::Start::new(Done::default())
}

async fn states(sessions: &[SessionHandle<Scripted>]) -> Vec<State> {
    join_all(sessions.iter().map(state)).await
}

#[tokio::test(start_paused = true)]
async fn pending_sessions_begin_in_the_order_of_their_start() {
    let worker = with_places(2).await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(worker.session().await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for done in 0..6 {
        let states = states(&sessions).await;
        for (index, state) in states.into_iter().enumerate() {
            let expected = if index < done {
                State::Completed
            } else if index < done + 2 {
                State::Active
            } else {
                State::Pending
            };
            assert_eq!(state, expected, "session {index} after {done} ended");
        }
        sessions[done].complete().await.unwrap();
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(worker.workload.probe.most_live(), 2);
    let second = moves(&sessions[5]).await;
    assert_eq!(second[0], (State::Pending, State::Active, Cause::SlotFree));
}

/// However sessions end, rest and come back, no more of them run than there are places.
#[tokio::test(start_paused = true)]
async fn there_are_never_more_runs_than_places() {
    let worker = with_places(3).await;
    let mut random = fastrand::Rng::with_seed(11);
    let mut tasks = Vec::new();
    for number in 0..30 {
        let session =
            worker.session_with(|start| start.input(Do::Deaf(SECOND * (number % 4)))).await;
        let wait = Duration::from_millis(random.u64(0..5000));
        let verb = random.u8(0..5);
        tasks.push(tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            match verb {
                0 => drop(session.stop().await),
                1 => {
                    let _ = session.pause().await;
                    session.resume().await.unwrap();
                }
                2 => drop(session.send(Do::PanicTimes(2)).await),
                3 => drop(session.kill().await),
                _ => {}
            }
            soon(async {
                until(&session, |status| {
                    status.record().inbox.waiting() == 0 || status.state() == State::Stopped
                })
                .await;
            })
            .await;
            let _ = session.complete().await;
            until(&session, |status| status.state().is_terminal()).await;
            consistent(&session).await;
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
    let probe = &worker.workload.probe;
    assert_eq!((probe.most_live(), probe.live()), (3, 0));
    let slots = [worker.supervisor.slot(), worker.supervisor.slot(), worker.supervisor.slot()];
    let slots = join_all(slots).now_or_never().expect("all places are free again");
    assert!(slots.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_slot_waits_for_a_place_and_is_kept_for_its_session() {
    let worker = with_places(1).await;
    let holder = worker.session().await;
    let supervisor = worker.supervisor.clone();
    let waiting = tokio::spawn(async move { supervisor.slot().await });
    tokio::time::sleep(MINUTE).await;
    assert!(!waiting.is_finished());
    holder.pause().await.unwrap();
    let slot = soon(waiting).await.unwrap().unwrap();
    let other = worker.session().await;
    assert_eq!(state(&other).await, State::Pending, "the place is taken");
    let claimed = worker.supervisor.start(new().in_slot(slot)).await.unwrap();
    assert_eq!(state(&claimed).await, State::Active);
    assert_eq!(state(&other).await, State::Pending);
    claimed.complete().await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(state(&other).await, State::Active);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_dropped_gives_its_place_back() {
    let worker = with_places(1).await;
    let slot = worker.supervisor.slot().await.unwrap();
    let pending = worker.session().await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(state(&pending).await, State::Pending);
    drop(slot);
    tokio::time::sleep(SECOND).await;
    assert_eq!(state(&pending).await, State::Active);
}

/// A start that made nothing keeps no place.
#[tokio::test(start_paused = true)]
async fn a_slot_whose_start_is_refused_or_repeated_gives_its_place_back() {
    let worker = with_places(2).await;
    let first = new().key(super::key("k")).name(super::name("n"));
    worker.supervisor.start(first).await.unwrap();
    for again in ["repeated", "reused", "named"] {
        let slot = worker.supervisor.slot().await.unwrap();
        let start = match again {
            "repeated" => new().key(super::key("k")).name(super::name("n")),
            "reused" => new().key(super::key("k")),
            _ => new().name(super::name("n")),
        };
        match worker.supervisor.start(start.in_slot(slot)).await {
            Ok(started) => assert_eq!(started.origin(), Origin::Repeated),
            Err(error) => assert_ne!(again, "repeated", "{error}"),
        }
        let free = soon(worker.supervisor.slot()).await;
        drop(free.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_slot_are_served_in_order_and_told_of_a_shutdown() {
    let worker = with_places(1).await;
    let mut slot = worker.supervisor.slot().await.unwrap();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let supervisor = worker.supervisor.clone();
            tokio::spawn(async move { supervisor.slot().await })
        })
        .collect();
    tokio::time::sleep(SECOND).await;
    let mut waiting = std::collections::VecDeque::from(waiting);
    for _ in 0..2 {
        drop(slot);
        let next = waiting.pop_front().unwrap();
        slot = soon(next).await.unwrap().unwrap();
        assert!(waiting.iter().all(|task| !task.is_finished()));
    }
    worker.supervisor.shutdown(BUDGET).await;
    let last = soon(waiting.pop_front().unwrap()).await.unwrap();
    assert!(last.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_resume_waits_for_a_place_and_comes_before_those_who_never_ran() {
    let worker = with_places(1).await;
    let session = worker.session_with(|start| start.input(Do::Add(1))).await;
    drained(&session).await;
    session.pause().await.unwrap();
    let holder = worker.session().await;
    let pending = worker.session().await;
    let resuming = tokio::spawn({
        let session = session.clone();
        async move { session.resume().await }
    });
    tokio::time::sleep(MINUTE).await;
    assert!(!resuming.is_finished());
    assert_eq!(state(&session).await, State::Paused);
    holder.complete().await.unwrap();
    soon(resuming).await.unwrap().unwrap();
    assert_eq!(state(&session).await, State::Active);
    assert_eq!(state(&pending).await, State::Pending);
    session.complete().await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(state(&pending).await, State::Active);
    assert_eq!(worker.workload.probe.most_live(), 1);
}

/// One place serves all who asked for the same thing.
#[tokio::test(start_paused = true)]
async fn several_who_resume_one_session_need_one_place() {
    let worker = with_places(1).await;
    let session = worker.session().await;
    session.pause().await.unwrap();
    let holder = worker.session().await;
    let resuming: Vec<_> = (0..3)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.resume().await })
        })
        .collect();
    tokio::time::sleep(SECOND).await;
    holder.complete().await.unwrap();
    for task in resuming {
        let answer = tokio::time::timeout(MINUTE, task).await;
        answer.expect("it is active").unwrap().unwrap();
    }
    assert_eq!(status(&session).await.record().runs.count, 2);
}

/// A resume whose caller went away withdraws nothing.
#[tokio::test(start_paused = true)]
async fn a_resume_that_waits_outlives_its_caller_but_not_the_worker() {
    let worker = with_places(1).await;
    let session = worker.session().await;
    session.pause().await.unwrap();
    let holder = worker.session().await;
    let gave_up = tokio::time::timeout(SECOND, session.resume()).await;
    assert!(gave_up.is_err());
    holder.complete().await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(state(&session).await, State::Active);

    let second = worker.session().await;
    second.pause().await.unwrap();
    let resuming = tokio::spawn({
        let second = second.clone();
        async move { second.resume().await }
    });
    tokio::time::sleep(SECOND).await;
    worker.supervisor.shutdown(BUDGET).await;
    let answer = soon(resuming).await.unwrap();
    assert!(matches!(answer, Err(SessionError::ShuttingDown { .. })), "{answer:?}");
}

/// A session that waits out its backoff keeps its place: it is active.
#[tokio::test(start_paused = true)]
async fn a_session_between_two_runs_keeps_its_place() {
    let worker = with_places(1).await;
    let session =
        worker.session_with(|start| start.input(Do::FailAndRetryAfter(MINUTE * 10))).await;
    until(&session, |status| matches!(status.activity(), Activity::Restarting { .. })).await;
    let pending = worker.session().await;
    tokio::time::sleep(MINUTE * 5).await;
    assert_eq!(state(&pending).await, State::Pending);
    session.pause().await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(state(&pending).await, State::Active);
    idle(&pending).await;
}

/// A wake by input waits for a place too, and keeps its turn.
#[tokio::test(start_paused = true)]
async fn an_input_for_an_idle_session_waits_for_a_place() {
    let worker = with_places(1).await;
    let session = worker.session().await;
    idle(&session).await;
    tokio::time::sleep(MINUTE * 31).await;
    assert_eq!(state(&session).await, State::Paused);
    let holder = worker.session().await;
    session.send(Do::Add(1)).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(state(&session).await, State::Paused);
    holder.complete().await.unwrap();
    assert_eq!(drained(&session).await.sum, 1);
    assert_eq!(worker.workload.probe.most_live(), 1);
}
