//! The log of all sessions as a stream: what is there and what is to come, of whom and of what.

use std::{collections::BTreeMap, time::Duration};

use futures::{Stream, StreamExt};
use sessionkeeper::{
    EventQuery, EventType, EventTypes, LogCursor, LogError, LogFilter, LogFrom, LogUpdate,
    SessionHandle, SessionId, Start, StatisticsOptions, Supervisor,
    hooks::SessionHooks,
    store::{LogItem, LogQuery, MemoryStore, Order, Part, Store},
    testing::{Call, FaultyStore, Interference},
};

use super::{SECOND, idle, kind, log, soon};
use crate::support::{BUDGET, Do, Done, Scripted, Worker};

type Updates = std::pin::Pin<Box<dyn Stream<Item = Result<LogUpdate, LogError>> + Send>>;

async fn subscribe(supervisor: &Supervisor, filter: LogFilter, from: LogFrom) -> Updates {
    Box::pin(supervisor.subscribe(filter, from).await.unwrap())
}

async fn all(supervisor: &Supervisor, from: LogFrom) -> Updates {
    subscribe(supervisor, LogFilter::default(), from).await
}

/// An event as its subscriber is given it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    cursor: LogCursor,
    session: SessionId,
    sequence: u64,
    of: EventType,
}

fn seen(update: Result<LogUpdate, LogError>) -> Seen {
    match update.unwrap() {
        LogUpdate::Event { cursor, session, event } => {
            Seen { cursor, session, sequence: event.sequence, of: EventType::of(&event.fact) }
        }
        LogUpdate::Gap { from, to } => panic!("{from} to {to} are gone"),
    }
}

async fn take(updates: &mut Updates, count: u64) -> Vec<Seen> {
    let count = usize::try_from(count).unwrap();
    soon(updates.take(count).map(seen).collect()).await
}

async fn emit(session: &SessionHandle<Scripted>, events: u32) {
    session.send(Do::Emit(events)).await.unwrap();
    idle(session).await;
}

async fn last(supervisor: &Supervisor) -> u64 {
    supervisor.log(LogQuery::default()).await.unwrap().end.last
}

/// Whether these are all events up to the last of them, of each session in order.
fn are_whole(found: &[Seen]) {
    let mut next: BTreeMap<SessionId, u64> = BTreeMap::new();
    for (place, one) in found.iter().enumerate() {
        assert_eq!(one.cursor.position(), place as u64 + 1, "{one:?}");
        let due = next.entry(one.session).or_insert(1);
        assert_eq!(one.sequence, *due, "{one:?}");
        *due += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_there_and_what_comes_of_all_sessions_is_one_stream() {
    let worker = Worker::start().await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(worker.session().await);
    }
    emit(&sessions[0], 100).await;
    let mut updates = all(&worker.supervisor, LogFrom::Beginning).await;
    let mut found = take(&mut updates, 40).await;
    let writing: Vec<_> = sessions
        .iter()
        .cloned()
        .map(|session| {
            tokio::spawn(async move {
                for _ in 0..20 {
                    emit(&session, 7).await;
                }
            })
        })
        .collect();
    for writing in writing {
        writing.await.unwrap();
    }
    let left = last(&worker.supervisor).await - 40;
    found.extend(take(&mut updates, left).await);
    are_whole(&found);
    assert!(tokio::time::timeout(SECOND, updates.next()).await.is_err(), "and nothing more");
    for session in &sessions {
        let logged = found.iter().filter(|one| one.session == session.id()).count();
        assert_eq!(logged, log(session).await.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_is_good_through_crashes() {
    let mut worker = Worker::start().await;
    let mut sessions = vec![worker.session().await, worker.session().await];
    let mut found: Vec<Seen> = Vec::new();
    for round in 0..10 {
        emit(&sessions[0], 500).await;
        emit(&sessions[1], 500).await;
        let from = found.last().map_or(LogFrom::Beginning, |last| {
            // As it is kept by somebody else.
            let text = serde_json::to_string(&last.cursor).unwrap();
            serde_json::from_str::<LogCursor>(&text).unwrap().into()
        });
        let mut updates = all(&worker.supervisor, from).await;
        found.extend(take(&mut updates, 700 + round).await);
        if round % 3 == 0 {
            worker = worker.crash_and_restart().await;
            for session in &mut sessions {
                *session = worker.again(session).await;
                idle(session).await;
            }
        }
    }
    let from = LogFrom::After(found.last().unwrap().cursor);
    let left = last(&worker.supervisor).await - found.len() as u64;
    found.extend(take(&mut all(&worker.supervisor, from).await, left).await);
    are_whole(&found);
    assert!(found.len() > 10_000);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_wanted_is_given() {
    let worker =
        Worker::start_with(|builder| builder.workload_as(kind("other"), Scripted::default())).await;
    let mine = worker.session().await;
    let start = Start::<Scripted>::new(Done::default()).kind(kind("other"));
    let other = worker.supervisor.start(start).await.unwrap().into_handle();
    let of_session = LogFilter { session: Some(mine.id()), ..LogFilter::default() };
    let of_kind = LogFilter { kind: Some(kind("other")), ..LogFilter::default() };
    let of_type = LogFilter { types: EventType::Lifecycle.into(), ..LogFilter::default() };
    let of_none = LogFilter { kind: Some(kind("none")), ..LogFilter::default() };
    let mut streams = Vec::new();
    // Half of them read what is there, half what comes.
    for round in 0..2 {
        for filter in [&of_session, &of_kind, &of_type, &of_none] {
            let stream = subscribe(&worker.supervisor, filter.clone(), LogFrom::Beginning).await;
            let reading = tokio::spawn(stream.map(seen).collect::<Vec<_>>());
            streams.push((filter.clone(), reading));
        }
        if round == 0 {
            emit(&mine, 90).await;
            emit(&other, 90).await;
        }
    }
    emit(&mine, 5).await;
    emit(&other, 5).await;
    tokio::time::sleep(SECOND).await;
    worker.supervisor.shutdown(BUDGET).await;
    let store = worker.store.clone();
    let _ = store.begin(uuid(1)).await;
    let query = LogQuery { from: 1, order: Order::OldestFirst, limit: 1000, ..LogQuery::default() };
    let items = store.log(query).await.unwrap().items;
    for (filter, reading) in streams {
        let found = soon(reading).await.unwrap();
        let wanted = items.iter().filter_map(|item| match item {
            LogItem::Event(logged) => {
                let whose = if logged.session == mine.id() { "scripted" } else { "other" };
                let is_wanted = filter.session.is_none_or(|session| session == logged.session)
                    && filter.kind.as_ref().is_none_or(|kind| kind.as_str() == whose)
                    && filter.types.admits(EventType::of(&logged.event.fact));
                is_wanted.then_some(logged.position)
            }
            LogItem::Gap { .. } => None,
        });
        let found: Vec<u64> = found.iter().map(|one| one.cursor.position()).collect();
        assert_eq!(found, wanted.collect::<Vec<_>>(), "{filter:?}");
    }
}

fn uuid(number: u128) -> sessionkeeper::WorkerGeneration {
    sessionkeeper::testing::fixture::worker(number)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_follow_all_and_one_that_does_not_read_hinders_nobody() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    let mut lazy = all(&worker.supervisor, LogFrom::Beginning).await;
    let before = last(&worker.supervisor).await;
    let mut readers = Vec::new();
    for _ in 0..1_000 {
        let mut updates = all(&worker.supervisor, LogFrom::Now).await;
        readers.push(tokio::spawn(async move { take(&mut updates, 2_000).await }));
    }
    for _ in 0..50 {
        emit(&session, 50).await;
    }
    for reader in readers {
        let found = reader.await.unwrap();
        let positions: Vec<u64> = found.iter().map(|one| one.cursor.position()).collect();
        assert_eq!(positions, (before + 1..=before + 2_000).collect::<Vec<_>>());
    }
    let found = take(&mut lazy, last(&worker.supervisor).await).await;
    are_whole(&found);
}

#[tokio::test(start_paused = true)]
async fn who_keeps_up_sees_the_shutdown_to_its_end() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    emit(&session, 3).await;
    let mut updates = all(&worker.supervisor, LogFrom::Beginning).await;
    let mut found = take(&mut updates, last(&worker.supervisor).await).await;
    worker.supervisor.shutdown(BUDGET).await;
    found.extend(soon(updates.map(seen).collect::<Vec<_>>()).await);
    are_whole(&found);
    let _ = worker.store.begin(uuid(1)).await;
    let end = worker.store.log(LogQuery::default()).await.unwrap().end;
    assert_eq!(end.last, found.len() as u64, "the pause is the last");
}

#[tokio::test(start_paused = true)]
async fn a_cursor_from_elsewhere_is_refused() {
    let worker = Worker::start().await;
    let other = Worker::start().await;
    worker.session().await;
    let session = other.session().await;
    emit(&session, 10).await;
    let newest = take(&mut all(&other.supervisor, LogFrom::Beginning).await, 10).await;
    let cursor = newest[0].cursor;
    let refused = worker.supervisor.subscribe(LogFilter::default(), cursor.into()).await.err();
    assert!(
        matches!(refused, Some(LogError::OtherLog { cursor: given, log })
            if given == cursor && log != cursor.log()),
        "{refused:?}"
    );
    let end = last(&other.supervisor).await;
    let ahead = cursor.to_string().replace("-1", &format!("-{}", end + 1));
    let ahead: LogCursor = ahead.parse().unwrap();
    let refused = other.supervisor.subscribe(LogFilter::default(), ahead.into()).await.err();
    assert!(
        matches!(refused, Some(LogError::Ahead { cursor: given, newest })
            if given == ahead && newest.position() == end),
        "{refused:?}"
    );
    for text in ["", "7", "-", "x-1", "0-1", "+1-1", "0000000000000001-01", "1-1-1"] {
        assert!(text.parse::<LogCursor>().is_err(), "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_a_gap_and_no_end() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    emit(&session, 20).await;
    let end = last(&worker.supervisor).await;
    for sequence in [5, 6, 9] {
        worker.store.damage(session.id(), Part::Event(sequence));
    }
    let updates = all(&worker.supervisor, LogFrom::Beginning).await;
    let mut gone = Vec::new();
    let mut positions = Vec::new();
    let mut updates = updates.take(usize::try_from(end).unwrap() - 1);
    while let Some(update) = soon(updates.next()).await {
        match update.unwrap() {
            LogUpdate::Event { cursor, .. } => positions.push(cursor.position()),
            LogUpdate::Gap { from, to } => gone.push((from, to.position())),
        }
    }
    assert_eq!(gone, [(5, 6), (9, 9)]);
    let wanted: Vec<u64> = (1..=end).filter(|position| ![5, 6, 9].contains(position)).collect();
    assert_eq!(positions, wanted);
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_holds_those_up_who_are_at_the_end_and_tells_the_others() {
    let store = FaultyStore::new(MemoryStore::new());
    let builder = Supervisor::builder(store.clone()).workload(Scripted::default());
    let supervisor = builder.start().await.unwrap();
    let start = Start::<Scripted>::new(Done::default());
    let session = supervisor.start(start).await.unwrap().into_handle();
    emit(&session, 10).await;
    let mut live = all(&supervisor, LogFrom::Beginning).await;
    let mut found = take(&mut live, last(&supervisor).await).await;
    for _ in 0..3 {
        store.next(Call::Log, Interference::Fail);
    }
    emit(&session, 10).await;
    let newest = found.len() as u64 + 10;
    found.extend(take(&mut live, 10).await);
    are_whole(&found);
    assert_eq!(last(&supervisor).await, newest);
    let mut late = all(&supervisor, LogFrom::Beginning).await;
    drop(live);
    store.next(Call::Log, Interference::Fail);
    let failed = soon(late.next()).await.unwrap();
    assert!(matches!(failed, Err(LogError::Store(_))), "{failed:?}");
    assert!(soon(late.next()).await.is_none(), "it is over");
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_session_are_read_either_way_and_by_type() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    emit(&session, 700).await;
    session.pause().await.unwrap();
    let stored = log(&session).await;
    let types = [EventTypes::ALL, EventType::Lifecycle.into(), EventType::Terminal.into()];
    for (types, limit) in types.into_iter().flat_map(|types| [1, 7, 5000].map(|n| (types, n))) {
        let wanted = stored.iter().filter(|event| types.admits(EventType::of(&event.fact)));
        let wanted: Vec<_> = wanted.cloned().collect();
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let from = if order == Order::OldestFirst { 0 } else { u64::MAX };
            let mut next = Some(from);
            let mut found = Vec::new();
            while let Some(from) = next {
                let query = EventQuery { from, order, types, limit };
                let page = session.query_events(query).await.unwrap();
                assert!(page.events.len() <= limit);
                found.extend(page.events);
                next = page.next;
            }
            if order == Order::NewestFirst {
                found.reverse();
            }
            assert_eq!(found, wanted, "{types:?} {limit} {order:?}");
        }
    }
    let beyond = EventQuery { from: 9_999, order: Order::OldestFirst, ..EventQuery::default() };
    assert_eq!(session.query_events(beyond).await.unwrap().events, []);
}

#[tokio::test(start_paused = true)]
async fn pages_are_newest_first_unless_asked_otherwise() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    emit(&session, 300).await;
    let end = last(&worker.supervisor).await;
    let mut query = LogQuery { limit: 7, ..LogQuery::default() };
    let mut found = Vec::new();
    while query.from > 0 {
        let page = worker.supervisor.log(query).await.unwrap();
        found.extend(page.items.iter().map(|item| match item {
            LogItem::Event(logged) => logged.position,
            LogItem::Gap { from, to } => panic!("{from} to {to} are gone"),
        }));
        query.from = page.next;
    }
    assert_eq!(found, (1..=end).rev().collect::<Vec<_>>());
    let types = EventTypes::from(EventType::Terminal);
    let none = worker.supervisor.log(LogQuery { types, ..LogQuery::default() }).await.unwrap();
    assert_eq!((none.items.len(), none.next), (0, 0));
}

struct Nothing;

impl SessionHooks for Nothing {}

/// Statistics that are new have the whole log before them, and hooks that were away a part of it. Who follows from now on is none of
/// their business.
#[tokio::test(start_paused = true)]
async fn who_follows_waits_for_no_reader_that_is_far_behind() {
    let disk = MemoryStore::new();
    let builder = || Supervisor::builder(disk.clone()).workload(Scripted::default());
    let supervisor = builder().hooks(Nothing).start().await.unwrap();
    supervisor.shutdown(BUDGET).await;
    let supervisor = builder().start().await.unwrap();
    let session = supervisor.start(Scripted::start()).await.unwrap().into_handle();
    session.send(Do::Emit(8_000)).await.unwrap();
    idle(&session).await;
    supervisor.shutdown(BUDGET).await;

    for has_hooks in [false, true] {
        // Whoever reads all of it takes a minute for that.
        let store = FaultyStore::new(disk.clone());
        store.inject(|call| match call {
            Call::Log => Interference::Delay { before: SECOND, after: Duration::ZERO },
            _ => Interference::None,
        });
        let builder = Supervisor::builder(store).workload(Scripted::default());
        let supervisor = match has_hooks {
            true => builder.hooks(Nothing).start().await.unwrap(),
            false => builder.statistics(StatisticsOptions::default()).start().await.unwrap(),
        };
        supervisor.recovered().await.unwrap();
        // Until it follows.
        tokio::time::sleep(SECOND * 4).await;
        let follow = supervisor.subscribe(LogFilter::default(), LogFrom::Now);
        let mut follow = follow.await.unwrap();
        let session = supervisor.start(Scripted::start()).await.unwrap().id();
        let told = async {
            while let Some(update) = follow.next().await {
                let LogUpdate::Event { session: whose, .. } = update.unwrap() else { continue };
                if whose == session {
                    return;
                }
            }
        };
        let told = tokio::time::timeout(SECOND * 10, told).await;
        assert!(told.is_ok(), "hooks: {has_hooks}");
        drop(supervisor);
    }
}
