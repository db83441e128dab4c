//! Programs as sessions, with real programs: `trial.sh` does what a test needs done. After each test nothing of
//! them is alive.

mod kit;

mod ending;
mod input;
mod output;
mod pausing;
mod starting;
