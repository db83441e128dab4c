//! Every answer must be borne out by the log, and every move that somebody asked for must have
//! been granted to somebody.

use std::collections::BTreeMap;

use sessionkeeper::{Cause, Fact, Lifecycle, SessionId, State};

use super::{
    Found, FoundSession, Story, chains,
    ledger::{Answer, Entry, Ledger, Verb},
};

/// One call as its caller saw it.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// Where in the ledger it was asked, and answered.
    pub(super) asked: usize,
    pub(super) answered: Option<usize>,
    /// The session it is about; that of a start, once it is known.
    pub(super) session: Option<SessionId>,
    pub(super) verb: &'a Verb,
    pub(super) answer: Option<&'a Answer>,
}

impl<'a> Call<'a> {
    pub(super) fn all(ledger: &'a Ledger) -> Vec<Self> {
        let mut calls = BTreeMap::new();
        for (index, entry) in ledger.0.iter().enumerate() {
            match entry {
                Entry::Asked { call, session, verb } => {
                    let asked = Call {
                        asked: index,
                        answered: None,
                        session: *session,
                        verb,
                        answer: None,
                    };
                    assert!(calls.insert(*call, asked).is_none(), "call {call} is made twice");
                }
                Entry::Answered { call, answer } => {
                    let call = calls.get_mut(call).expect("what is answered was asked");
                    call.answered = Some(index);
                    call.answer = Some(answer);
                    if let Answer::Started { session, .. } | Answer::Accepted { by: session, .. } =
                        answer
                    {
                        call.session = Some(*session);
                    }
                }
                Entry::Listed { .. }
                | Entry::Run { .. }
                | Entry::EndTold { .. }
                | Entry::ShutDown { .. }
                | Entry::Begun { .. }
                | Entry::Unreadable
                | Entry::Moment(_)
                | Entry::Lost => {}
                #[cfg(unix)]
                Entry::Program(_) => {}
            }
        }
        calls.into_values().collect()
    }

    /// Whether it may have been done, though its caller does not know.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.answer, None | Some(Answer::Unknown(_)))
    }

    pub(super) fn is_done(&self) -> bool {
        match self.answer {
            Some(
                Answer::Done
                | Answer::Started { .. }
                | Answer::Accepted { .. }
                | Answer::RolledOver { .. },
            ) => true,
            Some(_) | None => false,
        }
    }
}

/// The last event of a session that was known at each moment, as far as somebody looked.
pub(super) struct Known(BTreeMap<SessionId, Vec<Looked>>);

struct Looked {
    asked: usize,
    answered: usize,
    last_event: u64,
}

impl Known {
    pub(super) fn of(calls: &[Call<'_>]) -> Self {
        let mut known: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for call in calls {
            if let (Some(Answer::Seen(sight)), Some(session), Some(answered)) =
                (call.answer, call.session, call.answered)
            {
                let last_event = sight.last_event;
                known.entry(session).or_default().push(Looked {
                    asked: call.asked,
                    answered,
                    last_event,
                });
            }
        }
        Self(known)
    }

    /// The events that may have happened during a call: after the first, up to the second.
    pub(super) fn during(&self, session: SessionId, call: &Call<'_>, last: u64) -> (u64, u64) {
        let looked = self.0.get(&session).map_or(&[][..], Vec::as_slice);
        let before = looked.iter().filter(|looked| looked.answered < call.asked);
        let after = looked.iter().filter(|looked| call.answered.is_some_and(|a| a < looked.asked));
        let from = before.map(|looked| looked.last_event).max().unwrap_or(0);
        let to = after.map(|looked| looked.last_event).min().unwrap_or(last);
        (from, to)
    }
}

pub(super) fn judge(all: &Found, _: &Ledger, calls: &[Call<'_>], wrong: &mut Vec<String>) {
    let known = Known::of(calls);
    for call in calls {
        let Some(session) = call.session else { continue };
        let Some(story) = all.story(session) else {
            if call.is_done() {
                wrong.push(format!("session {session} is not in the store, and {call:?}"));
            }
            continue;
        };
        let last = story.log.len() as u64;
        let (from, to) = known.during(session, call, last);
        // The state before the first event that may have happened is one that it may have met.
        let index = |event: u64| usize::try_from(event.max(1)).unwrap() - 1;
        let during = story.states.get(index(from)..=index(to)).unwrap_or_default();
        if !fits(call, during) {
            wrong.push(format!("{call:?} does not fit events {from}..={to}: {during:?}"));
        }
    }
    for (session, story) in all.stories() {
        let ours: Vec<_> = calls.iter().filter(|call| call.session == Some(session)).collect();
        granted(session, story, &ours, &known, wrong);
        if let Some(found) = all.get(&session) {
            annotated(session, found, &ours, &inherited(all, calls, session), wrong);
        }
    }
}

/// Whether some moment between the question and the answer bears the answer out.
fn fits(call: &Call<'_>, during: &[State]) -> bool {
    let was = |state: State| during.contains(&state);
    let ended = [State::Completed, State::Failed, State::Expired];
    let Some(answer) = call.answer else { return true };
    match (answer, call.verb) {
        (Answer::Done, Verb::Pause) => was(State::Paused),
        (Answer::Done, Verb::Resume) => was(State::Active) || was(State::Pending),
        (Answer::Done, Verb::Stop | Verb::StopRun(_)) => {
            was(State::Stopping) || was(State::Stopped)
        }
        (Answer::Done, Verb::Complete) => was(State::Completed),
        (Answer::Done, Verb::Fail) => was(State::Failed),
        (Answer::Accepted { repeated: false, .. }, Verb::Send { .. } | Verb::SendUrgent { .. }) => {
            during.iter().any(|state| state.accepts_input())
        }
        (Answer::Refused(from), verb) => {
            let may_refuse = match verb {
                Verb::Pause
                | Verb::Send { .. }
                | Verb::SendUrgent { .. }
                | Verb::Rollover { .. } => !from.accepts_input(),
                Verb::Resume => *from == State::Stopping || ended.contains(from),
                Verb::Stop | Verb::StopRun(_) => ended.contains(from),
                Verb::Complete => [State::Stopping, State::Failed, State::Expired].contains(from),
                Verb::Fail => !from.accepts_input() && *from != State::Failed,
                Verb::Delete { .. } => !from.has_ended(),
                Verb::Start { .. }
                | Verb::Fork { .. }
                | Verb::Interrupt { .. }
                | Verb::LookRun(_)
                | Verb::ReadRun(_)
                | Verb::Latest
                | Verb::Find
                | Verb::SetLabels(_)
                | Verb::SetMetadata(_)
                | Verb::SetExternalId(_)
                | Verb::Look
                | Verb::ReadEvents
                | Verb::ReadSnapshot
                | Verb::Count => false,
            };
            may_refuse && was(*from)
        }
        // Only a pause that was not reached yet, or a resume that waits for its place.
        (Answer::Superseded, verb) => matches!(verb, Verb::Pause | Verb::Resume),
        (Answer::Interrupted { input: Some(_), .. }, _) => {
            was(State::Active) || was(State::Stopping)
        }
        (Answer::RolledOver { repeated: false, .. } | Answer::Moved { .. }, _) => {
            was(State::Completed)
        }
        (
            Answer::Done
            | Answer::Started { .. }
            | Answer::Accepted { .. }
            | Answer::Seen(_)
            | Answer::Events(_)
            | Answer::Snapshot { .. }
            | Answer::Counted(_)
            | Answer::RolledOver { .. }
            | Answer::Interrupted { .. }
            | Answer::Latest(_)
            | Answer::NotCurrent(_)
            | Answer::Run { .. }
            | Answer::NotFound(_)
            | Answer::Deleted(_)
            | Answer::NotDone(_)
            | Answer::Unknown(_),
            _,
        ) => true,
    }
}

/// What a caller was told has not been done did not happen after all.
fn granted(
    session: SessionId,
    story: &Story,
    calls: &[&Call<'_>],
    known: &Known,
    wrong: &mut Vec<String>,
) {
    let last = story.log.len() as u64;
    for event in &story.log {
        let Fact::Lifecycle(Lifecycle::StateChanged { from, to, cause: Cause::Asked, .. }) =
            &event.fact
        else {
            continue;
        };
        let verbs: fn(&Verb) -> bool = match (from, to) {
            // The start itself, and a run that takes the place of one that was recalled.
            (State::Pending | State::Active, State::Active) => continue,
            (_, State::Active) => |verb| *verb == Verb::Resume,
            // A resume that came too late for its run quarantines the session.
            (_, State::Paused) => |verb| matches!(verb, Verb::Pause | Verb::Resume),
            (_, State::Stopping | State::Stopped) => {
                |verb| matches!(verb, Verb::Stop | Verb::StopRun(_) | Verb::Delete { stops: true })
            }
            (_, State::Completed) => |verb| *verb == Verb::Complete,
            (_, State::Failed) => |verb| *verb == Verb::Fail,
            (_, State::Pending | State::Expired) => |_| false,
        };
        let granted = calls.iter().any(|call| {
            let (from, to) = known.during(session, call, last);
            let done = call.is_done() && event.sequence <= to;
            // A delete may have stopped it, and then not deleted it.
            let part = matches!(call.verb, Verb::Delete { .. });
            verbs(call.verb) && from < event.sequence && (done || call.is_open() || part)
        });
        if !granted {
            wrong.push(format!("session {session}: nobody was granted {event:?}"));
        }
    }
}

/// What may have been set of those that the session is the successor of.
fn inherited<'a>(all: &Found, calls: &'a [Call<'a>], session: SessionId) -> Vec<&'a Verb> {
    let before = chains::before(all, session);
    let theirs = calls.iter().filter(|call| call.session.is_some_and(|of| before.contains(&of)));
    theirs.filter(|call| call.is_done() || call.is_open()).map(|call| call.verb).collect()
}

/// Labels and metadata are what the last who set them was told, or one at the same time; where nobody did, what was inherited.
fn annotated(
    session: SessionId,
    found: &FoundSession,
    calls: &[&Call<'_>],
    inherited: &[&Verb],
    wrong: &mut Vec<String>,
) {
    let label = found.record.labels.get("set").map(ToOwned::to_owned);
    let metadata = found.record.metadata.get("set").and_then(|set| set.as_str());
    let metadata = metadata.map(ToOwned::to_owned);
    type Value = fn(&Verb) -> Option<&String>;
    let kinds: [(&str, Option<String>, Value); 2] = [
        ("labels", label, |verb| if let Verb::SetLabels(to) = verb { Some(to) } else { None }),
        (
            "metadata",
            metadata,
            |verb| if let Verb::SetMetadata(to) = verb { Some(to) } else { None },
        ),
    ];
    for (what, is, value) in kinds {
        let set: Vec<_> = calls.iter().filter(|call| value(call.verb).is_some()).collect();
        let after = |call: &Call<'_>, other: &Call<'_>| {
            other.is_done() && call.answered.is_some_and(|answered| answered < other.asked)
        };
        let may_be = set.iter().filter(|call| {
            call.is_open() || call.is_done() && !set.iter().any(|other| after(call, other))
        });
        let inherits = is.is_none() || inherited.iter().any(|verb| value(verb) == is.as_ref());
        let untouched = inherits && !set.iter().any(|call| call.is_done());
        let mut may_be = may_be.map(|call| value(call.verb));
        if !untouched && !may_be.any(|value| value == is.as_ref()) {
            wrong.push(format!("session {session}: its {what} are {is:?}, not what was set last"));
        }
    }
}
