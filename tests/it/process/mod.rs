//! What only real processes can show: a worker that is killed, that loses its power, that is
//! stopped and goes on, that is told to end.
//!
//! A child is this test binary again, see [`child`]. It tells what it was told, line by line, and
//! its parent believes only lines that came whole.

#![allow(clippy::print_stderr, reason = "a test says what it skipped and what it counted")]

mod chain;
pub(crate) mod child;
mod clients;
mod crash_loop;
mod disk;
pub(crate) mod left_over;
pub(crate) mod line;
pub(crate) mod parent;
mod power_cut;
mod signals;
mod stopped;
mod tally;
mod time_zone;
