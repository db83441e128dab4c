//! What was deleted is gone, for everybody and for good; and nothing else is.

use std::collections::BTreeMap;

use sessionkeeper::{Fact, Lifecycle, Removal, SessionId, State};

use super::{
    Found, Story,
    calls::Call,
    ledger::{Answer, Verb},
};

pub(super) fn judge(found: &Found, calls: &[Call<'_>], wrong: &mut Vec<String>) {
    let known = first_known(calls);
    for call in calls {
        if let Some(what) = contradicts(call, found, &known) {
            wrong.push(format!("{call:?}: {what}"));
        }
    }
    for (session, story) in &found.gone {
        let mut find = |what: String| wrong.push(format!("session {session}, deleted: {what}"));
        if found.contains_key(session) {
            find("it is in the store".to_owned());
        }
        let ours: Vec<_> = calls.iter().filter(|call| call.session == Some(*session)).collect();
        if let Some(what) = ends(story, &ours) {
            find(what);
        }
        let told = ours.iter().filter(|call| tells_gone(call, *session, &known));
        let Some(gone) = told.filter_map(|call| call.answered).min() else { continue };
        let gives = |call: &Call<'_>| match call.answer {
            Some(Answer::RolledOver { successor: given, .. } | Answer::Latest(given)) => {
                given == session
            }
            _ => call.session == Some(*session) && is_served(call),
        };
        let later = calls.iter().filter(|call| call.asked > gone && gives(call));
        later.for_each(|call| find(format!("{call:?}, though it was gone")));
    }
}

/// Where it was first known that a session is there.
fn first_known(calls: &[Call<'_>]) -> BTreeMap<SessionId, usize> {
    let mut known = BTreeMap::new();
    for call in calls.iter().filter(|call| is_served(call)) {
        let Some(answered) = call.answered else { continue };
        let successor = match call.answer {
            Some(Answer::RolledOver { successor, .. }) => Some(*successor),
            _ => None,
        };
        for session in call.session.into_iter().chain(successor) {
            let first = known.entry(session).or_insert(answered);
            *first = answered.min(*first);
        }
    }
    known
}

/// What of an answer is not so.
fn contradicts(
    call: &Call<'_>,
    found: &Found,
    known: &BTreeMap<SessionId, usize>,
) -> Option<&'static str> {
    let is_gone = |session| found.gone.contains_key(&session);
    match (call.answer?, call.verb) {
        (Answer::Done, Verb::Delete { .. }) => {
            (!call.session.is_some_and(is_gone)).then_some("it is not gone")
        }
        (Answer::Deleted(session), _) => (!is_gone(*session)).then_some("it is not gone"),
        (Answer::NotFound(session), _) => {
            let was_known = known.get(session).is_some_and(|first| *first < call.asked);
            (was_known && !is_gone(*session)).then_some("it was known to be there")
        }
        _ => None,
    }
}

/// What is wrong with the end of a session that was deleted.
fn ends(story: &Story, calls: &[&Call<'_>]) -> Option<String> {
    let gaps = (1..).zip(&story.log).find(|(due, event)| event.sequence != *due);
    if let Some((due, event)) = gaps {
        return Some(format!("its log has {event:?} where {due} is due"));
    }
    let by = match story.log.last().map(|event| &event.fact) {
        Some(Fact::Lifecycle(Lifecycle::Deleted { by, .. })) => *by,
        last => return Some(format!("its log ends with {last:?}")),
    };
    let state = story.states.last().copied()?;
    match by {
        Removal::Asked => {
            let asked = calls.iter().any(|call| {
                let grants = call.is_open() || call.answer == Some(&Answer::Done);
                matches!(call.verb, Verb::Delete { .. }) && grants
            });
            let rests = state.has_ended() || state == State::Paused;
            let why = if asked { "it was not at rest" } else { "nobody was granted that" };
            (!asked || !rests).then(|| format!("{why}: it is {state}"))
        }
        Removal::Age | Removal::Space => {
            (!state.has_ended()).then(|| format!("it was deleted by {by}, and {state}"))
        }
        other => Some(format!("it was deleted by {other}")),
    }
}

/// Whether somebody was told that a session is gone.
fn tells_gone(call: &Call<'_>, session: SessionId, known: &BTreeMap<SessionId, usize>) -> bool {
    match (call.answer, call.verb) {
        (Some(Answer::Done), Verb::Delete { .. }) => true,
        (Some(Answer::Deleted(gone)), _) => *gone == session,
        (Some(Answer::NotFound(gone)), _) => {
            *gone == session && known.get(&session).is_some_and(|first| *first < call.asked)
        }
        _ => false,
    }
}

/// Whether a call was answered by a session that is there.
fn is_served(call: &Call<'_>) -> bool {
    match (call.answer, call.verb) {
        (Some(Answer::Done), Verb::Delete { .. }) => false,
        (
            Some(
                Answer::Done
                | Answer::Started { .. }
                | Answer::Accepted { .. }
                | Answer::Seen(_)
                | Answer::Events(_)
                | Answer::Snapshot { .. }
                | Answer::Refused(_)
                | Answer::RolledOver { .. }
                | Answer::Moved { .. }
                | Answer::Interrupted { .. }
                | Answer::NotCurrent(_)
                | Answer::Run { .. }
                | Answer::Latest(_),
            ),
            _,
        ) => true,
        (
            Some(
                Answer::Superseded
                | Answer::Counted(_)
                | Answer::NotFound(_)
                | Answer::Deleted(_)
                | Answer::NotDone(_)
                | Answer::Unknown(_),
            )
            | None,
            _,
        ) => false,
    }
}
