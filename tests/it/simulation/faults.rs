//! Everything that goes wrong, and how often: one line for each kind.

use std::{
    cell::RefCell,
    marker::PhantomData,
    sync::{Arc, Mutex},
    time::Duration,
};

use sessionkeeper::testing::{Call, Interference};

use super::{
    TALLY, dice,
    tables::{Table, Tally, table},
};
use crate::oracle::ledger::{Book, Entry};

table! {
    /// A kind of fault, and how likely it is, each time that it could strike, in a seed that has it.
    Fault by f64 {
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
    ForkFails: 0.1,
    ForkPanics: 0.1,
    ForkDelays: 0.2,
    ForkHangs: 0.1,
    }
}

/// What goes wrong in one life of a worker. Each kind has random numbers of its own, so that one
/// that strikes more or less often changes nothing about the others.
#[derive(Clone)]
pub(crate) struct Faults<K = Fault> {
    inner: Arc<Mutex<Inner>>,
    kind: PhantomData<fn(K)>,
}

struct Inner {
    chances: Vec<f64>,
    dice: Vec<fastrand::Rng>,
    book: Book,
    tally: &'static Tally,
    /// How often something struck that takes time.
    troubles: u64,
}

impl Faults {
    /// Faults of the kinds that the seed has.
    pub(super) fn new(seed: u64, life: u64, book: Book) -> Self {
        let mut choice = dice(seed, "which faults", 0);
        let level = [0.0, 0.3, 1.0, 1.0, 2.0][choice.usize(0..5)];
        let levels = Fault::ALL.iter().map(|_| if choice.u8(0..10) < 4 { level } else { 0.0 });
        let of = |kind| dice(seed, "faults", life << 8 | kind);
        Self::with(levels.collect(), of, book, &TALLY)
    }
}

impl<K: Table<Likelihood = f64>> Faults<K> {
    /// Faults that are so many times as likely as in their table.
    pub(crate) fn with(
        levels: Vec<f64>,
        dice: impl Fn(u64) -> fastrand::Rng,
        book: Book,
        tally: &'static Tally,
    ) -> Self {
        let chances = K::ALL.iter().zip(levels);
        let chances = chances.map(|((chance, _), level)| (chance * level).min(0.6)).collect();
        let dice = (0..K::ALL.len() as u64).map(dice).collect();
        let inner = Arc::new(Mutex::new(Inner { chances, dice, book, tally, troubles: 0 }));
        Self { inner, kind: PhantomData }
    }

    /// No more faults.
    pub(crate) fn end(&self) {
        self.inner.lock().unwrap().chances.fill(0.0);
    }

    /// Whether this fault strikes now.
    pub(crate) fn strikes(&self, fault: K) -> bool {
        let mut inner = self.inner.lock().unwrap();
        let chance = inner.chances[fault.place()];
        let strikes = inner.dice[fault.place()].f64() < chance;
        if strikes {
            inner.tally.count(fault.name());
            inner.book.note(|| format!("{fault:?}"));
        }
        strikes
    }

    /// How long a fault of this kind lasts, in milliseconds.
    pub(crate) fn span(&self, fault: K, most: u64) -> Duration {
        Duration::from_millis(self.inner.lock().unwrap().dice[fault.place()].u64(1..=most))
    }

    /// Notes what happens to a call of the store.
    pub(crate) fn note(&self, call: Call, fault: Interference) -> Interference {
        if fault != Interference::None {
            self.inner.lock().unwrap().book.note(|| format!("store: {call:?} {fault:?}"));
        }
        fault
    }
}

impl Faults {
    /// How often something went wrong that may delay a worker.
    pub(super) fn troubles(&self) -> u64 {
        self.inner.lock().unwrap().troubles
    }

    fn note_unreadable(&self) {
        self.inner.lock().unwrap().book.enter(Entry::Unreadable);
    }

    fn add_trouble(&self) {
        self.inner.lock().unwrap().troubles += 1;
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
        if !matches!(fault, Interference::None | Interference::Yield(_)) {
            self.add_trouble();
        }
        self.note(call, fault)
    }

    /// How late a timer rings.
    pub(super) fn lateness(&self) -> Duration {
        if self.strikes(Fault::TimerIsLate) {
            self.add_trouble();
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

/// The same of a fault that keeps something from being read.
pub(super) fn strikes_reader(fault: Fault) -> bool {
    let strikes = strikes(fault);
    if strikes {
        PRESENT.with(|present| present.borrow().iter().for_each(Faults::note_unreadable));
    }
    strikes
}

/// Something goes wrong that may delay the worker of this thread.
pub(super) fn add_trouble() {
    PRESENT.with(|present| present.borrow().iter().for_each(Faults::add_trouble));
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
