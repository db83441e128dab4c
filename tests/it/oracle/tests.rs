//! That the oracle finds what is wrong: a life without fault, spoilt in one place at a time.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta};
use serde::{Deserialize, Serialize};
use sessionkeeper::{
    Cause, ChildEnd, Context, Event, EventRecord, Fact, Fork, Labels, Lifecycle, OnInterrupt,
    Outcome, Receipt, Rollover, RunEnd, SessionError, SessionHandle, SessionId, Start, State,
    StatisticsOptions, Supervisor, Timestamp, Usage, WorkerGeneration, Workload, WorkloadError,
    store::{Batch, Commit, MemoryStore, Store},
    testing::{Rule, WallClock, audit, audit_log},
};

use super::{
    Found, Story, compare, digest, find, history, judge, judge_beside,
    ledger::{Answer, Book, Did, Entry, Ledger, Moment, Ran, Sight, Verb},
};

mod by_run;
mod chains;
mod deleted;
mod families;
mod groups;
mod lives;
mod sleeps;
mod statistics;
mod stored;
mod told;

use self::lives::*;

#[tokio::test(start_paused = true)]
async fn a_life_without_fault_is_judged_to_be_one() {
    let (store, ledger, _) = life().await;
    assert_eq!(judge(&store, &ledger).await, Vec::<String>::new());
    let lines: String = ledger.0.iter().map(Entry::to_line).collect();
    assert_eq!(Ledger::from_lines(&lines), ledger);
    let cut = &lines[..lines.len() - 3];
    assert_eq!(Ledger::from_lines(cut).0.len(), ledger.0.len() - 1);
}

type Spoil = fn(&mut Found, &mut Ledger, SessionId);

/// Where a call is asked, or answered.
fn place(ledger: &Ledger, is: impl Fn(&Entry) -> bool) -> usize {
    ledger.0.iter().position(is).unwrap()
}

fn run_entry(ledger: &Ledger, is: impl Fn(&Did) -> bool) -> usize {
    place(ledger, |entry| matches!(entry, Entry::Run { did, .. } if is(did)))
}

/// Adds an event to a log.
fn add(found: &mut Found, id: SessionId, input: Option<u64>, what: Lifecycle) {
    let log = &mut found.get_mut(&id).unwrap().log;
    let (sequence, fact) = (log.len() as u64 + 1, Fact::Lifecycle(what));
    log.push(EventRecord { sequence, at: Timestamp::default(), run: None, input, fact });
}

fn asleep() -> Lifecycle {
    let sleep = r#"{ "until": "2030-01-01T05:00:00Z" }"#;
    Lifecycle::FellAsleep(serde_json::from_str(sleep).unwrap())
}

fn woken(cause: Cause) -> Lifecycle {
    let (from, to) = (State::Paused, State::Active);
    Lifecycle::StateChanged { from, to, cause, reason: None, begins: false }
}

fn interrupted(ledger: &mut Ledger, id: SessionId, answer: Answer) {
    let call = ledger.0.len() as u64 + 100;
    ledger.0.push(Entry::Asked { call, session: Some(id), verb: Verb::Interrupt { drops: true } });
    ledger.0.push(Entry::Answered { call, answer });
}

#[rustfmt::skip]
const SPOILT: &[(&str, Spoil, &str)] = &[
    ("an accepted session is lost", |found, _, id| drop(found.remove(&id)), "is not in the store"),
    ("a pause is granted that never was", |found, _, id| {
        for state in &mut found.get_mut(&id).unwrap().states {
            if *state == State::Paused { *state = State::Active; }
        }
    }, "does not fit"),
    ("a pause that nobody asked for", |_, ledger, _| {
        let asked = place(ledger, |e| matches!(e, Entry::Asked { verb: Verb::Pause, .. }));
        let Entry::Asked { verb, .. } = &mut ledger.0[asked] else { unreachable!() };
        *verb = Verb::Look;
    }, "nobody was granted"),
    ("a resume that was not done", |_, ledger, _| {
        let asked = place(ledger, |e| matches!(e, Entry::Asked { verb: Verb::Resume, .. }));
        let answer = ledger.0[asked..].iter_mut().find_map(|entry| match entry {
            Entry::Answered { answer, .. } => Some(answer),
            _ => None,
        });
        *answer.unwrap() = Answer::NotDone("no".into());
    }, "nobody was granted"),
    ("a stop refused in a state that allows it", |_, ledger, _| {
        let answered = ledger.0.iter().rposition(|e| matches!(e, Entry::Answered { answer: Answer::Done, .. }));
        let Entry::Answered { answer, .. } = &mut ledger.0[answered.unwrap()] else { unreachable!() };
        *answer = Answer::Refused(State::Active);
    }, "does not fit"),
    ("labels that were lost", |found, _, id| {
        found.get_mut(&id).unwrap().record.labels = Labels::default();
    }, "not what was set last"),
    ("a record that went back", |found, _, id| found.get_mut(&id).unwrap().record.version = 2, "is not in its log"),
    ("a status that went back", |_, ledger, _| {
        let seen = ledger.0.iter().rposition(|e| matches!(e, Entry::Answered { answer: Answer::Seen(_), .. }));
        let first = place(ledger, |e| matches!(e, Entry::Answered { answer: Answer::Seen(_), .. }));
        let Entry::Answered { answer, .. } = ledger.0[first].clone() else { unreachable!() };
        let Entry::Answered { answer: last, .. } = &mut ledger.0[seen.unwrap()] else { unreachable!() };
        *last = answer;
    }, "went back"),
    ("an event that changed", |found, _, id| {
        found.get_mut(&id).unwrap().log[3].at = Timestamp::default();
    }, "is another now"),
    ("an accepted input is lost", |found, _, id| {
        found.get_mut(&id).unwrap().record.inbox.accepted = 2;
    }, "2 are accepted"),
    ("an input that nobody sent", |_, ledger, _| {
        let asked = place(ledger, |e| matches!(e, Entry::Asked { verb: Verb::Send { tag: 3, .. }, .. }));
        let Entry::Asked { verb, .. } = &mut ledger.0[asked] else { unreachable!() };
        *verb = Verb::Look;
    }, "nobody sent"),
    ("an effect that came twice", |found, _, id| {
        found.get_mut(&id).unwrap().state["applied"] = serde_json::json!([[1, 1], [2, 2], [2, 2], [3, 3]]);
    }, "had its effect twice"),
    ("an effect that is lost", |found, _, id| {
        found.get_mut(&id).unwrap().state["applied"] = serde_json::json!([[1, 1], [3, 3]]);
    }, "input 2 is over, and had no effect"),
    ("the effect of an input that waits", |found, _, id| {
        found.get_mut(&id).unwrap().record.inbox.consumed = 2;
    }, "input 3 had its effect, and is not over"),
    ("effects out of order", |found, _, id| {
        found.get_mut(&id).unwrap().state["applied"] = serde_json::json!([[2, 2], [1, 1], [3, 3]]);
    }, "out of order"),
    ("the effect of another input", |found, _, id| {
        found.get_mut(&id).unwrap().state["applied"] = serde_json::json!([[1, 1], [2, 3], [3, 2]]);
    }, "has tag"),
    ("an attempt that is not counted", |_, ledger, _| {
        let taken = run_entry(ledger, |did| matches!(did, Did::Take { .. }));
        let again = ledger.0[taken].clone();
        ledger.0.insert(taken, again);
    }, "attempt 1 after 1"),
    ("a checkpoint that is lost", |_, ledger, _| {
        let taken = run_entry(ledger, |did| matches!(did, Did::Commit { .. }));
        let Entry::Run { did, .. } = &mut ledger.0[taken] else { unreachable!() };
        *did = Did::Commit { sequence: 99, consumed: 0 };
    }, "is lost"),
    ("a covered input that is not", |_, ledger, _| {
        let taken = run_entry(ledger, |did| matches!(did, Did::Commit { .. }));
        let Entry::Run { did, .. } = &mut ledger.0[taken] else { unreachable!() };
        *did = Did::Commit { sequence: 1, consumed: 99 };
    }, "were covered"),
    ("a checkpoint that is taken again", |_, ledger, _| {
        let taken = run_entry(ledger, |did| matches!(did, Did::Commit { .. }));
        let again = ledger.0[taken].clone();
        ledger.0.insert(taken, again);
    }, "was taken after"),
    ("a covered input that is given out again", |_, ledger, _| {
        let taken = run_entry(ledger, |did| matches!(did, Did::Take { .. }));
        let again = ledger.0[taken].clone();
        ledger.0.push(again);
    }, "were committed"),
    ("a step that is called again", |_, ledger, _| {
        let called = run_entry(ledger, |did| matches!(did, Did::Call { .. }));
        let again = ledger.0[called].clone();
        ledger.0.insert(called, again);
    }, "was called again unasked"),
    ("a step that is called after its result", |_, ledger, _| {
        let given = run_entry(ledger, |did| matches!(did, Did::Given { .. }));
        let called = run_entry(ledger, |did| matches!(did, Did::Call { .. }));
        let Entry::Run { session, run, .. } = ledger.0[called] else { unreachable!() };
        let Entry::Run { did: Did::Given { input, step }, .. } = ledger.0[given] else {
            unreachable!()
        };
        let did = Did::Call { input, step, told: true };
        ledger.0.insert(given + 1, Entry::Run { session, run, did });
    }, "after it had given its result"),
    ("two runs at once", |_, ledger, _| {
        let ended = run_entry(ledger, |did| *did == Did::End);
        ledger.0.remove(ended);
    }, "began beside"),
    ("a run before its start is durable", |found, ledger, id| {
        let run = run_entry(ledger, |did| *did == Did::Begin);
        let Entry::Run { run, .. } = &ledger.0[run] else { unreachable!() };
        found.get_mut(&id).unwrap().log.retain(|event| event.run != Some(*run));
    }, "before that was durable"),
    ("an event of a run is lost", |found, _, id| {
        found.get_mut(&id).unwrap().log.retain(|event| !matches!(event.fact, Fact::Work(_)));
    }, "were committed"),
    ("usage of a run is lost", |found, _, id| {
        found.get_mut(&id).unwrap().log.retain(|event| !matches!(event.fact, Fact::Usage(_)));
    }, "were committed"),
    ("an interrupt that nothing tells of", |_, ledger, id| {
        interrupted(ledger, id, Answer::Interrupted { input: Some(1), drops: true });
    }, "no event tells that"),
    ("a dropped input that waits", |found, ledger, id| {
        interrupted(ledger, id, Answer::Interrupted { input: Some(3), drops: true });
        found.get_mut(&id).unwrap().record.inbox.consumed = 2;
    }, "the input waits"),
    ("a turn that nobody interrupted", |found, _, id| {
        add(found, id, Some(2), Lifecycle::TurnInterrupted { then: OnInterrupt::Redeliver });
    }, "nobody interrupted the turn of input 2"),
    ("the effect of what was dropped", |found, _, id| {
        add(found, id, Some(2), Lifecycle::TurnInterrupted { then: OnInterrupt::Drop });
    }, "input 2 had its effect, and was dropped"),
    ("a sleep that no run asked for", |found, _, id| {
        add(found, id, None, asleep());
    }, "it did not go to sleep"),
    ("an input that wakes who is to sleep", |found, ledger, id| {
        let begun = run_entry(ledger, |did| *did == Did::Begin);
        let Entry::Run { session, run, .. } = ledger.0[begun] else { unreachable!() };
        ledger.0.push(Entry::Run { session, run, did: Did::Sleep });
        add(found, id, None, asleep());
        add(found, id, None, woken(Cause::InputArrived));
    }, "no input was to wake it"),
    ("an alarm of who does not sleep", |found, _, id| {
        add(found, id, None, woken(Cause::AlarmRang));
    }, "it did not sleep"),
    ("a shutdown beyond its budget", |_, ledger, _| {
        let Some(Entry::ShutDown { took, .. }) = ledger.0.last_mut() else { unreachable!() };
        *took = Duration::from_secs(26);
    }, "its budget was"),
];

#[tokio::test(start_paused = true)]
async fn whatever_is_spoilt_is_found() {
    let (store, ledger, id) = life().await;
    check(&store, &ledger, id, SPOILT).await;
}

/// Spoils a story in one place at a time, and sees that the oracle says so.
async fn check(
    store: &MemoryStore,
    ledger: &Ledger,
    id: SessionId,
    spoilt: &[(&str, Spoil, &str)],
) {
    for (what, spoil, expected) in spoilt {
        let mut found = find(store).await.unwrap();
        let mut ledger = ledger.clone();
        spoil(&mut found, &mut ledger, id);
        let wrong = compare(&found, &ledger);
        assert!(wrong.iter().any(|wrong| wrong.contains(expected)), "{what}: {wrong:#?}");
    }
}

#[rustfmt::skip]
const SPOILT_FORKS: &[(&str, Spoil, &str)] = &[
    ("an effect that is not its parent's", |found, _, id| {
        found.get_mut(&id).unwrap().state["inherited"] = serde_json::json!([1, 3, 2]);
    }, "of its parent has tag 2, here it is 3"),
    ("an input that was not copied", |found, _, id| {
        found.get_mut(&id).unwrap().state["inherited"] = serde_json::json!([1, 2]);
    }, "of its parent has tag 3, here it is 4"),
    ("an input that nobody sent", |found, _, id| {
        found.get_mut(&id).unwrap().state["applied"] = serde_json::json!([[1, 9]]);
    }, "nobody sent"),
    ("an effect that its parent never had, where some were dropped", |found, _, id| {
        let parent = found[&id].record.links().forked_from.unwrap().session;
        add(found, parent, Some(9), Lifecycle::TurnInterrupted { then: OnInterrupt::Drop });
        found.get_mut(&id).unwrap().state["inherited"] = serde_json::json!([1, 2, 9]);
    }, "which its parent did not have"),
    ("a parent that is gone", |found, _, id| {
        let parent = found[&id].record.links().forked_from.unwrap().session;
        found.remove(&parent);
    }, "is not in the store"),
];

#[tokio::test(start_paused = true)]
async fn whatever_is_spoilt_in_a_fork_is_found() {
    let (store, ledger, id) = forked_life().await;
    assert_eq!(judge(&store, &ledger).await, Vec::<String>::new());
    check(&store, &ledger, id, SPOILT_FORKS).await;
}

fn moved(event: &EventRecord, to: State) -> bool {
    matches!(&event.fact, Fact::Lifecycle(Lifecycle::StateChanged { to: there, .. }) if *there == to)
}
