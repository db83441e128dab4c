//! What happened to all sessions, in the order in which it did.

use std::{collections::BTreeMap, ops::RangeInclusive};

use sessionkeeper::{Cause, Fact, Lifecycle, PauseCause, SessionId, State};

use super::Found;

/// The states of all sessions at each time. A time is the place of an event in the log of all of them, from 0 on.
pub(super) struct Course {
    /// Where each event of a session is in that order, with what it is after it.
    pub(super) moments: BTreeMap<SessionId, Vec<(usize, Standing)>>,
    /// Where a session was deleted.
    pub(super) deleted: BTreeMap<SessionId, usize>,
}

/// What a session is at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: State,
    /// Why it is paused, if it is.
    pub(super) paused: Option<Paused>,
}

/// Why a session is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paused {
    ByWord,
    WithParent,
    Quarantined,
    /// Without a word: it may go on without one.
    ByItself,
}

impl Course {
    pub(super) fn of(found: &Found) -> Self {
        let mut course = Self { moments: BTreeMap::new(), deleted: BTreeMap::new() };
        for (place, (session, event)) in found.history.iter().enumerate() {
            let moments = course.moments.entry(*session).or_default();
            let new = Standing { state: State::Pending, paused: None };
            let mut after = moments.last().map_or(new, |(_, before)| *before);
            match &event.fact {
                Fact::Lifecycle(Lifecycle::StateChanged { to, cause, .. }) => {
                    let paused = (*to == State::Paused).then(|| Paused::by(*cause));
                    after = Standing { state: *to, paused };
                }
                Fact::Lifecycle(Lifecycle::PauseCauseChanged { to, .. }) => {
                    after.paused = Some(Paused::as_is(*to));
                }
                Fact::Lifecycle(_) | Fact::Work(_) | Fact::Usage(_) => {}
            }
            moments.push((place, after));
            if let Fact::Lifecycle(Lifecycle::Deleted { .. }) = &event.fact {
                course.deleted.insert(*session, place);
            }
        }
        course
    }

    /// What a session is at a time; none before it was made.
    pub(super) fn standing(&self, session: SessionId, place: usize) -> Option<Standing> {
        let moments = self.moments.get(&session)?;
        let until = moments.partition_point(|(at, _)| *at <= place);
        moments.get(until.checked_sub(1)?).map(|(_, standing)| *standing)
    }

    /// The state of a session at a time; none before it was made.
    pub(super) fn at(&self, session: SessionId, place: usize) -> Option<State> {
        self.standing(session, place).map(|standing| standing.state)
    }

    /// Whether a session was in such a state at that time, or came to it later.
    pub(super) fn comes_to(
        &self,
        session: SessionId,
        place: usize,
        is: impl Fn(State) -> bool,
    ) -> bool {
        let moments = self.moments.get(&session).map_or(&[][..], Vec::as_slice);
        let later = moments.iter().any(|(at, standing)| *at > place && is(standing.state));
        later || self.at(session, place).is_some_and(&is)
    }

    /// Whether a session came to such a state in some time.
    pub(super) fn comes_between(
        &self,
        session: SessionId,
        when: RangeInclusive<usize>,
        is: impl Fn(State) -> bool,
    ) -> bool {
        let mut moments = self.moments.get(&session).into_iter().flatten();
        moments.any(|(at, standing)| when.contains(at) && is(standing.state))
    }

    /// Where a session came to such a state, and to which.
    pub(super) fn arrivals(&self, session: SessionId) -> Vec<(usize, State)> {
        let mut before = State::Pending;
        let mut arrivals = Vec::new();
        for (place, Standing { state, .. }) in self.moments.get(&session).into_iter().flatten() {
            if *state != before {
                arrivals.push((*place, *state));
            }
            before = *state;
        }
        arrivals
    }

    /// Since when a session was such at a time without a break.
    pub(super) fn since(
        &self,
        session: SessionId,
        place: usize,
        is: impl Fn(Standing) -> bool,
    ) -> Option<usize> {
        let moments = self.moments.get(&session)?;
        let until = moments.partition_point(|(at, _)| *at <= place);
        let before = moments.get(..until)?.iter().rev();
        before.take_while(|(_, standing)| is(*standing)).last().map(|(at, _)| *at)
    }
}

impl Standing {
    /// Whether a word holds it, or its parent's.
    pub(super) fn is_held(self) -> bool {
        matches!(self.paused, Some(Paused::ByWord | Paused::WithParent))
    }
}

impl Paused {
    fn by(cause: Cause) -> Self {
        match cause {
            Cause::Asked => Self::ByWord,
            Cause::Parent => Self::WithParent,
            Cause::Silence | Cause::RestartsExhausted | Cause::SuspectedOfCrashes => {
                Self::Quarantined
            }
            _ => Self::ByItself,
        }
    }

    fn as_is(cause: PauseCause) -> Self {
        match cause {
            PauseCause::Asked => Self::ByWord,
            PauseCause::Parent => Self::WithParent,
            PauseCause::Quarantined => Self::Quarantined,
            _ => Self::ByItself,
        }
    }
}
