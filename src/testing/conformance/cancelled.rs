//! What becomes of a call that nobody waits for any more.

use std::{pin::pin, task::Poll};

use crate::{
    store::{Query, Store},
    testing::{
        Place,
        fixture::{
            batch, next, only, opened, put, record, reopened, session, with_events, with_inputs,
        },
    },
};

/// Polls a future once and drops it.
async fn begin_and_drop<T>(future: impl Future<Output = T>) {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let _ = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

/// Clauses 4 and 6: of a commit whose future was dropped nobody knows whether it is in; repeated,
/// it is, once.
pub async fn a_dropped_commit_can_be_repeated<P: Place>() {
    let (place, store) = opened::<P>().await;
    let mut last = put(&store, only(record(1))).await;
    for number in 1..=5 {
        let mut commit = with_inputs(next(&last, |_| ()), &[(None, b"input")]);
        commit.events = with_events(next(&last, |_| ()), ["event"]).events;
        commit.record_mut().last_event += 1;
        begin_and_drop(store.commit(batch(1, [commit.clone()]))).await;
        last = put(&store, commit).await;
        assert_eq!(store.inputs(session(1), 0, 99).await.expect("inputs").len(), number);
        assert_eq!(store.events(session(1), 1..=99, 99).await.expect("events").len(), number);
    }
    let store = reopened(&place, store, 2).await;
    assert_eq!(store.load(session(1)).await.expect("load"), Some(last));
}

/// Clause 6, cancel safety: a read whose future was dropped hinders nobody.
pub async fn a_dropped_read_is_harmless<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let stored = put(&store, with_inputs(record(1), &[(None, b"input")])).await;
    for _ in 0..100 {
        begin_and_drop(store.load(session(1))).await;
        begin_and_drop(store.list(Query::default())).await;
        begin_and_drop(store.inputs(session(1), 0, 9)).await;
        begin_and_drop(store.events(session(1), 1..=9, 9)).await;
        begin_and_drop(store.snapshot(session(1), 1)).await;
    }
    assert_eq!(store.load(session(1)).await.expect("load"), Some(stored.clone()));
    put(&store, only(next(&stored, |_| ()))).await;
}
