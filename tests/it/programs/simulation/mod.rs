//! Programs as sessions in a world that goes wrong: one number decides what runs, what callers do, when, and which faults
//! there are.
//!
//! A seed plays some lives of a worker on one store, each in a runtime of its own, which is shut down, dropped or lost with all
//! that is in it. In the last life nothing goes wrong, and every session is brought to its end. Then the
//! [oracle](crate::oracle::programs) judges what was alive and when, what was recorded, and how it is said to have ended. The
//! programs are real, and so is the time: a seed that is played twice does the same things at other moments, so a seed that fails
//! may have to be played often.
//!
//! To play one seed and see what happens in it:
//! `SESSIONKEEPER_PROGRAM_SEED=1234 cargo test --test it programs::simulation::replay -- --nocapture`.
//! To play more of them: `SESSIONKEEPER_PROGRAM_SEEDS=500 cargo test --test it programs::simulation`.
//!
//! A new verb is a line in the table of `deeds` and an arm in `Caller::act`, a new kind of program a line in `kinds` and in
//! `numbered.sh`, a new kind of fault a line in `faults` and the place that asks whether it strikes.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

mod deeds;
mod drain;
mod faults;
pub(crate) mod kinds;
pub(crate) mod looks;
mod world;

use self::{
    deeds::Deed,
    faults::Fault,
    world::{End, play},
};
use crate::{
    simulation::{
        Ends,
        tables::{Table, Tally},
    },
    support::number,
};

/// How many seeds each processor plays at a time: they mostly wait.
const AT_ONCE: usize = 3;

/// How often each fault, each deed and each end happened.
static TALLY: Tally = Tally::new();

/// Plays a seed; what is wrong with it, and what happened.
fn check(seed: u64) -> Option<String> {
    let judged = play(seed);
    (!judged.wrong.is_empty()).then(|| {
        format!(
            "{}\nseed {seed}:\n  {}\nreplay: SESSIONKEEPER_PROGRAM_SEED={seed} cargo test \
             --test it programs::simulation::replay -- --nocapture",
            judged.trace,
            judged.wrong.join("\n  ")
        )
    })
}

#[test]
fn whatever_befalls_programs_every_promise_holds() {
    let count = number("SESSIONKEEPER_PROGRAM_SEEDS").unwrap_or(24);
    let first = number("SESSIONKEEPER_FIRST_PROGRAM_SEED").unwrap_or(0);
    let next = AtomicUsize::new(0);
    let seeds: Vec<u64> = (first..first + count).collect();
    let wrong = Mutex::new(Vec::new());
    let threads = AT_ONCE * thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let _ends = Ends::begin(*seed);
                    if let Some(found) = check(*seed) {
                        wrong.lock().unwrap().push(found);
                    }
                    if wrong.lock().unwrap().len() >= 3 {
                        return;
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // Fewer of them need not come upon everything.
    if count < 100 {
        return;
    }
    TALLY.has_all(Fault::names().chain(Deed::names()).chain(End::NAMES.map(str::to_owned)));
}

/// Plays one seed and shows what happens.
#[test]
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "it is for people")]
fn replay() {
    let Some(seed) = number("SESSIONKEEPER_PROGRAM_SEED") else {
        return eprintln!(
            "skipped: programs::simulation::replay: SESSIONKEEPER_PROGRAM_SEED names no seed"
        );
    };
    let judged = play(seed);
    println!("{}", judged.trace);
    assert!(judged.wrong.is_empty(), "seed {seed}:\n  {}", judged.wrong.join("\n  "));
}
