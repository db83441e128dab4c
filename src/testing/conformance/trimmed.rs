//! What becomes of the older events of a session that goes on.

use std::sync::Arc;

use crate::{
    Deleted, Lane, Removal, SessionRecord, Trimmed,
    store::{LogItem, LogQuery, Order, Purge, Purged, Refusal, Store, StoredRun, Then, Trim},
};

use crate::testing::{
    Place,
    fixture::{
        answer, messages, next, only, opened, put, record, reopened, run, session, supervised,
        with_end_of_run, with_events, with_runs, worker,
    },
};

/// A session of which the events up to one are to go, of so many.
async fn long(store: &impl Store, number: u128, events: u64, to: u64) -> SessionRecord {
    let texts: Vec<String> = (1..=events).map(|event| format!("event {event}")).collect();
    let stored = put(store, with_events(record(number), texts.iter().map(String::as_str))).await;
    if to == 0 {
        return stored;
    }
    put(store, only(trimmed(&stored, to))).await
}

fn trimmed(record: &SessionRecord, to: u64) -> SessionRecord {
    let trimmed = Trimmed { to, since: Some(supervised(5_000)) };
    next(record, |record| record.trimmed = Some(Box::new(trimmed)))
}

fn wanted(number: u128, to: u64, rows: usize) -> Trim {
    Trim { generation: worker(1), session: session(number), to, rows }
}

/// Trims until nothing more is to go, and counts how often.
async fn trim(store: &impl Store, number: u128, to: u64, rows: usize) -> usize {
    let mut parts = 1;
    while store.trim(wanted(number, to, rows)).await.expect("a trim") == Ok(Purged::More) {
        parts += 1;
        assert!(parts < 10_000, "it has an end");
    }
    parts
}

/// The number of the first event that is left, where those after it are all there.
async fn first_left(store: &impl Store, number: u128, last: u64) -> u64 {
    let left = store.events(session(number), 1..=u64::MAX, 99_999).await.expect("events");
    let first = left.first().expect("some are left").sequence;
    let should: Vec<_> = (first..=last).map(|event| (event, format!("event {event}"))).collect();
    assert_eq!(messages(&left), should);
    first
}

/// Clause 15, trimming: the oldest events go, a part at a time, and none that its record does not name; who loses the worker in between
/// goes on; and to repeat it does no harm.
pub async fn the_oldest_events_go_and_the_newest_stay<P: Place>() {
    for rows in [0, 3, 100_000] {
        let (place, store) = opened::<P>().await;
        let stored = long(&store, 1, 2_000, 1_500).await;
        long(&store, 2, 2_000, 0).await;
        let first = store.trim(wanted(1, 1_500, rows)).await.expect("a trim");
        assert_eq!(first == Ok(Purged::More), rows < 100, "{rows} rows");
        let store = reopened(&place, store, 1).await;
        let parts = trim(&store, 1, 1_500, rows).await;
        assert_eq!(parts == 1, rows > 100, "{parts} parts of {rows} rows");
        let store = reopened(&place, store, 1).await;
        let left = first_left(&store, 1, 2_000).await;
        assert!((1_000..=1_501).contains(&left), "{left} is the first, with {rows} rows");
        assert_eq!(first_left(&store, 2, 2_000).await, 1, "of another session nothing is gone");
        assert_eq!(trim(&store, 1, 1_500, rows).await, 1);
        assert_eq!(first_left(&store, 1, 2_000).await, left);
        // It goes on, and is due until its record says that this is done.
        let due =
            async || store.due(Lane::Trim, supervised(u64::MAX).into(), 9).await.expect("due");
        assert_eq!(due().await.len(), 1);
        let mut done = with_events(next(&stored, |_| ()), ["event 2001"]);
        done.record_mut().trimmed = Some(Box::new(Trimmed { to: 1_500, since: None }));
        put(&store, done).await;
        assert_eq!(due().await, []);
        assert_eq!(first_left(&store, 1, 2_001).await, left);
    }
}

/// Clause 15, trimming: only what its record says, and only by the worker that has the store.
pub async fn only_what_its_record_says_is_trimmed<P: Place>() {
    let (_place, store) = opened::<P>().await;
    long(&store, 1, 1_000, 600).await;
    long(&store, 2, 1_000, 0).await;
    for (number, to, version) in [(1, 601, 2), (1, u64::MAX, 2), (2, 1, 1)] {
        let answer = store.trim(wanted(number, to, 9)).await.expect("an answer");
        let refusal = Refusal::Version { found: Some(version) };
        assert_eq!(answer, Err(refusal), "session {number} up to {to}");
    }
    let late = Trim { generation: worker(9), ..wanted(1, 600, 9) };
    assert_eq!(store.trim(late).await.expect("an answer"), Err(Refusal::GenerationEnded));
    assert_eq!(first_left(&store, 1, 1_000).await, 1);
    assert_eq!(first_left(&store, 2, 1_000).await, 1);
    // A smaller part of it may go.
    trim(&store, 1, 300, 9).await;
    assert!((2..=301).contains(&first_left(&store, 1, 1_000).await));
}

/// Clause 15, trimming: where there is no such session, or not any more, nothing is done.
pub async fn a_trim_of_what_is_not_there_does_nothing<P: Place>() {
    let (_place, store) = opened::<P>().await;
    assert_eq!(trim(&store, 1, 100, 9).await, 1);
    let stored = long(&store, 2, 1_000, 900).await;
    let deleted = Deleted { at: supervised(5_000), by: Removal::Asked, purged: false };
    let tombstone = next(&stored, |record| record.deleted = Some(deleted));
    put(&store, only(tombstone)).await;
    assert_eq!(trim(&store, 2, 900, 9).await, 1);
    assert_eq!(first_left(&store, 2, 1_000).await, 1, "that is left to its purge");
    let due = store.due(Lane::Trim, supervised(u64::MAX).into(), 9).await.expect("due");
    assert_eq!(due, []);
}

/// Clause 15, trimming: in the log of all sessions what is gone is a gap, and the others keep their positions.
pub async fn what_was_trimmed_is_a_gap_in_the_log<P: Place>() {
    let (_place, store) = opened::<P>().await;
    put(&store, with_events(record(2), ["before"])).await;
    long(&store, 1, 1_000, 700).await;
    put(&store, with_events(record(3), ["after"])).await;
    trim(&store, 1, 700, 1_000).await;
    let first = first_left(&store, 1, 1_000).await;
    let query =
        LogQuery { from: 1, order: Order::OldestFirst, limit: 9_999, ..LogQuery::default() };
    let page = store.log(query).await.expect("a page");
    let mut due = 1;
    for item in &page.items {
        let (from, to, is_gap) = match item {
            LogItem::Event(logged) => (logged.position, logged.position, false),
            LogItem::Gap { from, to } => (*from, *to, true),
        };
        assert_eq!(from, due);
        assert_eq!(is_gap, from == 2, "{item:?}");
        if is_gap {
            assert_eq!(to, first, "its first event was at position 2");
        }
        due = to + 1;
    }
    assert_eq!((due, page.end.last), (1_003, 1_002));
}

/// Clause 15, trimming: a run whose begin is gone is found, and not any more when its end is; nothing is left of it when the session is
/// purged.
pub async fn a_run_is_known_as_long_as_its_end_is_there<P: Place>() {
    let (place, store) = opened::<P>().await;
    let stored = put(&store, with_runs(record(1), [run(11), run(12), run(13)])).await;
    let stored = put(&store, with_end_of_run(next(&stored, |_| ()), run(13))).await;
    let stored = put(&store, with_runs(next(&stored, |_| ()), [run(14)])).await;
    let found = async |store: &P::Store, number| store.run(run(number)).await.expect("an answer");
    let of_session = |began, ended| Some(StoredRun::new(session(1), began, ended));
    // Up to the begin of the third, which is large enough to be in a row of its own.
    let stored = put(&store, only(trimmed(&stored, 5))).await;
    trim(&store, 1, 5, 100).await;
    let left = store.events(session(1), 1..=99, 99).await.expect("events");
    assert!(left.first().is_some_and(|first| (4..=6).contains(&first.sequence)), "{left:?}");
    let store = reopened(&place, store, 1).await;
    assert_eq!(found(&store, 11).await, None);
    assert_eq!(found(&store, 13).await, of_session(5, Some(6)));
    assert_eq!(found(&store, 14).await, of_session(7, None));
    let deleted = Deleted { at: supervised(5_000), by: Removal::Asked, purged: false };
    let tombstone = next(&stored, |record| record.deleted = Some(deleted));
    let tombstone = put(&store, only(tombstone)).await;
    let kept =
        next(&tombstone, |record| record.deleted = Some(Deleted { purged: true, ..deleted }));
    let purge = Purge {
        generation: worker(1),
        session: session(1),
        version: tombstone.version,
        rows: 1,
        then: Then::Keep(Arc::new(kept)),
    };
    while store.purge(purge.clone()).await.expect("a purge") == Ok(Purged::More) {}
    for number in 11..=14 {
        assert_eq!(found(&store, number).await, None, "run {number}");
    }
    assert_eq!(answer(&store, only(record(1))).await, Err(Refusal::Deleted));
}
