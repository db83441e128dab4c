//! A child is its parent's, does what its policy says where that ends, and its own end is told once.

use std::collections::BTreeMap;

use sessionkeeper::{Cause, Fact, Lifecycle, SessionId, State, WhenParentEnds};

use super::{
    Call, Calm, Found, FoundSession, chains,
    course::Course,
    ledger::{Did, Entry, Ledger},
};

mod in_time;

pub(super) fn judge(
    found: &Found,
    ledger: &Ledger,
    calls: &[Call<'_>],
    calm: &Calm,
    wrong: &mut Vec<String>,
) {
    told(found, ledger, wrong);
    let course = Course::of(found);
    for (child, of) in found.iter() {
        let Some(parent) = of.record.links().parent else { continue };
        let mut find = |what: String| {
            wrong.push(format!("session {child}, a child of {parent}: {what}"));
        };
        if found.story(parent).is_none() {
            find("its parent is not in the store".to_owned());
            continue;
        }
        obeys(found, &course, *child, parent).into_iter().for_each(&mut find);
        let before = chains::before(found, *child);
        in_time::judge(&course, of, &before, parent, calls, calm).into_iter().for_each(&mut find);
        has_reason(&course, *child, of, parent).into_iter().for_each(&mut find);
        is_told(found, ledger, *child, parent).into_iter().for_each(&mut find);
        for owed in of.record.family.iter().flat_map(|family| &family.owed) {
            find(format!("it owes something still: {owed:?}"));
        }
    }
}

/// The tags of inputs that tell of the end of a child, with how often it ended: so often each may be given.
pub(super) fn ends(found: &Found, ledger: &Ledger) -> BTreeMap<u64, u64> {
    let entries = ledger.0.iter().filter_map(|entry| match entry {
        Entry::EndTold { child, tag } => Some((*tag, count_ends(found, *child))),
        _ => None,
    });
    entries.collect()
}

/// The tags of what a session may be told of its children, or have been given as a child by its parent.
pub(super) fn sent(found: &Found, ledger: &Ledger, sessions: &[SessionId]) -> Vec<u64> {
    let parent = |of: &SessionId| found.get(of).and_then(|found| found.record.links().parent);
    let parents: Vec<SessionId> = sessions.iter().filter_map(parent).collect();
    let tags = ledger.0.iter().filter_map(|entry| match entry {
        Entry::Run { session, did: Did::Bear { first, .. }, .. } if parents.contains(session) => {
            Some(*first)
        }
        // Whose child it was is not known any more.
        Entry::EndTold { child, tag } if !found.contains_key(child) => Some(*tag),
        Entry::EndTold { child, tag } => {
            let parent = parent(child)?;
            let above = sessions.iter().any(|session| chains::follows(found, parent, *session));
            above.then_some(*tag)
        }
        _ => None,
    });
    tags.collect()
}

/// How often a session came to an end that was its own.
fn count_ends(found: &Found, session: SessionId) -> u64 {
    let Some(story) = found.story(session) else { return 0 };
    let ends = story.lifecycle().filter(|(_, what)| match what {
        Lifecycle::StateChanged { from, to, cause, .. } => {
            to.has_ended() && !from.has_ended() && *cause != Cause::RolledOver
        }
        _ => false,
    });
    ends.count() as u64
}

/// What runs were told of their children is so.
fn told(found: &Found, ledger: &Ledger, wrong: &mut Vec<String>) {
    let mut by_key = BTreeMap::new();
    for entry in &ledger.0 {
        let Entry::Run { session, did, .. } = entry else { continue };
        match did {
            Did::Bore { key, child } => {
                let known = *by_key.entry((*session, *key)).or_insert(*child);
                if known != *child {
                    wrong
                        .push(format!("session {session}: child {key} is {child}, it was {known}"));
                }
                let parent = found.get(child).map(|found| found.record.links().parent);
                let is_gone = parent.is_none() && found.story(*child).is_some();
                if !is_gone && parent != Some(Some(*session)) {
                    wrong.push(format!("session {session}: its child {child} is {parent:?}'s"));
                }
            }
            Did::ChildEnded { child, last, state } => {
                let was = found.story(*last).is_some_and(|story| story.states.contains(state));
                if !was || !chains::follows(found, *child, *last) {
                    wrong.push(format!("session {session}: {did:?}, which is not so"));
                }
            }
            _ => {}
        }
    }
}

/// Whether a child ended where its parent was stopped or ended, if it does.
fn obeys(found: &Found, course: &Course, child: SessionId, parent: SessionId) -> Vec<String> {
    let Some(of) = found.get(&child) else { return Vec::new() };
    let on_parent = of.record.links().on_parent;
    let resumed = |place| course.comes_to(parent, place, |state| state == State::Active);
    let arrivals = course.arrivals(parent).into_iter().filter_map(|(place, state)| {
        let when = match state {
            // A resume takes back what has not reached the child.
            State::Stopping | State::Stopped if resumed(place) => return None,
            State::Stopping | State::Stopped => on_parent.stop,
            State::Completed | State::Failed | State::Expired => on_parent.end,
            State::Pending | State::Active | State::Paused => return None,
        };
        Some((place, when, state.as_str()))
    });
    let deleted = course
        .deleted
        .get(&parent)
        .filter(|place| course.at(parent, **place).is_some_and(|state| !state.has_ended()));
    let deleted = deleted.map(|place| (*place, on_parent.end, "deleted"));
    let mut wrong = Vec::new();
    for (place, when, how) in arrivals.chain(deleted) {
        let existed = course.at(child, place).is_some();
        let taken_back = is_resumed(course, child, of, place);
        if when == WhenParentEnds::Stop
            && existed
            && !taken_back
            && !ends_with(found, course, child, place)
        {
            wrong.push(format!("its parent was {how}, and it went on"));
        }
    }
    wrong
}

/// Whether a session was resumed by a person's word after a time.
fn is_resumed(course: &Course, session: SessionId, of: &FoundSession, place: usize) -> bool {
    let places = course.moments.get(&session).map_or(&[][..], Vec::as_slice);
    let later = of.log.iter().zip(places).filter(|(_, (at, _))| *at > place);
    later.into_iter().any(|(event, _)| match &event.fact {
        Fact::Lifecycle(Lifecycle::StateChanged { from, to, cause, .. }) => {
            let rested = matches!(from, State::Paused | State::Stopped);
            rested && *to == State::Active && *cause == Cause::Asked
        }
        _ => false,
    })
}

/// Whether a session ended at a time or later; or that which took its place.
fn ends_with(found: &Found, course: &Course, child: SessionId, place: usize) -> bool {
    let mut last = child;
    // One that had been rolled over by then has a successor which is a child as well.
    if found.next(last).is_some() && course.at(last, place).is_some_and(State::is_terminal) {
        return true;
    }
    while let Some(next) = found.next(last) {
        let stopped = |state: State| state == State::Stopped;
        if course.comes_to(last, place, stopped) {
            return true;
        }
        last = next;
    }
    found.get(&last).is_none() || course.comes_to(last, place, State::has_ended)
}

/// What a child did since its parent did had a reason.
fn has_reason(
    course: &Course,
    child: SessionId,
    of: &FoundSession,
    parent: SessionId,
) -> Vec<String> {
    let places = course.moments.get(&child).map_or(&[][..], Vec::as_slice);
    let mut wrong = Vec::new();
    for (event, (place, _)) in of.log.iter().zip(places) {
        let Fact::Lifecycle(Lifecycle::StateChanged { to, cause: Cause::Parent, .. }) = &event.fact
        else {
            continue;
        };
        let before = || course.arrivals(parent).into_iter().filter(|(at, _)| at < place);
        let had = |is: fn(State) -> bool| before().any(|(_, state)| is(state));
        let is_so = match to {
            State::Stopping | State::Stopped => {
                let deleted = course.deleted.get(&parent).is_some_and(|at| at < place);
                deleted || had(|state| state.has_ended() || state == State::Stopping)
            }
            State::Paused => had(|state| state == State::Paused),
            State::Active => had(|state| state == State::Active),
            State::Pending | State::Completed | State::Failed | State::Expired => false,
        };
        if !is_so {
            wrong.push(format!("its parent did nothing that leads to {event:?}"));
        }
    }
    wrong
}

/// Whether the end of a child was told to its parent, and no more often than it ended.
fn is_told(found: &Found, ledger: &Ledger, child: SessionId, parent: SessionId) -> Vec<String> {
    let tag = ledger.0.iter().find_map(|entry| match entry {
        Entry::EndTold { child: of, tag } if *of == child => Some(*tag),
        _ => None,
    });
    let ended = count_ends(found, child);
    let chain: Vec<SessionId> = chains::chain(found, parent).collect();
    let of_chain: Vec<_> = chain.iter().filter_map(|session| found.get(session)).collect();
    let given: usize = of_chain
        .iter()
        .map(|of| {
            let before = found.before(of.record.id).is_some();
            // What moved is known to both.
            let moved = of.lifecycle().find_map(|(_, what)| match what {
                Lifecycle::TransitionedFrom { inputs, .. } => Some(*inputs),
                _ => None,
            });
            let own = if before { moved.unwrap_or(0) } else { 0 };
            let tags = of.tags();
            tags.iter().filter(|(input, of)| **input > own && Some(**of) == tag).count()
        })
        .sum();
    let mut wrong = Vec::new();
    if given as u64 > ended {
        wrong.push(format!(
            "its parent was told of its end {given} times, and it ended {ended} times"
        ));
    }
    let accepts = |of: &&FoundSession| {
        of.lifecycle().all(|(_, what)| match what {
            Lifecycle::StateChanged { to, cause, .. } => {
                !(to.has_ended() || *to == State::Stopping) || *cause == Cause::RolledOver
            }
            // What was dropped is forgotten.
            Lifecycle::TurnInterrupted { .. } => false,
            _ => true,
        })
    };
    let is_whole = of_chain.len() == chain.len() && of_chain.iter().all(accepts);
    let is_over = found.next(child).is_none()
        && found.get(&child).is_some_and(|of| of.record.state().has_ended());
    if is_over && is_whole && given == 0 {
        wrong.push("its parent was not told of its end".to_owned());
    }
    wrong
}
