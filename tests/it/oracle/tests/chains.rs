//! Stories of rollovers that are not true.

use sessionkeeper::{Delete, Rollover, RolloverError};

use super::*;

/// Two inputs that wait, a rollover with an input of its own, one input that goes along, and a rollover from within.
async fn rolls_over() -> SecondLife {
    let second = SecondLife::resumed().await;
    second.pauses().await;
    for tag in [4, 5] {
        second.sends(tag).await;
    }
    let (first, book, session) = (second.id(), second.book(), second.session());
    second.witness.looks().await;
    let call = book.ask(Some(first), Verb::Rollover { key: None, tag: Some(6), moves: true });
    let next = Rollover::new(Applied::default()).input(Tagged { tag: 6 });
    let successor = session.rollover(next).await.unwrap().id();
    book.answer(call, Answer::RolledOver { successor, repeated: false });
    second.witness.looks().await;
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
    second
}

/// The same, and a question for the last of them. Gives the session that was rolled over first.
async fn rolled_over() -> (MemoryStore, Ledger, SessionId) {
    let second = rolls_over().await;
    let (first, book) = (second.id(), second.book());
    let call = book.ask(Some(first), Verb::Latest);
    book.answer(call, Answer::Latest(second.session().latest().await.unwrap().id()));
    let (store, ledger) = second.ends().await;
    (store, ledger, first)
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

/// The same, and then the last of them is deleted. With it, and all that had happened.
async fn last_is_deleted() -> (MemoryStore, Ledger, SessionId, Vec<(SessionId, EventRecord)>) {
    let second = rolls_over().await;
    let last = second.session().latest().await.unwrap();
    let call = second.book().ask(Some(last.id()), Verb::Delete { stops: true });
    last.delete(Delete::StopFirst).await.unwrap();
    second.book().answer(call, Answer::Done);
    let (store, ledger) = second.ends().await;
    let history = history(&store).await.unwrap();
    (store, ledger, last.id(), history)
}

/// Who asks along a chain is not led to what was gone by then.
#[tokio::test(start_paused = true)]
async fn an_answer_that_names_a_deleted_successor_is_a_finding() {
    let (store, ledger, last, history) = last_is_deleted().await;
    let (wrong, found) = judge_beside(&store, &ledger, history).await;
    assert_eq!(wrong, Vec::<String>::new());
    let before = found.before(last).unwrap();
    let roll_over = Verb::Rollover { key: None, tag: None, moves: true };
    for (verb, answer) in [
        (Verb::Latest, Answer::Latest(last)),
        (roll_over, Answer::RolledOver { successor: last, repeated: true }),
    ] {
        let mut ledger = ledger.clone();
        ledger.0.push(Entry::Asked { call: 1000, session: Some(before), verb });
        ledger.0.push(Entry::Answered { call: 1000, answer });
        let wrong = compare(&found, &ledger);
        let is_told = |wrong: &String| {
            wrong.starts_with(&format!("session {last}, deleted"))
                && wrong.contains("though it was gone")
        };
        assert!(wrong.iter().any(is_told), "{wrong:#?}");
    }
}
