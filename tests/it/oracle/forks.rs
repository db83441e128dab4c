//! A fork begins with what its parent had at one moment, and what is copied goes on from there.
//!
//! A workload that can be judged says in its `on_fork` what it began with: the tags of all inputs that had their effect before
//! the fork are in a list `inherited` of its state, and `applied` begins anew.

use sessionkeeper::{Lifecycle, SessionId};

use super::{Found, FoundSession};

pub(super) fn judge(found: &Found, wrong: &mut Vec<String>) {
    for (session, fork) in found.iter() {
        let Some(from) = fork.record.links().forked_from else { continue };
        let Some(parent) = found.get(&from.session) else {
            if found.story(from.session).is_none() {
                wrong.push(format!("session {session}: {from:?} is not in the store"));
            }
            continue;
        };
        for what in compare(fork, parent) {
            wrong.push(format!("session {session}, forked from {from:?}: {what}"));
        }
    }
}

/// The sessions that a session may have inputs of: its parent or the one that it is the successor of, and so on.
pub(super) fn sources(found: &Found, session: SessionId) -> Vec<SessionId> {
    let mut sources = Vec::new();
    let mut next = Some(session);
    while let Some(story) = next.and_then(|session| found.story(session)) {
        next = story.lifecycle().find_map(|(_, what)| match what {
            Lifecycle::Forked(forked) => Some(forked.from.session),
            Lifecycle::TransitionedFrom { session, .. } => Some(*session),
            _ => None,
        });
        // Nobody is his own ancestor; that is said elsewhere.
        next = next.filter(|before| !sources.contains(before));
        sources.extend(next);
    }
    sources
}

fn compare(fork: &FoundSession, parent: &FoundSession) -> Vec<String> {
    let mut wrong = Vec::new();
    // Its state may not have been decoded.
    let (Some(inherited), Some(before)) = (fork.inherited(), parent.inherited()) else {
        return wrong;
    };
    let Some(own) = inherited.strip_prefix(before.as_slice()) else {
        wrong.push(format!("it began with {inherited:?}, its parent with {before:?}"));
        return wrong;
    };
    let theirs = parent.tags();
    // Where some were dropped, or came before others, the place of an input does not tell its number.
    let applied = parent.applied().unwrap_or_default();
    let in_order = applied.iter().zip(1..).all(|((input, _), number)| *input == number);
    let none_is_odd = parent.record.inbox.urgent().is_empty()
        && parent.lifecycle().all(|(_, what)| !matches!(what, Lifecycle::TurnInterrupted { .. }));
    if !in_order || !none_is_odd {
        let foreign = own.iter().find(|tag| !theirs.values().any(|known| known == *tag));
        wrong.extend(
            foreign.map(|tag| format!("it began with {tag}, which its parent did not have")),
        );
        return wrong;
    }
    let differs = |tags: &[u64], after: usize| {
        tags.iter().zip(after as u64 + 1..).find_map(|(tag, input)| {
            let known = theirs.get(&input).filter(|known| *known != tag)?;
            Some(format!("input {input} of its parent has tag {known}, here it is {tag}"))
        })
    };
    wrong.extend(differs(own, 0));
    let copied = fork.lifecycle().find_map(|(_, what)| match what {
        Lifecycle::Forked(forked) => Some(forked.inputs),
        _ => None,
    });
    let mine = fork.tags();
    let copied: Vec<u64> =
        (1..=copied.unwrap_or(0)).map_while(|input| mine.get(&input).copied()).collect();
    wrong.extend(differs(&copied, own.len()));
    wrong
}
