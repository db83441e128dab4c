//! Reports of verbs for many sessions that are not true.

use std::collections::BTreeMap;

use sessionkeeper::{GroupReport, store::Query};

use super::*;

/// Two sessions that are paused, resumed and stopped together, with every line of each report. Gives one of them.
async fn together() -> (MemoryStore, Ledger, SessionId) {
    let second = SecondLife::resumed().await;
    let call = second.book().ask(None, Verb::Start { key: None, tag: Some(4) });
    let start = Start::<Honest>::new(Applied::default()).input(Tagged { tag: 4 });
    let other = second.supervisor.start(start).await.unwrap().id();
    second.book().answer(call, Answer::Started { session: other, repeated: false });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let Witness { book, .. } = &second.witness;
    let all = [second.id(), other];
    for verb in [Verb::Pause, Verb::Resume, Verb::Stop] {
        look(&second, all).await;
        let asked = book.ask_each(all, &verb);
        let lines = match verb {
            Verb::Pause => lines(second.supervisor.pause_all(Query::default()).await.unwrap()),
            Verb::Resume => lines(second.supervisor.resume_all(Query::default()).await.unwrap()),
            _ => lines(second.supervisor.stop_all(Query::default()).await.unwrap()),
        };
        book.answer_each(asked, &verb, lines, "it was not among them");
    }
    look(&second, all).await;
    let (store, ledger) = second.ends().await;
    (store, ledger, other)
}

async fn look(second: &SecondLife, sessions: [SessionId; 2]) {
    for session in sessions {
        let call = second.book().ask(Some(session), Verb::Look);
        let status = second.supervisor.status(session).await.unwrap();
        second.book().answer(call, Answer::Seen(Sight::from(&status)));
    }
}

fn lines<T>(report: GroupReport<T>) -> Vec<(SessionId, Answer)> {
    let answer = |answer: Result<T, SessionError>| answer.map(|_| Answer::Done).unwrap();
    report.lines.into_iter().map(|(session, line)| (session, answer(line))).collect()
}

/// What the report of a verb says of a session.
fn line<'a>(ledger: &'a mut Ledger, of: SessionId, verb: &Verb) -> &'a mut Answer {
    let call = ledger.0.iter().rev().find_map(|entry| match entry {
        Entry::Asked { call, session, verb: asked } if *session == Some(of) && asked == verb => {
            Some(*call)
        }
        _ => None,
    });
    let mut answers = ledger.0.iter_mut().filter_map(|entry| match entry {
        Entry::Answered { call: of, answer } if Some(*of) == call => Some(answer),
        _ => None,
    });
    answers.next().unwrap()
}

/// Nothing tells that a session was ever in a state.
fn never(found: &mut Found, id: SessionId, never: &[State]) {
    let states = &mut found.get_mut(&id).unwrap().states;
    states
        .iter_mut()
        .filter(|state| never.contains(state))
        .for_each(|state| *state = State::Active);
}

#[rustfmt::skip]
const SPOILT: &[(&str, Spoil, &str)] = &[
    ("one of them is said to be paused, and never was", |found, _, id| {
        never(found, id, &[State::Paused]);
    }, "does not fit"),
    ("one of them is said to be stopped, and never was", |found, _, id| {
        never(found, id, &[State::Stopping, State::Stopped]);
    }, "does not fit"),
    ("one of them is left out, and was paused", |_, ledger, id| {
        *line(ledger, id, &Verb::Pause) = Answer::NotDone("it was not among them".to_owned());
    }, "nobody was granted"),
    ("one of them is left out, and was resumed", |_, ledger, id| {
        *line(ledger, id, &Verb::Resume) = Answer::NotDone("it was not among them".to_owned());
    }, "nobody was granted"),
    ("one of them is said to have failed, and was stopped", |_, ledger, id| {
        *line(ledger, id, &Verb::Stop) = Answer::NotDone("the store failed".to_owned());
    }, "nobody was granted"),
    ("one of them is said to have refused where it could not", |_, ledger, id| {
        *line(ledger, id, &Verb::Stop) = Answer::Refused(State::Active);
    }, "does not fit"),
    ("the lines of two are mixed up", |found, ledger, id| {
        let other = *found.keys().find(|other| **other != id).unwrap();
        never(found, other, &[State::Paused]);
        *line(ledger, id, &Verb::Pause) = Answer::NotDone("it was not among them".to_owned());
    }, "nobody was granted"),
];

#[tokio::test(start_paused = true)]
async fn a_line_of_a_report_that_is_not_so_is_a_finding() {
    let (store, ledger, id) = together().await;
    assert_eq!(judge(&store, &ledger).await, Vec::<String>::new());
    check(&store, &ledger, id, SPOILT).await;
    // Whose report was lost may have done what they were asked.
    let mut lost = ledger.clone();
    let calls: BTreeMap<u64, &Verb> = ledger
        .0
        .iter()
        .filter_map(|entry| match entry {
            Entry::Asked { call, verb, .. } => Some((*call, verb)),
            _ => None,
        })
        .collect();
    lost.0.retain(|entry| match entry {
        Entry::Answered { call, .. } => *calls[call] != Verb::Pause,
        _ => true,
    });
    assert_eq!(judge(&store, &lost).await, Vec::<String>::new());
}
