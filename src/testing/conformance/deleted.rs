//! What becomes of a session that is deleted.

use std::sync::Arc;

use crate::{
    Deleted, Lane, Removal, SessionRecord, StartRequest, Turn,
    store::{Key, LogItem, LogQuery, Order, Purge, Purged, Query, Refusal, Related, Store, Then},
};

use super::listed;
use crate::testing::{
    Place,
    fixture::{
        answer, input_id, next, noise, only, opened, put, record, reopened, session, supervised,
        with_events, with_inputs, with_snapshot, with_steps, worker,
    },
};

/// A session of everything, which comes from another one.
async fn whole(store: &impl Store, number: u128) -> SessionRecord {
    let mut first = record(number);
    first.name = Some(format!("name-{number}").parse().expect("a name"));
    first.external_id = Some("agent-7".parse().expect("an id"));
    first.start_key = Some(start(number));
    first.labels = crate::Labels::new([("user", "eve")]).expect("labels");
    let stored = put(store, with_snapshot(first, 0, &noise(1, 300_000))).await;
    let inputs = with_inputs(next(&stored, |_| ()), &[(Some("a"), b"one"), (Some("b"), b"two")]);
    let stored = put(store, inputs).await;
    let large = noise(2, 200_000);
    let steps: [(Turn, &str, Option<&[u8]>); 2] = [
        (Turn { input: 1, interlude: 0 }, "large", Some(&large)),
        (Turn { input: 1, interlude: 0 }, "small", None),
    ];
    let stored = put(store, with_steps(next(&stored, |_| ()), &steps)).await;
    let messages: Vec<String> = (0..300).map(|event| format!("event {event}")).collect();
    let messages = messages.iter().map(String::as_str);
    put(store, with_events(next(&stored, |_| ()), messages)).await
}

fn start(number: u128) -> StartRequest {
    StartRequest { key: format!("order-{number}").parse().expect("a key"), digest: 77 }
}

/// The tombstone of a session.
fn tombstone(record: &SessionRecord) -> SessionRecord {
    next(record, |record| {
        record.deleted = Some(Deleted { at: supervised(5_000), by: Removal::Asked, purged: false });
    })
}

fn purged(tombstone: &SessionRecord) -> SessionRecord {
    next(tombstone, |record| {
        record.snapshots.clear();
        record.steps = None;
        record.deleted = Some(Deleted { at: supervised(5_000), by: Removal::Asked, purged: true });
    })
}

/// Removes everything, so many rows at a time, and counts how often.
async fn purge(store: &impl Store, tombstone: &SessionRecord, rows: usize, then: Then) -> usize {
    let mut parts = 1;
    let wanted = Purge {
        generation: worker(1),
        session: tombstone.id,
        version: tombstone.version,
        rows,
        then,
    };
    while store.purge(wanted.clone()).await.expect("a purge") == Ok(Purged::More) {
        parts += 1;
        assert!(parts < 10_000, "it has an end");
    }
    parts
}

async fn found(store: &impl Store, key: &str) -> [Option<crate::SessionId>; 3] {
    let name = Key::Name(format!("name-{key}").parse().expect("a name"));
    let external = Key::ExternalId("agent-7".parse().expect("an id"));
    let start = Key::Start(format!("order-{key}").parse().expect("a key"));
    let find = async |key| store.find(key).await.expect("an answer");
    [find(name).await, find(external).await, find(start).await]
}

/// What there is of a session but its record: snapshots, inputs, ids, steps and events.
async fn parts(store: &impl Store, number: u128) -> [usize; 5] {
    let id = session(number);
    let mut snapshots = 0;
    for sequence in 1..9 {
        let snapshot = store.snapshot(id, sequence).await.expect("an answer");
        snapshots += usize::from(snapshot.is_some());
    }
    let mut ids = 0;
    for text in ["a", "b"] {
        let known = store.accepted(id, input_id(text)).await.expect("an answer");
        ids += usize::from(known.is_some());
    }
    [
        snapshots,
        store.inputs(id, 0, 99).await.expect("inputs").len(),
        ids,
        store.steps(id, Turn::default()).await.expect("steps").len(),
        store.events(id, 1..=u64::MAX, 999).await.expect("events").len(),
    ]
}

const WHOLE: [usize; 5] = [1, 2, 2, 2, 300];

/// Clause 14, tombstones: nobody finds a session that was deleted, but by its start key; and it is due.
pub async fn a_deleted_session_is_found_by_its_start_key_only<P: Place>() {
    let (place, store) = opened::<P>().await;
    let stored = whole(&store, 1).await;
    put(&store, only(tombstone(&stored))).await;
    let store = reopened(&place, store, 1).await;
    assert_eq!(found(&store, "1").await, [None, None, Some(session(1))]);
    let labels = vec![("user".to_owned(), "eve".to_owned())];
    let related = Some(Related::all_of(session(1)));
    for query in [
        Query::default(),
        Query { states: vec![stored.state()], ..Query::default() },
        Query { kind: Some(stored.kind.clone()), ..Query::default() },
        Query { labels, ..Query::default() },
        Query { related, ..Query::default() },
    ] {
        assert_eq!(listed(&store, query).await, Vec::<u128>::new());
    }
    for lane in Lane::ALL {
        let due = store.due(lane, supervised(u64::MAX).into(), 9).await.expect("due");
        assert_eq!(due.len(), usize::from(lane == Lane::Removal), "{lane:?}");
    }
    let loaded = store.load(session(1)).await.expect("load").expect("a tombstone");
    assert!(loaded.is_deleted());
    // Its name is free.
    let mut heir = record(2);
    heir.name = stored.name;
    put(&store, only(heir)).await;
}

/// Clause 14, tombstones: a commit of a session that was deleted is refused, whatever its version, also after a crash.
pub async fn nothing_brings_a_deleted_session_back<P: Place>() {
    let (place, store) = opened::<P>().await;
    let stored = whole(&store, 1).await;
    let deleted = put(&store, only(tombstone(&stored))).await;
    let store = reopened(&place, store, 1).await;
    let mut late = next(&deleted, |_| ());
    late.deleted = None;
    for version in [1, stored.version + 1, late.version, late.version + 1] {
        let revival = SessionRecord { version, writer: worker(9), ..late.clone() };
        assert_eq!(answer(&store, only(revival)).await, Err(Refusal::Deleted), "{version}");
    }
    // The start key belongs to it.
    let again = SessionRecord { start_key: Some(start(1)), ..record(2) };
    let refusal = Refusal::StartKeyTaken { holder: session(1), digest: 77 };
    assert_eq!(answer(&store, only(again)).await, Err(refusal));
    purge(&store, &deleted, 1_000, Then::Keep(Arc::new(purged(&deleted)))).await;
    assert_eq!(answer(&store, only(record(1))).await, Err(Refusal::Deleted));
    // A tombstone that was committed is committed when it is repeated.
    assert_eq!(answer(&store, only(purged(&deleted))).await, Ok(()));
}

/// Clause 14, tombstones: what there was can be read until it is purged.
pub async fn a_tombstone_removes_nothing<P: Place>() {
    let (place, store) = opened::<P>().await;
    let stored = whole(&store, 1).await;
    let mut bare = tombstone(&stored);
    bare.snapshots.clear();
    bare.inbox = crate::Inbox::default();
    bare.steps = None;
    put(&store, only(bare)).await;
    let store = reopened(&place, store, 1).await;
    assert_eq!(parts(&store, 1).await, WHOLE);
}

/// Clause 14, tombstones: a purge removes all that there was, a part at a time, and nothing else; who loses the worker in
/// between goes on.
pub async fn a_purge_leaves_nothing_of_a_deleted_session<P: Place>() {
    for rows in [0, 3, 100_000] {
        let (place, store) = opened::<P>().await;
        let stored = whole(&store, 1).await;
        whole(&store, 2).await;
        let deleted = put(&store, only(tombstone(&stored))).await;
        let gone = Arc::new(purged(&deleted));
        let wanted = Purge {
            generation: worker(1),
            session: session(1),
            version: deleted.version,
            rows,
            then: Then::Keep(Arc::clone(&gone)),
        };
        let first = store.purge(wanted).await.expect("a purge");
        assert_eq!(first == Ok(Purged::More), rows < 100, "{rows} rows");
        let store = reopened(&place, store, 1).await;
        let parts_done = purge(&store, &deleted, rows, Then::Keep(Arc::clone(&gone))).await;
        assert_eq!(parts_done == 1, rows > 100, "{parts_done} parts of {rows} rows");
        let store = reopened(&place, store, 1).await;
        assert_eq!(parts(&store, 1).await, [0; 5], "{rows} rows");
        assert_eq!(store.load(session(1)).await.expect("load").as_ref(), Some(&*gone));
        assert_eq!(parts(&store, 2).await, WHOLE, "of another session nothing is gone");
        assert_eq!(listed(&store, Query::default()).await, [2]);
        // To repeat it does no harm.
        assert_eq!(purge(&store, &deleted, rows, Then::Keep(gone)).await, 1);
    }
}

/// Clause 14, tombstones: only what was deleted is purged, and only by the worker that has the store.
pub async fn a_purge_takes_no_session_apart_that_is_not_deleted<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let stored = whole(&store, 1).await;
    let wanted = |by, version| Purge {
        generation: worker(by),
        session: session(1),
        version,
        rows: 9,
        then: Then::Forget,
    };
    let refusal = Refusal::Version { found: Some(stored.version) };
    let answer = store.purge(wanted(1, stored.version)).await.expect("an answer");
    assert_eq!(answer, Err(refusal));
    let deleted = put(&store, only(tombstone(&stored))).await;
    let refusal = Refusal::Version { found: Some(deleted.version) };
    let answer = store.purge(wanted(1, stored.version)).await.expect("an answer");
    assert_eq!(answer, Err(refusal));
    let answer = store.purge(wanted(2, deleted.version)).await.expect("an answer");
    assert_eq!(answer, Err(Refusal::GenerationEnded));
    assert_eq!(parts(&store, 1).await, WHOLE);
}

/// Clause 14, tombstones: when a tombstone is removed too, its id and its start key are free.
pub async fn a_session_that_is_forgotten_never_was<P: Place>() {
    let (place, store) = opened::<P>().await;
    let stored = whole(&store, 1).await;
    let deleted = put(&store, only(tombstone(&stored))).await;
    purge(&store, &deleted, 50, Then::Forget).await;
    let store = reopened(&place, store, 1).await;
    assert_eq!(store.load(session(1)).await.expect("load"), None);
    assert_eq!(found(&store, "1").await, [None; 3]);
    let due = store.due(Lane::Removal, supervised(u64::MAX).into(), 9).await.expect("due");
    assert_eq!(due, []);
    assert_eq!(purge(&store, &deleted, 50, Then::Forget).await, 1, "to repeat it does no harm");
    assert_eq!(
        answer(&store, only(next(&stored, |_| ()))).await,
        Err(Refusal::Version { found: None })
    );
    let again = whole(&store, 1).await;
    assert_eq!(parts(&store, 1).await, WHOLE);
    assert_eq!(store.load(session(1)).await.expect("load"), Some(again));
}

/// Clause 14, tombstones: in the log of all sessions, the events of one that was purged are a gap, and the others keep their
/// positions.
pub async fn the_events_of_a_purged_session_are_a_gap_in_the_log<P: Place>() {
    let (_place, store) = opened::<P>().await;
    put(&store, with_events(record(2), ["before"])).await;
    let stored = put(&store, with_events(record(1), ["one", "two", "three"])).await;
    put(&store, with_events(record(3), ["after"])).await;
    let deleted = put(&store, only(tombstone(&stored))).await;
    purge(&store, &deleted, 1_000, Then::Forget).await;
    let query = LogQuery { from: 1, order: Order::OldestFirst, ..LogQuery::default() };
    let page = store.log(query).await.expect("a page");
    let positions: Vec<(u64, u64)> = page
        .items
        .iter()
        .map(|item| match item {
            LogItem::Event(logged) => (logged.position, logged.position),
            LogItem::Gap { from, to } => (*from, *to),
        })
        .collect();
    assert_eq!(positions, [(1, 1), (2, 4), (5, 5)]);
    assert!(matches!(page.items.get(1), Some(LogItem::Gap { .. })), "{:?}", page.items);
    assert_eq!(page.end.last, 5);
}
