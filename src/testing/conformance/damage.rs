//! What one damaged session means for itself and for the others.

use super::listed;
use crate::{
    store::{Query, Refusal, Store, StoreError},
    testing::{
        Damageable,
        fixture::{answer, batch, next, only, opened, put, record, session, worker},
    },
};

/// Clause 5, each session for itself: a damaged record is an error that names its session, is
/// reported, and is replaced by nothing.
pub async fn a_damaged_record_is_reported_and_never_replaced<P: Damageable>() {
    let (place, store) = opened::<P>().await;
    let stored = put(&store, only(record(1))).await;
    let store = place.damage_record(store, session(1)).await;
    store.begin(worker(1)).await.expect("begin");
    for _ in 0..2 {
        let error = store.load(session(1)).await.expect_err("it is damaged");
        let StoreError::Damaged { session: named, .. } = &error else {
            panic!("another error: {error:?}");
        };
        assert_eq!(*named, session(1));
        for commit in [only(record(1)), only(next(&stored, |_| ()))] {
            let refused = answer(&store, commit).await;
            assert!(matches!(refused, Err(Refusal::Damaged { .. })), "{refused:?}");
        }
    }
    let reported = store.damaged().await.expect("damaged");
    let whose: Vec<_> = reported.iter().map(|damage| damage.session).collect();
    assert_eq!(whose, [Some(session(1))]);
}

/// Clause 5, each session for itself: what is damaged spoils no answer about another session.
pub async fn a_damaged_record_harms_no_other_session<P: Damageable>() {
    let (place, store) = opened::<P>().await;
    for number in 1..=3 {
        put(&store, only(record(number))).await;
    }
    let store = place.damage_record(store, session(2)).await;
    store.begin(worker(1)).await.expect("begin");
    assert_eq!(listed(&store, Query::default()).await, [3, 1], "listings leave it out");
    let commits = [1, 2, 3].map(|number| only(next(&record(number), |_| ())));
    let answers = store.commit(batch(1, commits)).await.expect("answers");
    let done: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, true]);
    for number in [1, 3] {
        let stored = store.load(session(number)).await.expect("load");
        assert_eq!(stored.map(|record| record.version), Some(2));
    }
}
