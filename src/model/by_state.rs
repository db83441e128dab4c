//! A number for each state.

use super::state::State;

/// A number for each state, at first 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct ByState([u64; State::ALL.len()]);

impl ByState {
    /// That of one state.
    pub(crate) fn of(&self, state: State) -> u64 {
        self.iter().find(|(other, _)| *other == state).map_or(0, |(_, number)| number)
    }

    /// All of them together.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().fold(0, |total, number| total.saturating_add(*number))
    }

    /// Every state with its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (State, u64)> + '_ {
        State::ALL.into_iter().zip(self.0)
    }

    /// Changes that of one state.
    pub(crate) fn change(&mut self, state: State, change: impl Fn(u64) -> u64) {
        for (other, number) in State::ALL.into_iter().zip(&mut self.0) {
            if other == state {
                *number = change(*number);
            }
        }
    }
}
