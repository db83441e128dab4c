//! Stories of rollovers that are not true.

use sessionkeeper::{Rollover, RolloverError};

use super::*;

/// The same life, then two inputs that wait, a rollover with an input of its own, one input that goes along, and a rollover from
/// within. Gives the session that is rolled over first.
async fn rolled_over() -> (MemoryStore, Ledger, SessionId) {
    let (store, ledger, first) = life().await;
    let book = Book::default();
    book.go_on_from(ledger);
    let builder = Supervisor::builder(store.clone()).workload(Honest(book.clone())).seed(2);
    let supervisor = builder.start().await.unwrap();
    let session = supervisor.session(first).await.unwrap().typed::<Honest>().unwrap();
    let witness = Witness { book: book.clone(), session: session.clone() };
    witness.asks(Verb::Resume, session.resume()).await;
    witness.asks(Verb::Pause, async { session.pause().await.map(|_| ()) }).await;
    for tag in [4, 5] {
        let call = book.ask(Some(first), Verb::Send { id: None, tag });
        book.answer(call, accepted(&session.send(Tagged { tag }).await.unwrap()));
    }
    witness.looks().await;
    let call = book.ask(Some(first), Verb::Rollover { key: None, tag: Some(6), moves: true });
    let next = Rollover::new(Applied::default()).input(Tagged { tag: 6 });
    let successor = session.rollover(next).await.unwrap().id();
    book.answer(call, Answer::RolledOver { successor, repeated: false });
    witness.looks().await;
    let call = book.ask(Some(first), Verb::Rollover { key: None, tag: None, moves: true });
    let refused = session.rollover(Rollover::new(Applied::default())).await.unwrap_err();
    let RolloverError::Session(SessionError::RolledOver { successor, .. }) = refused else {
        panic!("{refused:?}")
    };
    book.answer(call, Answer::Moved { successor });
    let call = book.ask(None, Verb::Send { id: None, tag: 7 });
    book.answer(call, accepted(&session.following().send(Tagged { tag: 7 }).await.unwrap()));
    let call = book.ask(None, Verb::Send { id: None, tag: ROLLS_OVER });
    let sent = session.following().send(Tagged { tag: ROLLS_OVER }).await.unwrap();
    book.answer(call, accepted(&sent));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let call = book.ask(Some(first), Verb::Latest);
    book.answer(call, Answer::Latest(session.latest().await.unwrap().id()));
    supervisor.shutdown(Duration::from_secs(25)).await;
    store.begin(generation()).await.unwrap();
    (store, book.read(), first)
}

/// The successor of a session.
fn next(found: &Found, id: SessionId) -> SessionId {
    found[&id].record.links().transitioned_to.unwrap()
}

fn answer(ledger: &mut Ledger, is: impl Fn(&Answer) -> bool) -> &mut Answer {
    let of = |entry: &Entry| matches!(entry, Entry::Answered { answer, .. } if is(answer));
    let place = place(ledger, of);
    let Entry::Answered { answer, .. } = &mut ledger.0[place] else { unreachable!() };
    answer
}

#[rustfmt::skip]
const SPOILT: &[(&str, Spoil, &str)] = &[
    ("a successor that is lost", |found, _, id| {
        let next = next(found, id);
        found.remove(&next);
    }, "is not in the store"),
    ("another successor than was told", |_, ledger, id| {
        *answer(ledger, |answer| matches!(answer, Answer::RolledOver { .. })) =
            Answer::RolledOver { successor: id, repeated: false };
    }, "its successor is"),
    ("a rollover that was done all the same", |_, ledger, _| {
        *answer(ledger, |answer| matches!(answer, Answer::RolledOver { .. })) =
            Answer::NotDone("no".into());
    }, "nobody asked for that"),
    ("a session that refers to another one", |_, ledger, id| {
        *answer(ledger, |answer| matches!(answer, Answer::Moved { .. })) = Answer::Moved { successor: id };
    }, "its successor is"),
    ("a last one that is none", |_, ledger, id| {
        let other = SessionId::from_uuid(uuid::Uuid::from_u128(id.as_uuid().as_u128() ^ 1));
        *answer(ledger, |answer| matches!(answer, Answer::Latest(_))) = Answer::Latest(other);
    }, "is not in its chain"),
    ("inputs that were to stay", |_, ledger, _| {
        for entry in &mut ledger.0 {
            if let Entry::Asked { verb: Verb::Rollover { moves, .. }, .. } = entry { *moves = false; }
        }
    }, "[Some(4), Some(5)] moved"),
    ("inputs that moved in another order", |found, _, id| {
        let next = next(found, id);
        found.get_mut(&next).unwrap().state["applied"] =
            serde_json::json!([[1, 5], [2, 4], [3, 6], [4, 7], [5, ROLLS_OVER]]);
    }, "[Some(5), Some(4)] moved"),
    ("an input that stays behind and goes along", |found, _, id| {
        let next = next(found, id);
        found.get_mut(&next).unwrap().state["applied"] =
            serde_json::json!([[1, 3], [2, 5], [3, 6], [4, 7], [5, ROLLS_OVER]]);
    }, "tag 3 had its effect in sessions"),
    ("a run that did not roll over", |_, ledger, _| {
        let rolls = run_entry(ledger, |did| matches!(did, Did::RollOver { .. }));
        ledger.0.remove(rolls);
    }, "nobody asked for that"),
    ("a first input that nobody gave", |_, ledger, _| {
        let asked = place(ledger, |e| matches!(e, Entry::Asked { verb: Verb::Rollover { tag: Some(6), .. }, .. }));
        let Entry::Asked { verb, .. } = &mut ledger.0[asked] else { unreachable!() };
        *verb = Verb::Rollover { key: None, tag: None, moves: true };
    }, "nobody sent"),
];

#[tokio::test(start_paused = true)]
async fn whatever_is_spoilt_in_a_chain_is_found() {
    let (store, ledger, id) = rolled_over().await;
    assert_eq!(judge(&store, &ledger).await, Vec::<String>::new());
    check(&store, &ledger, id, SPOILT).await;
}
