//! Commits of two sessions at once: one that ends, and the one that takes its place.

use std::sync::Arc;

use crate::{
    Phase, SessionRecord, StartRequest, Turn,
    store::{Commit, Key, LogItem, LogQuery, Order, Refusal, Store},
};

use crate::testing::{
    Place,
    fixture::{
        answer, batch, input_id, messages, next, noise, only, opened, pending, put, record,
        reopened, session, with_events, with_inputs, with_snapshot, with_steps,
    },
};

fn named(number: u128) -> SessionRecord {
    SessionRecord { name: Some("nightly".parse().expect("a name")), ..record(number) }
}

/// The end of a session, with the first commit of another one.
fn followed(before: &SessionRecord, successor: Commit) -> Commit {
    let ended = next(before, |record| record.phase = Phase::Completed);
    let ended = with_events(ended, ["followed"]);
    Commit { successor: Some(Arc::new(successor)), ..ended }
}

/// A new session that has a little of everything.
fn successor(number: u128, state: &[u8]) -> Commit {
    let named = SessionRecord { phase: pending(5, None), ..named(number) };
    let with_state = with_snapshot(named, 0, state);
    let inputs = with_inputs(
        SessionRecord::clone(&with_state.record),
        &[(Some("once"), b"hello"), (None, b"world")],
    );
    let turn = Turn::of_input(1);
    let steps = with_steps(
        SessionRecord::clone(&inputs.record),
        &[(turn, "charge", Some(b"2".as_slice())), (turn, "ship", None)],
    );
    let events = with_events(SessionRecord::clone(&steps.record), ["new"]);
    Commit { inputs: inputs.inputs, steps: steps.steps, snapshot: with_state.snapshot, ..events }
}

/// Clauses 1 and 2: a successor is stored with the end of the session before it, and has its name.
pub async fn a_successor_is_stored_with_what_it_follows<P: Place>() {
    // Small, and large enough to be kept in parts.
    for state in [b"state".to_vec(), noise(8, 300_000)] {
        let (place, store) = opened::<P>().await;
        let before = put(&store, with_events(named(1), ["begun"])).await;
        let new = successor(2, &state);
        let ended = put(&store, followed(&before, new.clone())).await;
        let store = reopened(&place, store, 2).await;
        assert_eq!(store.load(session(1)).await.expect("load"), Some(ended));
        let stored = store.load(session(2)).await.expect("load");
        assert_eq!(stored.as_ref(), Some(&*new.record));
        let key = Key::Name("nightly".parse().expect("a name"));
        assert_eq!(store.find(key).await.expect("find"), Some(session(2)));
        assert_eq!(store.inputs(session(2), 0, 9).await.expect("inputs"), new.inputs);
        let steps = store.steps(session(2), Turn::default()).await.expect("steps");
        assert_eq!(steps, new.steps);
        let known = store.accepted(session(2), input_id("once")).await.expect("accepted");
        assert_eq!(known.map(|known| known.sequence), Some(1));
        let snapshot = store.snapshot(session(2), 1).await.expect("snapshot");
        assert!(snapshot.as_deref() == Some(state.as_slice()), "its state");
        for (number, wanted) in [(1, vec!["begun", "followed"]), (2, vec!["new"])] {
            let events = store.events(session(number), 1..=9, 9).await.expect("events");
            let said: Vec<_> = messages(&events).into_iter().map(|(_, said)| said).collect();
            assert_eq!(said, wanted);
        }
        let query = LogQuery { from: 1, order: Order::OldestFirst, ..LogQuery::default() };
        let log = store.log(query).await.expect("log").items.into_iter().map(|item| match item {
            LogItem::Event(logged) => (logged.session, logged.event.sequence),
            gap @ LogItem::Gap { .. } => panic!("{gap:?}"),
        });
        let log: Vec<_> = log.collect();
        assert_eq!(log, [(session(1), 1), (session(1), 2), (session(2), 1)]);
    }
}

/// Clause 1, atomic: where either is refused, nothing of both is done.
pub async fn where_a_successor_is_refused_nothing_is_done<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let request = |digest| StartRequest { key: "once".parse().expect("a key"), digest };
    let keyed = SessionRecord { start_key: Some(request(7)), ..record(3) };
    put(&store, only(keyed)).await;
    let held = SessionRecord { name: Some("held".parse().expect("a name")), ..record(4) };
    put(&store, only(held)).await;
    let before = put(&store, with_events(named(1), ["begun"])).await;
    let with = |change: &dyn Fn(&mut SessionRecord)| {
        let mut new = successor(2, b"state");
        change(new.record_mut());
        followed(&before, new)
    };
    let exists = with(&|record| record.id = session(3));
    let exists_at_once = with(&|record| record.id = session(4));
    let itself = with(&|record| record.id = session(1));
    let later = with(&|record| record.version = 2);
    let key_taken = with(&|record| record.start_key = Some(request(8)));
    let name_taken = with(&|record| record.name = Some("held".parse().expect("a name")));
    let third = Some(Arc::new(successor(5, b"state")));
    let mut long = successor(2, b"state");
    long.successor = third;
    let long = followed(&before, long);
    let mut stale = with(&|_| ());
    stale.record_mut().version = 9;
    let version = |found| Refusal::Version { found };
    let of_successor = |refusal| Refusal::Successor(Box::new(refusal));
    for (commit, refusal) in [
        (exists, of_successor(version(Some(1)))),
        (exists_at_once, of_successor(version(Some(1)))),
        (itself, of_successor(version(Some(1)))),
        (later, of_successor(version(None))),
        (key_taken, of_successor(Refusal::StartKeyTaken { holder: session(3), digest: 7 })),
        (name_taken, of_successor(Refusal::NameTaken { holder: session(4) })),
        (long, of_successor(version(None))),
        (stale, version(Some(1))),
    ] {
        assert_eq!(answer(&store, commit).await, Err(refusal.clone()));
        assert_eq!(store.load(session(1)).await.expect("load").as_ref(), Some(&before));
        assert_eq!(store.load(session(2)).await.expect("load"), None, "{refusal}");
        assert_eq!(store.inputs(session(2), 0, 9).await.expect("inputs"), []);
        let end = store.log(LogQuery::default()).await.expect("log").end;
        assert_eq!(end.last, 1, "{refusal}");
        let key = Key::Name("nightly".parse().expect("a name"));
        assert_eq!(store.find(key).await.expect("find"), Some(session(1)));
    }
    put(&store, with(&|_| ())).await;
}

/// Clause 4, repeatable: such a commit is known by the session that it ends, whatever became of its
/// successor since.
pub async fn a_repeated_commit_with_a_successor_changes_nothing<P: Place>() {
    let (place, store) = opened::<P>().await;
    let before = put(&store, only(named(1))).await;
    let commit = followed(&before, successor(2, b"state"));
    for _ in 0..2 {
        assert_eq!(answer(&store, commit.clone()).await, Ok(()));
    }
    let first = SessionRecord::clone(&successor(2, b"state").record);
    let moved_on = put(&store, with_events(next(&first, |_| ()), ["later"])).await;
    let store = reopened(&place, store, 1).await;
    assert_eq!(answer(&store, commit).await, Ok(()));
    assert_eq!(store.load(session(2)).await.expect("load"), Some(moved_on));
    assert_eq!(store.events(session(2), 1..=9, 9).await.expect("events").len(), 2);
}

/// Clause 8: the commits of a batch are done in order, those with a successor too.
pub async fn a_chain_of_successors_fits_in_one_batch<P: Place>() {
    let (_place, store) = opened::<P>().await;
    put(&store, only(named(1))).await;
    let mut last = named(1);
    let commits: Vec<Commit> = (2..=6)
        .map(|number| {
            let new = successor(number, b"state");
            let commit = followed(&last, new.clone());
            last = SessionRecord::clone(&new.record);
            commit
        })
        .collect();
    let answers = store.commit(batch(1, commits)).await.expect("answers");
    assert_eq!(answers, vec![Ok(()); 5]);
    for number in 1..=5 {
        let ended = store.load(session(number)).await.expect("load").expect("a record");
        assert_eq!(ended.phase, Phase::Completed, "{number}");
    }
    assert_eq!(store.load(session(6)).await.expect("load"), Some(last));
    let key = Key::Name("nightly".parse().expect("a name"));
    assert_eq!(store.find(key).await.expect("find"), Some(session(6)));
}
