//! What passes between a run and its session: drafts of state one way, deliveries the other.

use std::sync::Arc;

use crate::model::record::StoredInput;

/// A state that a run asks to be committed.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The encoded state.
    pub(crate) payload: Vec<u8>,
    /// What is over with it.
    pub(crate) covers: Covers,
    /// The urgent inputs that the turn has taken: their effect is in it.
    pub(crate) taken: Vec<u64>,
}

/// Which work a state covers, besides what was covered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Covers {
    /// The turn of this input.
    Input(u64),
    /// The turn with nothing in hand.
    Interlude,
    /// No turn: the present one goes on.
    Nothing,
    /// No turn: the present one was interrupted, and its input is to be given again.
    PutBack(u64),
}

impl Covers {
    /// The present turn, with this input in hand.
    pub(crate) fn turn_of(in_hand: Option<u64>) -> Self {
        in_hand.map_or(Self::Interlude, Self::Input)
    }
}

/// The answer to a run that asked for its next input.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// An input, and how often it has been given to a run.
    Input { input: Arc<StoredInput>, attempt: u32, urgent: bool },
    /// The run is to yield.
    Yield,
    /// The state could not be taken; nothing was committed.
    Refused(super::RunError),
}
