//! What sessions are owed: in memory, and as it is noted beside the place in the log.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::Call;
use crate::{
    hooks::Hook,
    model::{
        event::{EventRecord, Fact, Lifecycle},
        ids::SessionId,
    },
};

/// A hook that is to be called.
#[derive(Clone)]
pub(super) struct Owed {
    pub(super) hook: Hook,
    pub(super) event: Arc<EventRecord>,
}

/// What one session is owed, in order. The first of it is under way.
#[derive(Default)]
pub(super) struct Line {
    pub(super) owed: VecDeque<Owed>,
    pub(super) is_called: bool,
    pub(super) failures: u32,
    /// A call that took too long.
    pub(super) call: Option<Call>,
    /// The first and the last of the events behind those that may call for more. They are looked at when all this is done.
    rest: Option<(u64, u64)>,
}

/// How many hooks are held of one session: of what is behind that it is known where it is.
const MOST: usize = 16;

impl Line {
    /// Takes note of an event that calls for hooks.
    pub(super) fn take(&mut self, event: &Arc<EventRecord>) {
        match self.has_room(event) {
            true => self.owe(event),
            false => self.leave(event.sequence, event.sequence),
        }
    }

    /// Leaves events for later.
    pub(super) fn leave(&mut self, first: u64, last: u64) {
        let (before, after) = self.rest.unwrap_or((first, last));
        self.rest = Some((before.min(first), after.max(last)));
    }

    /// What was left and can be looked at now.
    pub(super) fn rest_to_look_at(&self) -> Option<(u64, u64)> {
        self.rest.filter(|_| self.owed.is_empty())
    }

    /// Takes what was left, up to the next event to look at.
    pub(super) fn looked(&mut self, mut events: Vec<EventRecord>, mut next: u64) {
        let Some((_, last)) = self.rest.take() else { return };
        // What ended a session comes behind the end of its run, and may not have been read.
        if next <= last
            && events.len() > 1
            && let Some(end) = events.pop_if(|last| ends_run(last))
        {
            next = end.sequence;
        }
        for event in events.into_iter().map(Arc::new) {
            if !hooks_of(&event).is_empty() {
                self.take(&event);
            }
        }
        if next <= last {
            self.leave(next, last);
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.owed.is_empty() && self.rest.is_none()
    }

    /// About how many events are not done.
    pub(super) fn behind(&self) -> u64 {
        let rest = self.rest.map_or(0, |(first, last)| last - first + 1);
        self.owed.len() as u64 + rest
    }

    /// Whether what an event calls for is held. The end of a session comes before that of its run, so the two are not parted.
    fn has_room(&self, event: &EventRecord) -> bool {
        self.rest.is_none() && (self.owed.len() < MOST || self.is_of_its_run(event))
    }

    /// Whether the last hook is for the end of a run that is just before this event.
    fn is_of_its_run(&self, event: &EventRecord) -> bool {
        self.owed.back().is_some_and(|last| {
            last.hook == Hook::AfterRun && last.event.sequence + 1 == event.sequence
        })
    }

    /// Adds what an event calls for. A run that ended its session comes after that; unless its hook was begun: that stays the
    /// first, since what comes of the call is taken for the first's.
    fn owe(&mut self, event: &Arc<EventRecord>) {
        let hooks = hooks_of(event);
        let is_begun = self.owed.len() == 1 && (self.is_called || self.failures > 0);
        let comes_after =
            self.is_of_its_run(event) && !is_begun && hooks.contains(&Hook::SessionEnd);
        let after = if comes_after { self.owed.pop_back() } else { None };
        self.owed.extend(hooks.iter().map(|hook| Owed { hook: *hook, event: Arc::clone(event) }));
        self.owed.extend(after);
    }
}

/// What the store is to know of the events before the place in the log.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Note {
    /// The hooks that are not done, those of each session in order. Others of the same event may be done.
    pub(super) owed: Vec<(SessionId, u64, Hook)>,
    /// The first and the last event of what was not looked at, behind those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rest: Vec<(SessionId, u64, u64)>,
}

impl Note {
    pub(super) fn of(lines: &BTreeMap<SessionId, Line>) -> Self {
        let owed = lines.iter().flat_map(|(session, line)| {
            line.owed.iter().map(|owed| (*session, owed.event.sequence, owed.hook))
        });
        let rest = lines
            .iter()
            .filter_map(|(session, line)| line.rest.map(|(first, last)| (*session, first, last)));
        Self { owed: owed.collect(), rest: rest.collect() }
    }
}

/// Which hooks an event calls for, in the order in which they are called.
pub(super) fn hooks_of(event: &EventRecord) -> &'static [Hook] {
    match &event.fact {
        Fact::Lifecycle(Lifecycle::RunEnded { .. }) => &[Hook::AfterRun],
        Fact::Lifecycle(Lifecycle::StateChanged { from, to, begins, .. }) => {
            if *begins {
                &[Hook::SessionStart, Hook::StateChanged]
            } else if to.has_ended() && !from.has_ended() {
                &[Hook::StateChanged, Hook::SessionEnd]
            } else {
                &[Hook::StateChanged]
            }
        }
        Fact::Lifecycle(Lifecycle::Deleted { ends: true, .. }) => &[Hook::SessionEnd],
        Fact::Lifecycle(_) | Fact::Work(_) | Fact::Usage(_) => &[],
    }
}

/// Whether an event is the end of a run, and no more.
pub(super) fn ends_run(event: &EventRecord) -> bool {
    hooks_of(event) == [Hook::AfterRun]
}

#[cfg(test)]
mod tests;
