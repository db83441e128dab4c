//! Everything that goes wrong, and how often: one line for each kind.

use std::{
    cell::RefCell,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sessionkeeper::testing::{Call, Interference};

use super::dice;
use crate::oracle::ledger::Book;

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
    StorePanics: 0.02,
    StoreCrashesBefore: 0.006,
    StoreCrashesAfter: 0.006,
    RunFails: 0.05,
    RunPanics: 0.05,
    RunYields: 0.2,
    RunDelays: 0.1,
    CloseYields: 0.3,
    CloseDelays: 0.2,
    CloseHangs: 0.1,
    ClosePanics: 0.1,
    EncodeFails: 0.02,
    EncodePanics: 0.02,
    DecodeFails: 0.03,
    DecodePanics: 0.05,
    InputDecodeFails: 0.02,
    MigrateFails: 0.4,
    MigratePanics: 0.4,
    TimerIsLate: 0.1,
    InputEncodeFails: 0.02,
    InputDecodePanics: 0.02,
    MigrateInputFails: 0.6,
    MigrateInputPanics: 0.6,
}

/// How often each struck, over all seeds.
pub(super) static STRUCK: [AtomicU64; Fault::ALL.len()] =
    [const { AtomicU64::new(0) }; Fault::ALL.len()];

/// What goes wrong in one life of a worker. Each kind has random numbers of its own, so that one
/// that strikes more or less often changes nothing about the others.
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
        let mut choice = dice(seed, "which faults", 0);
        let level = [0.0, 0.3, 1.0, 1.0, 2.0][choice.usize(0..5)];
        let mut chances = Fault::CHANCES.to_vec();
        for chance in &mut chances {
            let has = choice.u8(0..10) < 4;
            *chance = if has { (*chance * level).min(0.6) } else { 0.0 };
        }
        let of = |kind| dice(seed, "faults", life << 8 | kind);
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

    /// How long a fault of this kind lasts.
    pub(super) fn span(&self, fault: Fault, most: u64) -> Duration {
        Duration::from_millis(self.0.lock().unwrap().dice[fault as usize].u64(1..=most))
    }

    /// What happens to a call of the store.
    pub(super) fn interfere(&self, call: Call) -> Interference {
        let fault = if self.strikes(Fault::StoreFails) {
            Interference::Fail
        } else if self.strikes(Fault::StoreLosesAnswer) {
            Interference::LoseAnswer
        } else if self.strikes(Fault::StorePanics) {
            Interference::Panic
        } else if self.strikes(Fault::StoreCrashesBefore) {
            Interference::Crash { done: false }
        } else if self.strikes(Fault::StoreCrashesAfter) {
            Interference::Crash { done: true }
        } else if self.strikes(Fault::StoreDelays) {
            let before = self.span(Fault::StoreDelays, 600);
            let after = self.span(Fault::StoreDelays, 600);
            Interference::Delay { before, after }
        } else if self.strikes(Fault::StoreYields) {
            Interference::Yield(self.span(Fault::StoreYields, 6).subsec_millis())
        } else {
            Interference::None
        };
        if fault != Interference::None {
            self.0.lock().unwrap().book.note(|| format!("store: {call:?} {fault:?}"));
        }
        fault
    }

    /// How late a timer rings.
    pub(super) fn lateness(&self) -> Duration {
        if self.strikes(Fault::TimerIsLate) {
            self.span(Fault::TimerIsLate, 1500)
        } else {
            Duration::ZERO
        }
    }
}

thread_local! {
    /// The faults of the life that goes on in this thread, for code that nothing can be passed to.
    static PRESENT: RefCell<Option<Faults>> = const { RefCell::new(None) };
}

/// Makes faults those of this thread.
pub(super) fn set_present(faults: Option<Faults>) {
    PRESENT.with(|present| *present.borrow_mut() = faults);
}

/// Whether a fault strikes in the life that goes on in this thread.
pub(super) fn strikes(fault: Fault) -> bool {
    PRESENT.with(|present| present.borrow().as_ref().is_some_and(|faults| faults.strikes(fault)))
}

/// How long a fault lasts.
pub(super) fn span(fault: Fault, most: u64) -> Duration {
    PRESENT.with(|present| {
        let present = present.borrow();
        present.as_ref().map_or(Duration::ZERO, |faults| faults.span(fault, most))
    })
}

/// Panics as planned: the output stays quiet.
#[allow(clippy::panic)]
pub(super) fn panic_as_planned() -> ! {
    panic!("told to panic")
}
