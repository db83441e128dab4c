//! What callers saw stays true: nothing that was visible is lost, and nothing goes back.

use std::collections::BTreeMap;

use sessionkeeper::{SessionId, SessionRecord};

use super::{
    Found, FoundSession, Story,
    calls::Call,
    digest,
    ledger::{Answer, Entry, Ledger, Sight},
};

/// The furthest that somebody saw.
#[derive(Debug, Clone, Copy, Default)]
struct Furthest {
    version: u64,
    last_event: u64,
    accepted: u64,
    snapshot: u64,
    consumed: u64,
}

pub(super) fn judge(found: &Found, ledger: &Ledger, calls: &[Call<'_>], wrong: &mut Vec<String>) {
    let mut by_version: BTreeMap<(SessionId, u64), Sight> = BTreeMap::new();
    let mut see = |session: SessionId, sight: Sight, wrong: &mut Vec<String>| {
        let Some(story) = found.story(session) else {
            return wrong.push(format!("session {session} was seen, and is not in the store"));
        };
        if !is_true(&sight, story, found.get(&session)) {
            wrong.push(format!("session {session}: {sight:?} was seen, and is not in its log"));
        }
        let same = *by_version.entry((session, sight.version)).or_insert(sight);
        if same != sight {
            wrong.push(format!("session {session}: one version, seen as {same:?} and {sight:?}"));
        }
    };
    for entry in &ledger.0 {
        if let Entry::Listed { session, sight } = entry {
            see(*session, *sight, wrong);
        }
        if let Entry::ShutDown { budget, took, rested } = entry {
            // The smallest budgets are outlasted by the last word.
            let slack = if budget.as_secs() == 0 { 55 } else { 2 };
            if *took > *budget + std::time::Duration::from_millis(slack) {
                wrong.push(format!("a shutdown took {took:?}, its budget was {budget:?}"));
            }
            for (session, sight) in rested {
                see(*session, *sight, wrong);
            }
        }
    }
    for call in calls {
        let Some(session) = call.session else { continue };
        match call.answer {
            Some(Answer::Seen(sight)) => see(session, *sight, wrong),
            Some(Answer::Events(events)) => {
                let log = found.story(session).map_or(&[][..], |story| &story.log);
                for (sequence, was) in events {
                    let index = usize::try_from(*sequence).unwrap().wrapping_sub(1);
                    if log.get(index).map(digest) != Some(*was) {
                        wrong.push(format!("session {session}: event {sequence} is another now"));
                    }
                }
            }
            _ => {}
        }
    }
    never_back(found, ledger, calls, wrong);
}

/// Whether the log says what somebody saw, and the record, where there is one.
fn is_true(sight: &Sight, story: &Story, found: Option<&FoundSession>) -> bool {
    let index = usize::try_from(sight.last_event).unwrap().wrapping_sub(1);
    story.states.get(index) == Some(&sight.state)
        && found.is_none_or(|found| {
            let SessionRecord { version, inbox, .. } = &found.record;
            sight.version <= *version && sight.accepted <= inbox.accepted
        })
}

/// Who asks after somebody was answered sees at least as much.
fn never_back(found: &Found, ledger: &Ledger, calls: &[Call<'_>], wrong: &mut Vec<String>) {
    let mut furthest: BTreeMap<SessionId, Furthest> = BTreeMap::new();
    let mut at_asking: BTreeMap<usize, Furthest> = BTreeMap::new();
    let mut by_place: BTreeMap<usize, &Call<'_>> = BTreeMap::new();
    for call in calls {
        by_place.insert(call.asked, call);
        by_place.extend(call.answered.map(|answered| (answered, call)));
    }
    for (place, call) in by_place {
        let Some(session) = call.session else { continue };
        if place == call.asked {
            at_asking.insert(place, furthest.get(&session).copied().unwrap_or_default());
            continue;
        }
        let before = at_asking.get(&call.asked).copied().unwrap_or_default();
        let furthest = furthest.entry(session).or_default();
        let fell_back = found.story(session).is_some_and(Story::fell_back);
        let goes_on = match call.answer {
            Some(Answer::Seen(sight)) => {
                furthest.version = furthest.version.max(sight.version);
                furthest.last_event = furthest.last_event.max(sight.last_event);
                furthest.accepted = furthest.accepted.max(sight.accepted);
                sight.version >= before.version
                    && sight.last_event >= before.last_event
                    && sight.accepted >= before.accepted
            }
            Some(Answer::Snapshot { sequence, consumed }) => {
                furthest.snapshot = furthest.snapshot.max(*sequence);
                furthest.consumed = furthest.consumed.max(*consumed);
                fell_back || *sequence >= before.snapshot && *consumed >= before.consumed
            }
            Some(Answer::Accepted { sequence, .. }) => {
                furthest.accepted = furthest.accepted.max(*sequence);
                true
            }
            _ => true,
        };
        if !goes_on {
            let entry = &ledger.0[place];
            wrong.push(format!("session {session} went back: {entry:?} after {before:?}"));
        }
    }
}
