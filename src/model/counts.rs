//! How many sessions there are, by state.

use std::fmt;

use super::{by_state::ByState, ids::Kind, labels::Labels, record::SessionRecord, state::State};

/// Of which sessions something is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// Of all.
    All,
    /// Of those of one kind.
    Kind(Kind),
    /// Of those that carry a label with this value.
    Label {
        /// The key of the label.
        key: String,
        /// Its value.
        value: String,
    },
}

impl Scope {
    /// Of those that carry a label with this value.
    pub fn label(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Label { key: key.into(), value: value.into() }
    }

    /// Whether a session of this kind with these labels is one of them.
    pub fn contains(&self, kind: &Kind, labels: &Labels) -> bool {
        match self {
            Self::All => true,
            Self::Kind(wanted) => wanted == kind,
            Self::Label { key, value } => labels.get(key) == Some(value),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all sessions"),
            Self::Kind(kind) => write!(f, "kind {kind}"),
            Self::Label { key, value } => write!(f, "{key}={value}"),
        }
    }
}

/// How many sessions are in each state. What was deleted is in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StateCounts(ByState);

impl StateCounts {
    /// How many are in one state.
    pub fn of(&self, state: State) -> u64 {
        self.0.of(state)
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.0.total()
    }

    /// Every state with its count, also where that is 0.
    pub fn iter(&self) -> impl Iterator<Item = (State, u64)> + '_ {
        self.0.iter()
    }

    /// Counts one more.
    pub(crate) fn add(&mut self, state: State) {
        self.0.change(state, |count| count.saturating_add(1));
    }

    /// Counts one less.
    pub(crate) fn remove(&mut self, state: State) {
        self.0.change(state, |count| count.saturating_sub(1));
    }

    /// Sets the count of a state.
    #[cfg(feature = "sled")]
    pub(crate) fn set(&mut self, state: State, count: u64) {
        self.0.change(state, |_| count);
    }
}

impl FromIterator<State> for StateCounts {
    fn from_iter<I: IntoIterator<Item = State>>(states: I) -> Self {
        let mut counts = Self::default();
        states.into_iter().for_each(|state| counts.add(state));
        counts
    }
}

impl fmt::Display for StateCounts {
    /// Those that are not 0: `active 3, paused 1`, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (state, count) in self.iter().filter(|(_, count)| *count > 0) {
            write!(f, "{between}{state} {count}")?;
            between = ", ";
        }
        if between.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// In which state a record counts; a tombstone in none.
pub(crate) fn counted(record: &SessionRecord) -> Option<State> {
    (!record.is_deleted()).then(|| record.state())
}
