//! What a commit does and does not do, and how a store opens and closes.

use std::collections::BTreeSet;

use crate::{
    Lane, Phase, SessionRecord,
    store::{Batch, Key, Query, Refusal, Store, StoreError},
};

use super::listed;
use crate::testing::{
    Place,
    fixture::{
        answer, batch, next, only, opened, put, record, reopened, session, supervised, with_events,
        with_inputs, with_snapshot, worker,
    },
};

/// Clause 2, durable before answered: the record, inputs, events and snapshot of a commit are there
/// when the store is opened again.
pub async fn what_was_committed_is_there_after_a_crash<P: Place>() {
    let (place, store) = opened::<P>().await;
    let mut commit = with_inputs(record(1), &[(Some("a"), b"hello"), (None, b"world")]);
    commit.events = with_events(record(1), ["one", "two"]).events;
    commit.record_mut().last_event = 2;
    commit.snapshot = Some(b"state".as_slice().into());
    commit.record_mut().snapshots = with_snapshot(record(1), 0, b"state").record.snapshots.clone();
    let inputs = commit.inputs.clone();
    let events = commit.events.clone();
    let stored = put(&store, commit).await;

    let store = reopened(&place, store, 2).await;
    assert_eq!(store.load(session(1)).await.expect("load"), Some(stored));
    assert_eq!(store.inputs(session(1), 0, 9).await.expect("inputs"), inputs);
    assert_eq!(store.events(session(1), 1..=9, 9).await.expect("events"), events);
    let snapshot = store.snapshot(session(1), 1).await.expect("snapshot");
    assert_eq!(snapshot.as_deref(), Some(b"state".as_slice()));
}

/// Clause 9, indexes follow records: what does not exist is no error.
pub async fn a_session_that_is_not_there_is_none<P: Place>() {
    let (_place, store) = opened::<P>().await;
    put(&store, with_snapshot(record(1), 0, b"state")).await;
    let nobody = session(2);
    assert_eq!(store.load(nobody).await.expect("load"), None);
    assert_eq!(store.snapshot(nobody, 1).await.expect("snapshot"), None);
    assert_eq!(store.snapshot(session(1), 2).await.expect("snapshot"), None);
    assert_eq!(store.inputs(nobody, 0, 9).await.expect("inputs"), []);
    assert_eq!(store.events(nobody, 1..=9, 9).await.expect("events"), []);
    let key = Key::Name("nobody".parse().expect("a name"));
    assert_eq!(store.find(key).await.expect("find"), None);
}

/// Clause 3, compare and set: a commit to another version than the stored one is refused and told
/// which that is.
pub async fn a_wrong_version_is_refused_and_named<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let first = put(&store, only(record(1))).await;
    let second = put(&store, only(next(&first, |_| ()))).await;
    let stale = SessionRecord { version: 2, writer: worker(9), ..first.clone() };
    let ahead = SessionRecord { version: 4, ..second.clone() };
    let none = SessionRecord { version: 0, ..second };
    for wrong in [stale, ahead, none] {
        let refusal = Refusal::Version { found: Some(2) };
        assert_eq!(answer(&store, only(wrong)).await, Err(refusal));
    }
    let unknown = SessionRecord { version: 2, ..record(2) };
    let refusal = Refusal::Version { found: None };
    assert_eq!(answer(&store, only(unknown)).await, Err(refusal));
}

/// Clause 3, compare and set: version 1 is for a session that does not exist.
pub async fn a_new_session_must_not_exist<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let first = put(&store, only(record(1))).await;
    put(&store, only(next(&first, |_| ()))).await;
    let refusal = Refusal::Version { found: Some(2) };
    assert_eq!(answer(&store, only(record(1))).await, Err(refusal));
}

/// Clause 4, repeatable: a commit that is in already is answered with `Ok`, also after a crash, and
/// adds nothing.
pub async fn a_repeated_commit_is_answered_and_changes_nothing<P: Place>() {
    let (place, store) = opened::<P>().await;
    let mut commit = with_inputs(record(1), &[(Some("once"), b"x")]);
    commit.record_mut().name = Some("unique".parse().expect("a name"));
    commit.events = with_events(record(1), ["once"]).events;
    commit.record_mut().last_event = 1;
    for _ in 0..2 {
        assert_eq!(answer(&store, commit.clone()).await, Ok(()));
    }
    let store = reopened(&place, store, 1).await;
    assert_eq!(answer(&store, commit.clone()).await, Ok(()));
    assert_eq!(
        store.load(session(1)).await.expect("load"),
        Some(SessionRecord::clone(&commit.record))
    );
    assert_eq!(store.inputs(session(1), 0, 9).await.expect("inputs").len(), 1);
    assert_eq!(store.events(session(1), 1..=9, 9).await.expect("events").len(), 1);
}

/// Clause 4, repeatable: a commit is known by its version and its writer together.
pub async fn the_same_version_of_another_writer_is_refused<P: Place>() {
    let (_place, store) = opened::<P>().await;
    put(&store, only(record(1))).await;
    let other = SessionRecord { writer: worker(2), ..record(1) };
    let refusal = Refusal::Version { found: Some(1) };
    assert_eq!(answer(&store, only(other)).await, Err(refusal));
}

/// Clause 1, atomic: nothing of a refused commit can be found.
pub async fn a_refused_commit_leaves_nothing_behind<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let name = Some("taken".parse().expect("a name"));
    put(&store, only(SessionRecord { name: name.clone(), ..record(1) })).await;
    let mut refused = with_inputs(record(2), &[(Some("id"), b"x")]);
    refused.events = with_events(record(2), ["never"]).events;
    refused.record_mut().last_event = 1;
    refused.record_mut().name = name;
    refused.record_mut().external_id = Some("outside".parse().expect("an id"));
    let refusal = Refusal::NameTaken { holder: session(1) };
    assert_eq!(answer(&store, refused.clone()).await, Err(refusal));

    assert_eq!(store.load(session(2)).await.expect("load"), None);
    assert_eq!(store.inputs(session(2), 0, 9).await.expect("inputs"), []);
    assert_eq!(store.events(session(2), 1..=9, 9).await.expect("events"), []);
    let outside = Key::ExternalId("outside".parse().expect("an id"));
    assert_eq!(store.find(outside).await.expect("find"), None);
    refused.record_mut().name = None;
    assert_eq!(answer(&store, refused).await, Ok(()));
}

/// Clause 1, atomic: each commit of a batch is answered for itself.
pub async fn a_refused_commit_hinders_no_other_of_its_batch<P: Place>() {
    let (_place, store) = opened::<P>().await;
    put(&store, only(record(2))).await;
    let wrong = SessionRecord { version: 7, ..record(2) };
    let commits = [only(record(1)), only(wrong), only(record(3))];
    let answers = store.commit(batch(1, commits)).await.expect("answers");
    let refusal = Refusal::Version { found: Some(1) };
    assert_eq!(answers, [Ok(()), Err(refusal), Ok(())]);
    let all = Query { limit: 9, ..Query::default() };
    assert_eq!(listed(&store, all).await, [3, 2, 1]);
}

/// Clauses 1 and 8: the commits of a batch are done in order, each after the one before it.
pub async fn commits_of_one_batch_see_each_other<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let named =
        |number| SessionRecord { name: Some("one".parse().expect("a name")), ..record(number) };
    let commits = [only(named(1)), only(named(2))];
    let answers = store.commit(batch(1, commits)).await.expect("answers");
    let refusal = Refusal::NameTaken { holder: session(1) };
    assert_eq!(answers, [Ok(()), Err(refusal)]);

    let ended = next(&named(1), |record| record.phase = Phase::Completed);
    let commits = [only(ended), only(named(2))];
    let answers = store.commit(batch(1, commits)).await.expect("answers");
    assert_eq!(answers, [Ok(()), Ok(())]);
}

/// Clause 11, supervised time: the largest that a worker of this store gave is kept.
pub async fn an_empty_batch_moves_the_supervised_time_forward_only<P: Place>() {
    for batches in [[(700, 1)].as_slice(), &[(700, 1), (300, 1), (9_999, 2)]] {
        let (place, store) = opened::<P>().await;
        for (given, by) in batches {
            let batch = Batch { supervised: supervised(*given), ..batch(*by, []) };
            assert_eq!(store.commit(batch).await.expect("answers"), []);
        }
        drop(store);
        let opened = place.open().await.begin(worker(2)).await.expect("begin");
        assert_eq!(opened.supervised, supervised(700));
        assert_eq!(opened.others, []);
    }
}

/// Clause 10, generations: who has not begun may not commit.
pub async fn a_worker_that_did_not_begin_is_refused<P: Place>() {
    let place = P::new();
    let store = place.open().await;
    assert_eq!(answer(&store, only(record(1))).await, Err(Refusal::GenerationEnded));
    store.begin(worker(1)).await.expect("begin");
    assert_eq!(answer(&store, only(record(1))).await, Ok(()));
}

/// Clause 10, generations: who was followed by another may not commit.
pub async fn a_new_worker_ends_the_one_before<P: Place>() {
    let (_place, store) = opened::<P>().await;
    put(&store, only(record(1))).await;
    store.begin(worker(2)).await.expect("begin");
    assert_eq!(answer(&store, only(record(2))).await, Err(Refusal::GenerationEnded));
    let answers = store.commit(batch(2, [only(record(2))])).await.expect("answers");
    assert_eq!(answers, [Ok(())]);
}

/// Clause 5, each session for itself: no damage is made up.
pub async fn an_unharmed_store_reports_no_damage<P: Place>() {
    let (place, store) = opened::<P>().await;
    put(&store, with_events(record(1), ["one"])).await;
    let store = reopened(&place, store, 2).await;
    assert_eq!(store.damaged().await.expect("damaged"), []);
}

/// Clause 16, healing and closing: healing is harmless.
pub async fn healing_an_unharmed_store_does_nothing<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let stored = put(&store, only(record(1))).await;
    store.heal().await.expect("heal");
    assert_eq!(store.load(session(1)).await.expect("load"), Some(stored));
    put(&store, only(record(2))).await;
}

/// Clause 16, healing and closing: every call after `close` gives `StoreError::Closed`.
pub async fn a_closed_store_says_so<P: Place>() {
    let (_place, store) = opened::<P>().await;
    put(&store, only(record(1))).await;
    store.close().await.expect("close");
    let all = Query::default();
    let name = Key::Name("name".parse().expect("a name"));
    let answers = [
        store.commit(batch(1, [])).await.err(),
        store.load(session(1)).await.err(),
        store.find(name).await.err(),
        store.list(all).await.err(),
        store.due(Lane::Ready, supervised(0).into(), 1).await.err(),
        store.snapshot(session(1), 1).await.err(),
        store.inputs(session(1), 0, 1).await.err(),
        store.events(session(1), 1..=1, 1).await.err(),
        store.damaged().await.err(),
        store.heal().await.err(),
    ];
    for (place, answer) in answers.iter().enumerate() {
        assert!(matches!(answer, Some(StoreError::Closed)), "{place}: {answer:?}");
    }
}

/// Clause 16, healing and closing: another may have the store as soon as `close` returned.
pub async fn closing_twice_is_harmless<P: Place>() {
    let (place, store) = opened::<P>().await;
    let stored = put(&store, only(record(1))).await;
    store.close().await.expect("close");
    store.close().await.expect("close again");
    // Another may have it as soon as it is closed, not only when it is dropped.
    let again = place.open().await;
    again.begin(worker(2)).await.expect("begin");
    assert_eq!(again.load(session(1)).await.expect("load"), Some(stored));
}

/// Clauses 1 and 2, from many tasks at once.
pub async fn many_tasks_commit_at_once<P: Place>() {
    let (place, store) = opened::<P>().await;
    let writes = (1..=40_u128).map(|number| {
        let store = &store;
        async move {
            let mut stored = put(store, only(record(number))).await;
            for _ in 0..5 {
                stored = put(store, with_events(next(&stored, |_| ()), ["step"])).await;
            }
            stored
        }
    });
    let stored = futures::future::join_all(writes).await;
    let store = reopened(&place, store, 2).await;
    for record in stored {
        let events = store.events(record.id, 1..=9, 9).await.expect("events");
        assert_eq!(events.len(), 5);
        assert_eq!(store.load(record.id).await.expect("load"), Some(record));
    }
    let all = Query { limit: 100, ..Query::default() };
    let seen = listed(&store, all).await;
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 40);
}
