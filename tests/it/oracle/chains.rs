//! A session that was rolled over has the successor that its caller was told, and what it had not worked off goes on there.

use std::collections::BTreeMap;

use sessionkeeper::{Lifecycle, SessionId};

use super::{
    Found, FoundSession,
    calls::Call,
    families,
    ledger::{Answer, Did, Entry, Ledger, Verb},
};

/// More than any chain has: who is in a circle is let go.
const MOST: usize = 1000;

pub(super) fn judge(found: &Found, ledger: &Ledger, calls: &[Call<'_>], wrong: &mut Vec<String>) {
    for call in calls {
        if let Some(what) = contradicts(call, found) {
            wrong.push(format!("{call:?}: {what}"));
        }
    }
    for (session, _) in found.stories() {
        let Some(next) = found.next(session) else { continue };
        if found.story(next).is_none() {
            wrong.push(format!("session {session}: its successor {next} is not in the store"));
        }
        if found.before(next).is_some_and(|before| before != session) {
            wrong.push(format!("session {session}: its successor {next} is another's"));
        }
        let asked = Asked::of(session, next, ledger, calls);
        let mut find = |what: String| {
            wrong.push(format!("session {session}, rolled over to {next}: {what}"));
        };
        if asked.moves.is_empty() {
            find("nobody asked for that".to_owned());
        } else if let (Some(before), Some(after)) = (found.get(&session), found.get(&next)) {
            compare(before, after, &asked).into_iter().for_each(find);
        }
    }
    once(found, ledger, wrong);
}

/// The sessions that one is the successor of, the nearest first.
pub(super) fn before(found: &Found, session: SessionId) -> Vec<SessionId> {
    let before = |of: SessionId| found.before(of);
    std::iter::successors(before(session), |last| before(*last)).take(MOST).collect()
}

/// Those that follow a session, itself included, the nearest first.
pub(super) fn chain(found: &Found, session: SessionId) -> impl Iterator<Item = SessionId> {
    std::iter::successors(Some(session), |last| found.next(*last)).take(MOST)
}

/// Whether one is the other, or has its place now.
pub(super) fn follows(found: &Found, session: SessionId, last: SessionId) -> bool {
    chain(found, session).any(|id| id == last)
}

/// What of an answer is not so.
fn contradicts(call: &Call<'_>, found: &Found) -> Option<String> {
    let session = call.session?;
    found.story(session)?;
    match call.answer? {
        Answer::RolledOver { successor, .. } | Answer::Moved { successor } => {
            let is = found.next(session);
            (is != Some(*successor)).then(|| format!("its successor is {is:?}"))
        }
        Answer::Latest(latest) => {
            (!follows(found, session, *latest)).then(|| "that is not in its chain".to_owned())
        }
        Answer::Done
        | Answer::Started { .. }
        | Answer::Accepted { .. }
        | Answer::Seen(_)
        | Answer::Events(_)
        | Answer::Snapshot { .. }
        | Answer::Counted(_)
        | Answer::Refused(_)
        | Answer::Superseded
        | Answer::Interrupted { .. }
        | Answer::NotCurrent(_)
        | Answer::Run { .. }
        | Answer::NotFound(_)
        | Answer::Deleted(_)
        | Answer::NotDone(_)
        | Answer::Unknown(_) => None,
    }
}

/// Whether the inputs of a session were to move, by each who may have rolled it over.
struct Asked {
    moves: Vec<bool>,
}

impl Asked {
    fn of(session: SessionId, next: SessionId, ledger: &Ledger, calls: &[Call<'_>]) -> Self {
        let of_calls = calls.iter().filter(|call| call.session == Some(session));
        let granted = |call: &&Call<'_>| match call.answer {
            Some(Answer::RolledOver { successor, .. }) => *successor == next,
            Some(_) | None => call.is_open(),
        };
        let verbs = of_calls.filter(granted).filter_map(|call| match call.verb {
            Verb::Rollover { moves, .. } => Some(*moves),
            _ => None,
        });
        let runs = ledger.0.iter().filter_map(|entry| match entry {
            Entry::Run { session: of, did: Did::RollOver { moves, .. }, .. } if *of == session => {
                Some(*moves)
            }
            _ => None,
        });
        // Who was told that it is new has asked for this one.
        let is_new = |call: &&Call<'_>| {
            let made = Answer::RolledOver { successor: next, repeated: false };
            call.session == Some(session) && call.answer == Some(&made)
        };
        let told = calls.iter().find(is_new).and_then(|call| match call.verb {
            Verb::Rollover { moves, .. } => Some(*moves),
            _ => None,
        });
        Self { moves: told.map_or_else(|| verbs.chain(runs).collect(), |moves| vec![moves]) }
    }
}

/// What is wrong between a session and its successor.
fn compare(before: &FoundSession, after: &FoundSession, asked: &Asked) -> Vec<String> {
    let moved = after.lifecycle().find_map(|(_, what)| match what {
        Lifecycle::TransitionedFrom { inputs, .. } => Some(*inputs),
        _ => None,
    });
    let tags = before.tags();
    let inbox = &before.record.inbox;
    let waiting: Vec<u64> = (1..=inbox.accepted)
        .filter(|input| inbox.is_waiting(*input))
        .map(|input| tags.get(&input).copied().unwrap_or_default())
        .collect();
    let mine = after.tags();
    // What was dropped there is forgotten.
    let moved: Vec<Option<u64>> =
        (1..=moved.unwrap_or(0)).map(|input| mine.get(&input).copied()).collect();
    let is_same = || {
        let same =
            moved.iter().zip(&waiting).all(|(moved, tag)| moved.is_none_or(|moved| moved == *tag));
        same && moved.len() == waiting.len()
    };
    let mut wrong = Vec::new();
    let as_asked =
        asked.moves.iter().any(|moves| if *moves { is_same() } else { moved.is_empty() });
    if !as_asked {
        wrong.push(format!("{waiting:?} waited, {moved:?} moved, and {:?} was asked", asked.moves));
    }
    wrong
}

/// What had its effect in a session of a chain has none in another one; but that a child ended may be told more often.
fn once(found: &Found, ledger: &Ledger, wrong: &mut Vec<String>) {
    let may_come = families::ends(found, ledger);
    let first = found.stories().filter(|(session, _)| {
        found.before(*session).is_none_or(|before| found.story(before).is_none())
    });
    for (session, _) in first {
        let mut had: BTreeMap<u64, Vec<SessionId>> = BTreeMap::new();
        for id in chain(found, session) {
            let applied = found.get(&id).and_then(FoundSession::applied);
            for (_, tag) in applied.unwrap_or_default() {
                had.entry(tag).or_default().push(id);
            }
        }
        for (tag, of) in had {
            if of.len() as u64 > may_come.get(&tag).copied().unwrap_or(1) {
                wrong.push(format!("tag {tag} had its effect in sessions {of:?}"));
            }
        }
    }
}
