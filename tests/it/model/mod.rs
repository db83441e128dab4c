//! The library beside a model of it: random lives of a few sessions and their workers, step by
//! step, and after each step everything that can be seen is as the model says.
//!
//! `SESSIONKEEPER_CASES` says how many lives each test tries, `SESSIONKEEPER_SEED` which ones. A
//! life that fails is printed in as few steps as it takes, or as `SESSIONKEEPER_SHRINKS` tries find
//! out; the seed of it is written to
//! `tests/it/model/regressions.txt` and tried first from then on. When it is understood, write its
//! steps down in [`known`] under a name, and delete the seed: it means another life as soon as the
//! steps change.

mod care;
mod known;
mod player;
mod reference;
mod steps;
mod world;

use std::{cell::RefCell, collections::BTreeMap, sync::atomic::Ordering};

use proptest::{
    option::of,
    prelude::{Just, Strategy, prop_oneof},
    strategy::BoxedStrategy,
    test_runner::{
        Config, FileFailurePersistence, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner,
    },
};
use proptest_state_machine::ReferenceStateMachine;
use tokio::{runtime::Runtime, task::LocalSet};

use self::{
    reference::{Reference, Setup},
    steps::Step,
    world::World,
};
use crate::support::number;

fn config(salt: u64) -> Config {
    Config {
        cases: u32::try_from(number("SESSIONKEEPER_CASES").unwrap_or(100)).unwrap(),
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(number("SESSIONKEEPER_SEED").unwrap_or(0x5e55_1015) ^ salt),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/it/model/regressions.txt",
        ))),
        max_shrink_iters: u32::try_from(number("SESSIONKEEPER_SHRINKS").unwrap_or(4_000)).unwrap(),
        ..Config::default()
    }
}

/// A world, and what drives it.
struct Driven {
    runtime: Runtime,
    tasks: LocalSet,
    world: World,
}

impl Driven {
    fn new(setup: Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let tasks = LocalSet::new();
        let world = tasks.block_on(&runtime, World::new(setup));
        Self { runtime, tasks, world }
    }

    /// Takes a step, and says what is not as the model says.
    fn step(&mut self, step: &Step, model: &Reference) -> Result<(), String> {
        self.tasks.block_on(&self.runtime, self.world.step(step, model))
    }

    /// Ends the life, and says what is wrong in its store.
    fn end(self) -> Result<(), String> {
        self.tasks.block_on(&self.runtime, self.world.end())
    }
}

/// Lives in which places are scarce.
struct Scarce;

/// Lives in which everybody has a place.
struct Plenty;

macro_rules! lives {
    ($lives:ident, $setup:expr) => {
        impl ReferenceStateMachine for $lives {
            type State = Reference;
            type Transition = Step;

            fn init_state() -> BoxedStrategy<Reference> {
                $setup.prop_map(Reference::new).boxed()
            }

            fn transitions(model: &Reference) -> BoxedStrategy<Step> {
                steps::step(model).boxed()
            }

            fn apply(mut model: Reference, step: &Step) -> Reference {
                model.step(step);
                model
            }
        }
    };
}

lives!(
    Scarce,
    (1..3_usize, closing(), newest()).prop_map(|(places, closing, newest)| Setup {
        places: Some(places),
        closing,
        newest
    })
);
lives!(
    Plenty,
    (closing(), newest()).prop_map(|(closing, newest)| Setup { places: None, closing, newest })
);

/// How long clean-ups take: no time, or more than a step.
fn closing() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 1 => Just(2_290)]
}

/// How many events are kept of each session: all, or so few that hardly any session has no more.
fn newest() -> impl Strategy<Value = Option<u64>> {
    of(3..12_u64)
}

/// Tries lives, and prints one that goes another way in as few steps as it takes.
fn try_lives<L>(salt: u64)
where
    L: ReferenceStateMachine<State = Reference, Transition = Step>,
{
    let mut runner = TestRunner::new(config(salt));
    let vague = RefCell::new(BTreeMap::<&str, u32>::new());
    let tried = runner.run(&L::sequential_strategy(1..60), |(mut model, steps, seen)| {
        let mut driven = Driven::new(model.setup);
        for step in steps {
            if let Some(seen) = &seen {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            model = L::apply(model, &step);
            driven.step(&step, &model).map_err(TestCaseError::fail)?;
        }
        if let Some(why) = model.vague {
            *vague.borrow_mut().entry(why).or_default() += 1;
        }
        driven.end().map_err(TestCaseError::fail)
    });
    match tried {
        Ok(()) => say_how_many_are_vague(&vague.borrow(), config(salt).cases),
        Err(TestError::Fail(why, (model, steps, _))) => {
            let steps: Vec<_> = steps.iter().map(|step| format!("\n    {step:?},")).collect();
            panic!("{why}\n\nin a life that {model:?} begins:{}", steps.concat());
        }
        Err(error) => panic!("{error}"),
    }
}

/// A life is compared up to where the model cannot tell any more what comes first. Most are compared to their end.
#[allow(clippy::print_stderr, reason = "it is for people")]
fn say_how_many_are_vague(vague: &BTreeMap<&str, u32>, lives: u32) {
    let all: u32 = vague.values().sum();
    eprintln!("{all} of {lives} lives end where the model cannot tell what comes first: {vague:?}");
    assert!(lives < 100 || all < lives / 4, "too few lives are compared to their end");
}

/// G1, G3, G4, G8, G9: whatever befalls a few sessions and their workers, in whatever order, they
/// stand as the model says, and every verb answers what it says.
#[test]
fn sessions_with_few_places_live_as_the_model_says() {
    try_lives::<Scarce>(1);
}

/// The same, where nobody waits for a place.
#[test]
fn sessions_with_places_for_all_live_as_the_model_says() {
    try_lives::<Plenty>(2);
}
