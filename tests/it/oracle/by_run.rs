//! Who names a run is answered about that run, and never stops another one.

use std::ops::RangeInclusive;

use sessionkeeper::{Lifecycle, RunId, State};

use super::{
    Found, Story,
    calls::{Call, Known},
    digest,
    ledger::{Answer, Ran, Verb},
};

pub(super) fn judge(found: &Found, calls: &[Call<'_>], wrong: &mut Vec<String>) {
    let known = Known::of(calls);
    for call in calls {
        let (Verb::StopRun(run) | Verb::LookRun(run) | Verb::ReadRun(run)) = call.verb else {
            continue;
        };
        let Some(session) = call.session else { continue };
        let Some(story) = found.story(session) else { continue };
        let all = story.log.len() as u64;
        let (from, to) = match call.verb {
            // What the store holds whose answer was lost is seen there before the worker knows it.
            Verb::LookRun(_) | Verb::ReadRun(_) => (known.during(session, call, all).0, all),
            _ => known.during(session, call, all),
        };
        let moments = from.max(1)..=to.max(1);
        if let Some(what) = contradicts(call, *run, story, moments) {
            wrong.push(format!("{call:?}: {what}"));
        }
    }
}

fn contradicts(
    call: &Call<'_>,
    run: RunId,
    story: &Story,
    moments: RangeInclusive<u64>,
) -> Option<String> {
    let some_moment = |is: &dyn Fn(u64) -> bool| moments.clone().any(is);
    let last = *moments.end();
    match call.answer? {
        Answer::Done => {
            let was = some_moment(&|event| stopped_by(story, event) == Some(run));
            (!was).then(|| "it was not the present run".to_owned())
        }
        Answer::NotCurrent(current) => {
            let so = some_moment(&|event| {
                present(story, event) == *current && stopped_by(story, event) != Some(run)
            });
            (!so).then(|| format!("the present run was {:?}", present(story, last)))
        }
        Answer::Run { began, now } => {
            if began_with(story, run) != Some(*began) {
                return Some(format!("it began with {:?}", began_with(story, run)));
            }
            let ended = ended_with(story, run);
            let so = match now {
                Ran::Current => some_moment(&|event| {
                    present(story, event) == Some(run) && ended.is_none_or(|ended| event < ended)
                }),
                Ran::Ending => some_moment(&|event| {
                    present(story, event) != Some(run) && ended.is_none_or(|ended| event < ended)
                }),
                Ran::Ended(how) => {
                    story.end_of(run) == Some(how) && ended.is_some_and(|ended| ended <= last)
                }
            };
            (!so).then(|| format!("it ended as {:?}, with {ended:?}", story.end_of(run)))
        }
        Answer::Events(events) => {
            // What its session does next is not its own.
            let end = ended_with(story, run).unwrap_or(u64::MAX);
            let ours = story.log.iter().filter(|event| event.run == Some(run));
            let ours = ours.filter(|event| event.sequence <= end);
            let ours: Vec<_> = ours.map(|event| (event.sequence, digest(event))).collect();
            (!ours.starts_with(events)).then(|| format!("its events are {ours:?}"))
        }
        _ => None,
    }
}

/// The run that a session began last, by an event, with its state then.
fn last_run(story: &Story, event: u64) -> Option<(RunId, State)> {
    let until = story.log.partition_point(|at| at.sequence <= event);
    let state = story.states.get(until.checked_sub(1)?)?;
    let begun = story.lifecycle().filter(|(at, what)| at.sequence <= event && is_begin(what));
    begun.filter_map(|(at, _)| at.run).last().map(|run| (run, *state))
}

/// The present run of a session after an event: also one that has ended, until the next begins.
fn present(story: &Story, event: u64) -> Option<RunId> {
    let (run, state) = last_run(story, event)?;
    matches!(state, State::Active | State::Stopping).then_some(run)
}

/// The run that a session goes by when it is to be stopped: once it is stopped, its last.
fn stopped_by(story: &Story, event: u64) -> Option<RunId> {
    let (run, state) = last_run(story, event)?;
    matches!(state, State::Active | State::Stopping | State::Stopped).then_some(run)
}

fn is_begin(what: &Lifecycle) -> bool {
    matches!(what, Lifecycle::StateChanged { to: State::Active, .. })
}

fn began_with(story: &Story, run: RunId) -> Option<u64> {
    let begun = story.lifecycle().find(|(at, what)| at.run == Some(run) && is_begin(what));
    begun.map(|(at, _)| at.sequence)
}

fn ended_with(story: &Story, run: RunId) -> Option<u64> {
    let is_end = |what: &Lifecycle| matches!(what, Lifecycle::RunEnded { .. });
    let ended = story.lifecycle().find(|(at, what)| at.run == Some(run) && is_end(what));
    ended.map(|(at, _)| at.sequence)
}
