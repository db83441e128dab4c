//! The log of all sessions: every event in it once, where its commit was done.

use crate::{
    Event, EventRecord, EventType, EventTypes, Fact, SessionId, Usage,
    store::{Batch, Bookmark, Commit, LogItem, LogQuery, Order, Store},
    testing::{
        Damageable, Place,
        fixture::{at, batch, next, only, opened, put, record, reopened, session, worker},
    },
};

/// An event as a log is expected to have it.
type Expected = (u64, SessionId, EventRecord);

const OLDEST: LogQuery = LogQuery {
    from: 1,
    order: Order::OldestFirst,
    session: None,
    types: EventTypes::ALL,
    limit: 1000,
};
const NEWEST: LogQuery = LogQuery { from: u64::MAX, order: Order::NewestFirst, ..OLDEST };

/// What a walk through all pages finds.
async fn walked(store: &impl Store, mut query: LogQuery) -> Vec<Expected> {
    let mut found = Vec::new();
    loop {
        let page = store.log(query).await.expect("a page");
        let events = page.items.iter().filter(|item| matches!(item, LogItem::Event(_))).count();
        assert!(events <= query.limit.max(1), "{events} of {}", query.limit);
        for item in page.items {
            match item {
                LogItem::Event(logged) => {
                    let event = EventRecord::clone(&logged.event);
                    found.push((logged.position, logged.session, event));
                }
                LogItem::Gap { from, to } => panic!("nothing is gone, and so is {from} to {to}"),
            }
        }
        if page.next == 0 || page.next > page.end.last {
            return found;
        }
        query.from = page.next;
    }
}

/// Events of all types, the first of which is of a type by its number.
fn with_facts(record: crate::SessionRecord, first: usize, count: usize) -> Commit {
    let facts = (first..first + count).map(|number| match number % 4 {
        0 => Fact::Work(Event::error(format!("{number}"))),
        1 => Fact::Usage(Usage::tokens(1, 1)),
        2 => Fact::Work(Event::completion(format!("{number}"))),
        _ => Fact::Work(Event::custom("numbered", number)),
    });
    let mut record = record;
    let mut events = Vec::new();
    for fact in facts {
        record.last_event += 1;
        let sequence = record.last_event;
        events.push(EventRecord { sequence, at: at(7), run: None, input: None, fact });
    }
    Commit { events, ..only(record) }
}

/// Commits in many batches, and what the log has then.
async fn written(store: &impl Store) -> Vec<Expected> {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut records: Vec<_> = (1..=5).map(record).collect();
    let mut expected: Vec<Expected> = Vec::new();
    for round in 0..40_usize {
        let mut order: Vec<usize> = (0..records.len()).collect();
        rng.shuffle(&mut order);
        order.truncate(rng.usize(1..=5));
        let mut commits = Vec::new();
        for one in order {
            let Some(stored) = records.get_mut(one) else { continue };
            // Some have no events, and some are refused.
            let mut commit = with_facts(next(stored, |_| ()), round, rng.usize(0..4));
            if rng.u8(0..8) == 0 {
                commit.record_mut().version += 7;
                commits.push(commit);
                continue;
            }
            for event in &commit.events {
                expected.push((expected.len() as u64 + 1, commit.record.id, event.clone()));
            }
            *stored = crate::SessionRecord::clone(&commit.record);
            commits.push(commit);
        }
        store.commit(batch(1, commits)).await.expect("answers");
    }
    expected
}

/// Clause 12, one log: all events, in the order of their commits, whichever way they are read.
pub async fn the_log_has_all_events_in_the_order_of_their_commits<P: Place>() {
    let (place, store) = opened::<P>().await;
    assert_eq!(walked(&store, OLDEST).await, []);
    assert_eq!(walked(&store, NEWEST).await, []);
    for number in 1..=5 {
        put(&store, only(record(number))).await;
    }
    let expected = written(&store).await;
    assert!(expected.len() > 50);
    let id = store.log(NEWEST).await.expect("a page").end.log;
    let store = reopened(&place, store, 2).await;
    let end = store.log(NEWEST).await.expect("a page").end;
    assert_eq!((end.log, end.last), (id, expected.len() as u64), "it is the same log");
    let backwards: Vec<_> = expected.iter().rev().cloned().collect();
    for limit in [0, 1, 3, 64, 1000] {
        assert_eq!(walked(&store, LogQuery { limit, ..OLDEST }).await, expected);
        assert_eq!(walked(&store, LogQuery { limit, ..NEWEST }).await, backwards);
    }
    for from in [1, 2, 17, end.last, end.last + 1, u64::MAX] {
        let later: Vec<_> = expected.iter().filter(|one| one.0 >= from).cloned().collect();
        assert_eq!(walked(&store, LogQuery { from, ..OLDEST }).await, later, "from {from}");
        let earlier: Vec<_> = backwards.iter().filter(|one| one.0 <= from).cloned().collect();
        assert_eq!(walked(&store, LogQuery { from, ..NEWEST }).await, earlier, "to {from}");
    }
}

/// Clause 12, one log: by the type of events, and by their session.
pub async fn the_log_is_read_by_type_and_by_session<P: Place>() {
    let (_place, store) = opened::<P>().await;
    for number in 1..=5 {
        put(&store, only(record(number))).await;
    }
    let expected = written(&store).await;
    let some = [
        EventTypes::from(EventType::Error),
        EventTypes::from([EventType::Usage, EventType::Custom]),
        EventTypes::from(EventType::Terminal),
        EventTypes::ALL,
    ];
    for types in some {
        for of in [None, Some(session(2)), Some(session(9))] {
            for limit in [1, 5, 1000] {
                let is_wanted = |one: &&Expected| {
                    types.admits(EventType::of(&one.2.fact)) && of.is_none_or(|of| of == one.1)
                };
                let wanted: Vec<_> = expected.iter().filter(is_wanted).cloned().collect();
                let query = LogQuery { session: of, types, limit, ..OLDEST };
                assert_eq!(walked(&store, query).await, wanted, "{query:?}");
                let backwards: Vec<_> = wanted.into_iter().rev().collect();
                let query = LogQuery { session: of, types, limit, ..NEWEST };
                assert_eq!(walked(&store, query).await, backwards, "{query:?}");
            }
        }
    }
}

/// Clauses 4 and 12: a commit that is repeated has its events in the log once.
pub async fn a_repeated_commit_is_in_the_log_once<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let commit = with_facts(record(1), 0, 3);
    for _ in 0..3 {
        let again = batch(1, [commit.clone()]);
        assert_eq!(store.commit(again).await.expect("an answer"), [Ok(())]);
    }
    assert_eq!(walked(&store, OLDEST).await.len(), 3);
}

/// A place of a reader in a log, as it gives its bookmarks.
fn bookmark(reader: &str, cursor: &str, note: &[u8]) -> Bookmark {
    Bookmark {
        reader: reader.parse().expect("a name"),
        cursor: cursor.parse().expect("a cursor"),
        note: note.into(),
    }
}

/// Keeps bookmarks as a worker, with a commit that is refused.
async fn keep(store: &impl Store, by: u128, bookmarks: Vec<Bookmark>) {
    let stale = next(&record(1), |_| ());
    let batch = Batch { bookmarks, ..batch(by, [only(stale)]) };
    let answers = store.commit(batch).await.expect("answers");
    assert!(matches!(answers.as_slice(), [Err(_)]), "{answers:?}");
}

/// Clause 13, bookmarks: each reader has its own, the last one, in order of their names.
pub async fn a_bookmark_is_kept_and_replaced_by_the_next<P: Place>() {
    let (place, store) = opened::<P>().await;
    assert_eq!(store.bookmarks().await.expect("bookmarks"), []);
    let large = vec![7; 100_000];
    let other = bookmark("a", "00000000000000ff-0", b"");
    keep(&store, 1, vec![bookmark("reader", "00000000000000ff-3", &large), other.clone()]).await;
    let last = bookmark("reader", "00000000000000ff-18446744073709551615", b"note");
    keep(&store, 1, vec![last.clone()]).await;
    assert_eq!(store.bookmarks().await.expect("bookmarks"), [other.clone(), last.clone()]);
    let store = reopened(&place, store, 2).await;
    assert_eq!(store.bookmarks().await.expect("bookmarks"), [other, last]);
}

/// Clause 13, bookmarks: who was followed by another keeps none any more.
pub async fn a_bookmark_of_an_ended_worker_is_not_kept<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let kept = bookmark("reader", "00000000000000ff-3", b"");
    keep(&store, 1, vec![kept.clone()]).await;
    store.begin(worker(2)).await.expect("begin");
    keep(&store, 1, vec![bookmark("reader", "00000000000000ff-4", b"")]).await;
    assert_eq!(store.bookmarks().await.expect("bookmarks"), [kept]);
}

/// Clauses 5 and 12: a damaged session does not end the log.
pub async fn the_log_is_read_past_a_damaged_session<P: Damageable>() {
    let (place, store) = opened::<P>().await;
    for number in 1..=3 {
        put(&store, with_facts(record(number), 0, 2)).await;
    }
    let store = place.damage_record(store, session(2)).await;
    store.begin(worker(1)).await.expect("begin");
    let page = store.log(OLDEST).await.expect("a page");
    let mut others = page.items.iter().filter_map(|item| match item {
        LogItem::Event(logged) if logged.session != session(2) => Some(logged.position),
        LogItem::Event(_) | LogItem::Gap { .. } => None,
    });
    assert!(others.by_ref().eq([1, 2, 5, 6]), "{:?}", page.items);
}
