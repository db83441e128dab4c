//! What a run knows of the steps of its turns. Pure.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use crate::model::{
    ids::StepKey,
    step::{StepProgress, StoredStep, Turn},
};

/// What a step weighs besides its key and its result.
const OVERHEAD: u64 = 64;

/// The steps of the turns that are not over.
#[derive(Debug, Default)]
pub(in crate::workload) struct StepBook {
    steps: BTreeMap<(Turn, StepKey), Step>,
    /// What all of them weigh.
    bytes: u64,
}

#[derive(Debug)]
struct Step {
    known: Known,
    /// Whether a call has it in hand.
    in_hand: bool,
    /// Whether this run has asked for it.
    asked_for: bool,
}

impl Step {
    fn open(&mut self, turn: Turn, on_interrupted: OnInterrupted) -> Result<Found, StepRefused> {
        self.asked_for = true;
        if self.in_hand {
            return Err(StepRefused::InHand);
        }
        let found = match (&self.known, on_interrupted) {
            (Known::Begun, OnInterrupted::Tell) => return Err(StepRefused::Interrupted { turn }),
            (Known::Begun, OnInterrupted::Begin) | (Known::Failed, _) => {
                self.known = Known::Begun;
                Found::New
            }
            (Known::Finished(result), _) => Found::Result(result.clone()),
        };
        self.in_hand = true;
        Ok(found)
    }
}

/// What is known of a step.
#[derive(Debug, Clone)]
enum Known {
    /// It was begun, and has no result.
    Begun,
    /// Its last call failed.
    Failed,
    /// It was called.
    Finished(KnownResult),
}

/// What is done about a step that was begun and never finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::workload) enum OnInterrupted {
    /// The workload is told.
    Tell,
    /// It is begun again.
    Begin,
}

/// What a call of a step finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::workload) enum Found {
    /// It is to be begun.
    New,
    /// It has a result.
    Result(KnownResult),
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::workload) struct KnownResult {
    pub(in crate::workload) bytes: Arc<[u8]>,
    /// Whether it is known to be durable.
    pub(in crate::workload) is_durable: bool,
}

/// Why a call does not get its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::workload) enum StepRefused {
    /// The run can change nothing any more.
    Fenced,
    /// Another call has it in hand.
    InHand,
    /// It was begun and never finished.
    Interrupted { turn: Turn },
    /// The steps weigh so much with it, more than they may.
    TooLarge { bytes: u64 },
}

impl StepBook {
    /// The book of a run that begins; none where nothing is stored.
    pub(in crate::workload) fn of(stored: Vec<StoredStep>) -> Option<Box<Self>> {
        if stored.is_empty() {
            return None;
        }
        let mut book = Box::<Self>::default();
        for StoredStep { turn, key, progress, .. } in stored {
            let known = match progress {
                StepProgress::Begun => Known::Begun,
                StepProgress::Failed => Known::Failed,
                StepProgress::Finished(bytes) => {
                    Known::Finished(KnownResult { bytes, is_durable: true })
                }
            };
            book.bytes += weight(&key, &known);
            book.steps.insert((turn, key), Step { known, in_hand: false, asked_for: false });
        }
        Some(book)
    }

    pub(in crate::workload) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether this run has asked for steps of a turn. What a run before it left is not enough: a run
    /// that has not come to it yet must not end their turn.
    pub(in crate::workload) fn asked_in(&self, turn: Turn) -> bool {
        self.steps.iter().any(|((other, _), step)| *other == turn && step.asked_for)
    }

    /// Takes a step in hand, and makes it where there is none.
    pub(in crate::workload) fn open(
        &mut self,
        turn: Turn,
        key: &StepKey,
        on_interrupted: OnInterrupted,
        limit: u64,
    ) -> Result<Found, StepRefused> {
        match self.steps.entry((turn, key.clone())) {
            Entry::Occupied(mut step) => step.get_mut().open(turn, on_interrupted),
            Entry::Vacant(place) => {
                let bytes = self.bytes + weight(key, &Known::Begun);
                if bytes > limit {
                    return Err(StepRefused::TooLarge { bytes });
                }
                self.bytes = bytes;
                place.insert(Step { known: Known::Begun, in_hand: true, asked_for: true });
                Ok(Found::New)
            }
        }
    }

    /// The call of a step gave an error.
    pub(in crate::workload) fn failed(&mut self, turn: Turn, key: &StepKey) {
        self.know(turn, key, Known::Failed);
    }

    /// A step has a result, which is not durable yet. With it the steps must not weigh more than
    /// `limit`; else what they would weigh is the error.
    pub(in crate::workload) fn returned(
        &mut self,
        turn: Turn,
        key: &StepKey,
        result: &Arc<[u8]>,
        limit: u64,
    ) -> Result<(), u64> {
        let bytes = self.bytes.saturating_add(result.len() as u64);
        if bytes > limit {
            return Err(bytes);
        }
        let result = KnownResult { bytes: Arc::clone(result), is_durable: false };
        self.know(turn, key, Known::Finished(result));
        Ok(())
    }

    /// The result of a step is durable.
    pub(in crate::workload) fn finished(&mut self, turn: Turn, key: &StepKey, bytes: Arc<[u8]>) {
        self.know(turn, key, Known::Finished(KnownResult { bytes, is_durable: true }));
    }

    fn know(&mut self, turn: Turn, key: &StepKey, known: Known) {
        // The clone is the price of a pair as key.
        if let Some(step) = self.steps.get_mut(&(turn, key.clone())) {
            self.bytes = (self.bytes + weight(key, &known)) - weight(key, &step.known);
            step.known = known;
        }
    }

    /// Puts a step down.
    pub(in crate::workload) fn close(&mut self, turn: Turn, key: &StepKey) {
        if let Some(step) = self.steps.get_mut(&(turn, key.clone())) {
            step.in_hand = false;
        }
    }

    /// Forgets the steps of turns that are over, but for those in hand.
    pub(in crate::workload) fn forget(&mut self, is_over: impl Fn(Turn) -> bool) {
        let Self { steps, bytes } = self;
        steps.retain(|(turn, key), step| {
            let stays = !is_over(*turn) || step.in_hand;
            if !stays {
                *bytes -= weight(key, &step.known);
            }
            stays
        });
    }
}

fn weight(key: &StepKey, known: &Known) -> u64 {
    let result = match known {
        Known::Begun | Known::Failed => 0,
        Known::Finished(result) => result.bytes.len() as u64,
    };
    OVERHEAD + key.as_str().len() as u64 + result
}
