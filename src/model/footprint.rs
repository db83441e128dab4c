//! How much sessions hold in the store, in logical bytes: what their contents come to, not what a disk needs for them.

use serde::{Deserialize, Serialize};

use super::{by_state::ByState, record::SessionRecord, state::State, step::Turn};
use crate::faults::{self, Bug};

/// What is kept of the weight of a session that does not follow from the rest of its record: its events and its steps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Footprint {
    /// Events up to this number are not counted: they are gone, or were there before anybody counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after: u64,
    /// The bytes of the events after that.
    pub events: u64,
    /// The bytes of the results of steps, by their turns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<(Turn, u64)>,
    /// Numbers of events up to which older ones may go, each with the bytes of those that are counted up to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<(u64, u64)>,
}

/// How many notes there are at most.
const MOST_MARKS: usize = 16;

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Footprint {
    /// The weight of a session of which nobody has counted the events up to this one.
    pub(crate) fn after(event: u64) -> Self {
        Self { after: event, ..Self::default() }
    }

    /// Counts the result of a step.
    pub(crate) fn add_step(&mut self, turn: Turn, bytes: u64) {
        match self.steps.iter_mut().find(|(of, _)| *of == turn) {
            Some((_, sum)) => *sum = sum.saturating_add(bytes),
            None => self.steps.push((turn, bytes)),
        }
    }

    /// Leaves out the steps of turns up to this one.
    pub(crate) fn forget_steps(&mut self, covered: Turn) {
        self.steps.retain(|(turn, _)| *turn > covered);
    }

    /// Notes that events may go up to this one, the newest that is counted, if so many came since the last note.
    pub(crate) fn mark(&mut self, event: u64, every: u64) {
        let last = self.marks.last().map_or(self.after, |(event, _)| *event);
        if event.saturating_sub(last) < every {
            return;
        }
        // While older events wait to go, many notes may come: fewer will do.
        if self.marks.len() >= MOST_MARKS {
            let mut stays = true;
            self.marks.retain(|_| {
                stays = !stays;
                stays
            });
        }
        self.marks.push((event, self.events));
    }

    /// Leaves out events that go: those up to the last note that is not beyond this one. Gives its number, if there is one
    /// beyond those that are gone.
    pub(crate) fn forget_events(&mut self, gone: u64, to: u64) -> Option<u64> {
        let noted = self.marks.iter().rfind(|(event, _)| *event <= to).copied();
        let (event, bytes) = noted.or_else(|| (self.after <= to).then_some((self.after, 0)))?;
        if event <= gone {
            return None;
        }
        self.marks.retain(|(other, _)| *other > event);
        for (_, sum) in &mut self.marks {
            *sum = sum.saturating_sub(bytes);
        }
        self.after = event;
        self.events = self.events.saturating_sub(bytes);
        Some(event)
    }
}

/// How many bytes the sessions in each state hold. What was deleted holds nothing, though it may take a while until it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StateBytes(ByState);

impl StateBytes {
    /// How many those in one state hold.
    pub fn of(&self, state: State) -> u64 {
        self.0.of(state)
    }

    /// How many all hold.
    pub fn total(&self) -> u64 {
        self.0.total()
    }

    /// Every state with its bytes, also where these are 0.
    pub fn iter(&self) -> impl Iterator<Item = (State, u64)> + '_ {
        self.0.iter()
    }

    /// Adds what a session holds, if it counts.
    pub(crate) fn add(&mut self, record: &SessionRecord) {
        self.0.change(record.state(), |bytes| bytes.saturating_add(record.bytes()));
    }

    /// Takes off what a session held.
    pub(crate) fn remove(&mut self, record: &SessionRecord) {
        self.0.change(record.state(), |bytes| bytes.saturating_sub(record.bytes()));
    }

    /// Adds some and takes off others.
    #[cfg(feature = "sled")]
    pub(crate) fn apply(&mut self, added: &Self, removed: &Self) {
        for state in State::ALL {
            let (more, less) = (added.of(state), removed.of(state));
            self.0.change(state, |bytes| bytes.saturating_add(more).saturating_sub(less));
        }
    }

    /// A record takes the place of an old one.
    pub(crate) fn replace(&mut self, old: Option<&SessionRecord>, new: &SessionRecord) {
        self.add(new);
        if let Some(old) = given_up(old) {
            self.remove(old);
        }
    }

    /// Sets the bytes of a state.
    #[cfg(feature = "sled")]
    pub(crate) fn set(&mut self, state: State, bytes: u64) {
        self.0.change(state, |_| bytes);
    }
}

/// The record that gives up what it held when another takes its place.
pub(crate) fn given_up(old: Option<&SessionRecord>) -> Option<&SessionRecord> {
    old.filter(|_| !faults::planted(Bug::KeepFreedBytes))
}
