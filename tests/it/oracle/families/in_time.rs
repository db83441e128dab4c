//! What a parent does reaches its children soon, where nothing hinders the worker: that it is paused, comes to its end, or goes on.

use std::time::Duration;

use sessionkeeper::{
    Lifecycle, OnParent, RunEnd, SessionId, State, WhenParentEnds, WhenParentPauses,
};

use super::super::{
    Call, Calm, FoundSession,
    course::{Course, Paused, Standing},
    ledger::{Moment, Verb},
};

/// How long it may take: a run is asked, then cancelled, then abandoned.
const SOON: [Duration; 2] = [Duration::from_secs(10); 2];

/// What a child is to be, and is not.
type Lags = fn(&OnParent, parent: Standing, child: Standing) -> bool;

const DUTIES: [(&str, Lags); 2] = [
    ("paused", |on_parent, parent, child| {
        let is_free = match child.state {
            State::Pending | State::Active => true,
            State::Paused => child.paused == Some(Paused::ByItself),
            State::Stopping
            | State::Stopped
            | State::Completed
            | State::Failed
            | State::Expired => false,
        };
        on_parent.pause == WhenParentPauses::Pause && parent.is_held() && is_free
    }),
    ("at its end", |on_parent, parent, child| {
        let when = match parent.state {
            State::Stopping | State::Stopped => on_parent.stop,
            State::Completed | State::Failed | State::Expired => on_parent.end,
            State::Pending | State::Active | State::Paused => WhenParentEnds::Leave,
        };
        let goes_on = !child.state.has_ended() && child.state != State::Stopping;
        when == WhenParentEnds::Stop && goes_on
    }),
];

/// What a child should have done as its parent did, and did not. Those whose place it has taken were resumed for it too.
pub(super) fn judge(
    course: &Course,
    child: &FoundSession,
    before: &[SessionId],
    parent: SessionId,
    calls: &[Call<'_>],
    calm: &Calm,
) -> Vec<String> {
    let (id, on_parent) = (child.record.id, child.record.links().on_parent);
    let mut wrong = Vec::new();
    for (what, lags) in DUTIES {
        // Who was resumed by a person since goes on, and so does the successor of who was rolled over: it runs, whatever that did.
        let resumed = |since: usize, present: usize| {
            let known = calm.place_before(since as u64 + 1);
            calls.iter().any(|call| {
                let is_it = |session| session == id || before.contains(&session);
                let is_word = matches!(call.verb, Verb::Resume | Verb::Rollover { .. });
                let of_child = call.session.is_some_and(is_it) && is_word;
                // Who was not told may yet have waited for a place.
                let answered = call.answered.filter(|_| !call.is_open());
                let over = answered.unwrap_or_else(|| calm.loss_after(call.asked));
                of_child && over > known && call.asked < present
            })
        };
        let lags_at = |looked: usize, moment: &Moment| {
            let place = usize::try_from(moment.events).ok()?.checked_sub(1)?;
            let child = course.standing(id, place)?;
            let present = course.standing(parent, place)?;
            let is_so = |parent: Standing| lags(&on_parent, parent, child);
            let since = course.since(parent, place, is_so)?;
            (is_so(present) && !resumed(since, looked)).then_some(())
        };
        if let Some(late) = calm.lasting(SOON, |place, moment| lags_at(place, moment).is_some()) {
            wrong.push(format!("its parent has been {what} for long, and it is not: {late:?}"));
        }
    }
    wrong.extend(stays_paused(course, child, parent, calm));
    wrong
}

/// Whether a child is paused with its parent, and that has gone on for long.
fn stays_paused(
    course: &Course,
    child: &FoundSession,
    parent: SessionId,
    calm: &Calm,
) -> Option<String> {
    // Until a run that was abandoned returns, nobody resumes its session but a person who allows it.
    let is_abandoned =
        |(_, what): (_, &Lifecycle)| matches!(what, Lifecycle::RunEnded { how: RunEnd::Abandoned });
    if child.record.links().on_parent.pause == WhenParentPauses::Leave
        || child.lifecycle().any(is_abandoned)
    {
        return None;
    }
    let late = calm.lasting(SOON, |looked, moment| {
        let stays = || {
            let place = usize::try_from(moment.events).ok()?.checked_sub(1)?;
            let is_with_parent =
                course.standing(child.record.id, place)?.paused == Some(Paused::WithParent);
            let since = course.since(parent, place, |parent| !parent.is_held())?;
            // It was resumed since, and may have come to rest without a word.
            let goes_on = matches!(course.at(parent, place)?, State::Active | State::Paused)
                && course.comes_between(parent, since..=place, |state| state == State::Active);
            let known = calm.place_before(since as u64 + 1);
            (is_with_parent && goes_on && calm.resumes_all(known, looked)).then_some(())
        };
        stays().is_some()
    })?;
    Some(format!("its parent has gone on for long, and it is paused with that: {late:?}"))
}
