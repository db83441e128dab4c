//! Deleting a session: at once it is gone for everybody, later for good.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use futures::StreamExt;
use sessionkeeper::{
    Backoff, Delete, Fact, Fork, Lifecycle, LogFilter, LogFrom, LogUpdate, OnInterrupt, Presence,
    Removal, RestartPolicy, Retention, RunId, SessionError, SessionHandle, Start, StartError,
    State, Supervisor, Update, WorkerGeneration,
    hooks::{HookCall, SessionHooks},
    sink,
    store::{BoxError, Key, MemoryStore, Query, Store},
    testing::{Call, FaultyStore, Interference, audit},
};

use super::{MINUTE, SECOND, idle, in_hand, key, policy, soon, state, until};
use crate::support::{BUDGET, Do, Done, Scripted, Worker, drained};

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

fn is_not_at_rest(answer: Result<(), SessionError>, expected: State) -> bool {
    matches!(answer, Err(SessionError::NotAtRest { state, .. }) if state == expected)
}

fn is_gone<T>(answer: Result<T, SessionError>) -> bool {
    matches!(answer, Err(SessionError::NotFound { .. }))
}

/// What the store still has of a session, beside its record.
async fn left(worker: &Worker, session: &SessionHandle<Scripted>) -> usize {
    let (store, id) = (&worker.store, session.id());
    let events = store.events(id, 1..=u64::MAX, 9_999).await.unwrap().len();
    let inputs = store.inputs(id, 0, 9_999).await.unwrap().len();
    let snapshots = store.snapshot(id, 1).await.unwrap().iter().len();
    events + inputs + snapshots
}

/// G3: what lives is not taken from under its run.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_at_rest_is_deleted_only_when_it_is_stopped_first() {
    let restart = RestartPolicy {
        backoff: Backoff { initial: MINUTE, max: MINUTE, ..Backoff::default() },
        ..RestartPolicy::default()
    };
    let policy = policy(|policy| policy.restart(restart));
    let worker = Worker::start_with(|builder| builder.max_active(3).policy(policy)).await;
    let active = worker.session_with(|start| start.input(Do::Deaf(SECOND * 4))).await;
    let stopping = worker.session_with(|start| start.input(Do::Deaf(SECOND * 8))).await;
    let waits = worker.session_with(|start| start.input(Do::FailTimes(1))).await;
    let pending = worker.session().await;
    in_hand(&active, 1).await;
    in_hand(&stopping, 1).await;
    until(&waits, |status| status.record().runs.last.is_some()).await;
    let ticket = stopping.stop().await.unwrap();
    for (session, expected) in [
        (&active, State::Active),
        (&stopping, State::Stopping),
        (&waits, State::Active),
        (&pending, State::Pending),
    ] {
        let answer = session.delete(Delete::IfAtRest).await;
        assert!(is_not_at_rest(answer, expected), "{expected}");
        assert_eq!(state(session).await, expected, "nothing was done");
    }
    for session in [&active, &stopping, &waits, &pending] {
        session.delete(Delete::StopFirst).await.unwrap();
        assert!(is_gone(session.status().await));
    }
    assert_eq!(worker.workload.probe.live(), 0, "their runs were waited for");
    drop(ticket);
    let all = worker.supervisor.list(Query::default()).await.unwrap();
    assert_eq!(all.records, []);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_session_is_gone_for_everybody_and_stays_so() {
    let ends: [(State, Do); 3] = [
        (State::Paused, Do::Add(1)),
        (State::Completed, Do::Complete),
        (State::Failed, Do::FailForGood),
    ];
    for (expected, what) in ends {
        let worker = Worker::start().await;
        let session = worker.session_with(|start| start.input(what)).await;
        if expected == State::Paused {
            drained(&session).await;
            session.pause().await.unwrap();
        }
        until(&session, |status| status.state() == expected).await;
        let mut watch = session.watch().await.unwrap();
        watch.next().await.unwrap();
        let mut updates = session.subscribe(1).await.unwrap();
        worker.supervisor.delete(session.id(), Delete::IfAtRest).await.unwrap();

        assert!(watch.next().await.is_none(), "{expected}: the watch ends");
        let mut last = None;
        while let Some(update) = soon(updates.next()).await {
            last = Some(update.unwrap());
        }
        let Some(Update::Event(last)) = last else { panic!("{last:?}") };
        let deleted = Lifecycle::Deleted { by: Removal::Asked, ends: expected == State::Paused };
        assert_eq!(last.fact, Fact::Lifecycle(deleted), "it is the last event");

        let worker = worker.crash_and_restart().await;
        let id = session.id();
        assert!(is_gone(worker.supervisor.status(id).await), "{expected}: also after a crash");
        assert!(left(&worker, &session).await > 3, "for ten seconds it can be followed");
        tokio::time::sleep(SECOND * 12).await;
        assert_eq!(left(&worker, &session).await, 0, "{expected}");
        let start = || Start::<Scripted>::new(Done::default()).id(id);
        let refused = worker.supervisor.start(start()).await.map(drop);
        assert!(matches!(refused, Err(StartError::Deleted { session }) if session == id));
        // To delete it again succeeds, as long as it is remembered.
        worker.supervisor.delete(id, Delete::StopFirst).await.unwrap();

        let worker = worker.replace().await;
        tokio::time::sleep(DAY).await;
        assert_eq!(worker.store.load(id).await.unwrap(), None, "{expected}");
        assert!(is_gone(worker.supervisor.delete(id, Delete::IfAtRest).await));
        let again = worker.supervisor.start(start()).await.unwrap().into_handle();
        idle(&again).await;
        worker.supervisor.shutdown(BUDGET).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_verb_on_a_deleted_session_says_that_it_is_not_there() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.delete(Delete::StopFirst).await.unwrap();
    assert!(is_gone(session.pause().await));
    assert!(is_gone(session.resume().await));
    assert!(is_gone(session.stop().await));
    assert!(is_gone(session.stop_run(RunId::from_uuid(uuid::Uuid::nil())).await));
    assert!(is_gone(session.interrupt(OnInterrupt::Drop).await));
    assert!(is_gone(session.complete().await));
    assert!(is_gone(session.fail("late").await));
    assert!(is_gone(session.set_labels(super::labels(&[("a", "b")])).await));
    assert!(is_gone(session.watch().await));
    assert!(is_gone(session.events(1..=9, 9).await));
    assert!(is_gone(session.lineage().await));
    assert!(is_gone(session.snapshot().await));
    assert!(session.send(Do::Add(1)).await.is_err());
    assert!(session.send_urgent(Do::Add(1)).await.is_err());
    assert!(session.subscribe(1).await.is_err());
    assert!(worker.supervisor.fork(session.id(), Fork::<Scripted>::new()).await.is_err());
}

/// A start is repeated when its answer was lost, and that may be late.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_repeated_after_the_delete_is_refused_for_a_day() {
    let worker = Worker::start().await;
    let start = || Start::<Scripted>::new(Done::default()).key(key("order-17"));
    let first = worker.supervisor.start(start()).await.unwrap().into_handle();
    first.delete(Delete::StopFirst).await.unwrap();
    for wait in [SECOND, MINUTE, DAY - MINUTE * 2] {
        tokio::time::sleep(wait).await;
        let refused = worker.supervisor.start(start()).await.map(drop);
        let id = first.id();
        assert!(matches!(refused, Err(StartError::Deleted { session }) if session == id));
        let found = worker.supervisor.find(Key::Start(key("order-17"))).await.unwrap();
        assert!(found.is_none());
    }
    tokio::time::sleep(MINUTE * 2).await;
    let second = worker.supervisor.start(start()).await.unwrap().into_handle();
    assert_ne!(second.id(), first.id());
}

/// A session that was ended from outside may have a run that is about to be gone.
#[tokio::test(start_paused = true)]
async fn a_delete_waits_until_the_run_of_an_ended_session_is_gone() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Deaf(MINUTE))).await;
    in_hand(&session, 1).await;
    session.complete().await.unwrap();
    session.delete(Delete::IfAtRest).await.unwrap();
    assert_eq!(worker.workload.probe.live(), 0);
    assert!(is_gone(session.status().await));
}

/// Between pause and delete, a resume that waits for its place loses.
#[tokio::test(start_paused = true)]
async fn a_delete_wins_over_a_resume_that_waits_for_its_place() {
    let worker = Worker::start_with(|builder| builder.max_active(1)).await;
    let session = worker.session().await;
    session.pause().await.unwrap();
    let busy = worker.session_with(|start| start.input(Do::Deaf(SECOND * 30))).await;
    in_hand(&busy, 1).await;
    let resuming = session.clone();
    let resuming = tokio::spawn(async move { resuming.resume().await });
    tokio::time::sleep(SECOND).await;
    session.delete(Delete::IfAtRest).await.unwrap();
    let answer = soon(resuming).await.unwrap();
    assert!(matches!(answer, Err(SessionError::Superseded { by: "delete", .. })), "{answer:?}");
    busy.stop().await.unwrap().ended().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(worker.workload.probe.live(), 0, "nobody brought it back");
}

/// What is decided together with the delete comes behind it all the same.
#[tokio::test(start_paused = true)]
async fn what_is_asked_behind_a_delete_finds_nothing() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.pause().await.unwrap();
    let stall = worker.store.stall();
    let later = |at: u64, session: &SessionHandle<Scripted>| {
        let session = session.clone();
        async move {
            tokio::time::sleep(SECOND * u32::try_from(at).unwrap()).await;
            session
        }
    };
    let labels = super::labels(&[("a", "b")]);
    let first = later(0, &session);
    let first = tokio::spawn(async move { first.await.set_labels(labels).await });
    let deleting = later(1, &session);
    let deleting = tokio::spawn(async move { deleting.await.delete(Delete::IfAtRest).await });
    let completing = later(2, &session);
    let completing = tokio::spawn(async move { completing.await.complete().await });
    let resuming = later(3, &session);
    let resuming = tokio::spawn(async move { resuming.await.resume().await });
    tokio::time::sleep(SECOND * 5).await;
    drop(stall);
    soon(first).await.unwrap().unwrap();
    soon(deleting).await.unwrap().unwrap();
    assert!(is_gone(soon(completing).await.unwrap()));
    assert!(is_gone(soon(resuming).await.unwrap()));
    tokio::time::sleep(SECOND).await;
    assert_eq!(worker.workload.probe.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_comes_from_a_deleted_session_stays_and_says_that_it_is_gone() {
    let worker = Worker::start().await;
    let parent = worker.session_with(|start| start.input(Do::Add(40))).await;
    drained(&parent).await;
    let fork = worker.supervisor.fork(parent.id(), Fork::<Scripted>::new()).await.unwrap();
    parent.delete(Delete::StopFirst).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    let ancestors = fork.lineage().await.unwrap().ancestors();
    let ancestors: Vec<_> = ancestors.collect::<Vec<_>>().await;
    let [Ok(gone)] = ancestors.as_slice() else { panic!("{ancestors:?}") };
    assert_eq!((gone.session, &gone.presence), (parent.id(), &Presence::Gone));
}

/// Those who follow all sessions see the end of one before its events vanish, and a gap afterwards.
#[tokio::test(start_paused = true)]
async fn who_follows_the_log_sees_the_end_and_later_a_gap() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    idle(&session).await;
    session.delete(Delete::StopFirst).await.unwrap();
    let count = async |worker: &Worker| {
        let follow = worker.supervisor.subscribe(LogFilter::default(), LogFrom::Beginning);
        let mut follow = follow.await.unwrap();
        let (mut events, mut gone, mut last) = (0, 0, None);
        while let Ok(Some(update)) = tokio::time::timeout(SECOND, follow.next()).await {
            match update.unwrap() {
                LogUpdate::Event { event, .. } => {
                    events += 1;
                    last = Some(event.fact.clone());
                }
                LogUpdate::Gap { .. } => gone += 1,
            }
        }
        (events, gone, last)
    };
    let (events, gone, last) = count(&worker).await;
    assert!(events > 3 && gone == 0, "{events} events, {gone} gaps");
    assert_eq!(last, Some(Fact::Lifecycle(Lifecycle::Deleted { by: Removal::Asked, ends: false })));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(count(&worker).await, (0, 1, None));
}

/// G2: a delete that was answered is done to its end by whoever comes next, wherever it was interrupted.
#[tokio::test(start_paused = true)]
async fn a_purge_that_was_interrupted_is_finished_by_the_next_worker() {
    let store = FaultyStore::new(MemoryStore::new());
    let start = async || {
        let builder = Supervisor::builder(store.clone()).workload(Scripted::default());
        builder.start().await.unwrap()
    };
    let supervisor = start().await;
    let session = Start::<Scripted>::new(Done::default()).input(Do::Emit(3_000));
    let session = supervisor.start(session).await.unwrap().into_handle();
    drained(&session).await;
    session.delete(Delete::StopFirst).await.unwrap();
    let left = async || {
        let events = store.events(session.id(), 1..=u64::MAX, 9_999).await.unwrap();
        events.len()
    };
    let whole = left().await;
    // The first part is removed, and then nothing more for as long as this worker lives.
    let mut purges = 0;
    store.inject(move |call| {
        purges += u32::from(call == Call::Purge);
        if call == Call::Purge && purges > 1 { Interference::Fail } else { Interference::None }
    });
    tokio::time::sleep(MINUTE).await;
    assert!((1..whole).contains(&left().await), "it was interrupted in the middle");
    supervisor.status(session.id()).await.unwrap_err();
    drop(supervisor);

    store.inject(|_| Interference::None);
    let supervisor = start().await;
    assert!(is_gone(supervisor.status(session.id()).await));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(left().await, 0);
    supervisor.shutdown(BUDGET).await;
    let store = store.inner().clone();
    store.begin(WorkerGeneration::from_uuid(uuid::Uuid::from_u128(9))).await.unwrap();
    assert_eq!(audit(&store).await, []);
}

/// Each state has a time of its own, and what has not ended is always kept.
#[tokio::test(start_paused = true)]
async fn retention_removes_what_has_ended_when_its_time_is_over() {
    let retention = || Retention::default().completed(MINUTE).failed(MINUTE * 10);
    let worker = Worker::start_with(|builder| builder.retention(retention())).await;
    let completed = worker.session_with(|start| start.input(Do::Complete)).await;
    let failed = worker.session_with(|start| start.input(Do::FailForGood)).await;
    let stopped = worker.session().await;
    stopped.stop().await.unwrap().ended().await.unwrap();
    let paused = worker.session().await;
    paused.pause().await.unwrap();
    let active = worker.session().await;
    until(&failed, |status| status.state() == State::Failed).await;
    let is_there = async |worker: &Worker, session: &SessionHandle<Scripted>| {
        !is_gone(worker.supervisor.status(session.id()).await)
    };

    tokio::time::sleep(SECOND * 50).await;
    assert!(is_there(&worker, &completed).await, "its time is not over");
    let worker = worker.crash_and_restart_with(|builder| builder.retention(retention())).await;
    tokio::time::sleep(MINUTE).await;
    assert!(!is_there(&worker, &completed).await);
    assert!(is_there(&worker, &failed).await, "it is kept for longer");
    // One that ends later has its whole time.
    let later = worker.session_with(|start| start.input(Do::Complete)).await;
    tokio::time::sleep(SECOND * 55).await;
    assert!(is_there(&worker, &later).await);
    tokio::time::sleep(SECOND * 70).await;
    assert!(!is_there(&worker, &later).await);
    tokio::time::sleep(MINUTE * 10).await;
    assert!(!is_there(&worker, &failed).await);
    for kept in [&stopped, &paused, &active] {
        assert!(is_there(&worker, kept).await);
    }
    let events = worker.store.events(completed.id(), 1..=99, 99).await.unwrap();
    assert_eq!(events, [], "what was left is removed");
}

/// A sink is given everything, also of a session that was deleted while the sink was down.
#[tokio::test(start_paused = true)]
async fn nothing_is_removed_that_a_sink_has_not_read() {
    let is_down = Arc::new(AtomicBool::new(false));
    let given = Arc::new(AtomicU64::new(0));
    let (down, count) = (Arc::clone(&is_down), Arc::clone(&given));
    let sink = sink::from_fn(move |batch: sink::SinkBatch| {
        let items = batch.items().len() as u64;
        let (down, count) = (Arc::clone(&down), Arc::clone(&count));
        async move {
            if down.load(Ordering::SeqCst) {
                return Err(std::io::Error::other("down"));
            }
            count.fetch_add(items, Ordering::SeqCst);
            Ok(())
        }
    });
    let worker = Worker::start_with(|builder| builder.sink("outside", sink)).await;
    let first = worker.session_with(|start| start.input(Do::Complete)).await;
    until(&first, |status| status.state() == State::Completed).await;
    tokio::time::sleep(MINUTE * 5).await;
    is_down.store(true, Ordering::SeqCst);
    let before = given.load(Ordering::SeqCst);
    let session = worker.session_with(|start| start.input(Do::Emit(20))).await;
    drained(&session).await;
    session.delete(Delete::StopFirst).await.unwrap();
    tokio::time::sleep(MINUTE * 10).await;
    let whole = left(&worker, &session).await;
    assert!(whole > 20, "the sink has not read them");
    assert!(is_gone(session.status().await));
    is_down.store(false, Ordering::SeqCst);
    tokio::time::sleep(MINUTE * 15).await;
    assert!(given.load(Ordering::SeqCst) >= before + 20);
    assert_eq!(left(&worker, &session).await, 0);
}

/// One that never comes is waited for a day, and what it misses is a gap.
#[tokio::test(start_paused = true)]
async fn a_sink_that_never_reads_holds_nothing_up_for_longer_than_a_day() {
    let sink = sink::from_fn(|_| async { Err::<(), _>(std::io::Error::other("it is down")) });
    let worker = Worker::start_with(|builder| builder.sink("outside", sink)).await;
    let session = worker.session().await;
    session.complete().await.unwrap();
    session.delete(Delete::IfAtRest).await.unwrap();
    let is_there = async || left(&worker, &session).await > 0;
    tokio::time::sleep(DAY - MINUTE).await;
    assert!(is_there().await);
    tokio::time::sleep(MINUTE * 2).await;
    assert!(!is_there().await);
}

/// One that was taken out of the configuration is not waited for.
#[tokio::test(start_paused = true)]
async fn a_sink_that_is_no_more_holds_nothing_up() {
    let sink = sink::from_fn(|_| async { Err::<(), _>(std::io::Error::other("it is down")) });
    let worker = Worker::start_with(|builder| builder.sink("outside", sink)).await;
    let session = worker.session().await;
    session.complete().await.unwrap();
    session.delete(Delete::IfAtRest).await.unwrap();
    let worker = worker.crash_and_restart().await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(left(&worker, &session).await, 0);
}

/// The end of a session is told to its hooks, though it is deleted while they fail and the worker is lost.
#[tokio::test(start_paused = true)]
async fn what_hooks_are_owed_is_not_removed() {
    struct Down(Arc<AtomicBool>, Arc<AtomicU32>);

    impl SessionHooks for Down {
        async fn on_session_end(&self, _: HookCall) -> Result<(), BoxError> {
            if self.0.load(Ordering::SeqCst) {
                return Err("it is down".into());
            }
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    let (is_down, ends) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let hooks = || Down(Arc::clone(&is_down), Arc::clone(&ends));
    let worker = Worker::start_with(|builder| builder.hooks(hooks())).await;
    let session = worker.session().await;
    session.complete().await.unwrap();
    session.delete(Delete::IfAtRest).await.unwrap();
    tokio::time::sleep(MINUTE * 2).await;
    let worker = worker.crash_and_restart_with(|builder| builder.hooks(hooks())).await;
    tokio::time::sleep(MINUTE * 2).await;
    assert!(left(&worker, &session).await > 0);
    is_down.store(false, Ordering::SeqCst);
    tokio::time::sleep(MINUTE * 10).await;
    assert_eq!(ends.load(Ordering::SeqCst), 1);
    assert_eq!(left(&worker, &session).await, 0);
}
