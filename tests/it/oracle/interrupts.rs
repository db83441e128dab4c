//! A turn is interrupted by somebody's word, and what is dropped then is over.

use std::collections::BTreeSet;

use sessionkeeper::{Lifecycle, OnInterrupt, SessionId};

use super::{
    Found, Story,
    calls::Call,
    ledger::{Answer, Did, Entry, Ledger, Verb},
};

pub(super) fn judge(found: &Found, calls: &[Call<'_>], wrong: &mut Vec<String>) {
    for call in calls {
        let Some(session) = call.session else { continue };
        let (Some(Answer::Interrupted { input: Some(input), drops }), Verb::Interrupt { .. }) =
            (call.answer, call.verb)
        else {
            continue;
        };
        let told = found.story(session).is_some_and(|story| {
            interrupted(story)
                .any(|(of, then)| of == *input && (then == OnInterrupt::Drop) == *drops)
        });
        if !told {
            wrong.push(format!("{call:?}: no event tells that"));
        }
        let waits = found.get(&session).is_some_and(|of| of.record.inbox.is_waiting(*input));
        if *drops && waits {
            wrong.push(format!("{call:?}: the input waits"));
        }
    }
    for (session, story) in found.stories() {
        for (input, then) in interrupted(story) {
            let granted = calls.iter().filter(|call| call.session == Some(session)).any(|call| {
                let Verb::Interrupt { drops } = call.verb else { return false };
                let asked = *drops == (then == OnInterrupt::Drop);
                let told = matches!(call.answer, Some(Answer::Interrupted { input: Some(of), .. }) if *of == input);
                asked && (told || call.is_open())
            });
            if !granted {
                wrong.push(format!(
                    "session {session}: nobody interrupted the turn of input {input}"
                ));
            }
        }
    }
}

/// The turns that were interrupted, by their inputs, and what became of these.
fn interrupted(story: &Story) -> impl Iterator<Item = (u64, OnInterrupt)> {
    story.lifecycle().filter_map(|(event, what)| match what {
        Lifecycle::TurnInterrupted { then } => Some((event.input.unwrap_or_default(), *then)),
        _ => None,
    })
}

/// The inputs that were dropped in the turns that began with them.
pub(super) fn dropped(story: &Story) -> BTreeSet<u64> {
    let dropped = interrupted(story).filter(|(_, then)| *then == OnInterrupt::Drop);
    dropped.map(|(input, _)| input).collect()
}

/// The tags of what was given to runs of which a turn was dropped.
pub(super) fn taken(session: SessionId, story: &Story, ledger: &Ledger) -> BTreeSet<u64> {
    let runs: BTreeSet<_> = story
        .lifecycle()
        .filter(|(_, what)| matches!(what, Lifecycle::TurnInterrupted { then: OnInterrupt::Drop }))
        .filter_map(|(event, _)| event.run)
        .collect();
    let taken = ledger.0.iter().filter_map(|entry| match entry {
        Entry::Run { session: of, run, did: Did::Take { tag, .. } }
            if *of == session && runs.contains(run) =>
        {
            Some(*tag)
        }
        _ => None,
    });
    taken.collect()
}
