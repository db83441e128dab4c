//! Stories of deleted sessions that are not true.

use sessionkeeper::{Delete, Removal};

use super::*;

/// The same life, then a look, a delete, and a look at what is not there any more. With all that had happened.
async fn deleted() -> (MemoryStore, Ledger, SessionId, Vec<EventRecord>) {
    let second = SecondLife::begin().await;
    let (id, book) = (second.id(), second.book());
    second.witness.looks().await;
    let call = book.ask(Some(id), Verb::Delete { stops: false });
    second.session().delete(Delete::IfAtRest).await.unwrap();
    book.answer(call, Answer::Done);
    let call = book.ask(Some(id), Verb::Look);
    assert!(matches!(second.session().status().await, Err(SessionError::NotFound { .. })));
    book.answer(call, Answer::NotFound(id));
    // It is left where it was for a while.
    let log = second.store.events(id, 1..=u64::MAX, usize::MAX).await.unwrap();
    let (store, ledger) = second.ends().await;
    (store, ledger, id, log)
}

type SpoilDeleted = fn(&mut Found, &mut Ledger, SessionId);

fn story(found: &mut Found, id: SessionId) -> &mut Story {
    found.gone.get_mut(&id).unwrap()
}

#[rustfmt::skip]
const SPOILT: &[(&str, SpoilDeleted, &str)] = &[
    ("a deleted session that nobody knows of", |found, _, _| found.gone.clear(), "is not in the store"),
    ("a delete that was granted and not done", |found, _, id| {
        story(found, id).log.pop();
    }, "its log ends with"),
    ("a delete that nobody asked for", |_, ledger, _| {
        let asked = place(ledger, |e| matches!(e, Entry::Asked { verb: Verb::Delete { .. }, .. }));
        let Entry::Asked { verb, .. } = &mut ledger.0[asked] else { unreachable!() };
        *verb = Verb::Look;
    }, "nobody was granted that"),
    ("a delete of what is not at rest", |found, _, id| {
        *story(found, id).states.last_mut().unwrap() = State::Active;
    }, "it was not at rest"),
    ("one that was too old, and had not ended", |found, _, id| {
        let story = story(found, id);
        let fact = Fact::Lifecycle(Lifecycle::Deleted { by: Removal::Age, ends: false });
        story.log.last_mut().unwrap().fact = fact;
        *story.states.last_mut().unwrap() = State::Paused;
    }, "it was deleted by age, and paused"),
    ("events that are missing", |found, _, id| {
        story(found, id).log.remove(3);
    }, "where 4 is due"),
    ("one that is served again", |_, ledger, _| {
        let seen = place(ledger, |e| matches!(e, Entry::Answered { answer: Answer::Seen(_), .. }));
        let Entry::Answered { answer: seen, .. } = ledger.0[seen].clone() else { unreachable!() };
        let gone = place(ledger, |e| matches!(e, Entry::Answered { answer: Answer::NotFound(_), .. }));
        let Entry::Answered { answer, .. } = &mut ledger.0[gone] else { unreachable!() };
        *answer = seen;
    }, "though it was gone"),
];

#[tokio::test(start_paused = true)]
async fn whatever_is_spoilt_of_a_deleted_session_is_found() {
    let (store, ledger, id, log) = deleted().await;
    let history = || log.iter().map(|event| (id, event.clone())).collect();
    let (wrong, _) = judge_beside(&store, &ledger, history()).await;
    assert_eq!(wrong, Vec::<String>::new());
    for (what, spoil, expected) in SPOILT {
        let mut found = find(&store).await.unwrap();
        found.remember(history());
        let mut ledger = ledger.clone();
        spoil(&mut found, &mut ledger, id);
        let wrong = compare(&found, &ledger);
        assert!(wrong.iter().any(|wrong| wrong.contains(expected)), "{what}: {wrong:#?}");
    }
}

/// A session that is there is found, once it was seen.
#[tokio::test(start_paused = true)]
async fn who_is_there_and_is_not_found_is_a_finding() {
    let (store, mut ledger, id) = life().await;
    for (answer, expected) in [
        (Answer::NotFound(id), "it was known to be there"),
        (Answer::Deleted(id), "it is not gone"),
    ] {
        let call = ledger.0.len() as u64 + 100;
        ledger.0.push(Entry::Asked { call, session: Some(id), verb: Verb::Look });
        ledger.0.push(Entry::Answered { call, answer });
        let wrong = compare(&find(&store).await.unwrap(), &ledger);
        assert!(wrong.iter().any(|wrong| wrong.contains(expected)), "{wrong:#?}");
    }
}
