//! The store that fails on demand.

use std::time::Duration;

use sessionkeeper::{
    store::{MemoryStore, Store},
    testing::{Call, CrashPoint, FaultyStore, fixture::*},
};
use tokio_test::{assert_pending, assert_ready, task};

#[tokio::test(start_paused = true)]
async fn a_crash_point_counts_batches_that_have_commits() {
    let points = [
        (CrashPoint::BeforeCommit(2), None),
        (CrashPoint::AfterCommit(2), Some(2)),
        (CrashPoint::AfterCommit(1), None),
    ];
    for (point, stored) in points {
        let memory = MemoryStore::new();
        let store = FaultyStore::new(memory.clone());
        store.begin(worker(1)).await.unwrap();
        if point != CrashPoint::AfterCommit(1) {
            put(&store, only(record(1))).await;
        }
        for _ in 0..3 {
            store.commit(batch(1, [])).await.unwrap();
        }
        store.crash_at(point);
        let mut waiting = task::spawn(store.until_crashed());
        assert_pending!(waiting.poll());
        let id = if point == CrashPoint::AfterCommit(1) { 1 } else { 2 };
        let commit = store.commit(batch(1, [only(record(id))]));
        let answer = tokio::time::timeout(Duration::from_secs(99), commit).await;
        assert!(answer.is_err(), "{point:?}: {answer:?}");
        assert_ready!(waiting.poll());
        let load = tokio::time::timeout(Duration::from_secs(99), store.load(session(1))).await;
        assert!(load.is_err(), "{point:?}: nothing is answered after it");
        assert_eq!(store.commits(), if id == 1 { 1 } else { 2 });
        let found = memory.load(session(2)).await.unwrap();
        assert_eq!(found.map(|_| 2), stored, "{point:?}");
        let first = memory.load(session(1)).await.unwrap();
        assert!(first.is_some(), "{point:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn held_answers_come_when_the_last_hold_is_dropped() {
    let store = FaultyStore::new(MemoryStore::new());
    store.begin(worker(1)).await.unwrap();
    let holds = [store.hold_answers(Call::Commit), store.hold_answers(Call::Commit)];
    let mut commit = task::spawn(store.commit(batch(1, [only(record(1))])));
    assert_pending!(commit.poll());
    assert!(store.load(session(1)).await.unwrap().is_some(), "it is done, and others answer");
    let [first, last] = holds;
    drop(first);
    assert_pending!(commit.poll());
    drop(last);
    assert!(commit.is_woken());
    assert_eq!(assert_ready!(commit.poll()).unwrap(), [Ok(())]);
    put(&store, only(record(2))).await;
}
