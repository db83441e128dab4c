//! A fork begins with what its parent had at one moment, and what is copied goes on from there.
//!
//! A workload that can be judged says in its `on_fork` what it began with: the tags of all inputs that had their effect before
//! the fork are in a list `inherited` of its state, and `applied` begins anew.

use std::collections::BTreeMap;

use sessionkeeper::{Lifecycle, SessionId};

use super::{Found, FoundSession};

pub(super) fn judge(found: &Found, wrong: &mut Vec<String>) {
    for (session, fork) in found {
        let Some(from) = fork.record.links().forked_from else { continue };
        let Some(parent) = found.get(&from.session) else {
            wrong.push(format!("session {session}: {from:?} is not in the store"));
            continue;
        };
        for what in compare(fork, parent) {
            wrong.push(format!("session {session}, forked from {from:?}: {what}"));
        }
    }
}

/// The sessions that a fork may have inputs of: its parent, and those that it was forked from in turn.
pub(super) fn sources(found: &Found, session: SessionId) -> Vec<SessionId> {
    let mut sources = Vec::new();
    let mut next = Some(session);
    while let Some(parent) = next.and_then(|session| found.get(&session)) {
        next = parent.record.links().forked_from.map(|from| from.session);
        // Nobody is his own ancestor; that is said elsewhere.
        next = next.filter(|parent| !sources.contains(parent));
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
    let theirs = tags(parent);
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
    let mine = tags(fork);
    let copied: Vec<u64> =
        (1..=copied.unwrap_or(0)).map_while(|input| mine.get(&input).copied()).collect();
    wrong.extend(differs(&copied, own.len()));
    wrong
}

/// The tags of the inputs, as far as they can be seen in the store.
fn tags(found: &FoundSession) -> BTreeMap<u64, u64> {
    let mut tags = BTreeMap::new();
    for input in &found.inputs {
        let payload: serde_json::Value = serde_json::from_slice(&input.payload).unwrap_or_default();
        let tag = payload.get("tag").and_then(serde_json::Value::as_u64);
        tags.extend(tag.map(|tag| (input.sequence, tag)));
    }
    tags.extend(found.applied().unwrap_or_default());
    tags
}
