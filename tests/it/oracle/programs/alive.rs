//! What is alive, beside what was told: of a session that has ended nothing is, one that is frozen stands still,
//! and no session has two programs at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use sessionkeeper::SessionId;

use super::{Alive, Program, Rest};
use crate::oracle::{
    calls::Call,
    ledger::{Entry, Ledger, Verb},
};

/// Something that was told, and the places of the ledger between which it must be so.
struct Span {
    session: SessionId,
    rest: Rest,
    places: Range<usize>,
}

pub(super) fn judge(ledger: &Ledger, calls: &[Call<'_>], wrong: &mut Vec<String>) {
    let spans = spans(ledger, calls);
    let mut began = BTreeMap::new();
    // Where each launch was seen first, and where the last worker began.
    let mut first_seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut worker = 0;
    for (place, entry) in ledger.0.iter().enumerate() {
        let Entry::Program(program) = entry else { continue };
        match program {
            Program::Begins => worker = place,
            Program::Looks { look } => drop(began.insert(*look, place)),
            Program::Sees { look, alive } => {
                for one in alive {
                    first_seen.entry(&one.launch).or_insert(place);
                }
                for (session, launches) in launches(alive) {
                    if launches.len() > 1 {
                        wrong.push(format!("session {session}: {launches:?} are alive at once"));
                    }
                }
                let began = began.get(look).copied().unwrap_or(place);
                for span in spans.iter().filter(|span| span.covers(began, place)) {
                    let is_left = |launch: &str| first_seen[launch] < worker;
                    let left = |one: &&Alive| is_left(&one.launch) && worker < span.places.start;
                    let ours = alive.iter().filter(|one| one.session == span.session);
                    // A worker says nothing about what a lost one has left of sessions that rest.
                    let bad = ours.filter(|one| !left(one) && span.forbids(one));
                    for one in bad {
                        wrong.push(format!("{:?} since {}: {one:?}", span.rest, span.places.start));
                    }
                }
            }
            Program::Given { .. }
            | Program::Told { .. }
            | Program::Signalled { .. }
            | Program::Ends => {}
        }
    }
}

fn launches(alive: &[Alive]) -> BTreeMap<SessionId, BTreeSet<&str>> {
    let mut launches: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for one in alive {
        launches.entry(one.session).or_default().insert(one.launch.as_str());
    }
    launches
}

impl Span {
    fn covers(&self, began: usize, seen: usize) -> bool {
        self.places.start < began && seen < self.places.end
    }

    fn forbids(&self, one: &Alive) -> bool {
        match self.rest {
            Rest::Ended | Rest::ShutDown => true,
            Rest::Frozen => one.runs,
        }
    }
}

fn spans(ledger: &Ledger, calls: &[Call<'_>]) -> Vec<Span> {
    let told = ledger.0.iter().enumerate().filter_map(|(place, entry)| match entry {
        Entry::Program(Program::Told { session, asked, rest }) => {
            Some((place, *session, *asked, *rest))
        }
        _ => None,
    });
    let span = |(place, session, asked, rest)| {
        let disturbed = |call: &&Call<'_>| {
            call.session == Some(session)
                && disturbs(rest, call.verb)
                && over(ledger, call).is_none_or(|over| over > asked)
        };
        let calls = calls.iter().filter(disturbed).map(|call| call.asked);
        let entries = ledger.0.iter().enumerate();
        let others = entries.filter(|(place, entry)| {
            is_hurt(rest, session, entry) || *place >= asked && is_end(rest, entry)
        });
        let end = calls.chain(others.map(|(place, _)| place)).min();
        Span { session, rest, places: place..end.unwrap_or(usize::MAX) }
    };
    // One that was disturbed before it was told is not to be judged.
    told.map(span).filter(|span| span.places.start < span.places.end).collect()
}

/// Whether a call may end a rest.
fn disturbs(rest: Rest, verb: &Verb) -> bool {
    match verb {
        Verb::Resume => true,
        Verb::Stop
        | Verb::StopRun(_)
        | Verb::Complete
        | Verb::Fail
        | Verb::Rollover { .. }
        | Verb::Delete { .. } => rest == Rest::Frozen,
        Verb::Start { .. }
        | Verb::Fork { .. }
        | Verb::Send { .. }
        | Verb::SendUrgent { .. }
        | Verb::Interrupt { .. }
        | Verb::Latest
        | Verb::Find
        | Verb::Pause
        | Verb::SetLabels(_)
        | Verb::SetMetadata(_)
        | Verb::SetExternalId(_)
        | Verb::Look
        | Verb::LookRun(_)
        | Verb::ReadRun(_)
        | Verb::ReadEvents
        | Verb::ReadSnapshot
        | Verb::Count => false,
    }
}

/// Where a call is over: answered, or lost with its worker.
fn over(ledger: &Ledger, call: &Call<'_>) -> Option<usize> {
    let is_lost = |entry: &Entry| matches!(entry, Entry::Lost);
    let rest = ledger.0.get(call.asked..)?;
    let lost = rest.iter().position(is_lost).map(|place| call.asked + place);
    let known = call.answered.filter(|_| !call.is_open());
    known.into_iter().chain(lost).min()
}

/// Whether a process of a frozen program was sent a signal from outside: it wakes to die, some time, and its death may wake
/// the others of its group.
fn is_hurt(rest: Rest, of: SessionId, entry: &Entry) -> bool {
    match (rest, entry) {
        (Rest::Frozen, Entry::Program(Program::Signalled { session, .. })) => *session == of,
        (Rest::Ended | Rest::Frozen | Rest::ShutDown, _) => false,
    }
}

/// Whether something else ends a rest: frozen programs are ended with their worker.
fn is_end(rest: Rest, entry: &Entry) -> bool {
    match (rest, entry) {
        (Rest::Frozen, Entry::Program(Program::Ends) | Entry::Lost) => true,
        (Rest::ShutDown, Entry::Program(Program::Begins)) => true,
        (Rest::Ended | Rest::Frozen | Rest::ShutDown, _) => false,
    }
}
