//! What passes between a run and its session: drafts of state one way, deliveries the other.

use std::sync::Arc;

use crate::model::record::StoredInput;

/// A state that a run asks to be committed.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The encoded state.
    pub(crate) payload: Vec<u8>,
    /// The number of the input that the state covers, if one was in hand and its turn is over.
    pub(crate) covers: Option<u64>,
}

/// The answer to a run that asked for its next input.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// An input, and how often it has been given to a run.
    Input { input: Arc<StoredInput>, attempt: u32 },
    /// The run is to yield.
    Yield,
    /// The state could not be taken; nothing was committed.
    Refused(super::RunError),
}
