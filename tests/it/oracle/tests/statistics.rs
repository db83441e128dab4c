//! Statistics that are not so.

use sessionkeeper::EventType;

use super::{
    super::statistics::{Counted, Of},
    *,
};

/// Asks for numbers, and notes what is told.
async fn counts(second: &SecondLife, of: Of, minutes: Option<i64>) {
    // Whatever happened before is counted by now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let call = second.book().ask(None, Verb::Count);
    let (log, wall) = (history(&second.store).await.unwrap().len() as u64, second.clock.now());
    let told = second.supervisor.statistics(of.scope(), Counted::window(minutes)).await.unwrap();
    let told = Counted::new(of, minutes, [log, log], [wall, wall], &told);
    second.book().answer(call, Answer::Counted(Box::new(told)));
}

/// Somebody asks for numbers of all kinds, between an input and the end of all.
async fn counted() -> (MemoryStore, Ledger, SessionId, Vec<(SessionId, EventRecord)>) {
    let second = SecondLife::resumed().await;
    let label = |value: &str| Of::Label { key: "set".to_owned(), value: value.to_owned() };
    counts(&second, Of::All, None).await;
    second.sends(4).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    second.witness.asks(Verb::Complete, second.session().complete()).await;
    counts(&second, Of::All, None).await;
    counts(&second, Of::All, Some(5)).await;
    counts(&second, Of::Kind("honest".to_owned()), None).await;
    counts(&second, label("a"), None).await;
    counts(&second, label("b"), None).await;
    let id = second.id();
    let (store, ledger) = second.ends().await;
    let history = history(&store).await.unwrap();
    (store, ledger, id, history)
}

/// What was told by these questions.
const EARLY: usize = 0;
const ALL: usize = 1;
const RECENT: usize = 2;
const KIND: usize = 3;
const OF_A: usize = 4;
const OF_B: usize = 5;

fn told(ledger: &mut Ledger, which: usize) -> &mut Counted {
    let mut all = ledger.0.iter_mut().filter_map(|entry| match entry {
        Entry::Answered { answer: Answer::Counted(counted), .. } => Some(counted),
        _ => None,
    });
    all.nth(which).unwrap()
}

/// Adds an answer.
fn tell(ledger: &mut Ledger, counted: Counted) {
    ledger.0.push(Entry::Asked { call: 1000, session: None, verb: Verb::Count });
    ledger.0.push(Entry::Answered { call: 1000, answer: Answer::Counted(Box::new(counted)) });
}

/// What was told first, as if it were so still, with what is behind by then.
fn as_before(ledger: &mut Ledger) -> Counted {
    let (first, last) = (told(ledger, EARLY).clone(), told(ledger, ALL).clone());
    let behind = last.log[0] - first.log[0];
    Counted { numbers: first.numbers, behind, ..last }
}

#[rustfmt::skip]
const SPOILT: &[(&str, Spoil, &str)] = &[
    ("an event that counts twice", |_, ledger, _| {
        *told(ledger, ALL).numbers.events.get_mut(&EventType::Lifecycle).unwrap() += 1;
    }, "the log did not end there"),
    ("an event that is forgotten", |_, ledger, _| {
        *told(ledger, ALL).numbers.events.get_mut(&EventType::Custom).unwrap() -= 1;
    }, "the log did not end there"),
    ("what is behind though it is counted", |_, ledger, _| told(ledger, ALL).behind += 1, "the log did not end there"),
    ("more behind than there is", |_, ledger, _| told(ledger, ALL).behind += 1000, "not so many events"),
    ("an event of another type", |_, ledger, _| {
        let numbers = &mut told(ledger, ALL).numbers;
        *numbers.events.get_mut(&EventType::Custom).unwrap() -= 1;
        *numbers.events.get_mut(&EventType::Lifecycle).unwrap() += 1;
    }, "what happened is"),
    ("a start that does not count", |_, ledger, _| told(ledger, ALL).numbers.started -= 1, "what happened is"),
    ("another end", |_, ledger, _| {
        let ended = &mut told(ledger, ALL).numbers.ended;
        let count = ended.remove(&State::Completed).unwrap();
        ended.insert(State::Expired, count);
    }, "what happened is"),
    ("what took longer", |_, ledger, _| {
        told(ledger, ALL).numbers.took.get_mut(&State::Completed).unwrap().1 += 1;
    }, "what happened is"),
    ("usage that is lost", |_, ledger, _| told(ledger, ALL).numbers.tokens -= 7, "what happened is"),
    ("a session in another state", |_, ledger, _| {
        told(ledger, ALL).states = [(State::Paused, 1)].into();
    }, "never in these states"),
    ("a session of the label that is not counted", |_, ledger, _| told(ledger, OF_A).states.clear(), "never in these states"),
    ("another kind", |_, ledger, _| {
        *told(ledger, KIND) = Counted { of: Of::Kind("other".to_owned()), ..told(ledger, KIND).clone() };
    }, "never in these states"),
    ("what a kind did is not counted", |_, ledger, _| told(ledger, KIND).numbers.started = 0, "what happened is"),
    ("what happened too long ago", |_, ledger, _| {
        told(ledger, RECENT).numbers = told(ledger, ALL).numbers.clone();
    }, "what happened is"),
    ("what happened just now is forgotten", |_, ledger, _| {
        told(ledger, RECENT).numbers.ended.clear();
    }, "what happened is"),
    ("what a label is due", |_, ledger, _| told(ledger, OF_A).numbers.tokens = 0, "what happened is from"),
    ("what another label is due", |_, ledger, _| {
        told(ledger, OF_B).numbers = told(ledger, OF_A).numbers.clone();
    }, "what happened is from"),
    ("what was counted is not any more", |_, ledger, _| {
        let before = as_before(ledger);
        tell(ledger, before);
    }, "was counted after"),
];

#[tokio::test(start_paused = true)]
async fn numbers_that_are_not_so_are_a_finding() {
    let (store, ledger, id, history) = counted().await;
    let (wrong, found) = judge_beside(&store, &ledger, history.clone()).await;
    assert_eq!(wrong, Vec::<String>::new());
    for (what, spoil, expected) in SPOILT {
        let mut found = find(&store).await.unwrap();
        found.remember(history.clone());
        let mut ledger = ledger.clone();
        spoil(&mut found, &mut ledger, id);
        let wrong = compare(&found, &ledger);
        assert!(wrong.iter().any(|wrong| wrong.contains(expected)), "{what}: {wrong:#?}");
    }
    // The next worker begins with what was kept.
    let mut lost = ledger.clone();
    let before = as_before(&mut lost);
    lost.0.push(Entry::Lost);
    tell(&mut lost, before);
    assert_eq!(compare(&found, &lost), Vec::<String>::new());
}
