//! Everything that goes wrong, and how often: one line for each kind.

use sessionkeeper::testing::{Call, Interference};

use super::TALLY;
use crate::{
    oracle::ledger::Book,
    simulation::{
        dice,
        tables::{Table, table},
    },
};

table! {
    /// A kind of fault, and how likely it is, each time that it could strike, in a seed that has it.
    Fault by f64 {
    StoreFails: 0.05,
    StoreLosesAnswer: 0.05,
    StoreYields: 0.3,
    StoreDelays: 0.15,
    StoreCrashesBefore: 0.01,
    StoreCrashesAfter: 0.01,
    ProgramIsMissing: 0.15,
    FolderIsMissing: 0.15,
    SecretIsUnknown: 0.1,
    }
}

/// What goes wrong in one life of a worker.
pub(super) type Faults = crate::simulation::faults::Faults<Fault>;

impl Faults {
    /// Faults of the kinds that the seed has.
    pub(super) fn new(seed: u64, life: u64, book: Book) -> Self {
        let mut choice = dice(seed, "which faults of programs", 0);
        let level = [0.0, 0.5, 1.0, 2.0][choice.usize(0..4)];
        let levels = Fault::ALL.iter().map(|_| if choice.bool() { level } else { 0.0 });
        let of = |kind| dice(seed, "faults of programs", life << 8 | kind);
        Self::with(levels.collect(), of, book, &TALLY)
    }

    /// What happens to a call of the store.
    pub(super) fn interfere(&self, call: Call) -> Interference {
        let fault = if self.strikes(Fault::StoreFails) {
            Interference::Fail
        } else if self.strikes(Fault::StoreLosesAnswer) {
            Interference::LoseAnswer
        } else if self.strikes(Fault::StoreCrashesBefore) {
            Interference::Crash { done: false }
        } else if self.strikes(Fault::StoreCrashesAfter) {
            Interference::Crash { done: true }
        } else if self.strikes(Fault::StoreDelays) {
            let span = || self.span(Fault::StoreDelays, 60);
            Interference::Delay { before: span(), after: span() }
        } else if self.strikes(Fault::StoreYields) {
            Interference::Yield(self.span(Fault::StoreYields, 6).subsec_millis())
        } else {
            Interference::None
        };
        self.note(call, fault)
    }
}
