//! The whole library in a world that one number decides: what callers and workloads do, when, and
//! everything that goes wrong meanwhile.
//!
//! A seed plays some lives of a worker on one store. Each life is a runtime of its own on paused
//! time, so that a crash is what it is outside: everything is gone but the store. In the last life
//! nothing goes wrong, every session is worked off, and then the oracle judges all of it. A seed
//! is played twice, and must give the same twice.
//!
//! To play one seed and see what happens in it:
//! `SESSIONKEEPER_SEED=1234 cargo test --test it simulation::replay -- --nocapture`.
//! To play more of them: `SESSIONKEEPER_SEEDS=5000 cargo test --test it simulation`.
//!
//! A new verb is a line in the table of `deeds` and an arm in `Caller::act`; a new kind of fault
//! is a line in `faults` and the place that asks whether it strikes.

use std::{
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

mod calm;
mod cues;
pub(crate) mod deeds;
mod drain;
mod families;
pub(crate) mod faults;
mod follower;
mod known;
mod looks;
mod outside;
mod panics;
mod player;
mod policies;
mod steps;
pub(crate) mod tables;
mod world;

use self::{
    deeds::Deed,
    faults::Fault,
    follower::TRIMMED,
    tables::{Table, Tally},
    world::{End, FOR_SPACE, play},
};
use crate::support::number;

/// How long a seed may take, which takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came of a seed.
struct Judged {
    wrong: Vec<String>,
    /// Everything that was seen and everything that is left.
    lines: Vec<String>,
    trace: String,
}

/// How often each fault, each deed and each end happened.
static TALLY: Tally = Tally::new();

/// Random numbers for one purpose, which depend on nothing else that happens.
pub(crate) fn dice(seed: u64, purpose: &str, number: u64) -> fastrand::Rng {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in purpose.bytes().chain(seed.to_le_bytes()).chain(number.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    fastrand::Rng::with_seed(hash)
}

pub(crate) fn weighted<T: Copy>(dice: &mut fastrand::Rng, table: &[(u32, T)]) -> T {
    let mut left = dice.u32(0..table.iter().map(|(weight, _)| weight).sum());
    for (weight, item) in table {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return *item,
        }
    }
    unreachable!("the dice stay below the sum of the weights")
}

/// Plays a seed twice; what is wrong with it.
fn check(seed: u64) -> Option<String> {
    let first = play(seed, false);
    let second = play(seed, false);
    let mut wrong = first.wrong;
    if let Some(place) = first.lines.iter().zip(&second.lines).position(|(a, b)| a != b) {
        let (first, second) = (&first.lines[place], &second.lines[place]);
        wrong.push(format!("played twice it differs at {place}:\n  {first}\n  {second}"));
    } else if first.lines.len() != second.lines.len() {
        wrong.push("played twice it differs in length".to_owned());
    }
    (!wrong.is_empty()).then(|| {
        format!(
            "seed {seed}:\n  {}\nreplay: SESSIONKEEPER_SEED={seed} cargo test --test it \
             simulation::replay -- --nocapture",
            wrong.join("\n  ")
        )
    })
}

/// Plays seeds on all processors. What is wrong is told at once: a later seed may never end.
#[allow(clippy::print_stderr, reason = "it is for people")]
fn check_all(seeds: &[u64]) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for first in 0..threads {
            let wrong = &wrong;
            scope.spawn(move || {
                for seed in seeds.iter().skip(first).step_by(threads) {
                    let _ends = Ends::begin(*seed);
                    if let Some(found) = check(*seed) {
                        eprintln!("{found}");
                        wrong.lock().unwrap().push((*seed, found));
                    }
                    if wrong.lock().unwrap().len() >= 10 {
                        return;
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    let Some((seed, _)) = wrong.first() else { return };
    let trace = play(*seed, true).trace;
    let all: Vec<String> = wrong.iter().map(|(_, found)| found.clone()).collect();
    panic!("the trace of seed {seed}:\n{trace}\n\n{}", all.join("\n\n"));
}

/// Names a seed that does not end.
pub(crate) struct Ends {
    _ended: mpsc::Sender<()>,
}

impl Ends {
    #[allow(clippy::print_stderr, reason = "it is for people")]
    pub(crate) fn begin(seed: u64) -> Self {
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("seed {seed} has not ended after {PATIENCE:?}");
            }
        });
        Self { _ended: sender }
    }
}

#[test]
fn whatever_goes_wrong_every_promise_holds() {
    let count = number("SESSIONKEEPER_SEEDS").unwrap_or(150);
    let first = number("SESSIONKEEPER_FIRST_SEED").unwrap_or(0);
    check_all(&(first..first + count).collect::<Vec<_>>());
    // Fewer of them need not come upon everything.
    if count < 1000 {
        return;
    }
    let others = End::NAMES.into_iter().chain([TRIMMED, FOR_SPACE]).map(str::to_owned);
    TALLY.has_all(Fault::names().chain(Deed::names()).chain(others));
}

#[test]
fn seeds_that_found_something_find_nothing_any_more() {
    let seeds: Vec<u64> = known::FOUND.iter().map(|(seed, _)| *seed).collect();
    check_all(&seeds);
}

/// Plays one seed and shows what happens.
#[test]
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "it is for people")]
fn replay() {
    let Some(seed) = number("SESSIONKEEPER_SEED") else {
        return eprintln!("skipped: simulation::replay: SESSIONKEEPER_SEED names no seed");
    };
    let judged = play(seed, true);
    println!("{}", judged.trace);
    if let Some(wrong) = check(seed) {
        panic!("{wrong}");
    }
}
