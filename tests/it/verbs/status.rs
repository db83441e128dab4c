//! What callers see: activities, watches, waits, heartbeats from outside, durations and counts.

use std::time::Duration;

use futures::StreamExt;
use sessionkeeper::{
    Activity, Cause, Fact, Lifecycle, Metadata, PauseCause, SessionError, SessionHandle, SessionId,
    Settled, Start, State, Supervisor,
    store::{MemoryStore, Store},
    testing::{Call, FaultyStore, Interference},
};

use super::{
    MINUTE, SECOND, consistent, idle, in_hand, log, moves, policy, soon, state, status, until,
};
use crate::support::{BUDGET, Do, Done, Scripted, Worker, drained};

async fn busy_with(worker: &Worker, what: Do) -> SessionHandle<Scripted> {
    let session = worker.session_with(|start| start.input(what)).await;
    in_hand(&session, 1).await;
    session
}

#[tokio::test(start_paused = true)]
async fn the_status_says_what_a_run_is_doing() {
    let worker = Worker::start().await;
    let shown = |what: Do| {
        let worker = &worker;
        async move { status(&busy_with(worker, what).await).await.activity().clone() }
    };
    assert_eq!(shown(Do::Silent(MINUTE)).await, Activity::Running);
    let awaiting = shown(Do::Await(MINUTE)).await;
    assert_eq!(awaiting.to_string(), "awaiting an answer");
    let busy = shown(Do::Busy { limit: MINUTE, takes: SECOND });
    assert!(matches!(busy.await, Activity::Busy { .. }));
    let session = worker.session().await;
    assert_eq!(idle(&session).await.activity(), &Activity::Idle);
    session.pause().await.unwrap();
    let cause = PauseCause::Asked;
    assert_eq!(status(&session).await.activity(), &Activity::Paused { cause });
    for stop in [true, false] {
        if stop {
            drop(session.stop().await.unwrap());
        } else {
            session.complete().await.unwrap();
        }
        assert_eq!(status(&session).await.activity(), &Activity::Ended);
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_run_names_when_it_is_due_at_the_latest() {
    let worker = Worker::start().await;
    tokio::time::sleep(SECOND * 7).await;
    let session = busy_with(&worker, Do::Busy { limit: MINUTE, takes: SECOND * 90 }).await;
    let Activity::Busy { until: due } = *status(&session).await.activity() else {
        panic!("it is busy");
    };
    assert_eq!(due.as_millis() / 1000, 67);
    until(&session, |status| status.last_run().is_some()).await;
    let end = status(&session).await.last_run().unwrap().end.to_string();
    assert!(end.contains("took longer than 1m"), "{end}");
}

/// A watcher sees the present, then only what is newer, the last at least; and the end.
#[tokio::test(start_paused = true)]
async fn a_watch_shows_growing_versions_and_ends_with_the_worker() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    idle(&session).await;
    let watching = tokio::spawn({
        let session = session.clone();
        async move {
            let watch = session.watch().await.unwrap();
            watch.collect::<Vec<_>>().await
        }
    });
    tokio::time::sleep(SECOND).await;
    for _ in 0..5 {
        session.send(Do::Add(1)).await.unwrap();
        tokio::time::sleep(SECOND).await;
    }
    session.pause().await.unwrap();
    tokio::time::sleep(SECOND).await;
    session.resume().await.unwrap();
    tokio::time::sleep(SECOND).await;
    session.stop().await.unwrap().ended().await.unwrap();
    let last = status(&session).await;
    drop(worker);
    let seen = soon(watching).await.unwrap();
    let versions: Vec<u64> = seen.iter().map(|status| status.record().version).collect();
    assert!(versions.is_sorted(), "{versions:?}");
    assert_eq!(versions.last(), Some(&last.record().version));
    let mut states: Vec<State> = seen.iter().map(sessionkeeper::Status::state).collect();
    states.dedup();
    let expected = [State::Active, State::Paused, State::Active, State::Stopped];
    let compact: Vec<State> = states.into_iter().filter(|s| *s != State::Stopping).collect();
    assert_eq!(compact, expected);
    assert!(versions.len() > 8, "each of the slow changes was seen: {versions:?}");
}

/// A watcher hears that a session is asked to pause, although nothing was committed for it.
#[tokio::test(start_paused = true)]
async fn a_watch_shows_that_a_session_is_pausing() {
    let worker = Worker::start().await;
    let session = busy_with(&worker, Do::Deaf(SECOND * 20)).await;
    let mut watch = session.watch().await.unwrap();
    let mut next = async || tokio::time::timeout(MINUTE, watch.next()).await.unwrap().unwrap();
    assert_eq!(next().await.activity(), &Activity::Running);
    session.set_metadata(sessionkeeper::Metadata::new()).await.unwrap();
    assert_eq!(next().await.activity(), &Activity::Running);
    let pausing = tokio::spawn({
        let session = session.clone();
        async move { session.pause().await }
    });
    assert_eq!(next().await.activity(), &Activity::Pausing);
    session.resume().await.unwrap();
    assert_eq!(next().await.activity(), &Activity::Running);
    assert!(pausing.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_in_each_of_its_states_and_with_the_worker() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    let wait = |states: &'static [State]| {
        let session = session.clone();
        tokio::spawn(async move { session.wait_for(states).await })
    };
    let now = session.wait_for(&[State::Active]).await.unwrap();
    assert_eq!(now.state(), State::Active);
    let either = wait(&[State::Stopped, State::Paused]);
    tokio::time::sleep(MINUTE).await;
    assert!(!either.is_finished());
    session.pause().await.unwrap();
    assert_eq!(soon(either).await.unwrap().unwrap().state(), State::Paused);
    let never = wait(&[State::Failed]);
    tokio::time::sleep(SECOND).await;
    drop(worker);
    let ended = soon(never).await.unwrap();
    assert!(matches!(ended, Err(SessionError::OutcomeUnknown { .. })), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_settles_in_five_ways() {
    let policy = policy(|policy| policy.heartbeat_timeout(SECOND * 5));
    let worker = Worker::with_policy(policy).await;
    for expected in ["completed", "failed", "expired", "stopped", "quarantined"] {
        let what = match expected {
            "completed" => Do::Complete,
            "failed" => Do::FailForGood,
            "expired" => Do::Silent(MINUTE),
            "stopped" => Do::Add(1),
            _ => Do::FailTimes(100),
        };
        let session = worker.session_with(|start| start.input(what)).await;
        let settled = tokio::spawn({
            let session = session.clone();
            async move { session.settled().await }
        });
        if expected == "stopped" {
            tokio::time::sleep(MINUTE).await;
            session.pause().await.unwrap();
            tokio::time::sleep(MINUTE).await;
            assert!(!settled.is_finished(), "a pause is no end");
            session.stop().await.unwrap().ended().await.unwrap();
        }
        let settled = soon(settled).await.unwrap().unwrap();
        let how = match &settled {
            Settled::Completed(_) => "completed",
            Settled::Failed(_) => "failed",
            Settled::Expired(_) => "expired",
            Settled::Stopped(_) => "stopped",
            Settled::Quarantined(_) => "quarantined",
            _ => "otherwise",
        };
        assert_eq!(how, expected);
        assert_eq!(settled.status().state(), state(&session).await);
        consistent(&session).await;
    }
}

/// G6: a sign of life may come from outside the run.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_from_outside_keeps_a_silent_session_alive() {
    let policy = policy(|policy| policy.heartbeat_timeout(SECOND * 10));
    let worker = Worker::with_policy(policy).await;
    let beaten = busy_with(&worker, Do::Silent(MINUTE)).await;
    let left_alone = busy_with(&worker, Do::Silent(MINUTE)).await;
    for _ in 0..10 {
        tokio::time::sleep(SECOND * 6).await;
        beaten.heartbeat().unwrap();
    }
    assert_eq!(state(&left_alone).await, State::Expired);
    assert_eq!(drained(&beaten).await.seen, [1]);
    assert!(left_alone.heartbeat().is_err());
    beaten.pause().await.unwrap();
    let refused = beaten.heartbeat().unwrap_err();
    assert_eq!(refused.session, beaten.id());
}

/// Time that a session rests is not time that it is active.
#[tokio::test(start_paused = true)]
async fn active_time_is_counted_apart_from_the_time_that_passes() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    for _ in 0..3 {
        tokio::time::sleep(SECOND * 10).await;
        session.pause().await.unwrap();
        tokio::time::sleep(MINUTE * 60).await;
        session.resume().await.unwrap();
    }
    tokio::time::sleep(SECOND * 10).await;
    session.stop().await.unwrap().ended().await.unwrap();
    let record = std::sync::Arc::clone(status(&session).await.record());
    assert_eq!(record.runs.active_ms / 100, 400, "{:?}", record.runs);
    assert_eq!((record.runs.count, record.runs.restarts), (4, 0));
    assert_eq!(record.runs.since, None);
}

#[tokio::test(start_paused = true)]
async fn usage_is_summed_over_runs_and_rollbacks() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    for tokens in [100, 20, 3] {
        session.send(Do::Spend(tokens)).await.unwrap();
    }
    session.send(Do::PanicTimes(1)).await.unwrap();
    session.send(Do::Spend(4000)).await.unwrap();
    drained(&session).await;
    session.pause().await.unwrap();
    let status = status(&session).await;
    assert_eq!(status.record().usage.input_tokens(), 4123);
    assert_eq!(status.record().runs.restarts, 1);
    let spent = log(&session).await.into_iter().filter_map(|event| match event.fact {
        Fact::Usage(usage) => Some((event.input.unwrap(), usage.input_tokens())),
        Fact::Lifecycle(_) | Fact::Work(_) => None,
    });
    assert_eq!(spent.collect::<Vec<_>>(), [(1, 100), (2, 20), (3, 3), (5, 4000)]);
}

/// The record remembers the last moves with their reasons, the log all of them.
#[tokio::test(start_paused = true)]
async fn the_history_keeps_the_last_moves_and_the_log_all() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    for _ in 0..20 {
        session.pause().await.unwrap();
        session.resume().await.unwrap();
    }
    session.fail("the reason").await.unwrap();
    until(&session, |status| status.last_run().is_some()).await;
    let record = std::sync::Arc::clone(status(&session).await.record());
    assert_eq!(record.history.len(), 32);
    let all = moves(&session).await;
    assert_eq!(all.len(), 42);
    let kept: Vec<_> = record.history.iter().map(|m| (m.from, m.to, m.cause)).collect();
    assert_eq!(kept, all[10..]);
    let last = record.history.back().unwrap();
    assert_eq!(last.reason.as_deref(), Some("the reason"));
    assert_eq!(last.cause, Cause::Asked);
    consistent(&session).await;
}

/// What the log says of one whole life.
#[tokio::test(start_paused = true)]
async fn the_log_tells_the_life_of_a_session() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Emit(2))).await;
    drained(&session).await;
    session.send(Do::FailTimes(1)).await.unwrap();
    drained(&session).await;
    worker.supervisor.shutdown(BUDGET).await;
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    session.set_external_id(super::external("x-1")).await.unwrap();
    session.set_labels(super::labels(&[("user", "ada")])).await.unwrap();
    session.set_metadata(Metadata::default()).await.unwrap();
    session.stop().await.unwrap().ended().await.unwrap();
    let told: Vec<String> = log(&session)
        .await
        .into_iter()
        .map(|event| match event.fact {
            Fact::Lifecycle(Lifecycle::Created { kind }) => format!("created {kind}"),
            Fact::Lifecycle(Lifecycle::StateChanged { from, to, cause, .. }) => {
                format!("{from} {to} {cause}")
            }
            Fact::Lifecycle(Lifecycle::RunEnded { how }) => how.to_string(),
            Fact::Lifecycle(Lifecycle::RestartScheduled { attempt, .. }) => {
                format!("restart {attempt}")
            }
            Fact::Lifecycle(Lifecycle::ExternalIdSet { id }) => format!("external {id}"),
            Fact::Lifecycle(Lifecycle::LabelsSet { labels }) => format!("{:?}", labels.get("user")),
            Fact::Lifecycle(Lifecycle::MetadataSet) => "described".to_owned(),
            Fact::Lifecycle(other) => format!("{other:?}"),
            Fact::Work(_) => "work".to_owned(),
            Fact::Usage(_) => "usage".to_owned(),
        })
        .collect();
    assert_eq!(
        told,
        [
            "created scripted",
            "pending active asked",
            "work",
            "work",
            "failed: told to fail",
            "restart 1",
            "active active restarted",
            "yielded",
            "active paused shutdown",
            "paused active recovered",
            "external x-1",
            r#"Some("ada")"#,
            "described",
            "active stopping asked",
            "yielded",
            "stopping stopped run_gone",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_session_is_not_found_by_any_means() {
    let worker = Worker::start().await;
    let id: SessionId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    let missing = |error: SessionError| {
        assert!(matches!(error, SessionError::NotFound { session } if session == id), "{error:?}");
    };
    missing(worker.supervisor.session(id).await.unwrap_err());
    missing(worker.supervisor.status(id).await.unwrap_err());
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_read_while_a_run_begins_does_not_run_ahead_of_it() {
    let store = FaultyStore::new(MemoryStore::new());
    let builder = Supervisor::builder(store.clone()).workload(Scripted::default());
    let supervisor = builder.start().await.unwrap();
    let start = Start::<Scripted>::new(Done::default());
    let session = supervisor.start(start).await.unwrap().into_handle();
    session.pause().await.unwrap();
    session.send(Do::Add(1)).await.unwrap();

    let slow = |before, after| Interference::Delay { before, after };
    store.next(Call::Load, slow(SECOND, Duration::ZERO));
    let reading = session.clone();
    let early = tokio::spawn(async move { status(&reading).await });
    tokio::time::sleep(SECOND / 2).await;
    // The commit of the resume, and that which gives the input out.
    store.next(Call::Commit, Interference::None);
    store.next(Call::Commit, slow(Duration::ZERO, SECOND));
    session.resume().await.unwrap();
    let early = early.await.unwrap();
    let stored = store.load(session.id()).await.unwrap().unwrap();
    let late = status(&session).await;
    assert!(stored.version > late.record().version, "the store is ahead");
    assert!(late.record().version >= early.record().version, "{early:?}, and then {late:?}");
    assert_eq!(drained(&session).await.sum, 1);
}
