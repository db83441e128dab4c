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
}

impl Line {
    /// Adds what an event calls for. A run that ended its session comes after that; unless its hook was begun: that stays the
    /// first, since what comes of the call is taken for the first's.
    pub(super) fn owe(&mut self, event: &Arc<EventRecord>) {
        let hooks = hooks_of(event);
        let is_begun = self.owed.len() == 1 && (self.is_called || self.failures > 0);
        let is_of_its_run = self.owed.back().is_some_and(|last| {
            last.hook == Hook::AfterRun && last.event.sequence + 1 == event.sequence
        });
        let comes_after = is_of_its_run && !is_begun && hooks.contains(&Hook::SessionEnd);
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
}

impl Note {
    pub(super) fn of(lines: &BTreeMap<SessionId, Line>) -> Self {
        let owed = lines.iter().flat_map(|(session, line)| {
            line.owed.iter().map(|owed| (*session, owed.event.sequence, owed.hook))
        });
        Self { owed: owed.collect() }
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

#[cfg(test)]
mod tests;
