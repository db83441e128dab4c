//! Runs, which are found by their ids.

use std::sync::Arc;

use crate::{
    Deleted, Removal,
    store::{Purge, Purged, Store, StoredRun, Then},
};

use crate::testing::{
    Place,
    fixture::{
        next, only, opened, put, record, reopened, run, session, supervised, with_end_of_run,
        with_runs, worker,
    },
};

async fn found(store: &impl Store, number: u128) -> Option<StoredRun> {
    store.run(run(number)).await.expect("an answer")
}

/// Clause 9: every run is found where it began and ended, as long as its session is there.
pub async fn a_run_is_found_where_it_began_and_ended<P: Place>() {
    let (place, store) = opened::<P>().await;
    let first = put(&store, with_runs(record(1), [run(11), run(12)])).await;
    put(&store, with_runs(record(2), [run(21)])).await;
    let in_first = |began, ended| Some(StoredRun::new(session(1), began, ended));
    assert_eq!(found(&store, 11).await, in_first(1, Some(2)));
    assert_eq!(found(&store, 12).await, in_first(3, None));
    let store = reopened(&place, store, 1).await;
    let second = put(&store, with_end_of_run(next(&first, |_| ()), run(12))).await;
    put(&store, with_runs(next(&second, |_| ()), [run(13)])).await;
    let store = reopened(&place, store, 1).await;
    assert_eq!(found(&store, 11).await, in_first(1, Some(2)), "the record has forgotten it");
    assert_eq!(found(&store, 12).await, in_first(3, Some(4)));
    assert_eq!(found(&store, 13).await, in_first(5, None));
    assert_eq!(found(&store, 21).await, Some(StoredRun::new(session(2), 1, None)));
    assert_eq!(found(&store, 99).await, None, "there was no such run");
}

/// Clause 14, tombstones: with the events of a purged session go its runs, and no others.
pub async fn the_runs_of_a_purged_session_are_gone<P: Place>() {
    for rows in [1, 100_000] {
        let (place, store) = opened::<P>().await;
        let all = (100..150).map(run);
        let stored = put(&store, with_runs(record(1), all)).await;
        put(&store, with_runs(record(2), [run(21), run(22)])).await;
        let deleted = Deleted { at: supervised(5_000), by: Removal::Asked, purged: false };
        let tombstone = next(&stored, |record| record.deleted = Some(deleted));
        let tombstone = put(&store, only(tombstone)).await;
        let kept = next(&tombstone, |record| {
            record.snapshots.clear();
            record.deleted = Some(Deleted { purged: true, ..deleted });
        });
        let purge = Purge {
            generation: worker(1),
            session: session(1),
            version: tombstone.version,
            rows,
            then: Then::Keep(Arc::new(kept)),
        };
        while store.purge(purge.clone()).await.expect("a purge") == Ok(Purged::More) {}
        let store = reopened(&place, store, 1).await;
        for number in 100..150 {
            assert_eq!(found(&store, number).await, None, "run {number}, {rows} rows at a time");
        }
        assert!(found(&store, 21).await.is_some_and(|run| run.ended.is_some()));
        assert!(found(&store, 22).await.is_some());
    }
}
