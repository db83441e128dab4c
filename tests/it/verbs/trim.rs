//! Of a session that goes on, the newest events are kept: older ones go, and whoever looks for them is told.

use std::{
    collections::BTreeSet,
    num::NonZeroU64,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use futures::StreamExt;
use sessionkeeper::{
    Builder, Delete, EventQuery, EventRecord, EventType, Fact, LogFilter, LogFrom, LogUpdate,
    Retention, SessionHandle, State, Supervisor, Update, WorkerGeneration,
    hooks::{HookCall, SessionHooks},
    sink::{self, SinkItem},
    store::{BoxError, LogItem, LogQuery, MemoryStore, Order, Store},
    testing::{Call, CrashSweep, FaultyStore, Harness, Interference, audit},
};

use super::{MINUTE, SECOND, soon, status, until};
use crate::support::{BUDGET, Do, Done, Scripted, Worker, drained};

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
const NEWEST: u64 = 100;

fn keep(builder: Builder) -> Builder {
    let newest = NonZeroU64::new(NEWEST).unwrap();
    builder.retention(Retention::default().events(newest))
}

/// Has the session record so many events, some at a time.
async fn emit(session: &SessionHandle<Scripted>, events: u32) {
    for _ in 0..events / 10 {
        session.send(Do::Emit(10)).await.unwrap();
        drained(session).await;
    }
}

async fn last(session: &SessionHandle<Scripted>) -> u64 {
    status(session).await.record().last_event
}

async fn left(store: &MemoryStore, session: &SessionHandle<Scripted>) -> Vec<EventRecord> {
    store.events(session.id(), 1..=u64::MAX, 99_999).await.unwrap()
}

/// The events that are left are the newest, without gaps: gives the number of the first.
async fn first_left(store: &MemoryStore, session: &SessionHandle<Scripted>) -> u64 {
    let left = left(store, session).await;
    let first = left.first().unwrap().sequence;
    let numbers: Vec<_> = left.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (first..=last(session).await).collect::<Vec<_>>());
    first
}

async fn is_sound(worker: Worker) {
    worker.supervisor.shutdown(BUDGET).await;
    worker.store.begin(WorkerGeneration::from_uuid(uuid::Uuid::from_u128(9))).await.unwrap();
    assert_eq!(audit(&worker.store).await, []);
}

/// G9: so many are kept at least, and no more than half as many again when nothing happens; in every state.
#[tokio::test(start_paused = true)]
async fn the_newest_events_of_a_session_are_kept_and_older_ones_go() {
    let worker = Worker::start_with(keep).await;
    let active = worker.session().await;
    let paused = worker.session().await;
    let short = worker.session().await;
    emit(&short, 50).await;
    for session in [&active, &paused] {
        emit(session, 80).await;
        assert_eq!(status(session).await.record().trimmed, None, "there are not too many");
        for _ in 0..5 {
            emit(session, 100).await;
            tokio::time::sleep(MINUTE).await;
            let kept = last(session).await + 1 - first_left(&worker.store, session).await;
            assert!((NEWEST..NEWEST + NEWEST / 2).contains(&kept), "{kept} are kept");
        }
    }
    paused.pause().await.unwrap();
    let before = first_left(&worker.store, &paused).await;
    let worker = worker.crash_and_restart_with(keep).await;
    let [active, paused, short] =
        [worker.again(&active).await, worker.again(&paused).await, worker.again(&short).await];
    tokio::time::sleep(DAY).await;
    assert_eq!(first_left(&worker.store, &paused).await, before, "nothing happens to it");
    assert_eq!(first_left(&worker.store, &short).await, 1);
    // It goes on as ever.
    emit(&active, 200).await;
    paused.resume().await.unwrap();
    emit(&paused, 200).await;
    tokio::time::sleep(MINUTE).await;
    assert!(first_left(&worker.store, &paused).await > before);
    let (record, seen) = (status(&active).await.record().clone(), drained(&active).await.seen);
    assert_eq!(record.inbox.accepted, seen.len() as u64, "each input had its effect once");
    is_sound(worker).await;
}

/// G9: whoever begins too early, or comes back too late, is told what is gone, and given all that is left.
#[tokio::test(start_paused = true)]
async fn whoever_looks_for_what_is_gone_is_told() {
    let worker = Worker::start_with(keep).await;
    let other = worker.session().await;
    drained(&other).await;
    let session = worker.session().await;
    emit(&session, 400).await;
    tokio::time::sleep(MINUTE).await;
    let (first, last) = (first_left(&worker.store, &session).await, last(&session).await);
    assert!(first > 200, "{first}");

    for from in [1, first - 1, first, last + 1] {
        let mut updates = session.subscribe(from).await.unwrap();
        let mut due = from;
        if from < first {
            let gap = Update::Gap { from, to: first - 1 };
            assert_eq!(soon(updates.next()).await.unwrap().unwrap(), gap);
            due = first;
        }
        for number in due..=last {
            let Update::Event(event) = soon(updates.next()).await.unwrap().unwrap() else {
                panic!("{number} is left");
            };
            assert_eq!(event.sequence, number);
        }
    }
    let oldest = EventQuery { from: 1, order: Order::OldestFirst, ..EventQuery::default() };
    let page = session.query_events(oldest).await.unwrap();
    assert_eq!((page.gap, page.events[0].sequence), (Some(1..=first - 1), first));
    let page = session.query_events(EventQuery { from: first, ..oldest }).await.unwrap();
    assert_eq!((page.gap, page.events[0].sequence), (None, first));
    let newest = EventQuery { limit: 50, ..EventQuery::default() };
    let newest = session.query_events(newest).await.unwrap();
    assert_eq!((newest.gap, newest.next), (None, Some(last - 50)));
    let from = newest.next.unwrap();
    let page = session.query_events(EventQuery { from, ..EventQuery::default() }).await.unwrap();
    assert_eq!((page.gap, page.next), (Some(1..=first - 1), None));
    let page = session.query_events(EventQuery { from: 5, ..oldest }).await.unwrap();
    assert_eq!(page.gap, Some(5..=first - 1));
    let page = session.query_events(EventQuery { from: 9, ..EventQuery::default() }).await.unwrap();
    assert_eq!((page.gap, page.events.len()), (Some(1..=9), 0));

    // Its run began before, and is known all the same.
    let run = status(&session).await.run().unwrap();
    let found = worker.supervisor.run(run).await.unwrap();
    assert_eq!((found.session.id(), found.began < first), (session.id(), true));
    let page = worker.supervisor.run_events(run, oldest).await.unwrap();
    assert_eq!((page.gap, page.events[0].sequence), (Some(found.began..=first - 1), first));
    let types = EventType::Custom.into();
    let of_type =
        LogQuery { session: Some(session.id()), types, limit: 999, ..LogQuery::default() };
    let found = worker.supervisor.log(of_type).await.unwrap().items;
    let left = left(&worker.store, &session).await;
    let emitted = left.iter().filter(|event| matches!(event.fact, Fact::Work(_))).count();
    assert_eq!(found.len(), emitted);

    // In the log of all sessions it is one gap, and nothing of others is.
    let all = worker.supervisor.subscribe(LogFilter::default(), LogFrom::Beginning).await.unwrap();
    let mut all = std::pin::pin!(all);
    let (mut gaps, mut events, mut due) = (0, 0, 1);
    while let Ok(Some(update)) = tokio::time::timeout(SECOND, all.next()).await {
        match update.unwrap() {
            LogUpdate::Event { cursor, .. } => {
                assert_eq!(cursor.position(), due);
                (events, due) = (events + 1, due + 1);
            }
            LogUpdate::Gap { from, to } => {
                assert_eq!(from, due);
                (gaps, due) = (gaps + 1, to.position() + 1);
            }
        }
    }
    let of_other = self::left(&worker.store, &other).await.len();
    assert_eq!((gaps, events), (1, left.len() + of_other));
}

/// A sink is given everything, also while it is down for hours.
#[tokio::test(start_paused = true)]
async fn no_events_go_that_a_sink_has_not_read() {
    let is_down = Arc::new(AtomicBool::new(true));
    let given = Arc::new(Mutex::new(BTreeSet::new()));
    let (down, taken) = (Arc::clone(&is_down), Arc::clone(&given));
    let sink = sink::from_fn(move |batch: sink::SinkBatch| {
        let (down, taken) = (Arc::clone(&down), Arc::clone(&taken));
        async move {
            if down.load(Ordering::SeqCst) {
                return Err(std::io::Error::other("down"));
            }
            for item in batch.items() {
                assert!(!matches!(item, SinkItem::Gap { .. }), "{item:?}");
                taken.lock().unwrap().insert(item.cursor().position());
            }
            Ok(())
        }
    });
    let worker = Worker::start_with(|builder| keep(builder).sink("outside", sink)).await;
    let session = worker.session().await;
    emit(&session, 500).await;
    tokio::time::sleep(MINUTE * 60 * 20).await;
    assert_eq!(first_left(&worker.store, &session).await, 1, "the sink has not read them");
    is_down.store(false, Ordering::SeqCst);
    tokio::time::sleep(MINUTE * 30).await;
    let given = given.lock().unwrap().len() as u64;
    assert_eq!(given, last(&session).await);
    assert!(first_left(&worker.store, &session).await > 1);
    is_sound(worker).await;
}

/// One that never comes is waited for a day, and what it misses is a gap.
#[tokio::test(start_paused = true)]
async fn a_sink_that_never_reads_keeps_events_for_no_longer_than_a_day() {
    let sink = sink::from_fn(|_| async { Err::<(), _>(std::io::Error::other("it is down")) });
    let worker = Worker::start_with(|builder| keep(builder).sink("outside", sink)).await;
    let session = worker.session().await;
    emit(&session, 300).await;
    session.pause().await.unwrap();
    tokio::time::sleep(DAY - MINUTE).await;
    assert_eq!(first_left(&worker.store, &session).await, 1);
    tokio::time::sleep(MINUTE * 2).await;
    assert!(first_left(&worker.store, &session).await > 1);
    is_sound(worker).await;
}

/// What hooks are owed is read again by the next worker, so it is kept.
#[tokio::test(start_paused = true)]
async fn no_events_go_that_hooks_are_owed() {
    struct Down(Arc<AtomicBool>, Arc<AtomicU32>);

    impl SessionHooks for Down {
        async fn on_session_start(&self, _: HookCall) -> Result<(), BoxError> {
            if self.0.load(Ordering::SeqCst) {
                return Err("it is down".into());
            }
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    let (is_down, begun) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let hooks = || Down(Arc::clone(&is_down), Arc::clone(&begun));
    let worker = Worker::start_with(|builder| keep(builder).hooks(hooks())).await;
    let session = worker.session().await;
    emit(&session, 300).await;
    tokio::time::sleep(MINUTE * 2).await;
    let worker = worker.crash_and_restart_with(|builder| keep(builder).hooks(hooks())).await;
    let session = worker.again(&session).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(first_left(&worker.store, &session).await, 1);
    is_down.store(false, Ordering::SeqCst);
    tokio::time::sleep(MINUTE * 10).await;
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    assert!(first_left(&worker.store, &session).await > 1);
}

/// G2: what is to go is said before any of it goes, so the next worker goes on, also one that has no limit.
#[tokio::test(start_paused = true)]
async fn a_trim_that_was_interrupted_is_finished_by_the_next_worker() {
    let store = FaultyStore::new(MemoryStore::new());
    let start = async |limit: bool| {
        let builder = Supervisor::builder(store.clone()).workload(Scripted::default());
        let builder = if limit { keep(builder) } else { builder };
        builder.start().await.unwrap()
    };
    let supervisor = start(true).await;
    let session = sessionkeeper::Start::<Scripted>::new(Done::default()).input(Do::Emit(3_000));
    let session = supervisor.start(session).await.unwrap().into_handle();
    // The first portion goes, and then nothing more for as long as this worker lives.
    let mut trims = 0;
    store.inject(move |call| {
        trims += u32::from(call == Call::Trim);
        if call == Call::Trim && trims > 1 { Interference::Fail } else { Interference::None }
    });
    drained(&session).await;
    tokio::time::sleep(MINUTE).await;
    let first = first_left(store.inner(), &session).await;
    let trimmed = status(&session).await.record().trimmed.clone().unwrap();
    assert!((2..trimmed.to).contains(&first), "it was interrupted in the middle: {first}");
    assert!(trimmed.since.is_some());
    emit(&session, 100).await;
    drop(supervisor);

    store.inject(|_| Interference::None);
    let supervisor = start(false).await;
    let session = supervisor.session(session.id()).await.unwrap().typed().unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(first_left(store.inner(), &session).await, trimmed.to + 1);
    let trimmed = status(&session).await.record().trimmed.clone().unwrap();
    assert_eq!(trimmed.since, None, "it is done");
    supervisor.shutdown(BUDGET).await;
    let store = store.inner().clone();
    store.begin(WorkerGeneration::from_uuid(uuid::Uuid::from_u128(9))).await.unwrap();
    assert_eq!(audit(&store).await, []);
}

/// G2, G9: with a crash before and after every commit, nothing goes that is to stay, and what is to go goes in the end.
#[test]
fn a_crash_at_every_commit_of_a_trim_loses_nothing_that_is_kept() {
    let few = |builder: Builder| {
        let retention = Retention::default().events(NonZeroU64::new(10).unwrap());
        builder.workload(Scripted::default()).retention(retention)
    };
    let start = || Ok::<_, BoxError>(Scripted::start().key("one".parse()?).input(Do::Emit(12)));
    let commits = CrashSweep::new().run(
        few,
        async |harness: &mut Harness, acknowledged: &mut u64| {
            let session = harness.supervisor().start(start()?).await?.into_handle();
            for number in 1..=2_u64 {
                session.send_with_id(format!("{number}").parse()?, Do::Emit(12)).await?;
                *acknowledged = number;
                harness.drained(&session).await;
                tokio::time::sleep(MINUTE).await;
            }
            Ok(())
        },
        async |harness, acknowledged| {
            let session = harness.supervisor().start(start()?).await?.into_handle();
            let done = harness.drained(&session).await;
            assert!(done.seen.len() as u64 > *acknowledged);
            session.send(Do::Emit(20)).await?;
            harness.drained(&session).await;
            tokio::time::sleep(MINUTE).await;
            let store = harness.store().inner().clone();
            let first = first_left(&store, &session).await;
            let record = status(&session).await.record().clone();
            let kept = record.last_event + 1 - first;
            assert!((10..15).contains(&kept), "{kept} are kept: {record:?}");
            harness.shutdown().await;
            store.begin(WorkerGeneration::from_uuid(uuid::Uuid::from_u128(9))).await?;
            assert_eq!(audit(&store).await, []);
            Ok(())
        },
    );
    assert!(commits > 8, "{commits}");
}

/// A session that is deleted while its older events go is removed as ever, with all that was left of it.
#[tokio::test(start_paused = true)]
async fn a_session_that_was_trimmed_is_deleted_whole() {
    let worker = Worker::start_with(keep).await;
    for wait in [SECOND * 5, MINUTE] {
        let session = worker.session().await;
        emit(&session, 300).await;
        let run = status(&session).await.run().unwrap();
        tokio::time::sleep(wait).await;
        session.delete(Delete::StopFirst).await.unwrap();
        tokio::time::sleep(MINUTE).await;
        assert_eq!(left(&worker.store, &session).await, []);
        assert_eq!(worker.store.run(run).await.unwrap(), None);
    }
    let page =
        worker.store.log(LogQuery { from: 1, order: Order::OldestFirst, ..LogQuery::default() });
    let items = page.await.unwrap().items;
    assert!(matches!(items.as_slice(), [LogItem::Gap { from: 1, .. }]), "{items:?}");
    is_sound(worker).await;
}

/// It costs nothing where it is not asked for.
#[tokio::test(start_paused = true)]
async fn without_a_limit_all_events_are_kept() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Emit(5_000))).await;
    until(&session, |status| status.record().inbox.waiting() == 0).await;
    session.complete().await.unwrap();
    tokio::time::sleep(DAY).await;
    assert_eq!(first_left(&worker.store, &session).await, 1);
    assert_eq!(status(&session).await.record().trimmed, None);
    assert_eq!(status(&session).await.state(), State::Completed);
}
