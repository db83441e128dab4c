//! Programs as sessions, with real programs: `trial.sh` does what a test needs done. After each test nothing of
//! them is alive.

#![allow(clippy::print_stderr, reason = "a test says what it skipped")]

pub(crate) mod kit;

pub(crate) mod cycles;
mod ending;
mod hostile;
mod input;
mod liveness;
mod output;
mod pausing;
pub(crate) mod recovery;
pub(crate) mod simulation;
mod starting;
