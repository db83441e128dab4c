//! Turns, and the steps that a run takes in them.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    ids::{RunId, StepKey},
    time::Timestamp,
};

/// A turn: the work on one input, or what a run does between two checkpoints with nothing in hand.
///
/// Turns are ordered as they happen. A turn that is done again, after a crash or from an older
/// snapshot, is the same one.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Turn {
    /// The input in hand; with none in hand, the last one that was consumed.
    pub input: u64,
    /// 0 where the input is in hand. Else the work with nothing in hand since that input was
    /// consumed, counted from 1: a checkpoint ends one of them, and the next begins.
    #[serde(default)]
    pub interlude: u64,
}

impl Turn {
    /// The turn of an input.
    pub const fn of_input(input: u64) -> Self {
        Self { input, interlude: 0 }
    }

    /// The turn with nothing in hand that follows this one.
    pub const fn interlude_after(self) -> Self {
        Self { input: self.input, interlude: self.interlude + 1 }
    }

    /// The last turn of which nothing is left to do, where it was this one until a turn ended with
    /// which the inputs up to `consumed` are over. An input that overtook others leaves it as it was.
    pub(crate) const fn followed_by(self, ended: EndedTurn, consumed: u64) -> Self {
        match ended {
            _ if consumed > self.input => Self::of_input(consumed),
            EndedTurn::OfInput => self,
            EndedTurn::Interlude => self.interlude_after(),
        }
    }
}

/// Which kind of turn has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedTurn {
    /// The work on an input.
    OfInput,
    /// Work with nothing in hand.
    Interlude,
}

impl fmt::Display for Turn {
    /// `7` for the turn of input 7, `7+2` for the second one without an input after it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interlude {
            0 => write!(f, "{}", self.input),
            interlude => write!(f, "{}+{interlude}", self.input),
        }
    }
}

/// A step as it is stored. In its session no two have the same turn and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredStep {
    /// The turn that it was taken in.
    pub turn: Turn,
    /// Its key in this turn.
    pub key: StepKey,
    /// The run that wrote this.
    pub run: RunId,
    /// When that was.
    pub at: Timestamp,
    /// How far it came.
    pub progress: StepProgress,
}

impl StoredStep {
    /// The bytes of its result.
    pub(crate) fn bytes(&self) -> usize {
        match &self.progress {
            StepProgress::Begun | StepProgress::Failed => 0,
            StepProgress::Finished(result) => result.len(),
        }
    }
}

/// How far a step came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepProgress {
    /// It was about to be called. Whether that happened, and what came of it, is not known.
    Begun,
    /// It was called, and gave an error. It may be called again.
    Failed,
    /// It was called, and this is its result, encoded.
    Finished(Arc<[u8]>),
}
