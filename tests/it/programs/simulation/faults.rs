//! Everything that goes wrong, and how often: one line for each kind.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sessionkeeper::testing::{Call, Interference};

use crate::{oracle::ledger::Book, simulation::dice};

macro_rules! faults {
    ($($name:ident: $chance:literal,)+) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Fault { $($name,)+ }

        impl Fault {
            pub(super) const ALL: &[Self] = &[$(Self::$name,)+];
            /// How likely it is, each time that it could strike, in a seed that has it.
            const CHANCES: &[f64] = &[$($chance,)+];
        }
    };
}

faults! {
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

/// How often each struck, over all seeds.
pub(super) static STRUCK: [AtomicU64; Fault::ALL.len()] =
    [const { AtomicU64::new(0) }; Fault::ALL.len()];

/// What goes wrong in one life of a worker.
#[derive(Clone)]
pub(super) struct Faults(Arc<Mutex<Inner>>);

struct Inner {
    chances: Vec<f64>,
    dice: Vec<fastrand::Rng>,
    book: Book,
}

impl Faults {
    /// Faults of the kinds that the seed has.
    pub(super) fn new(seed: u64, life: u64, book: Book) -> Self {
        let mut choice = dice(seed, "which faults of programs", 0);
        let level = [0.0, 0.5, 1.0, 2.0][choice.usize(0..4)];
        let chances = Fault::CHANCES.iter().map(|chance| match choice.bool() {
            true => (chance * level).min(0.6),
            false => 0.0,
        });
        let chances: Vec<_> = chances.collect();
        let of = |kind| dice(seed, "faults of programs", life << 8 | kind);
        let dice = (0..chances.len() as u64).map(of).collect();
        Self(Arc::new(Mutex::new(Inner { chances, dice, book })))
    }

    /// No more faults.
    pub(super) fn end(&self) {
        self.0.lock().unwrap().chances.fill(0.0);
    }

    /// Whether this fault strikes now.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        let mut inner = self.0.lock().unwrap();
        let chance = inner.chances[fault as usize];
        let strikes = inner.dice[fault as usize].f64() < chance;
        if strikes {
            STRUCK[fault as usize].fetch_add(1, Ordering::Relaxed);
            inner.book.note(|| format!("{fault:?}"));
        }
        strikes
    }

    fn span(&self, fault: Fault, most: u64) -> u64 {
        self.0.lock().unwrap().dice[fault as usize].u64(1..=most)
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
            let span = || Duration::from_millis(self.span(Fault::StoreDelays, 60));
            Interference::Delay { before: span(), after: span() }
        } else if self.strikes(Fault::StoreYields) {
            Interference::Yield(u32::try_from(self.span(Fault::StoreYields, 6)).unwrap_or(1))
        } else {
            Interference::None
        };
        if fault != Interference::None {
            self.0.lock().unwrap().book.note(|| format!("store: {call:?} {fault:?}"));
        }
        fault
    }
}
